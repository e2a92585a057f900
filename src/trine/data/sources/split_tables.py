"""A folder with a table for each part: train.csv, test.csv and optionally validation.csv."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.data.dataset import ImageFiles, Items, Texts
from trine.data.sources.folder import PARTS, inside
from trine.data.table import Table
from trine.data.table_file import TABLE_SUFFIXES
from trine.data.validation import Found
from trine.errors import Argument, DataError


def find_split_tables(folder: Path) -> dict[str, Path]:
    """Finds the tables right inside a folder that have the names of parts.

    Args:
        folder: The folder.

    Returns:
        The table of each part, training first; empty unless there is one for training and another one.

    Raises:
        DataError: Two tables have the name of one part, or the folder cannot be read.
    """
    found: dict[str, Path] = {}
    for path in inside(folder):
        suffix = next((end for end in TABLE_SUFFIXES if path.name.lower().endswith(end)), None)
        part = None if suffix is None else PARTS.get(path.name[: -len(suffix)].lower())
        if part is None or not path.is_file():
            continue
        if part in found:
            raise DataError(
                f"{found[part]} and {path} are both the {part} part: keep one of them in {folder}"
            )
        found[part] = path
    order = [part for part in ("train", "validation", "test") if part in found]
    return {part: found[part] for part in order} if len(order) > 1 and order[0] == "train" else {}


def read_split_tables(tables: Mapping[str, Path], *, read: Callable[[Path], Found]) -> Found:
    """Reads the tables of all parts, one after the other, with the part as the column "split".

    Args:
        tables: The table of each part.
        read: Reads one of them.

    Returns:
        All items, named by part and row, or by their path.

    Raises:
        DataError: A table cannot be read, or has other columns than the first.
    """
    found = {part: read(path) for part, path in tables.items()}
    parts, first = list(found.values()), next(iter(tables.values()))
    for part, other in found.items():
        # The name of a table decides its part, not a column "split" in it.
        if other.label != parts[0].label:
            raise DataError(
                f"the labels of {tables[part]} are in {other.label}, and those of {first} in "
                f"{parts[0].label}: name one with ",
                Argument("label"),
            )
        if set(other.columns) - {"split"} != set(parts[0].columns) - {"split"}:
            raise DataError(f"{tables[part]} has other columns than {first}: give both the same")
    lengths = [len(other.items) for other in parts]
    starts = np.cumsum([0, *lengths]).tolist()[:-1]

    def moved(reasons: Sequence[Mapping[int, str]]) -> dict[int, str]:
        return {
            start + row: why
            for start, of_part in zip(starts, reasons, strict=True)
            for row, why in of_part.items()
        }

    columns = {
        name: np.concatenate([other.columns[name] for other in parts])
        for name in parts[0].columns
        if name != "split"
    }
    return Found(
        items=_joined([other.items for other in parts], tables=list(tables.values())),
        names=[
            name if isinstance(other.items, ImageFiles) else f"{part} {name}"
            for part, other in found.items()
            for name in other.names
        ],
        labels=None if parts[0].labels is None else [*chain(*(other.labels or () for other in parts))],
        label=parts[0].label,
        columns={**columns, "split": np.repeat(list(found), lengths)},
        unreadable=moved([other.unreadable for other in parts]),
        missing=moved([other.missing for other in parts]),
        notes=(
            *dict.fromkeys(chain(*(other.notes for other in parts))),
            f"split by its tables into {', '.join(found)}",
        ),
    )


def _joined(items: Sequence[Items], *, tables: Sequence[Path]) -> Items:
    for at, other in enumerate(items):
        if type(other) is not type(items[0]):
            raise DataError(
                f"{tables[0]} holds {items[0].kind} and {tables[at]} {other.kind}: give both the same columns"
            )
    if isinstance(items[0], Texts):
        return Texts(tuple(chain(*(other.texts for other in items if isinstance(other, Texts)))))
    if isinstance(items[0], ImageFiles):
        files = [other for other in items if isinstance(other, ImageFiles)]
        return ImageFiles(tuple(chain(*(other.paths for other in files))), files[0].max_pixels)
    parts = [other for other in items if isinstance(other, Table)]
    for at, part in enumerate(parts):
        if (set(part.columns), set(part.features)) != (set(parts[0].columns), set(parts[0].features)):
            raise DataError(f"{tables[at]} has other feature columns than {tables[0]}: give both the same")
    values = {name: _joined_column([part.columns[name] for part in parts]) for name in parts[0].columns}
    return Table(values, parts[0].features)


def _joined_column(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One column of several; whole numbers that float64 does not hold stay whole beside others."""
    whole = any(part.dtype.kind in "iu" for part in parts)
    if whole and all(np.array_equal(part, np.floor(part)) for part in parts if part.dtype.kind == "f"):
        numbers = [int(number) for part in parts for number in part.tolist()]
        joined = np.array(numbers)
        return joined if joined.dtype.kind in "iu" else np.array(numbers, dtype=np.float64)
    return np.concatenate(parts)
