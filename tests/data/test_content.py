"""Digests of content: what an encoder sees decides, and nothing else."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from trine.data import Dataset, ImageArray, ImageFiles, ImageObjects, Table, Texts, Vectors, load
from trine.data.content import content_digest, content_digests
from trine.errors import DataError, InputError

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 12, 10, 3), dtype=np.uint8)


def digests(items, columns=None):
    return [row.tobytes() for row in content_digests(items, columns=columns)]


def test_the_digest_is_the_same_on_every_machine():
    expected = hashlib.blake2b(b"row" + struct.pack("<2d", 1.0, 2.5), digest_size=16).digest()
    assert digests(Vectors(np.array([[1, 2.5]], dtype=">f8"))) == [expected]
    expected = hashlib.blake2b(b"picture (1, 2, 1) " + bytes([7, 8]), digest_size=16).digest()
    assert digests(ImageArray(np.array([[[7, 8]]], dtype=np.uint8))) == [expected]
    assert digests(Texts(("naïve",))) == [hashlib.blake2b("text naïve".encode(), digest_size=16).digest()]


def saved(folder: Path, name: str, pixels: np.ndarray, **options: object) -> Path:
    path = folder / name
    Image.fromarray(pixels).save(path, **options)
    return path


def test_a_picture_is_its_pixels_in_any_file(tmp_path: Path):
    paths = [saved(tmp_path, f"{at}.png", pixels) for at, pixels in enumerate(PICTURES)]
    again = [saved(tmp_path, f"again {at}.bmp", pixels) for at, pixels in enumerate(PICTURES)]
    packed = [saved(tmp_path, f"p{at}.png", pixels, compress_level=9) for at, pixels in enumerate(PICTURES)]
    expected = digests(ImageArray(PICTURES))
    assert len(set(expected)) == 3
    assert paths[0].read_bytes() != packed[0].read_bytes()
    for files in (paths, again, packed):
        assert digests(ImageFiles(tuple(files))) == expected
    opened = [Image.open(path) for path in paths]
    assert digests(ImageObjects(opened, (0, 1, 2))) == expected
    for item, own in zip([paths[0], str(again[1]), opened[2], PICTURES[2]], [0, 1, 2, 2], strict=True):
        assert content_digest(item, kind="images") == expected[own]
    turned = saved(tmp_path, "turned.png", PICTURES[0].swapaxes(0, 1))
    assert content_digest(turned, kind="images") not in expected


def test_grey_is_grey_whether_or_not_it_is_stored_as_colours():
    grey = PICTURES[..., :1]
    assert digests(ImageArray(grey)) == digests(ImageArray(np.repeat(grey, 3, axis=3)))
    almost = np.repeat(grey, 3, axis=3)
    almost[:, -1, -1, 2] ^= 1
    assert not set(digests(ImageArray(grey))) & set(digests(ImageArray(almost)))


def test_pictures_that_loading_decoded_are_not_decoded_again(tmp_path: Path, monkeypatch):
    for at, pixels in enumerate(PICTURES):
        (tmp_path / f"kind {at}").mkdir()
        saved(tmp_path, f"kind {at}/a.png", pixels)
    data, _ = load(tmp_path)
    assert isinstance(data.items, ImageFiles)
    data.items.cache.decoded.most = 0  # as where they do not fit into memory

    def fail(*arguments: object, **settings: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("trine.data.dataset.decode", fail)
    assert digests(data.subset([2, 0])) == [digests(ImageArray(PICTURES))[at] for at in (2, 0)]


NUMBERS = st.floats(-1e6, 1e6, width=32) | st.integers(-1000, 1000).map(float) | st.just(float("nan"))


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_a_row_is_its_numbers_whatever_their_type_and_order(rows):
    """The twin: a dictionary of the numbers of each row."""
    array = np.array(rows, dtype=np.float64)
    seen: dict[bytes, tuple[str, ...]] = {}
    for row, digest in zip(rows, digests(Vectors(array)), strict=True):
        key = tuple(repr(value + 0.0) for value in row)
        assert seen.setdefault(digest, key) == key
    assert len(seen) == len({tuple(repr(value + 0.0) for value in row) for row in rows})
    turned = np.ascontiguousarray(array[::-1])
    assert digests(Vectors(turned)) == digests(Vectors(array))[::-1]
    assert digests(Vectors(array.astype(np.float32))) == digests(Vectors(array))
    columns = {name: array[:, at] for at, name in enumerate("abc")}
    table = Table(columns, ("a", "b", "c"))
    assert digests(table) == digests(Vectors(array))
    shuffled = Table({"more": array[:, 0] + 1, **dict(reversed(columns.items()))}, ("c", "more"))
    assert digests(shuffled, ("c", "a", "b")) == digests(table, ("a", "b", "c"))
    single = [content_digest(table[at], kind="vectors", columns=("b", "a", "c")) for at in range(len(table))]
    assert single == digests(table, ("a", "b", "c"))


def test_numbers_that_differ_in_the_last_digit_are_apart():
    rows = np.array([[0.1], [np.nextafter(0.1, 1)], [0.0], [-0.0]])
    one, next_, zero, minus = digests(Vectors(rows))
    assert len({one, next_, zero}) == 3
    assert zero == minus
    large = Vectors(np.array([[2**60], [2**60 + 1]]))
    assert len(set(digests(large))) == 2


def test_a_cell_is_the_same_whether_its_column_is_numbers_or_texts():
    numbers = Table({"port": np.array([80.0, np.nan, 443.0])}, ("port",))
    texts = Table({"port": np.array(["80", "", " 443 ", "http"], dtype=object)}, ("port",))
    assert digests(texts)[:3] == digests(numbers)
    assert digests(texts)[3] not in digests(numbers)
    codes = Table({"code": np.array([2**60 + 1, 5])}, ("code",))
    written = Table({"code": np.array([str(2**60 + 1), "5"], dtype=object)}, ("code",))
    assert digests(codes) == digests(written)


def test_texts_of_neighbouring_columns_do_not_run_together():
    def row(one: str, other: str) -> bytes:
        return digests(Table({"a": np.array([one]), "b": np.array([other])}, ("a", "b")))[0]

    assert len({row("ab", "c"), row("a", "bc"), row("abc", ""), row("", "abc")}) == 4


def test_more_rows_than_are_digested_at_once():
    rows = np.arange(10_000, dtype=np.float32)[:, None]
    found = digests(Vectors(rows))
    assert len(set(found)) == 10_000
    assert found[9_000] == content_digest([9000.0], kind="vectors")


def test_texts_and_nothing():
    assert digests(Texts((" a question\n", "a question", "A question"))) == [
        content_digest(text, kind="texts") for text in ("a question", "a question", "A question")
    ]
    assert content_digests(Vectors(np.zeros((0, 3), dtype=np.float32))).shape == (0, 16)
    data = Dataset(Texts(("a",)), np.array([0]), ("x",), ("one",))
    assert digests(data) == digests(data.items)


@pytest.mark.parametrize(
    ("item", "options", "error", "message"),
    [
        (7, {"kind": "texts"}, InputError, "a text is a string, given a int; give its characters"),
        ([[1.0]], {"kind": "vectors"}, InputError, r"given float64 of shape \(1, 1\); give one row"),
        ("a", {"kind": "vectors"}, InputError, "a row is a vector of numbers or a mapping"),
        ({"a": 1}, {"kind": "vectors", "columns": ("b",)}, InputError, "has no column 'b'"),
        ("nowhere.png", {"kind": "images"}, DataError, "nowhere.png: no such file"),
    ],
)
def test_what_has_no_digest(item, options, error, message):
    with pytest.raises(error, match=message):
        content_digest(item, **options)
    table = Table({"size": np.array([1.0])}, ("size",))
    with pytest.raises(InputError, match="the table has no column 'sise': did you mean 'size'"):
        content_digests(table, columns=("sise",))
