"""A table of what is known about users or items beforehand: numbers, categories, and several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trine.data.load_report import some
from trine.data.sources.interactions import ITEMS, USERS, column_of, table_header
from trine.data.sources.table import numbers, read_columns, strings
from trine.errors import DataError
from trine.shapes import Float32

TITLES = ("title", "name")
"""The names of a column that says what an item is called; it is shown, and is no feature."""

BETWEEN = "|"
"""What stands between the values of a cell that has several."""

MOST_VALUES = 2_000
"""How many different values a column may have to be a feature: text of any kind has more."""


@dataclass(frozen=True, eq=False)
class Features:
    """What is known about each user, or each item.

    Attributes:
        columns: What each column of `values` says, such as `"genres=Comedy"` or `"year"`.
        values: A number is standardised, and 0 where it is not known; a category is 1 in the column of its
            value, or 1/c in each of c.
        titles: What each is called, where the table says.
        notes: What was not used, and who the table does not know.
    """

    columns: tuple[str, ...]
    values: Float32[np.ndarray, "n f"]
    titles: tuple[str, ...] | None
    notes: tuple[str, ...]


def read_features(
    path: str | Path, names: Sequence[str], *, of: str = "item", only: Sequence[str] | None = None
) -> Features:
    """Reads what a table says about some users or items.

    Args:
        path: The table: .csv, .tsv (either also with .gz) or .parquet, a row for each, its id in a column
            called as in a table of interactions. Several values of one cell stand as in `Comedy|Drama`.
        names: The ids, in the order of the result; other rows of the table are not looked at.
        of: `"item"` or `"user"`.
        only: The columns to take; None takes all but id and title, and leaves out text that hardly repeats.

    Returns:
        A row for each of the names; zeros for those that the table does not know.

    Raises:
        DataError: There is no such table, it is damaged, a column is missing, an id comes twice, or the table
            knows none of the names.
        MissingDependencyError: pyarrow is not installed.
    """
    path = Path(path)
    header = table_header(path, f"{of}s")
    key = column_of(path, header, None, ITEMS if of == "item" else USERS, of)
    assert key is not None
    title = next((name for name in header if name.lower() in TITLES), None) if of == "item" else None
    for name in only or ():
        column_of(path, header, name, (), "features")
    wanted = [name for name in header if name not in (key, title)] if only is None else list(only)
    table = read_columns(path, [name for name in (key, title) if name is not None])
    rows = _rows(path, strings(table, key), names, of)
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        raise DataError(
            f"{path} knows none of the {len(names):,} {of}s, such as {names[0]!r}: look at {key!r}"
        )
    parts: list[tuple[list[str], np.ndarray]] = []
    unused = []
    for name in wanted:
        made = _encoded(table, name, rows[known], asked=only is not None)
        if made is None:
            unused.append(name)
        else:
            parts.append(made)
    values = np.zeros((len(names), sum(part.shape[1] for _, part in parts)), dtype=np.float32)
    if parts:
        values[known] = np.concatenate([part for _, part in parts], axis=1)
    texts = None if title is None else strings(table, title)
    titles = None if texts is None else tuple(texts[row] if row >= 0 else "" for row in rows)
    notes = []
    if len(known) < len(names):
        notes.append(f"{path} does not know {len(names) - len(known):,} of the {len(names):,} {of}s")
    if unused:
        notes.append(f"columns of {path} whose text hardly repeats, not looked at: {some(unused, limit=6)}")
    return Features(tuple(each for columns, _ in parts for each in columns), values, titles, tuple(notes))


def _rows(path: Path, ids: list[str], names: Sequence[str], of: str) -> np.ndarray:
    """The row of each name; −1 where there is none."""
    place: dict[str, int] = {}
    for row, name in enumerate(ids):
        if name in place:
            raise DataError(
                f"{path}, row {row + 1}: the {of} {name!r} is in row {place[name] + 1} already; leave one out"
            )
        place[name] = row
    return np.array([place.get(name, -1) for name in names], dtype=np.int64)


def _encoded(table: Any, name: str, rows: np.ndarray, *, asked: bool) -> tuple[list[str], np.ndarray] | None:
    given = numbers(table, name)
    if given is not None:
        taken = given[rows]
        finite = np.isfinite(taken)
        mean, deviation = (taken[finite].mean(), taken[finite].std()) if finite.any() else (0.0, 0.0)
        scaled = np.where(finite, taken - mean, 0.0) / (deviation if deviation > 0 else 1.0)
        return [name], scaled[:, None].astype(np.float32)
    cells = strings(table, name)
    several = [sorted({part for part in cells[row].split(BETWEEN) if part}) for row in rows]
    values = sorted({part for parts in several for part in parts})
    if not asked and (len(values) > MOST_VALUES or 2 * len(values) > len(rows)):
        return None
    column = {value: at for at, value in enumerate(values)}
    made = np.zeros((len(rows), len(values)), dtype=np.float32)
    for row, parts in enumerate(several):
        for part in parts:
            made[row, column[part]] = 1 / len(parts)
    return [f"{name}={value}" for value in values], made
