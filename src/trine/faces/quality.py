"""Whether a face can be seen well enough to be known again, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from trine.errors import InputError
from trine.faces.face import Face
from trine.settings import Range, Share
from trine.shapes import UInt8

FULL_SIZE, FULL_SHARPNESS = 80.0, 0.02
"""Pixels and sharpness of a face that leaves nothing to wish for: those of portraits."""


def sharpness(crop: UInt8[np.ndarray, "h w 3"]) -> float:
    """How sharp the middle of a crop is: the variance of its Laplacian over the variance of its brightness.

    Args:
        crop: An aligned face.

    Returns:
        At least 0, whatever brightness and contrast; 0 for a crop of one colour.

    Raises:
        InputError: The crop is smaller than 5 × 5 pixels.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 256, (50, 50, 1), dtype=np.uint8).repeat(3, 2)
        >>> blurred = noise.reshape(25, 2, 25, 2, 3).mean((1, 3)).repeat(2, 0).repeat(2, 1).astype(np.uint8)
        >>> sharpness(noise) > 2 * sharpness(blurred)
        True
    """
    if min(crop.shape[:2]) < 5:
        raise InputError(f"sharpness needs at least 5 × 5 pixels, given {crop.shape[0]} × {crop.shape[1]}")
    # The middle, where the face is: beyond the edges of the photo a crop is black.
    edges = [round(0.2 * side) for side in crop.shape[:2]]
    middle = crop[edges[0] : crop.shape[0] - edges[0], edges[1] : crop.shape[1] - edges[1]]
    grey = middle.astype(np.float64).mean(2)
    spread = float(grey.var())
    if spread < 1e-12:
        return 0.0
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float(laplacian.var()) / spread


def quality(face: Face, sharp: float) -> float:
    """How well a face can be seen: the least of what its size, sharpness, pose and detector say.

    Full marks are for 80 pixels, a sharpness of 0.02, a face from the front and a score of 1. It can weight
    the items of an identity: `gallery.identify(..., scoring="mean", quality="quality")`.

    Args:
        face: The face.
        sharp: The sharpness of its aligned crop.

    Returns:
        From 0 to 1.

    Example:
        >>> points = ((10.0, 10.0), (30.0, 10.0), (21.0, 22.0), (12.0, 32.0), (28.0, 32.0))
        >>> round(quality(Face((0.0, 0.0, 40.0, 50.0), points, 0.9), 0.05), 3)
        0.5
    """
    shares = (face.size / FULL_SIZE, sharp / FULL_SHARPNESS, 1 - abs(face.turn) / 2, face.score)
    return float(min(max(min(shares), 0.0), 1.0))


@dataclass(frozen=True)
class Requirements:
    """What a face must have to be enrolled.

    Attributes:
        size: The shorter side of its box, in pixels.
        sharpness: Of its aligned crop; see `sharpness`.
        turn: The most that the head may be turned aside: 1 is about half a profile.
        score: How sure the detector must be.

    Example:
        >>> points = ((10.0, 10.0), (20.0, 10.0), (21.0, 16.0), (11.0, 21.0), (19.0, 21.0))
        >>> small = Face((8.0, 4.0, 14.0, 20.0), points, 0.9)
        >>> Requirements().failures(small, 0.01)
        {'too small': '14 pixels wide, at least 40', 'turned aside': 'turn 1.2, at most 0.9'}
    """

    size: Annotated[float, Range(at_least=0)] = 40.0
    sharpness: Annotated[float, Range(at_least=0)] = 0.003
    turn: Annotated[float, Range(at_least=0)] = 0.9
    score: Share = 0.7

    def failures(self, face: Face, sharp: float) -> dict[str, str]:
        """Says what a face lacks.

        Args:
            face: The face.
            sharp: The sharpness of its aligned crop.

        Returns:
            A sentence for each kind of failure; none if it has all.
        """
        checks = (
            ("too small", face.size, self.size, f"{int(face.size)} pixels wide, at least {self.size:g}"),
            ("blurred", sharp, self.sharpness, f"sharpness {sharp:.3g}, at least {self.sharpness:g}"),
            (
                "turned aside",
                -abs(face.turn),
                -self.turn,
                f"turn {abs(face.turn):.3g}, at most {self.turn:g}",
            ),
            ("uncertain", face.score, self.score, f"score {face.score:.3g}, at least {self.score:g}"),
        )
        return {kind: said for kind, value, least, said in checks if value < least}
