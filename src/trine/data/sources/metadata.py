"""A CSV or Parquet table about items: a column of their names, and whatever else is known of them."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

from trine.data.sources.table import SUFFIXES, header, read_columns, strings
from trine.errors import DataError, nearest

ITEM = "item"
"""The column of the names."""


def read_metadata(path: str | Path) -> dict[str, dict[str, Any]]:
    r"""Reads what a table says about items, by their names: for `Gallery.enrol_dataset`.

    Numbers and booleans stay what they are; dates become texts such as "2024-05-31", which have an order,
    too. An empty cell says nothing.

    Args:
        path: A table (.csv, .tsv, either also with .gz, or .parquet) with a column "item".

    Returns:
        For each item its values by column.

    Raises:
        DataError: The file is missing, no table or damaged, has no column "item", or names an item twice.
        MissingDependencyError: pyarrow is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "about.csv"
        ...     _ = path.write_text("item,year,day\nann/1.png,2024,2024-05-31\nbob/1.png,2023,\n")
        ...     read_metadata(path)
        {'ann/1.png': {'year': 2024, 'day': '2024-05-31'}, 'bob/1.png': {'year': 2023}}
    """
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{path} is no table of metadata: name one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"there is no file {path} to read metadata from: name a table with a column 'item'")
    names = header(path)
    if ITEM not in names:
        raise DataError(f"{path} has no column {ITEM!r} that names the items: {nearest(ITEM, names)}")
    repeat = next((name for name in names if names.count(name) > 1), None)
    if repeat is not None:
        raise DataError(f"{path} has two columns called {repeat!r}: rename one")
    table = read_columns(path, [ITEM])
    items = strings(table, ITEM)
    others = [name for name in names if name != ITEM]
    found: dict[str, dict[str, Any]] = {}
    columns = [table.column(name).to_pylist() for name in others]
    for item, *row in zip(items, *columns, strict=True):
        if item in found:
            raise DataError(f"{path} names the item {item[:80]!r} twice: leave one of the two out")
        found[item] = {
            name: _plain(value) for name, value in zip(others, row, strict=True) if _is_there(value)
        }
    return found


def _is_there(value: Any) -> bool:
    return value is not None and value == value and value != ""


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value
