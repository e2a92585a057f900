"""A folder with a table for each part: train.csv, test.csv and perhaps validation.csv."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from trine.data.dataset import ImageFiles, Items, Texts
from trine.data.sources.folder import PARTS
from trine.data.sources.table import SUFFIXES
from trine.data.table import Table
from trine.data.validation import Found
from trine.errors import DataError


def divided_tables(folder: Path) -> dict[str, Path]:
    """Finds the tables right in a folder that are called as the parts of data are.

    Args:
        folder: The folder.

    Returns:
        The table of each part, training first; nothing unless training and another part are there.

    Raises:
        DataError: Two tables are of one part.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = next((end for end in SUFFIXES if path.name.lower().endswith(end)), None)
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


def read_divided(tables: Mapping[str, Path], *, read: Callable[[Path], Found]) -> Found:
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
        # What each table says of the split itself counts for nothing: its name does.
        if set(other.columns) - {"split"} != set(parts[0].columns) - {"split"}:
            raise DataError(f"{tables[part]} has other columns than {first}: give both the same")
    lengths = [len(other.items) for other in parts]
    starts = np.cumsum([0, *lengths]).tolist()
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
        columns={**columns, "split": np.repeat(list(found), lengths)},
        unreadable={
            start + row: why
            for start, other in zip(starts, parts, strict=False)
            for row, why in other.unreadable.items()
        },
        missing={
            start + row: why
            for start, other in zip(starts, parts, strict=False)
            for row, why in other.missing.items()
        },
        notes=(
            *dict.fromkeys(chain(*(other.notes for other in parts))),
            f"divided by its tables into {', '.join(found)}",
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
    values = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    return Table(values, parts[0].features)
