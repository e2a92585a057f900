"""One image file to one array: the only place that decodes images.

Any problem with a file becomes a `DataError` that names the file. Whatever a file claims, decoding it takes
at most about 1 GiB.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from trine.data.parallel import reserve_memory
from trine.errors import DataError, TrineError, require
from trine.io import open_regular
from trine.shapes import UInt8

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
"""The most pixels that an image may have: Pillow's own limit, about 89 million."""

MAX_SIDE = 65_535
"""The most pixels that a side may have: what a JPEG can hold. Resizing a longer one takes gigabytes."""

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""The suffixes, in lower case, of the files of a folder that are read as images."""

MAX_BYTES = 512 << 20
"""The most bytes that a file may have: those of an image of 16-bit colours as large as the limit."""

# Pillow has formats that run other programs (EPS starts Ghostscript): only these are read.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_HEIF = ("heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1", "msf1")
_ORIENTATION = 0x0112
# From an upright array to a view of it in which the pixels lie as in the file, by the EXIF orientation.
_AS_STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
# Bytes that decoding takes for each pixel, the array that is returned included; JPEG 2000 takes less, but
# half a second for each million pixels.
_BYTES = {"AVIF": 14, "HEIF": 11, "JPEG2000": 40, "WEBP": 17}
_USUAL_BYTES, _MOST = 8, 1000 << 20
# Pillow decodes these in Python.
_PNM_CODECS = ("ppm", "ppm_plain")
_SLOW_CODECS = (*_PNM_CODECS, "bmp_rle")
_DEPTHS = (8, 10, 12, 14, 16)
_STRIP = 1 << 22


class Decoded(NamedTuple):
    """An image, and what a user should know of how it was read.

    Attributes:
        pixels: Height × width × channels.
        remark: Such as "decoded at half its size"; empty for most images.
    """

    pixels: UInt8[np.ndarray, "h w c"]
    remark: str = ""


@functools.cache
def _known_formats() -> tuple[str, ...]:
    image = require("PIL.Image", extra="images")
    image.init()
    return tuple(name for name in _FORMATS if name in image.OPEN)


def decode(path: Path, *, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "h w c"]:
    """Decodes one image, upright, in grey or in colour.

    The EXIF orientation is applied. Grey images keep one channel; palettes and other colour spaces
    become RGB. Transparency is composited on white. Of an animation the first frame is read.

    Of 16-bit grey images the highest 8 bits that are used are kept: values up to 4,095, as cameras of 12 bits
    write them, are scaled to 0 to 255, and values up to 65,535 as well. The depths that are told apart are 8,
    10, 12, 14 and 16 bits.

    A JPEG image of up to four times as many pixels as the limit is decoded at half its size.

    Args:
        path: The file.
        max_pixels: The most pixels that the image may have; the header is checked before anything is
            decoded.

    Returns:
        Height × width × channels, with 1 channel for grey and 3 for red, green, blue.

    Raises:
        DataError: The file is missing, not a regular file, not an image, damaged or too large.
        MissingDependencyError: Pillow is not installed.
    """
    require("PIL.Image", extra="images")
    try:
        with open_regular(path) as file:
            return decode_stream(file, max_pixels=max_pixels).pixels
    except Exception as error:
        raise DataError(f"{path}: {reason(error)}") from error


def decode_stream(file: BinaryIO, *, max_pixels: int) -> Decoded:
    """Decodes one image from an open file, as `decode` does.

    Args:
        file: The open file, at its start.
        max_pixels: The most pixels that the image may have.

    Returns:
        The image.

    Raises:
        Exception: Whatever Pillow raises; `reason` describes it.
    """
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise DataError("an empty file")
    if size > MAX_BYTES:
        raise DataError(f"a file of more than {MAX_BYTES >> 20} MiB")
    with _opened(file) as image:
        return pixels_of(image, max_pixels=max_pixels)


def pixels_of(image: Any, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Makes an array of an image of Pillow, as `decode` does of a file.

    Args:
        image: The image; one that is not loaded yet is checked before it is.
        max_pixels: The most pixels that the image may have.

    Raises:
        Exception: Whatever Pillow raises; `reason` describes it.
    """
    # Once an image is loaded, Pillow no longer knows what was in the file.
    tiles = getattr(image, "tile", ())
    codec, stored = (tiles[0][0], tiles[0][3]) if tiles else ("", "")
    deep = int(stored[1]) > 255 if codec in _PNM_CODECS else ";16" in str(stored)
    halved = _check_size(image, max_pixels, codec)
    image.load()
    if deep and image.mode in ("RGB", "RGBA", "LA"):
        extrema = image.getextrema()[: 1 if image.mode == "LA" else 3]
        if max(high for _, high in extrema) < 16:
            raise DataError("colours of 16 bits that use only the lowest 12 (save it with 8 bits)")
    pixels, remark = _pixels(image)
    return Decoded(pixels, "decoded at half their size" if halved else remark)


def reason(error: Exception) -> str:
    """Describes in a few words why an image cannot be used.

    Args:
        error: What opening or decoding it raised.

    Returns:
        Words such as `"not an image"` or `"truncated"`.
    """
    image_module = require("PIL.Image", extra="images")
    if isinstance(error, TrineError):
        return str(error)
    if isinstance(error, image_module.UnidentifiedImageError):
        return "not an image"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).partition("\n")[0]
    if any(sign in text.lower() for sign in ("truncated", "not enough image data")):
        return "truncated"
    return f"damaged ({text or type(error).__name__})"


def used_bits(highest: int) -> int:
    """How many bits the values of a 16-bit image use: 8, 10, 12, 14 or 16.

    Args:
        highest: The highest value.

    Example:
        >>> used_bits(255), used_bits(3_000), used_bits(40_000)
        (8, 12, 16)
    """
    return next(bits for bits in _DEPTHS if highest < 1 << bits)


def _opened(file: BinaryIO) -> Any:
    """Opens an image as Pillow does, without Pillow's own limit, which is global and may be a warning."""
    image_module = require("PIL.Image", extra="images")
    head = file.read(16)
    formats = _known_formats()
    if head[4:8] == b"ftyp" and head[8:12].decode("latin-1") in _HEIF:
        require("pillow_heif", extra="images").register_heif_opener()
        formats = (*formats, "HEIF")
    for name in formats:
        factory, accepts = image_module.OPEN[name]
        accepted = accepts is None or accepts(head)
        if not accepted or isinstance(accepted, str):
            continue
        file.seek(0)
        try:
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    raise image_module.UnidentifiedImageError


def _check_size(image: Any, max_pixels: int, codec: str) -> bool:
    """Checks the size before anything is decoded; returns whether the image will be decoded at half of it."""
    width, height = image.size
    if min(width, height) < 1:
        raise DataError("without pixels")
    if max(width, height) > MAX_SIDE:
        raise DataError(f"more than {MAX_SIDE:,} pixels wide or high")
    jpeg = image.format in ("JPEG", "MPO")
    # A progressive JPEG is decoded in several passes over the coefficients of all pixels.
    coefficients = 6 * width * height if jpeg and "progressive" in image.info else 0
    halved = jpeg and width * height > max_pixels and bool(image.draft(None, (width // 2, height // 2)))
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise DataError(f"larger than {max_pixels:,} pixels")
    needed = coefficients + _BYTES.get(image.format, _USUAL_BYTES) * pixels
    if needed > _MOST or (codec in _SLOW_CODECS and pixels > _STRIP):
        raise DataError(f"{width:,} × {height:,} pixels, too many for a file of this kind (save it as PNG)")
    reserve_memory(needed)
    return halved


def _pixels(image: Any) -> Decoded:
    """Converts a loaded image strip by strip, so that a large one takes little more than its array."""
    convert, remark = _conversion(image)
    try:
        turned = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # A damaged EXIF block does not mean damaged pixels.
        turned = 1
    as_stored: Callable[[np.ndarray], np.ndarray] = _AS_STORED.get(turned, lambda upright: upright)
    width, height = image.size
    rows = max(1, _STRIP // width)
    upright = np.empty(0, dtype=np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        part = image if rows >= height else image.crop((0, top, width, bottom))
        strip = np.asarray(convert(part), dtype=np.uint8).reshape(bottom - top, width, -1)
        if top == 0:
            sides = (width, height) if turned in (5, 6, 7, 8) else (height, width)
            upright = np.empty((*sides, strip.shape[2]), dtype=np.uint8)
        as_stored(upright)[top:bottom] = strip
    return Decoded(upright, remark)


def _conversion(image: Any) -> tuple[Callable[[Any], Any], str]:
    """How a part of a loaded image becomes grey or RGB of 8 bits, and a remark on that."""
    mode, transparent = image.mode, "transparency" in image.info
    if mode.startswith("I"):
        # Pillow reads some 16-bit grey images in the mode of 32 bits; true 32-bit pixels have no known range.
        low, high = image.getextrema()
        if low < 0 or high > 0xFFFF:
            raise DataError("32-bit pixels of unknown range (save it with 8 or 16 bits)")
        bits = used_bits(high)
        used = f"with 16 bits that use only the lowest {bits}, scaled to the full range"
        return lambda part: np.asarray(part) >> bits - 8, used if bits < 16 and high else ""
    if mode == "F":
        raise DataError("floating-point pixels of unknown range (save it with 8 or 16 bits)")
    if mode in ("L", "RGB") and not transparent:
        return lambda part: part, ""
    if mode == "1":
        return lambda part: part.convert("L"), ""
    if mode == "P" and not transparent:
        # A GIF stores even grey images as a palette.
        colours = np.reshape(image.getpalette(), (-1, 3))
        kind = "L" if (colours == colours[:, :1]).all() else "RGB"
        return lambda part: part.convert(kind), ""
    if mode == "LAB" or not (transparent or "A" in mode or "a" in mode):
        return lambda part: part.convert("RGB"), ""
    kind = "L" if mode in ("1", "L", "LA", "La") else "RGB"
    image_module = require("PIL.Image", extra="images")

    def on_white(part: Any) -> Any:
        over = part.convert("RGBA")
        if over.getextrema()[3][0] == 255:
            return over.convert(kind)
        white = image_module.new("RGBA", over.size, "white")
        return image_module.alpha_composite(white, over).convert(kind)

    return on_white, ""
