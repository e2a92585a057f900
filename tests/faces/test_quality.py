"""Sharpness by a plain loop, and the reasons for which a face is not enrolled."""

from __future__ import annotations

import numpy as np
import pytest

from support.photos import hopper
from trine.errors import InputError
from trine.faces import Face, Requirements, sharpness

FRONT = ((40.0, 40.0), (80.0, 40.0), (60.0, 62.0), (44.0, 84.0), (76.0, 84.0))


def test_sharpness_by_a_plain_loop():
    crop = np.random.default_rng(0).integers(0, 256, (20, 15, 3), dtype=np.uint8)
    grey = [[sum(map(int, crop[row, column])) / 3 for column in range(3, 12)] for row in range(4, 16)]
    found = [
        grey[r - 1][c] + grey[r + 1][c] + grey[r][c - 1] + grey[r][c + 1] - 4 * grey[r][c]
        for r in range(1, 11)
        for c in range(1, 8)
    ]
    assert sharpness(crop) == pytest.approx(np.var(found) / np.var(grey))


def test_it_falls_with_blur_and_not_with_light():
    cv2 = pytest.importorskip("cv2")
    crop = cv2.resize(hopper()[80:280, 140:340], (150, 150), interpolation=cv2.INTER_AREA)
    blurred = [sharpness(cv2.GaussianBlur(crop, (0, 0), sigma)) for sigma in (1, 2, 4)]
    assert sharpness(crop) > blurred[0] > blurred[1] > blurred[2]
    assert sharpness((crop // 2 + 60).astype(np.uint8)) == pytest.approx(sharpness(crop), rel=0.1)
    assert sharpness(np.full((150, 150, 3), 7, np.uint8)) == 0
    with pytest.raises(InputError, match="at least 5 × 5 pixels, given 4 × 9"):
        sharpness(np.zeros((4, 9, 3), np.uint8))


def test_each_failure_is_named():
    asked = Requirements(size=50, sharpness=0.01, turn=0.5, score=0.8)
    assert asked.failures(Face((30.0, 20.0, 60.0, 80.0), FRONT, 0.9), 0.02) == {}
    aside = (FRONT[0], FRONT[1], (75.0, 62.0), *FRONT[3:])
    assert asked.failures(Face((30.0, 20.0, 49.0, 80.0), aside, 0.7), 0.002) == {
        "too small": "49 pixels wide, at least 50",
        "blurred": "sharpness 0.002, at least 0.01",
        "turned aside": "turn 0.75, at most 0.5",
        "uncertain": "score 0.7, at least 0.8",
    }


def test_what_is_said_never_contradicts_itself():
    almost = Face((30.0, 20.0, 39.8, 80.0), FRONT, 0.698)
    assert Requirements().failures(almost, 0.00296) == {
        "too small": "39 pixels wide, at least 40",
        "blurred": "sharpness 0.00296, at least 0.003",
        "uncertain": "score 0.698, at least 0.7",
    }
