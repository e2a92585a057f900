"""Digests of what an encoder sees of an item: under another name, or in another file, it is the same item.

A picture is its decoded pixels, whatever file holds them; a row is its numbers in full precision and its
texts; a text is its characters. `trine.gallery.provenance` asks something else, whether a file changed, and
hashes the bytes of files, which need not be decoded for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.data.dataset import Dataset, ImageFiles, Items, Kind, Vectors
from trine.data.image_cache import PASS_SHARE
from trine.data.parallel import in_threads
from trine.data.pixels import as_pixels
from trine.data.table import EXACT, Table, is_numeric, table_of
from trine.errors import InputError, nearest
from trine.shapes import Float, UInt8

DIGEST_BYTES = 16
"""The length of a digest: among a billion items, two different ones have the same with probability 10⁻²¹."""

blake = partial(hashlib.blake2b, digest_size=DIGEST_BYTES)

ROWS_AT_ONCE = 4096


def content_digests(
    items: Dataset | Items, *, columns: Sequence[str] | None = None
) -> UInt8[np.ndarray, "n 16"]:
    """Computes a digest of the content of each item.

    It depends on nothing but what an encoder sees: not on names, labels or the order of items, nor on the
    format of a file, the type of equal numbers, the order of named columns, or whether grey values are
    stored as colours. Pictures that loading decoded are not decoded again.

    Args:
        items: A dataset or its items.
        columns: The columns that count, by name, in any order; None takes the features of a table by
            position, as an encoder of arrays does.

    Returns:
        A BLAKE2b digest of 128 bits in each row.

    Raises:
        DataError: A picture cannot be read.
        InputError: A row lacks a column.

    Example:
        >>> one = Vectors(np.array([[1, 2], [3, 4]], dtype=np.float32))
        >>> other = Vectors(np.array([[3, 4], [1, 2.5]], dtype=np.float64))
        >>> np.array_equal(content_digests(one)[1], content_digests(other)[0])
        True
        >>> np.array_equal(content_digests(one)[0], content_digests(other)[1])
        False
    """
    items = items.items if isinstance(items, Dataset) else items
    digests: Iterable[bytes]
    if isinstance(items, ImageFiles):
        files = items
        digests = in_threads(lambda index: picture_file_digest(files, index), len(files))
    elif isinstance(items, Table):
        digests = _table_digests(items, columns)
    elif isinstance(items, Vectors):
        rows = items.rows
        digests = _row_digests(lambda start, stop: list(rows[start:stop].T), len(rows))
    else:
        digests = (content_digest(items[at], kind=items.kind, columns=columns) for at in range(len(items)))
    return np.frombuffer(bytearray().join(digests), dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def content_digest(item: Any, *, kind: Kind, columns: Sequence[str] | None = None) -> bytes:
    """Computes the digest of one item, as `content_digests` does.

    Args:
        item: A picture in any form that `Encoder.embed` takes, such as a path or an array; a row of numbers,
            or a mapping from column to value; or a text.
        kind: The kind of the item.
        columns: The columns of a mapping that count, in any order; None takes all of them by position.

    Raises:
        DataError: A picture cannot be read.
        InputError: The item is not of that kind, or lacks a column.

    Example:
        >>> row, other = {"size": 7, "packer": "upx"}, {"packer": "upx", "size": 7.0, "year": 2009}
        >>> columns = ("size", "packer")
        >>> content_digest(row, kind="vectors", columns=columns) == content_digest(
        ...     other, kind="vectors", columns=columns)
        True
    """
    if kind == "images":
        return picture_digest(as_pixels(item, name="the image"))
    if kind == "texts":
        if not isinstance(item, str):
            raise InputError(f"a text is a string, given a {type(item).__name__}; give its characters")
        return blake(b"text " + item.strip().encode("utf-8", "surrogatepass")).digest()
    if isinstance(item, Mapping):
        names = [str(name) for name in item] if columns is None else columns
        return next(_table_digests(table_of([item], names), columns))
    row = np.asarray(item)
    if row.ndim != 1 or row.dtype.kind not in "fiub":
        raise InputError(
            f"a row is a vector of numbers or a mapping from column to value, given {row.dtype} of shape "
            f"{row.shape}; give one row"
        )
    return next(_row_digests(lambda start, stop: list(row[:, None]), 1))


def picture_digest(pixels: UInt8[np.ndarray, "h w c"]) -> bytes:
    """Computes the digest of a decoded picture; with three equal channels it is a grey one."""
    if pixels.shape[2] == 3 and _is_grey(pixels):
        pixels = pixels[..., :1]
    digest = blake(f"picture {pixels.shape} ".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def picture_file_digest(files: ImageFiles, index: int) -> bytes:
    """Computes the digest of a picture in a file; the cache remembers it."""
    path = files.paths[int(index)]
    known = files.cache.digests.get(path)
    if known is None:
        known = files.cache.digests[path] = picture_digest(files.decoded(index, share=PASS_SHARE))
    return known


def _is_grey(pixels: UInt8[np.ndarray, "h w 3"]) -> bool:
    # The first rows show of most pictures that they are not.
    return all(bool((part[..., :1] == part[..., 1:]).all()) for part in (pixels[:2], pixels))


def _table_digests(table: Table, columns: Sequence[str] | None) -> Iterator[bytes]:
    ordered = table.features if columns is None else sorted(columns)
    for name in ordered:
        if name not in table.columns:
            raise InputError(f"the table has no column {name!r}: {nearest(name, table.columns)}")
    return _row_digests(
        lambda start, stop: [table.columns[name][start:stop] for name in ordered],
        len(table),
        names=() if columns is None else ordered,
    )


def _row_digests(
    columns: Callable[[int, int], list[NDArray[Any]]], rows: int, *, names: Sequence[str] = ()
) -> Iterator[bytes]:
    """Digests rows, some at a time; `columns` gives those from a first row to a last one."""
    head = "\0".join(["row", *names]).encode("utf-8", "surrogatepass")
    for start in range(0, rows, ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, rows)
        cells = [_cells(values) for values in columns(start, stop)]
        numbers = np.empty((stop - start, len(cells)), dtype="<f8")
        for place, (column, _) in enumerate(cells):
            numbers[:, place] = column
        texts = [(place, words) for place, (_, words) in enumerate(cells) if words is not None]
        for row in range(stop - start):
            digest = blake(head)
            digest.update(numbers[row].data)
            for place, words in texts:
                word = words[row].encode("utf-8", "surrogatepass")
                if word:
                    digest.update(place.to_bytes(4, "little") + len(word).to_bytes(8, "little") + word)
            yield digest.digest()


def _cells(values: NDArray[Any]) -> tuple[Float[np.ndarray, " n"], list[str] | None]:
    """A column as numbers, NaN where there is none, and the cells that float64 does not hold as texts.

    A cell is the same whether its column was read as numbers or, for the sake of another cell, as texts.
    """
    if is_numeric(values):
        numbers = values.astype(np.float64) + 0.0  # -0.0 is 0.0
        numbers[np.isnan(numbers)] = np.nan  # there is more than one NaN
        large = (
            np.abs(numbers) >= EXACT if values.dtype.kind in "iuO" else np.zeros(len(values), dtype=np.bool_)
        )
        if not large.any():
            return numbers, None
        numbers[large] = np.nan
        pairs = zip(values.tolist(), large.tolist(), strict=True)
        return numbers, [str(value) if is_large else "" for value, is_large in pairs]
    distinct, which = np.unique(np.asarray(values, dtype=object), return_inverse=True)
    read = [_number_or_text(str(value)) for value in distinct.tolist()]
    known = np.array([number for number, _ in read], dtype=np.float64)
    return known[which], [read[at][1] for at in which.tolist()]


def _number_or_text(cell: str) -> tuple[float, str]:
    text = cell.strip()
    try:
        number = float(text)
    except ValueError:
        return np.nan, text
    # Not NaN, infinity, or a code of more digits than float64 holds.
    return (number + 0.0, "") if abs(number) < EXACT else (np.nan, text)
