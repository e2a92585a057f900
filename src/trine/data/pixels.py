"""One image that Python holds to one array: an array, a tensor or an image of Pillow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trine.data.image_decoding import MAX_SIDE, decode, pixels_of, reason, used_bits
from trine.errors import DataError, InputError, require
from trine.shapes import Shaped, UInt8

CHANNELS = (1, 3, 4)


def is_image(value: object) -> bool:
    """Whether a value is an image of Pillow, or an array or tensor of two or three dimensions."""
    return is_pillow(value) or (isinstance(value, np.ndarray | Tensor) and value.ndim in (2, 3))


def is_pillow(value: object) -> bool:
    """Whether a value is an image of Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def as_pixels(image: Any, *, name: str) -> UInt8[np.ndarray, "h w c"]:
    """Makes an array of an image, as `decode` does of a file.

    Args:
        image: An image of Pillow; a path; or an array or a tensor (height, width), (height, width, channels)
            or (channels, height, width) with 1, 3 or 4 channels, the fourth being opacity: uint8, 16 bits,
            bool, or floats from 0 to 1.
        name: What an error calls it.

    Returns:
        Height × width × channels, with 1 channel for grey and 3 for red, green, blue.

    Raises:
        InputError: It is none of these, or has another shape or range.

    Example:
        >>> as_pixels(np.ones((3, 4, 5), dtype=np.float32), name="a tensor").shape
        (4, 5, 3)
    """
    if isinstance(image, str | Path):
        return decode(Path(image))
    if is_pillow(image):
        try:
            return pixels_of(image).pixels
        except Exception as error:
            raise DataError(f"{name}: {reason(error)}") from error
    array = _array(image)
    if array.ndim == 2:
        array = array[:, :, None]
    # Where both ends could be channels, they are where the library has them that made the image.
    elif array.ndim == 3 and array.shape[0] in CHANNELS:
        first = array.shape[2] not in CHANNELS or isinstance(image, Tensor)
        array = array.transpose(1, 2, 0) if first else array
    shape = getattr(image, "shape", array.shape)
    fits = array.ndim == 3 and array.shape[2] in CHANNELS
    if not fits or not (array.dtype.kind in "fb" or array.dtype in (np.uint8, np.uint16)):
        what = f"a {type(image).__name__}"
        what = what if array.dtype == object else f"an array of {array.dtype} with shape {tuple(shape)}"
        raise InputError(
            f"{name} is {what}; an image is uint8, or floats from 0 to 1, with shape (height, width), "
            "(height, width, channels) or (channels, height, width), and 1, 3 or 4 channels"
        )
    if min(array.shape) < 1 or max(array.shape) > MAX_SIDE:
        raise InputError(f"{name} has shape {tuple(shape)}; an image has 1 to {MAX_SIDE:,} pixels a side")
    array = _eight_bits(array, name)
    if array.shape[2] == 4:
        pillow = require("PIL.Image", extra="images")
        return pixels_of(pillow.fromarray(np.ascontiguousarray(array))).pixels
    return array


def _array(image: Any) -> Shaped[np.ndarray, "..."]:
    if isinstance(image, Tensor):
        return image.detach().cpu().numpy()
    try:
        return np.asarray(image)
    except (TypeError, ValueError):  # rows of different lengths
        return np.asarray(image, dtype=object)


def _eight_bits(array: Shaped[np.ndarray, "h w c"], name: str) -> UInt8[np.ndarray, "h w c"]:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "u":
        return (array >> used_bits(int(array.max())) - 8).astype(np.uint8)
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"{name} holds floats from {low:g} to {high:g}; an image is uint8, or floats from 0 to 1: undo "
            "its standardisation, or divide it by its largest possible value"
        )
    return np.rint(array.astype(np.float32, copy=False) * 255).astype(np.uint8)
