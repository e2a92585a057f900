"""Faces: found in photos, aligned, and judged by how well they can be seen."""

from __future__ import annotations

from trine.faces.alignment import TEMPLATE, aligned
from trine.faces.detector import FaceDetector
from trine.faces.face import Face
from trine.faces.found import FacesReport, FoundFace, PhotoResult
from trine.faces.quality import Requirements, sharpness

__all__ = [
    "TEMPLATE",
    "Face",
    "FaceDetector",
    "FacesReport",
    "FoundFace",
    "PhotoResult",
    "Requirements",
    "aligned",
    "sharpness",
]
