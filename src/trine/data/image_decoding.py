"""One image file to one array: the only place that decodes images.

Any problem with a file becomes a `DataError` that names the file.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from trine.errors import DataError, require
from trine.shapes import UInt8

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
"""The most pixels that an image may have: Pillow's own limit, about 89 million."""

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""The suffixes, in lower case, of the files of a folder that are read as images."""

# Pillow has formats that run other programs (EPS starts Ghostscript): only these are read.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION = 0x0112


@functools.cache
def _known_formats() -> tuple[str, ...]:
    image = require("PIL.Image", extra="images")
    image.init()
    return tuple(name for name in _FORMATS if name in image.OPEN)


def decode(path: Path, *, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "h w c"]:
    """Decodes one image, upright, in grey or in colour.

    The EXIF orientation is applied. Grey images keep one channel; palettes and other colour spaces
    become RGB. Transparency is composited on white. Of 16-bit images the high 8 bits are kept, of an
    animation the first frame.

    Args:
        path: The file.
        max_pixels: The most pixels that the image may have; the header is checked before anything is
            decoded.

    Returns:
        Height × width × channels, with 1 channel for grey and 3 for red, green, blue.

    Raises:
        DataError: The file is missing, not an image, damaged or too large.
    """
    require("PIL.Image", extra="images")
    try:
        with path.open("rb") as file:
            return decode_stream(file, max_pixels=max_pixels)
    except Exception as error:
        raise DataError(f"{path}: {reason(error, max_pixels=max_pixels)}") from error


def decode_stream(file: BinaryIO, *, max_pixels: int) -> UInt8[np.ndarray, "h w c"]:
    """Decodes one image from an open file, as `decode` does.

    Args:
        file: The open file, at its start.
        max_pixels: The most pixels that the image may have.

    Returns:
        Height × width × channels.

    Raises:
        Exception: Whatever Pillow raises; `reason` describes it.
    """
    image_module = require("PIL.Image", extra="images")
    with image_module.open(file, formats=_known_formats()) as image:
        if image.width * image.height > max_pixels:
            raise image_module.DecompressionBombError
        image.load()
        pixels = np.asarray(_in_grey_or_colour(_upright(image)))
    if pixels.dtype != np.uint8:
        pixels = (pixels.astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
    return np.array(pixels if pixels.ndim == 3 else pixels[:, :, None])


def reason(error: Exception, *, max_pixels: int) -> str:
    """Describes in a few words why an image cannot be used.

    Args:
        error: What opening or decoding it raised.
        max_pixels: The limit that was in force.

    Returns:
        Words such as `"not an image"` or `"truncated"`.
    """
    image_module = require("PIL.Image", extra="images")
    bombs = (image_module.DecompressionBombError, image_module.DecompressionBombWarning)
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, image_module.UnidentifiedImageError):
        return "not an image"
    if isinstance(error, bombs):
        return f"larger than {max_pixels:,} pixels"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "a folder, not an image"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    text = str(error).partition("\n")[0]
    if any(sign in text.lower() for sign in ("truncated", "not enough image data")):
        return "truncated"
    return f"damaged ({text or type(error).__name__})"


def _upright(image: Any) -> Any:
    try:
        turned = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # A damaged EXIF block does not mean damaged pixels.
        return image
    if turned not in range(2, 9):
        return image
    flip = require("PIL.Image", extra="images").Transpose
    return image.transpose(
        {
            2: flip.FLIP_LEFT_RIGHT,
            3: flip.ROTATE_180,
            4: flip.FLIP_TOP_BOTTOM,
            5: flip.TRANSPOSE,
            6: flip.ROTATE_270,
            7: flip.TRANSVERSE,
            8: flip.ROTATE_90,
        }[turned]
    )


def _in_grey_or_colour(image: Any) -> Any:
    plain = image.mode in ("L", "RGB") and "transparency" not in image.info
    if plain or image.mode.startswith("I;16"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "I":
        # Pillow reads 16-bit grey images in this mode; true 32-bit pixels have no known range.
        low, high = image.getextrema()
        if low >= 0 and high <= 0xFFFF:
            return image
        raise DataError("32-bit pixels of unknown range (save it with 8 or 16 bits)")
    if image.mode == "F":
        raise DataError("floating-point pixels of unknown range (save it with 8 or 16 bits)")
    if image.mode == "P" and "transparency" not in image.info:
        # A GIF stores even grey images as a palette.
        colours = np.reshape(image.getpalette(), (-1, 3))
        return image.convert("L" if (colours == colours[:, :1]).all() else "RGB")
    transparent = "transparency" in image.info or "A" in image.mode or "a" in image.mode
    if not transparent or image.mode == "LAB":
        return image.convert("RGB")
    grey = image.mode in ("1", "L", "LA", "La")
    image_module = require("PIL.Image", extra="images")
    over = image.convert("RGBA")
    white = image_module.new("RGBA", over.size, "white")
    return image_module.alpha_composite(white, over).convert("L" if grey else "RGB")
