import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from trine.data import decode
from trine.errors import DataError

GREY = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
COLOUR = np.stack([GREY, GREY + 3, 255 - GREY], axis=2)


@pytest.mark.parametrize("suffix", ["png", "bmp", "pgm", "tif", "webp", "gif"])
def test_grey_pictures_keep_their_values(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(GREY).save(path, **({"lossless": True} if suffix == "webp" else {}))
    pixels = decode(path)
    assert pixels.dtype == np.uint8
    # WebP has no grey pictures.
    assert pixels.shape == (2, 3, 3 if suffix == "webp" else 1)
    np.testing.assert_array_equal(pixels[:, :, 0], GREY)


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tif", "webp"])
def test_colour_pictures_keep_their_values(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"colour.{suffix}"
    Image.fromarray(COLOUR).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(decode(path), COLOUR)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOUR).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert orientation == 1 or not np.array_equal(expected, COLOUR)
    np.testing.assert_array_equal(decode(path), expected)


def test_a_damaged_exif_block_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "exif.png"
    Image.fromarray(COLOUR).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(decode(path), COLOUR)


def test_transparent_parts_are_laid_on_white(tmp_path: Path) -> None:
    rgba = np.dstack([COLOUR, np.array([[0, 255, 255], [255, 255, 51]], dtype=np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    pixels = decode(tmp_path / "rgba.png")
    assert pixels[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(pixels[0, 1:], COLOUR[0, 1:])
    expected = 0.2 * COLOUR[1, 2] + 0.8 * 255
    np.testing.assert_allclose(pixels[1, 2], expected, atol=1)

    Image.fromarray(np.dstack([GREY, rgba[:, :, 3]])).save(tmp_path / "la.png")
    grey = decode(tmp_path / "la.png")
    assert grey.shape == (2, 3, 1)
    assert grey[0, :, 0].tolist() == [255, 40, 80]


def test_a_palette_becomes_colour_and_its_transparent_entry_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 0]], dtype=np.uint8), mode=None).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "palette.png")
    assert decode(tmp_path / "palette.png").tolist() == [
        [[10, 20, 30], [40, 50, 60]],
        [[40, 50, 60], [10, 20, 30]],
    ]
    image.save(tmp_path / "clear.png", transparency=0)
    assert decode(tmp_path / "clear.png")[0, 0].tolist() == [255, 255, 255]
    image.save(tmp_path / "bytes.png", transparency=bytes([255, 0]))
    assert decode(tmp_path / "bytes.png")[0, 1].tolist() == [255, 255, 255]


def test_black_and_white_and_cmyk(tmp_path: Path) -> None:
    Image.fromarray(GREY > 100).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(decode(tmp_path / "bit.png")[:, :, 0], (GREY > 100) * 255)
    Image.new("CMYK", (4, 4), (0, 0, 0, 255)).save(tmp_path / "ink.tif")
    assert decode(tmp_path / "ink.tif").shape == (4, 4, 3)
    assert decode(tmp_path / "ink.tif").max() == 0


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_the_high_eight(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 255, 256], [0x8000, 0xFF00, 0xFFFF]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / f"deep.{suffix}")
    np.testing.assert_array_equal(decode(tmp_path / f"deep.{suffix}")[:, :, 0], deep >> 8)


def test_sixteen_bit_pgm(tmp_path: Path) -> None:
    (tmp_path / "deep.pgm").write_bytes(b"P5 2 1 65535\n" + struct.pack(">HH", 0x1234, 0xFFFF))
    assert decode(tmp_path / "deep.pgm").ravel().tolist() == [0x12, 0xFF]


def test_pixels_of_unknown_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float.tif: floating-point pixels of unknown range"):
        decode(tmp_path / "float.tif")
    Image.fromarray(GREY.astype(np.int32) + 70_000).save(tmp_path / "int.tif")
    with pytest.raises(DataError, match=r"int.tif: 32-bit pixels of unknown range"):
        decode(tmp_path / "int.tif")


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    first, second = (Image.new("L", (2, 2), value) for value in (10, 200))
    first.save(tmp_path / "two.gif", save_all=True, append_images=[second])
    assert set(decode(tmp_path / "two.gif").ravel().tolist()) == {10}


def test_every_way_of_failing_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not at all")
    with pytest.raises(DataError, match=r"text\.jpg: not an image$"):
        decode(tmp_path / "text.jpg")
    with pytest.raises(DataError, match=r"gone\.jpg: no such file$"):
        decode(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match=r": a folder, not an image$"):
        decode(tmp_path)
    with pytest.raises(DataError, match=r"null.*damaged"):
        decode(tmp_path / "null\0.jpg")
    (tmp_path / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(DataError, match=r"script\.eps: not an image$"):
        decode(tmp_path / "script.eps")


@pytest.mark.parametrize("suffix", ["jpg", "png", "pgm", "bmp", "gif", "tif", "webp"])
def test_half_a_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / f"whole.{suffix}")
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    (tmp_path / f"half.{suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"half\.{suffix}: (truncated|damaged|not an image)"):
        decode(tmp_path / f"half.{suffix}")


def test_a_small_file_with_a_huge_picture_is_not_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(DataError, match=r"bomb\.png: larger than 89,478,485 pixels"):
        decode(tmp_path / "bomb.png")
    Image.new("L", (20, 10)).save(tmp_path / "small.png")
    assert decode(tmp_path / "small.png", max_pixels=200).shape == (10, 20, 1)
    with pytest.raises(DataError, match=r"small\.png: larger than 199 pixels"):
        decode(tmp_path / "small.png", max_pixels=199)
