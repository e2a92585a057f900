"""A table about users or items: features to learn from, or metadata to keep in a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trine.data.columns import Columns
from trine.data.load_report import some
from trine.data.sources.interactions import ITEMS, USERS
from trine.data.table import differences, is_finite
from trine.data.table_file import open_table
from trine.data.table_reader import TableReader
from trine.errors import DataError, check_choice, check_texts
from trine.shapes import Float32, Int64, Shaped

ITEM = "item"
"""The column of a table of metadata that names the items."""

TITLES = ("title", "name")
"""The usual names of a column of titles; titles are shown, and are not features."""

SEPARATOR = "|"
"""What separates the values of a cell that has several."""

MOST_VALUES = 2_000
"""The most distinct values of a column that is taken as a feature: free text has more."""


@dataclass(frozen=True, eq=False)
class Features:
    """What is known about each user, or each item.

    Attributes:
        columns: The meaning of each column of `values`, such as `"genres=Comedy"` or `"year"`.
        values: A number is standardised, and 0 where it is missing; a category is 1 in the column of its
            value, or 1/c in each of c.
        titles: The title of each, if the table has titles.
        notes: Columns that were skipped, and how many users or items the table lacks.
    """

    columns: tuple[str, ...]
    values: Float32[np.ndarray, "n f"]
    titles: tuple[str, ...] | None
    notes: tuple[str, ...]


def read_features(
    path: object, names: Sequence[str], *, of: str = "item", only: Sequence[str] | None = None
) -> Features:
    """Reads the features of some users or items.

    Args:
        path: The table: .csv, .tsv (either also with .gz) or .parquet, a DataFrame or a mapping of columns,
            with one row for each, and the id in a column named as in a table of interactions. Several values
            of a cell are written `Comedy|Drama`, or are a list.
        names: The ids, in the order of the result; other rows of the table are ignored.
        of: `"item"` or `"user"`.
        only: The columns to take; None takes all but id and title, and skips text that hardly repeats.

    Returns:
        A row for each of the names; zeros for those that are not in the table.

    Raises:
        DataError: The table is missing or damaged, a column is missing, an id is repeated, or none of
            the names are in the table.
        MissingDependencyError: pyarrow is not installed.
    """
    check_choice("of", of, ("item", "user"))
    names = check_texts("names", names, "ids")
    only = None if only is None else check_texts("only", only, "names of columns")
    file = open_table(path, of=of)
    key = file.column(None, ITEMS if of == "item" else USERS, f"rename the column of {of} ids")
    title = next(iter(file.known_as(TITLES)), None) if of == "item" else None
    wanted = [name for name in file.names if name not in (key, title)] if only is None else only
    for name in wanted:
        file.column(name)
    table = file.read(text=[name for name in (key, title) if name is not None])
    place = _places(file, table.texts(key))
    rows = np.array([place.get(name, -1) for name in names], dtype=np.int64)
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        example = f", such as {names[0]!r}" if names else ""
        raise DataError(
            f"{file.source} has none of the {len(names):,} {of}s{example}: check its column {key!r}"
        )
    encoded = {name: _encoded(table, name, rows[known], always=only is not None) for name in wanted}
    parts = [part for part in encoded.values() if part is not None]
    values = np.zeros((len(names), sum(part.shape[1] for _, part in parts)), dtype=np.float32)
    if parts:
        values[known] = np.concatenate([part for _, part in parts], axis=1)
    texts = None if title is None else table.texts(title)
    titles = None if texts is None else tuple(texts[row] if row >= 0 else "" for row in rows)
    notes = []
    if len(known) < len(names):
        notes.append(f"{file.source} lacks {len(names) - len(known):,} of the {len(names):,} {of}s")
    if skipped := [name for name, part in encoded.items() if part is None]:
        notes.append(
            f"skipped: columns of {file.source} whose text hardly repeats ({some(skipped, limit=6)})"
        )
    return Features(tuple(each for columns, _ in parts for each in columns), values, titles, tuple(notes))


def _places(file: TableReader, ids: list[str]) -> dict[str, int]:
    """The row of each id, counted from 0; a `DataError` where one is repeated."""
    place: dict[str, int] = {}
    for row, name in enumerate(ids):
        before = place.setdefault(name, row)
        if before != row:
            raise DataError(
                f"{file.source}, row {row + 1} repeats the {file.of} {name[:80]!r} of row {before + 1}: "
                "remove one of the two"
            )
    return place


def _encoded(
    table: Columns, name: str, rows: Int64[np.ndarray, " n"], *, always: bool
) -> tuple[list[str], Float32[np.ndarray, "n f"]] | None:
    """Names and values of the features that a column becomes; None for text that hardly repeats."""
    given = table.vectors(name)
    if given is not None:
        columns = [_standardised(numbers[rows]) for numbers in given.T]
        return [f"{name}[{place}]" for place in range(len(columns))], np.stack(columns, axis=1)
    numbers = table.numbers(name)
    if numbers is not None:
        return [name], _standardised(numbers[rows])[:, None]
    cells = table.several(name, SEPARATOR)
    several = [sorted(set(cells[row])) for row in rows.tolist()]
    values = sorted({part for parts in several for part in parts})
    if not always and (len(values) > MOST_VALUES or 2 * len(values) > len(rows)):
        return None
    column = {value: at for at, value in enumerate(values)}
    made = np.zeros((len(rows), len(values)), dtype=np.float32)
    for row, parts in enumerate(several):
        for part in parts:
            made[row, column[part]] = 1 / len(parts)
    return [f"{name}={value}" for value in values], made


def _standardised(numbers: Shaped[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    """Numbers minus their mean, by their standard deviation; 0 where one is missing."""
    finite = is_finite(numbers)
    if not finite.any():
        return np.zeros(len(numbers), dtype=np.float32)
    origin = int(numbers[finite][0]) if numbers.dtype.kind in "iuO" else 0
    apart = differences(np.where(finite, numbers, numbers[finite][0]), origin)
    largest = np.abs(apart).max() or 1.0  # squares of huge numbers would overflow
    apart = apart / largest
    mean, deviation = apart[finite].mean(), apart[finite].std()
    scaled: np.ndarray = np.where(finite, apart - mean, 0.0) / (deviation if deviation > 0 else 1.0)
    return scaled.astype(np.float32)


def read_metadata(path: object) -> dict[str, dict[str, Any]]:
    r"""Reads the metadata of items, by their names: for `Gallery.enrol_dataset`.

    Numbers and booleans are kept as they are, and codes of a CSV file such as "007" as texts; times become
    texts such as "2024-05-31", which sort in the order of time, and durations become seconds. An empty cell
    sets nothing.

    Args:
        path: A table (.csv, .tsv, either also with .gz, or .parquet, a DataFrame, or a mapping of columns)
            with a column "item".

    Returns:
        For each item its values by column.

    Raises:
        DataError: The file is missing, not a table or damaged, has no column "item", or repeats an item.
        MissingDependencyError: pyarrow is not installed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "about.csv"
        ...     _ = path.write_text("item,year,day\nann/1.png,2024,2024-05-31\nbob/1.png,2023,\n")
        ...     read_metadata(path)
        {'ann/1.png': {'year': 2024, 'day': '2024-05-31'}, 'bob/1.png': {'year': 2023}}
    """
    file = open_table(path)
    file.column(ITEM)
    table = file.read(text=[ITEM])
    items = table.texts(ITEM)
    _places(file, items)
    by_item: dict[str, dict[str, Any]] = {item: {} for item in items}
    for name in file.names:
        if name != ITEM:
            for item, value in zip(items, table.values(name), strict=True):
                if value is not None:
                    by_item[item][name] = value
    return by_item
