import os
import socket
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from trine.data import LoadPolicy, decode, load
from trine.data.image_decoding import pixels_of
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
    for name in ("ink.tif", "ink.jpg"):
        Image.new("CMYK", (4, 4), (0, 0, 0, 255)).save(tmp_path / name)
        assert decode(tmp_path / name).shape == (4, 4, 3)
        assert decode(tmp_path / name).max() == 0


@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_a_large_picture_is_converted_in_strips(orientation: int) -> None:
    colours = np.resize(np.random.default_rng(0).integers(0, 256, 9_999, dtype=np.uint8), (1500, 3000, 3))
    image = Image.fromarray(colours)
    image.putalpha(255)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(pixels_of(image).pixels, expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("bits", "high"), [(8, 200), (10, 1023), (12, 4095), (14, 16000), (16, 0x4000)])
def test_sixteen_bits_of_low_range_are_scaled_by_the_bits_they_use(
    tmp_path: Path, suffix: str, bits: int, high: int
) -> None:
    deep = np.linspace(0, high, 12).astype(np.uint16).reshape(3, 4)
    (tmp_path / "ann").mkdir()
    Image.fromarray(deep).save(tmp_path / f"ann/deep.{suffix}")
    np.testing.assert_array_equal(decode(tmp_path / f"ann/deep.{suffix}")[:, :, 0], deep >> bits - 8)
    _, report = load(tmp_path)
    remark = (
        f"1 image with 16 bits that use only the lowest {bits}, scaled to the full range (ann/deep.{suffix})"
    )
    assert report.notes == (() if bits == 16 else (remark,))


def test_black_stays_black(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 3), dtype=np.uint16)).save(tmp_path / "deep.png")
    assert decode(tmp_path / "deep.png").ravel().tolist() == [0] * 6


def png(path: Path, kind: int, depth: int, size: tuple[int, int], rows: bytes) -> Path:
    """Writes a PNG of which Pillow writes none: other colours, other depths, or a header that lies."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


def test_sixteen_bit_colours_are_read_or_refused(tmp_path: Path) -> None:
    values = np.array([[0, 0x1234, 0xFFFF], [0x8000, 0xFF00, 0xFF]], dtype=">u2")

    def written(name: str, kind: int, scaled: np.ndarray) -> Path:
        rows = b"".join(b"\0" + row.tobytes() for row in scaled)
        return png(tmp_path / name, kind, 16, (1, 2), rows)

    path = written("colour.png", 2, values)
    assert decode(path).tolist() == [[[0, 0x12, 0xFF]], [[0x80, 0xFF, 0]]]
    for name, kind, scaled in (
        ("dark.png", 2, (values >> 4).astype(">u2")),
        ("clear.png", 6, np.concatenate([values >> 4, [[0xFFFF], [0]]], axis=1).astype(">u2")),
    ):
        with pytest.raises(
            DataError, match=rf"{name}: colours of 16 bits that use only the lowest 12 \(save"
        ):
            decode(written(name, kind, scaled))
    (tmp_path / "dark.ppm").write_bytes(b"P6 1 1 65535\n" + struct.pack(">HHH", 1, 2, 3900))
    with pytest.raises(DataError, match="use only the lowest 12"):
        decode(tmp_path / "dark.ppm")
    (tmp_path / "light.ppm").write_bytes(b"P6 1 1 4095\n" + struct.pack(">HHH", 0, 2047, 4095))
    assert decode(tmp_path / "light.ppm").tolist() == [[[0, 127, 255]]]
    (tmp_path / "plain.ppm").write_text("P3 1 1 255 1 2 3")
    assert decode(tmp_path / "plain.ppm").tolist() == [[[1, 2, 3]]]


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
    for suffix, options in (("gif", {}), ("png", {}), ("tif", {}), ("webp", {"lossless": True})):
        first.save(tmp_path / f"two.{suffix}", save_all=True, append_images=[second], **options)
        assert set(decode(tmp_path / f"two.{suffix}").ravel().tolist()) == {10}


def test_every_way_of_failing_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not at all")
    with pytest.raises(DataError, match=r"text\.jpg: not an image$"):
        decode(tmp_path / "text.jpg")
    with pytest.raises(DataError, match=r"gone\.jpg: no such file$"):
        decode(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match=r": a folder, not a file$"):
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


@pytest.mark.parametrize("size", [(1, 80_000_000), (65_536, 1)])
def test_a_picture_of_one_long_line_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=r"line\.png: more than 65,535 pixels wide or high$"):
        decode(png(tmp_path / "line.png", 0, 8, size, b""))
    rows = b"".join(b"\0" + bytes([value]) for value in range(256)) * 255
    assert (
        decode(png(tmp_path / "line.png", 0, 8, (1, 65_280), rows))[:, 0, 0].tolist() == [*range(256)] * 255
    )


def test_a_large_jpeg_is_decoded_at_half_its_size(tmp_path: Path) -> None:
    large = np.kron(
        np.random.default_rng(0).integers(0, 256, (12, 16), dtype=np.uint8), np.ones((8, 8), "u1")
    )
    (tmp_path / "ann").mkdir()
    for name, how in (("plain.jpg", {}), ("several.jpg", {"progressive": True})):
        Image.fromarray(large).save(tmp_path / "ann" / name, quality=95, **how)
        path = tmp_path / "ann" / name
        assert decode(path).shape == (96, 128, 1)
        halved = decode(path, max_pixels=96 * 128 - 1)[:, :, 0].astype(int)
        assert halved.shape == (48, 64)
        assert np.abs(halved - large[::2, ::2]).mean() < 3
        with pytest.raises(DataError, match=r"larger than 3,071 pixels$"):
            decode(path, max_pixels=48 * 64 - 1)
    _, report = load(tmp_path, policy=LoadPolicy(max_pixels=5000))
    assert report.notes == ("2 images decoded at half their size (ann/plain.jpg, ann/several.jpg)",)


def test_what_is_decoded_in_python_is_small(tmp_path: Path) -> None:
    (tmp_path / "slow.pgm").write_text("P2 3000 3000 255\n")
    with pytest.raises(DataError, match=r"slow\.pgm: 3,000 × 3,000 pixels, too many for a file of this kind"):
        decode(tmp_path / "slow.pgm")
    (tmp_path / "slow.pgm").write_text("P2 2 1 15\n15 1\n")
    assert decode(tmp_path / "slow.pgm").ravel().tolist() == [255, 17]


class TestHeic:
    pytest.importorskip("pillow_heif", reason="needs pillow-heif: pip install 'trine[images]'")
    BLOCKS = np.kron(np.array([[40, 220], [90, 160], [250, 10]], dtype=np.uint8), np.ones((16, 16), np.uint8))

    def written(self, path: Path, orientation: int = 1) -> Path:
        import pillow_heif

        pillow_heif.register_heif_opener()
        image = Image.fromarray(np.stack([self.BLOCKS, 255 - self.BLOCKS, self.BLOCKS // 2], axis=2))
        image.getexif()[0x0112] = orientation
        image.save(path, format="HEIF", quality=100)
        return path

    @pytest.mark.parametrize("name", ["photo.heic", "named by a messenger.jpg"])
    def test_pixels_are_right(self, tmp_path: Path, name: str) -> None:
        pixels = decode(self.written(tmp_path / name)).astype(int)
        assert pixels.shape == (48, 32, 3)
        assert np.abs(pixels[:, :, 0] - self.BLOCKS).mean() < 3
        assert np.abs(pixels[:, :, 1] - (255 - self.BLOCKS)).mean() < 3

    def test_a_phone_held_upright(self, tmp_path: Path) -> None:
        pixels = decode(self.written(tmp_path / "photo.heic", orientation=6)).astype(int)
        assert np.abs(pixels[:, :, 0] - np.rot90(self.BLOCKS, -1)).mean() < 3

    def test_in_a_folder(self, tmp_path: Path) -> None:
        for name in ("ann/1.heic", "ann/2.HEIC", "bob/1.heif"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            self.written(tmp_path / name)
        data, _ = load(tmp_path)
        assert data.names == ("ann/1.heic", "ann/2.HEIC", "bob/1.heif")

    def test_without_the_package_one_sentence(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.written(tmp_path / "photo.heic")
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(
            DataError, match=r"photo\.heic: pillow_heif is not installed; .*pip install 'trine\[images\]'$"
        ):
            decode(path)

    def test_half_a_file(self, tmp_path: Path) -> None:
        content = self.written(tmp_path / "photo.heic").read_bytes()
        (tmp_path / "photo.heic").write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=r"photo\.heic: (truncated|damaged|not an image)"):
            decode(tmp_path / "photo.heic")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket.png"))
        for name, what in (
            ("pipe", "a named pipe, not a file"),
            ("device", "a device, not a file"),
            ("socket", "a socket, not a file"),
            ("loop", "Too many levels of symbolic links"),
        ):
            with pytest.raises(DataError, match=rf"{name}\.png: {what}$"):
                decode(tmp_path / f"{name}.png")


def test_a_file_as_large_as_no_picture_is_not_read(tmp_path: Path) -> None:
    Image.new("L", (20, 10)).save(tmp_path / "sparse.png")
    with (tmp_path / "sparse.png").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match=r"sparse\.png: a file of more than 512 MiB$"):
        decode(tmp_path / "sparse.png")


def test_a_small_file_with_a_huge_picture_is_not_decoded(tmp_path: Path) -> None:
    png(tmp_path / "bomb.png", 0, 8, (60_000, 60_000), b"")
    with pytest.raises(DataError, match=r"bomb\.png: larger than 89,478,485 pixels"):
        decode(tmp_path / "bomb.png")
    Image.new("L", (20, 10)).save(tmp_path / "small.png")
    assert decode(tmp_path / "small.png", max_pixels=200).shape == (10, 20, 1)
    with pytest.raises(DataError, match=r"small\.png: larger than 199 pixels"):
        decode(tmp_path / "small.png", max_pixels=199)
