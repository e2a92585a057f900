"""A face in a photo: where it is, and how well it can be seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trine.shapes import Float64

POINTS = ("right eye", "left eye", "nose", "right corner of the mouth", "left corner of the mouth")
"""The landmarks, in order; right and left are those of the person."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """A face in a photo.

    Attributes:
        box: Its left and upper edge, its width and its height, in pixels of the photo; it may reach beyond
            the edges of the photo.
        landmarks: The x and y of each of `POINTS`, in pixels of the photo.
        score: How sure the detector is, from 0 to 1.

    Example:
        >>> points = ((40.0, 40.0), (60.0, 40.0), (50.0, 52.0), (42.0, 62.0), (58.0, 62.0))
        >>> face = Face((30.0, 20.0, 40.0, 56.0), points, 0.9)
        >>> face.size, face.turn, face.roll
        (40.0, 0.0, 0.0)
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[Point, Point, Point, Point, Point]
    score: float

    @property
    def size(self) -> float:
        """The shorter side of the box, in pixels."""
        return min(self.box[2:])

    @property
    def turn(self) -> float:
        """How far the head is turned aside: 0 from the front, about ±1 at half a profile.

        The nose's distance from the middle of the eyes, along the line of the eyes, in halves of their
        distance; above 0 if the nose is nearer to the person's left eye.
        """
        right, left, nose = self.points[:3]
        across = left - right
        span = float(across @ across)
        return float(2 * ((nose - (right + left) / 2) @ across) / span) if span else 0.0

    @property
    def roll(self) -> float:
        """The angle of the line of the eyes, in degrees from −180 to 180; above 0 clockwise."""
        (x, y), (to_x, to_y) = self.landmarks[:2]
        return math.degrees(math.atan2(to_y - y, to_x - x))

    @property
    def points(self) -> Float64[np.ndarray, "5 2"]:
        """The landmarks as an array."""
        return np.array(self.landmarks, dtype=np.float64)
