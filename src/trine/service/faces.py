"""What a picture of a probe shows: the whole picture, or each face on it in a gallery of faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from trine.errors import InputError, MissingDependencyError
from trine.service.batching import unwrapped
from trine.shapes import UInt8


@dataclass(frozen=True, eq=False)
class Seen:
    """One thing on a picture that can be embedded.

    Attributes:
        pixels: What the encoder embeds.
        box: Its left and upper edge, its width and its height, in pixels of the picture; None for all of it.
        score: How sure the detector is, from 0 to 1.
        problems: Why an answer about it is doubtful, a sentence each.
    """

    pixels: UInt8[np.ndarray, "h w c"]
    box: tuple[float, float, float, float] | None = None
    score: float = 1.0
    problems: Sequence[str] = field(default=())


class Finder(Protocol):
    """Finds what is to be embedded on a picture."""

    faces: bool
    """Whether faces are looked for."""

    def find(self, pixels: UInt8[np.ndarray, "h w c"]) -> list[Seen]:
        """Returns what is to be embedded, the largest first.

        Raises:
            InputError: There is nothing of the kind on the picture.
        """


class WholePicture:
    """Takes every picture as it is."""

    faces = False

    def find(self, pixels: UInt8[np.ndarray, "h w c"]) -> list[Seen]:
        """Returns the picture."""
        return [Seen(pixels)]


class FacesOnly:
    """Finds, aligns and judges the faces of a picture."""

    faces = True

    def __init__(self) -> None:
        """Loads the detector.

        Raises:
            MissingDependencyError: The extra `faces` is not installed.
        """
        from trine.faces import FaceDetector, Requirements

        self._detector, self._requirements = FaceDetector(), Requirements()

    def find(self, pixels: UInt8[np.ndarray, "h w c"]) -> list[Seen]:
        """Returns the faces, the largest first; see `trine.faces`.

        Raises:
            InputError: There is no face.
        """
        from trine.faces import aligned, sharpness

        colour = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        seen = []
        for face in self._detector.detect(pixels):
            crop = aligned(colour, face)
            failures = self._requirements.failures(face, sharpness(crop))
            seen.append(Seen(crop, face.box, face.score, tuple(failures.values())))
        if not seen:
            raise InputError(
                "no face was found on the picture: take one where the face is larger and upright"
            )
        return seen


def finder_for(encoder: Any) -> Finder:
    """Chooses what is looked for on pictures: faces, if the encoder embeds faces and can be given them.

    Args:
        encoder: The encoder of a gallery; None for none.
    """
    settings = getattr(unwrapped(encoder), "settings", None)
    if getattr(settings, "network", None) != "face_resnet":
        return WholePicture()
    try:
        return FacesOnly()
    except MissingDependencyError:
        return WholePicture()
