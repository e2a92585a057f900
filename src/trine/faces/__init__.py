"""Faces: found in photos, aligned, and judged by how well they can be seen."""

from __future__ import annotations

from trine.faces.alignment import SIDES, TEMPLATES, Alignment, aligned
from trine.faces.detect import DetectionReport, FaceCrops, PhotoFaces, detect_faces
from trine.faces.detector import FaceDetector
from trine.faces.face import Face
from trine.faces.found import FacesReport, FoundFace, PhotoResult
from trine.faces.look import FacePolicy, Look, look_at
from trine.faces.quality import Requirements, quality, sharpness

__all__ = [
    "SIDES",
    "TEMPLATES",
    "Alignment",
    "DetectionReport",
    "Face",
    "FaceCrops",
    "FaceDetector",
    "FacePolicy",
    "FacesReport",
    "FoundFace",
    "Look",
    "PhotoFaces",
    "PhotoResult",
    "Requirements",
    "aligned",
    "detect_faces",
    "look_at",
    "quality",
    "sharpness",
]
