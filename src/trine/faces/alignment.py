"""Aligned faces: turned, scaled and cropped so that eyes, nose and mouth are where encoders expect them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from trine.errors import InputError, check_choice, check_count, require
from trine.faces.face import Face
from trine.shapes import Float64, UInt8

Alignment = Literal["dlib", "arcface"]
"""Where networks for faces expect eyes, nose and mouth: dlib's, or those in the manner of ArcFace."""

SIDES: Mapping[Alignment, int] = {"dlib": 150, "arcface": 112}
"""The side of an aligned face, in pixels."""

TEMPLATES: Mapping[Alignment, Float64[np.ndarray, "5 2"]] = {
    # The medians over the 400 photos of the ORL faces, each cropped by dlib's own five landmarks as in the
    # training of its network.
    "dlib": np.array([[46.3, 46.2], [99.0, 46.6], [71.8, 77.1], [49.9, 97.9], [94.4, 98.3]]),
    # As insightface publishes them (Deng, Guo, Xue, Zafeiriou 2019).
    "arcface": np.array(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    ),
}
"""Where the landmarks are in an aligned face of `SIDES` pixels."""


def aligned(
    pixels: UInt8[np.ndarray, "h w 3"],
    face: Face,
    *,
    alignment: Alignment = "dlib",
    side: int | None = None,
) -> UInt8[np.ndarray, "s s 3"]:
    """Crops an aligned face out of a photo.

    It is moved, turned and scaled, never sheared: the landmarks come as near as possible to those of the
    alignment, by least squares (Umeyama 1991). Where it reaches beyond the photo it is black.

    Args:
        pixels: The photo, red, green and blue.
        face: The face.
        alignment: Where eyes, nose and mouth go: as `dlib` has them, or as `arcface` has.
        side: The height and width of the crop, in pixels; None for 150 of `dlib` and 112 of `arcface`.

    Raises:
        InputError: All landmarks are one point, or there is no such alignment.
        MissingDependencyError: OpenCV is not installed.
    """
    check_choice("alignment", alignment, tuple(TEMPLATES))
    side = SIDES[alignment] if side is None else check_count("side", side)
    goal = TEMPLATES[alignment] * (side / SIDES[alignment])
    cv2 = require("cv2", extra="faces")
    matrix = similarity(face.points, goal)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:  # interpolation would skip pixels: take the means of blocks first
        least = max(1.0 / max(pixels.shape[:2]), 2 * scale)
        small = cv2.resize(pixels, None, fx=least, fy=least, interpolation=cv2.INTER_AREA)
        ratio = np.array([small.shape[1] / pixels.shape[1], small.shape[0] / pixels.shape[0]])
        # The middle of the first pixel is at 0.
        matrix = similarity((face.points + 0.5) * ratio - 0.5, goal)
        pixels = small
    crop: UInt8[np.ndarray, "s s 3"] = cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_LINEAR)
    return crop


def similarity(
    points: Float64[np.ndarray, "n 2"], targets: Float64[np.ndarray, "n 2"]
) -> Float64[np.ndarray, "2 3"]:
    """The movement, turn and scaling that brings points nearest to targets, by least squares.

    Args:
        points: x and y of each.
        targets: Where they should go.

    Returns:
        A matrix that is multiplied with (x, y, 1).

    Raises:
        InputError: All points are one.

    Example:
        >>> corners = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
        >>> similarity(corners, np.array([[5.0, 5.0], [5.0, 6.0], [4.0, 5.0]])).round(2).tolist()
        [[0.0, -0.5, 5.0], [0.5, 0.0, 5.0]]
    """
    centre, goal = points.mean(0), targets.mean(0)
    x, y = (points - centre).T
    u, v = (targets - goal).T
    spread = float((x * x + y * y).sum())
    if not spread:
        raise InputError("a face cannot be aligned by landmarks that are all one point; drop it")
    a, b = float((x * u + y * v).sum()) / spread, float((x * v - y * u).sum()) / spread
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, goal - turn @ centre])
