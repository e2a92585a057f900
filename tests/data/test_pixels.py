"""One picture in every form that Python has for it: the same pixels, or one sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trine.data import decode
from trine.data.pixels import as_pixels
from trine.errors import DataError, InputError

GREY = np.arange(42, dtype=np.uint8).reshape(6, 7) * 6
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (GREY, GREY[:, :, None]),
        (GREY[:, :, None], GREY[:, :, None]),
        (GREY[None], GREY[:, :, None]),
        (COLOUR, COLOUR),
        (COLOUR.transpose(2, 0, 1), COLOUR),
        (torch.from_numpy(COLOUR), COLOUR),
        (torch.from_numpy(COLOUR).permute(2, 0, 1), COLOUR),
        (torch.from_numpy(COLOUR).permute(2, 0, 1).float() / 255, COLOUR),
        (COLOUR / 255, COLOUR),
        (COLOUR.astype(np.float16) / 255, COLOUR),
        (GREY > 100, ((GREY > 100) * 255)[:, :, None]),
        (GREY.astype(np.uint16) << 4, GREY[:, :, None]),
        (GREY.astype(np.uint16) << 8, GREY[:, :, None]),
        (np.dstack([COLOUR, np.full((6, 7), 255, np.uint8)]), COLOUR),
        (np.dstack([COLOUR, np.zeros((6, 7), np.uint8)]), np.full_like(COLOUR, 255)),
        (COLOUR[:3, :, :], COLOUR[:3]),
        (torch.from_numpy(COLOUR[:, :3]).permute(2, 0, 1), COLOUR[:, :3]),
        (COLOUR.tolist(), None),
    ],
)
def test_arrays_and_tensors(image: Any, expected: np.ndarray | None) -> None:
    if expected is None:
        with pytest.raises(
            InputError, match=r"^x is an array of int64 with shape \(6, 7, 3\); an image is uint8"
        ):
            as_pixels(image, name="x")
        return
    pixels = as_pixels(image, name="x")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("orientation", [1, 6])
def test_an_image_of_pillow_is_read_as_its_file_is(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOUR).save(tmp_path / "photo.jpg", exif=exif)
    with Image.open(tmp_path / "photo.jpg") as image:
        np.testing.assert_array_equal(as_pixels(image, name="x"), decode(tmp_path / "photo.jpg"))
    np.testing.assert_array_equal(
        as_pixels(str(tmp_path / "photo.jpg"), name="x"), decode(tmp_path / "photo.jpg")
    )
    np.testing.assert_array_equal(as_pixels(Image.fromarray(COLOUR), name="x"), COLOUR)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (COLOUR * 1.0, r"x holds floats from 0 to 255; .*divide it by its largest possible value"),
        (np.where(GREY > 9, np.nan, 0), r"x holds floats from nan to nan"),
        (torch.randn(3, 6, 7), r"x holds floats from -\d.*undo its standardisation"),
        (GREY.astype(np.int64), r"x is an array of int64 with shape \(6, 7\)"),
        (np.zeros((6, 7, 5), np.uint8), r"x is an array of uint8 with shape \(6, 7, 5\); .*1, 3 or 4 ch"),
        (np.zeros((0, 7), np.uint8), r"x has shape \(0, 7\); an image has 1 to 65,535 pixels a side"),
        (np.zeros((1, 65_536), np.uint8), r"x has shape \(1, 65536\); an image has 1 to 65,535"),
        ([[1, 2], [3]], r"x is a list; an image is uint8"),
        (None, r"x is a NoneType; an image is uint8"),
        ("nowhere.png", r"nowhere\.png: no such file"),
        (Image.new("F", (2, 2)), r"x: floating-point pixels of unknown range"),
    ],
)  # fmt: skip
def test_what_is_no_picture(image: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_pixels(image, name="x")


def test_a_file_of_pillow_that_was_closed(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "photo.png")
    with Image.open(tmp_path / "photo.png") as image:
        pass
    with pytest.raises(DataError, match=r"^x: damaged"):
        as_pixels(image, name="x")
