"""What a picture of a probe shows: the whole picture, or each face on it in a gallery of faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from trine.data.file_part import part_of
from trine.errors import InputError
from trine.faces import Alignment, FaceDetector, FacePolicy, look_at
from trine.faces.look import is_aligned
from trine.pipelines.faces_for import aligned_sides, takes_faces
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
    box: tuple[int, int, int, int] | None = None
    score: float = 1.0
    problems: Sequence[str] = field(default=())

    @property
    def part(self) -> str:
        """Which part of the picture it is, as a gallery notes it; "" for all of it."""
        return "" if self.box is None else part_of(self.box)


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
    """Finds, aligns and judges the faces of a picture, as the gallery's encoder takes them.

    A square picture of the size of an aligned face, such as a crop of `trine faces`, is one already.

    Args:
        encoder: The encoder of the gallery.
    """

    faces = True

    def __init__(self, encoder: Any) -> None:
        self._alignment: Alignment = encoder.settings.alignment
        self._sides = aligned_sides(encoder)

    @cached_property
    def _detector(self) -> FaceDetector:
        # Not before a picture needs it: a gallery is described, searched and exported without.
        return FaceDetector()

    def find(self, pixels: UInt8[np.ndarray, "h w c"]) -> list[Seen]:
        """Returns the faces, the largest first.

        Raises:
            InputError: There is no face.
            MissingDependencyError: The extra `faces` is not installed.
        """
        if is_aligned(pixels, self._sides):
            return [Seen(pixels)]
        look = look_at(
            pixels,
            detector=self._detector,
            policy=FacePolicy(low_quality="keep"),
            alignment=self._alignment,
        )
        if not look.faces:
            raise InputError("no face was found on the picture: take one with a larger, upright face")
        return [
            Seen(crop, found.pixels, found.face.score, tuple(found.failures.values()))
            for found, crop in zip(look.faces, look.crops, strict=True)
        ]


def finder_for(encoder: Any) -> Finder:
    """Chooses what is looked for on pictures: faces, if the encoder takes aligned faces.

    Args:
        encoder: The encoder of a gallery; None for none.
    """
    encoder = unwrapped(encoder)
    return FacesOnly(encoder) if takes_faces(encoder) else WholePicture()
