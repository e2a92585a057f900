"""Generated pictures, as files of every kind, whole and damaged, and folders of them as people keep them.

`TRINE_THOROUGH=1 python -m pytest tests/data/test_generated_pictures.py -n 0` tries 2,000 of each.
"""

from __future__ import annotations

import functools
import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from support.effort import THOROUGH

MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "tif": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK", "LAB", "YCbCr"),
    "jpg": ("L", "RGB", "CMYK", "YCbCr"),
    "webp": ("RGB", "RGBA"),
    "gif": ("1", "L", "P", "RGB"),
    "bmp": ("1", "L", "P", "RGB", "RGBA"),
    "ppm": ("1", "L", "RGB", "I;16", "F"),
    "jp2": ("L", "LA", "RGB", "RGBA", "I;16"),
    "avif": ("RGB", "RGBA"),
    "heic": ("L", "RGB", "RGBA"),
}
"""The modes in which Pillow writes each kind of file."""

FORMATS = {"tif": "TIFF", "jpg": "JPEG", "jp2": "JPEG2000", "heic": "HEIF"}
LOSSLESS = ("png", "tif", "bmp", "ppm")


def grey_file(path: Path, value: int) -> Path:
    """Writes a small image of one shade, and makes its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 3), value).save(path)
    return path


@dataclass(frozen=True)
class Picture:
    """A file, and what it should be read as.

    Attributes:
        suffix: The suffix of its name.
        content: Its bytes.
        about: What it is, for a failure.
        pixels: The right pixels; None where the format loses some, or the file is damaged.
    """

    suffix: str
    content: bytes
    about: str
    pixels: np.ndarray | None = None


@st.composite
def whole_pictures(draw: Any) -> Picture:
    """A picture as a program writes it."""
    suffix = draw(st.sampled_from([*MODES]))
    mode = draw(st.sampled_from(MODES[suffix]))
    width, height = draw(_sizes(suffix))
    orientation = draw(st.integers(1, 8)) if suffix in ("png", "jpg", "webp", "tif") else 1
    # Of the least bits alone, a 16-bit picture comes out black if its high bits are taken.
    highest = draw(st.sampled_from([1, 255, 1023, 4095, 16_383, 65_535]))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    image = _image(mode, width, height, highest, random)
    options = _options(draw, suffix, image, orientation)
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    written = io.BytesIO()
    image.save(written, FORMATS.get(suffix, suffix.upper()), **options)
    pixels = _expected(image, orientation) if suffix in LOSSLESS else None
    about = f"{suffix} {mode} {width}x{height} {orientation} {highest} {sorted(options)}"
    return Picture(suffix, written.getvalue(), about, pixels)


def damaged_pictures() -> st.SearchStrategy[Picture]:
    """A picture of which bytes are missing, wrong or too many, or that has another's suffix."""
    return st.builds(
        _damaged,
        whole_pictures(),
        st.sampled_from(["cut", "flipped", "zeroed", "doubled", "prefixed"]),
        st.floats(0, 1),
        st.integers(0, 2**32 - 1),
        st.sampled_from([None, None, None, *MODES]),
    )


@st.composite
def bombs(draw: Any) -> Picture:
    """A small file that claims or holds a huge picture, or hides much beside a small one."""
    name, make = draw(st.sampled_from([*BOMBS.items()]))
    return Picture(name.partition(" ")[0], make(draw), f"bomb: {name}")


def pictures() -> st.SearchStrategy[Picture]:
    """Any of these."""
    return st.one_of(whole_pictures(), damaged_pictures(), damaged_pictures(), bombs())


def _sizes(suffix: str) -> st.SearchStrategy[tuple[int, int]]:
    small = st.tuples(st.integers(1, 40), st.integers(1, 40))
    if suffix in ("avif", "heic", "jp2"):
        return small
    longest = {"webp": 16_000, "jpg": 65_000, "gif": 65_000}.get(suffix, 70_000)
    thin = st.tuples(st.just(1), st.integers(1000, longest))
    return st.one_of(small, small, small, thin, thin.map(lambda size: size[::-1]))


def _image(mode: str, width: int, height: int, highest: int, random: Any) -> Any:
    if mode in ("I;16", "I"):
        values = random.integers(0, highest + 1, (height, width)).astype(
            np.uint16 if mode == "I;16" else np.int32
        )
        return Image.fromarray(values)
    if mode == "F":
        return Image.fromarray(random.random((height, width), dtype=np.float32))
    bands = {"LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "LAB": 3, "YCbCr": 3}.get(mode, 1)
    values = random.integers(0, 256, (height, width, bands), dtype=np.uint8)
    if mode in ("1", "P"):
        return Image.fromarray(values[..., 0]).convert(mode)
    return Image.frombytes(mode, (width, height), values.tobytes())


def _options(draw: Any, suffix: str, image: Any, orientation: int) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if orientation > 1:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    if suffix == "tif":
        options["compression"] = draw(st.sampled_from([None, "tiff_deflate", "tiff_lzw", "packbits"]))
    if suffix == "jpg" and image.mode != "CMYK":
        options["progressive"] = draw(st.booleans())
    if suffix == "webp":
        options["lossless"] = draw(st.booleans())
    if suffix in ("webp", "gif", "png", "tif", "avif") and draw(st.booleans()):
        options |= {"save_all": True, "append_images": [Image.new(image.mode, image.size)]}
    return options


def _expected(image: Any, orientation: int) -> np.ndarray | None:
    """The right pixels of a picture, from its values alone."""
    values = np.asarray(image)
    if image.mode in ("I", "I;16"):
        bits = next(bits for bits in (8, 10, 12, 14, 16) if values.max() < 2**bits)
        values = (values // 2 ** (bits - 8)).astype(np.uint8)
    elif image.mode == "1":
        values = values.astype(np.uint8) * np.uint8(255)
    elif image.mode not in ("L", "RGB"):
        return None
    turns: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud,
        5: lambda x: x.swapaxes(0, 1), 6: lambda x: np.rot90(x, -1),
        7: lambda x: np.rot90(x, 2).swapaxes(0, 1), 8: np.rot90,
    }  # fmt: skip
    turned = turns[orientation](values)
    return turned if turned.ndim == 3 else turned[:, :, None]


def _damaged(picture: Picture, how: str, where: float, seed: int, suffix: str | None) -> Picture:
    content, random = bytearray(picture.content), np.random.default_rng(seed)
    at = int(where * len(content))
    if how == "cut":
        del content[at:]
    elif how == "flipped":
        for place in random.integers(0, len(content), random.integers(1, 20)):
            content[place] ^= 1 << random.integers(8)
    elif how == "zeroed":
        content[at : at + 16] = bytes(len(content[at : at + 16]))
    elif how == "doubled":
        content[at:at] = content[: random.integers(1, len(content))]
    else:
        content[:0] = bytes(random.integers(0, 256, random.integers(1, 9), dtype=np.uint8))
    return Picture(suffix or picture.suffix, bytes(content), f"{how} at {where}, {seed}: {picture.about}")


def png(
    size: tuple[int, int], data: bytes, *, kind: int = 0, depth: int = 8, beside: tuple[Any, ...] = ()
) -> bytes:
    """A PNG of which Pillow writes none: its header may lie.

    Args:
        size: The width and the height that the header claims.
        data: The compressed rows.
        kind: 0 for grey, 2 for colour, 6 for colour and opacity.
        depth: The bits of a value.
        beside: Further chunks, as name and content.
    """

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), *beside, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


@functools.cache
def _zeros(count: int) -> bytes:
    squeezed = zlib.compressobj(9)
    parts = [squeezed.compress(bytes(min(1 << 20, count - done))) for done in range(0, count, 1 << 20)]
    return b"".join([*parts, squeezed.flush()])


def _png_bomb(draw: Any) -> bytes:
    allowed = [(9_000, 9_000), (65_535, 1_200)] if THOROUGH else [(900, 900), (65_535, 12)]
    width, height = draw(st.sampled_from([(1, 80_000_000), (80_000_000, 1), (2**31 - 1, 1), *allowed]))
    kind, depth = draw(st.sampled_from([(0, 1), (0, 8), (0, 16), (2, 8), (2, 16), (3, 8), (6, 8), (6, 16)]))
    row = 1 + width * depth * {2: 3, 6: 4}.get(kind, 1) // 8
    rows = draw(st.sampled_from([0, 10, height])) if (width, height) in allowed else 0
    return png((width, height), _zeros(row * rows), kind=kind, depth=depth)


def _text_bomb(draw: Any) -> bytes:
    name = draw(st.sampled_from([b"zTXt", b"iCCP"]))
    return png(
        (4, 4), _zeros(20), beside=((name, b"x\0\0" + _zeros(100_000_000 if THOROUGH else 5_000_000)),)
    )


def _tiff_bomb(draw: Any) -> bytes:
    """One strip of deflated zeros behind a header that claims any size."""
    width, height = draw(st.sampled_from([(9_000, 9_000), (1, 80_000_000), (65_000, 65_000), (3, 2)]))
    strip = _zeros(draw(st.sampled_from([0, 1000, 82_000_000 if THOROUGH else 1_000_000])))
    tags = [(256, width), (257, height), (258, 8), (259, 8), (262, 1), (273, 150), (277, 1), (278, height)]
    tags.append((279, draw(st.sampled_from([len(strip), 2**31, 2**32 - 1]))))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries).ljust(150, b"\0") + strip


def _gif_bomb(draw: Any) -> bytes:
    size = draw(st.sampled_from([(65_535, 65_535), (65_535, 1_000), (3, 3)]))
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0xF0, 0, 0) + bytes(6)
    return (
        head
        + b","
        + struct.pack("<HHHHB", 0, 0, *size, 0)
        + b"\x02\x02\x4c\x01\0;" * draw(st.integers(0, 50))
    )


def _pnm_bomb(draw: Any) -> bytes:
    kind = draw(st.sampled_from(["P1", "P2", "P3", "P4", "P5", "P6", "Pf", "P0"]))
    size = draw(st.sampled_from(["3000 3000", "80000000 1", "1 70000", "99999999 99999999", "0 4", "-3 4"]))
    highest = draw(st.sampled_from(["255", "15", "65535", "0", "-1"]))
    return f"{kind} {size} {highest}\n".encode() + b"1 " * draw(st.sampled_from([0, 100, 500_000]))


BOMBS: dict[str, Callable[[Any], bytes]] = {
    "png": _png_bomb,
    "png with text": _text_bomb,
    "tif": _tiff_bomb,
    "gif": _gif_bomb,
    "ppm": _pnm_bomb,
}

FOLDERS = st.one_of(
    st.sampled_from(
        [b"ann", b"bob", b"s10", b"s2", b"train", b"test", b"caf\xe9", b"Z\xc3\xbcrich", b"a\nb"]
    ),
    st.sampled_from([b"__MACOSX", b"@eaDir", b".cache", b"2.PNG", b"\xff", b"\x1b[2K"]),
)
FILES = st.one_of(
    st.sampled_from([b"1.png", b"2.PNG", b"10.png", b"gr\xc3\xb6\xc3\x9fe.png", b"\xff\xfe.png", b"ann"]),
    st.sampled_from([b".hidden.png", b"Thumbs.db", b"notes.txt", b"3.heic", b"a\n2.png", b"\x1b[2K.png"]),
    # What file systems allow: any bytes but a slash and NUL.
    st.binary(min_size=1, max_size=9).map(lambda name: name.translate(SAFE) + b".png"),
)
SAFE = bytes.maketrans(b"/\0", b"__")
PLACES = st.tuples(st.lists(FOLDERS, max_size=3), FILES).map(lambda place: (*place[0], place[1]))
KINDS = (
    "picture",
    "picture",
    "picture",
    "picture",
    "text",
    "empty",
    "pipe",
    "socket",
    "link",
    "gone",
    "device",
)


@dataclass(frozen=True)
class Layout:
    """What lies in a folder.

    Attributes:
        entries: The place of each entry, what it is, and where it leads if it is a link.
    """

    entries: tuple[tuple[tuple[bytes, ...], str, tuple[bytes, ...]], ...]

    def make(self, root: Path) -> dict[str, int]:
        """Makes the entries that can be made; returns the grey value of each picture, by its real path."""
        values: dict[str, int] = {}
        for number, (place, kind, target) in enumerate(self.entries):
            path = root.joinpath(*map(os.fsdecode, place))
            with suppress(OSError):  # a file where a folder would be, or another entry
                path.parent.mkdir(parents=True, exist_ok=True)
                if not os.path.lexists(path):
                    _make(path, kind, number, root.joinpath(*map(os.fsdecode, target)))
                    if kind == "picture":
                        values[os.path.realpath(path)] = number
        return values


def layouts() -> st.SearchStrategy[Layout]:
    """Folders of pictures, links, pipes, sockets and other files, with names of any bytes."""
    target = st.lists(FOLDERS, max_size=2).map(tuple)
    entry = st.tuples(PLACES, st.sampled_from(KINDS), st.one_of(target, PLACES))
    return st.builds(lambda entries: Layout(tuple(entries)), st.lists(entry, max_size=24))


def _make(path: Path, kind: str, value: int, target: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(os.fsencode(path))
    elif kind in ("link", "gone", "device"):
        path.symlink_to({"link": target, "gone": "nowhere", "device": "/dev/zero"}[kind])
    elif kind == "picture":
        with path.open("wb") as file:
            Image.new("L", (3, 2), value).save(file, "PNG")
    else:
        path.write_bytes(b"text" if kind == "text" else b"")
