"""Looks at one photo: finds, aligns and judges its faces, and chooses those that count."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from trine.errors import SettingError, check_choice
from trine.faces.alignment import Alignment, aligned
from trine.faces.detector import FaceDetector
from trine.faces.found import FoundFace
from trine.faces.quality import Requirements, sharpness
from trine.shapes import UInt8

Several = Literal["all", "largest", "refuse"]
"""Which faces of a photo with several count: all, the largest, or none."""

LowQuality = Literal["keep", "refuse"]
"""Whether a face counts that lacks something."""

RIVAL = 0.5
"""A face of this share of the size of the largest is not in the background."""

_CHOICE = frozenset({"not the largest", "one of several", "in the background"})
"""Failures that are not about how well a face can be seen."""


@dataclass(frozen=True)
class FacePolicy:
    """Which faces of a photo count.

    Attributes:
        requirements: What a face must have.
        low_quality: Whether a face that lacks something is refused, or kept with what it lacks.
        several: Of a photo with several faces, `all` count, only the `largest`, or none (`refuse`): who of
            them is meant is not known. Faces of less than half the size of the largest are in the background,
            and do not make a photo one of several.

    Raises:
        SettingError: A policy is unknown.
    """

    requirements: Requirements = field(default_factory=Requirements)
    low_quality: LowQuality = "refuse"
    several: Several = "all"

    def __post_init__(self) -> None:
        check_choice("low_quality", self.low_quality, get_args(LowQuality), error=SettingError)
        check_choice("several", self.several, get_args(Several), error=SettingError)

    def takes(self, failures: Mapping[str, str]) -> bool:
        """Whether a face with such failures counts."""
        return not (failures if self.low_quality == "refuse" else _CHOICE & failures.keys())


@dataclass(frozen=True, eq=False)
class Look:
    """What a look at a photo found.

    Attributes:
        faces: Its faces, the largest first, each with what it lacks.
        crops: The aligned face of each, of the side of its alignment.
        chosen: The positions of those that count.
    """

    faces: tuple[FoundFace, ...]
    crops: tuple[UInt8[np.ndarray, "s s 3"], ...]
    chosen: tuple[int, ...]


def look_at(
    pixels: UInt8[np.ndarray, "h w c"],
    *,
    detector: FaceDetector,
    policy: FacePolicy | None = None,
    alignment: Alignment = "dlib",
    photo: str = "",
) -> Look:
    """Finds, aligns and judges the faces of a photo.

    Args:
        pixels: The photo, grey or red, green and blue.
        detector: Finds the faces.
        policy: Which faces count; by default all that have what `Requirements` asks for.
        alignment: Where eyes, nose and mouth are in the crops.
        photo: Its name.

    Returns:
        Its faces.

    Raises:
        InputError: It is no photo.
        MissingDependencyError: OpenCV is not installed.
    """
    policy = FacePolicy() if policy is None else policy
    pixels = in_colour(pixels)
    faces, crops = [], []
    for number, face in enumerate(detector.detect(pixels)):
        crop = aligned(pixels, face)
        sharp = sharpness(crop)  # of the same crop for all networks, so that its least value means the same
        failures = policy.requirements.failures(face, sharp)
        faces.append(FoundFace(photo, number, face, round(sharp, 5), failures))
        crops.append(crop if alignment == "dlib" else aligned(pixels, face, alignment=alignment))
    judged = _chosen_among(faces, policy.several)
    chosen = tuple(at for at, face in enumerate(judged) if policy.takes(face.failures))
    return Look(judged, tuple(crops), chosen)


def is_aligned(pixels: UInt8[np.ndarray, "h w c"], sides: Collection[int]) -> bool:
    """Whether a picture counts as an aligned face already: it is square, and of one of these sides.

    Args:
        pixels: The picture.
        sides: Heights of aligned faces, in pixels.
    """
    return pixels.shape[0] == pixels.shape[1] and pixels.shape[0] in sides


def in_colour(pixels: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """The photo with three channels."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _chosen_among(faces: Sequence[FoundFace], several: Several) -> tuple[FoundFace, ...]:
    """The faces, with what keeps a face from being the one that a photo is of."""
    if several == "all" or len(faces) < 2:
        return tuple(faces)
    certain = [face for face in faces if "uncertain" not in face.failures]
    first = (certain or faces)[0]
    if several == "largest":
        said = {"not the largest": "not the largest face of its photo"}
        return tuple(face if face is first else _failing(face, said) for face in faces)
    peers = [face for face in certain or faces if face.face.size >= RIVAL * first.face.size]
    among = {"one of several": f"one of {len(peers)} faces of about the same size"}
    behind = {"in the background": "less than half as wide as the largest face of its photo"}
    return tuple(
        _failing(face, behind) if face not in peers else _failing(face, among) if len(peers) > 1 else face
        for face in faces
    )


def _failing(face: FoundFace, failures: Mapping[str, str]) -> FoundFace:
    return replace(face, failures={**failures, **face.failures})
