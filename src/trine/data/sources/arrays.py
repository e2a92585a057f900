"""An `.npz` file with the arrays x and y."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.data.dataset import ImageArray, Items, Vectors
from trine.data.table import narrowest
from trine.data.validation import Found
from trine.errors import DataError, nearest
from trine.io import check_readable, open_regular
from trine.labels import MISSING

COLUMNS = ("camera", "group", "split")
"""The optional columns that trine knows."""

# A header may claim any size, and an archive any compression.
_DAMAGED = (ValueError, OSError, EOFError, MemoryError, NotImplementedError, RuntimeError)

NAMES = ("names", "name", "item", "id")
"""The usual names of an array that names the items."""


def read_arrays(path: Path, *, label: str = "y", labelled: bool = True) -> Found:
    """Reads items and labels from an `.npz` file; nothing in it is ever unpickled.

    `x` is (N, D) numbers for vectors, or uint8 (N, height, width) or (N, height, width, channels)
    for images. `y` is (N,) integers or strings. Arrays called camera, group and split, (N,), are
    columns; one named names, name, item or id, (N,), names the items.

    Args:
        path: The file.
        label: The name of the array with the labels.
        labelled: Whether labels are wanted.

    Returns:
        The items, named by the array of names, or "item 0" and so on.

    Raises:
        DataError: The file is damaged, an array is missing, or one has the wrong shape or type.
    """
    wanted = ("x", label) if labelled else ("x",)
    arrays = _open(path, (*wanted, *COLUMNS, *NAMES))
    for name in wanted:
        if name not in arrays:
            raise DataError(f"{path} has no array {name!r}: {nearest(name, arrays)}")
    x = arrays["x"]
    items, unreadable, missing = array_items(str(path), x)
    # An array of another length names something else, such as the identities.
    naming = next((n for n in NAMES if n != label and n in arrays and arrays[n].shape == (len(x),)), None)
    beside = [name for name in COLUMNS if name in arrays]
    for name in (*wanted[1:], *beside):
        if arrays[name].shape != (len(x),):
            raise DataError(
                f"{path}: {name!r} has shape {arrays[name].shape}, expected ({len(x)},): "
                "one entry for each item of 'x'"
            )
    names = _texts(path, naming, arrays[naming]) if naming else [""] * len(x)
    return Found(
        items=items,
        names=[name or f"item {at}" for at, name in enumerate(names)],
        labels=_labels(path, label, arrays[label]) if labelled else None,
        columns={name: _column(path, name, arrays[name]) for name in beside if name != label},
        unreadable=unreadable,
        missing=missing,
    )


def array_names(path: Path) -> list[str]:
    """Lists the arrays of an `.npz` file; a `DataError` where it is damaged."""
    return list(_open(path, ()))


def _open(path: Path, wanted: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Reads the wanted arrays; the others are listed with an empty array in their place."""
    check_readable(path, DataError)
    try:
        with open_regular(path) as file:
            held = np.load(file, allow_pickle=False)
            if isinstance(held, np.ndarray):
                raise DataError(f"{path} holds a single array: save it with np.savez(x=..., y=...)")
            _refuse_bombs(path, held.zip)
            return {name: held[name] if name in wanted else np.empty(0) for name in list(held.files)}
    except (*_DAMAGED, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise DataError(
                f"{path} holds Python objects, which trine never unpickles: "
                "save numbers or fixed-length strings"
            ) from error
        raise DataError(f"{path} is not an .npz file, or it is damaged: write it again") from error


def _refuse_bombs(path: Path, archive: zipfile.ZipFile) -> None:
    """Raises a `DataError` if an array of a small file would fill the memory."""
    for member in archive.infolist():
        if member.file_size > max(1 << 30, 100 * member.compress_size):
            raise DataError(
                f"{path}: {member.filename} is {member.file_size / 2**30:,.1f} GiB of numbers in "
                f"{member.compress_size / 2**20:,.1f} MiB of the file: save it with np.savez if that is right"
            )


def array_items(source: str, x: NDArray[Any]) -> tuple[Items, dict[int, str], dict[int, str]]:
    """Makes items of an array: those that cannot be read, and those with a missing value, with the reason."""
    if x.ndim == 2 and x.dtype.kind in "fiub":
        rows = np.ascontiguousarray(narrowest(x))
        infinite, empty = np.isinf(rows), np.isnan(rows)
        return Vectors(rows), _first(infinite, "is not finite"), _first(empty, "is NaN")
    if x.dtype == np.uint8 and (x.ndim == 3 or (x.ndim == 4 and x.shape[3] in (1, 3))):
        return ImageArray(x), {}, {}
    raise DataError(
        f"{source}: 'x' is {x.dtype} with shape {x.shape}, expected numbers (N, D) for vectors, or "
        "uint8 (N, height, width) or (N, height, width, 1 or 3) for images"
    )


def _first(found: NDArray[np.bool_], what: str) -> dict[int, str]:
    """Names the first entry of each row that was found."""
    rows = np.flatnonzero(found.any(axis=1)).tolist()
    return {row: f"x[{row}, {int(np.argmax(found[row]))}] {what}" for row in rows}


def _labels(path: Path, name: str, y: NDArray[Any]) -> list[str]:
    if y.dtype.kind == "f":
        missing = np.isnan(y)
        whole = np.where(missing, 0, y)
        if np.isinf(whole).any() or not np.array_equal(whole, np.round(whole)):
            raise DataError(f"{path}: {name!r} has fractions, expected integers or strings")
        return ["" if gap else str(int(v)) for gap, v in zip(missing, whole, strict=True)]
    return ["" if text in MISSING else text for text in _texts(path, name, y)]


def _texts(path: Path, name: str, given: NDArray[Any]) -> list[str]:
    return [str(value).strip() for value in _column(path, name, given).tolist()]


def _column(path: Path, name: str, column: NDArray[Any]) -> NDArray[Any]:
    if column.dtype.kind == "S":
        try:
            return np.char.decode(column, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: {name!r} holds bytes that are not UTF-8: save texts") from error
    if column.dtype.kind not in "iubU":
        raise DataError(f"{path}: {name!r} is {column.dtype}, expected integers or strings")
    return column
