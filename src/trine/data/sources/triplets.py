"""A CSV or Parquet table of triplets: which item is to be nearer to the anchor than which other."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trine.data.sources.table import SUFFIXES, header, read_columns, strings
from trine.errors import DataError
from trine.shapes import Int64

COLUMNS = ("anchor", "positive", "negative")
"""The columns that a table of triplets has; others are not looked at."""

_SEARCHED = 20_000  # names among which the nearest to an unknown one is looked for


@dataclass(frozen=True)
class TripletTable:
    """Triplets of items by their names, one a row.

    Attributes:
        source: Where they come from: the first words of an error.
        anchor: The name of each anchor.
        positive: The name of the item that is to be nearer to it.
        negative: The name of the item that is to be farther from it.
    """

    source: str
    anchor: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.anchor)

    def positions(self, names: Sequence[str]) -> Int64[np.ndarray, "t 3"]:
        """Finds the items.

        Args:
            names: The names of the items, as `Dataset.names` has them.

        Returns:
            For each triplet the positions of its anchor, positive and negative among the names.

        Raises:
            DataError: A name is none of them.

        Example:
            >>> table = TripletTable("t.csv", ("a",), ("c",), ("b",))
            >>> table.positions(["a", "b", "c"]).tolist()
            [[0, 2, 1]]
        """
        place = {name: at for at, name in enumerate(names)}
        found = np.empty((len(self), 3), dtype=np.int64)
        for column, part in enumerate(COLUMNS):
            for row, name in enumerate(getattr(self, part)):
                if name not in place:
                    raise DataError(
                        f"{self.source}, row {row + 1}: the {part} {name!r} is no item of the data; "
                        f"{nearest_name(name, names)}"
                    )
                found[row, column] = place[name]
        return found


def read_triplets(path: str | Path) -> TripletTable:
    """Reads a table with the columns anchor, positive and negative, as `trine mine` writes it.

    Args:
        path: The table: .csv, .tsv (either also with .gz) or .parquet. Items go by the names that the
            data gives them: paths relative to its folder, "row 17" of a table, "item 17" of an array.

    Returns:
        The triplets.

    Raises:
        DataError: There is no such table, it is damaged or empty, a column is missing, or a row names an
            item twice or not at all.
        MissingDependencyError: pyarrow is not installed.
    """
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(
            f"{path} is no table of triplets: expected a file that ends with {', '.join(SUFFIXES)}"
        )
    if not path.is_file():
        raise DataError(f"there is no table of triplets {path}; trine mine writes one")
    missing = [name for name in COLUMNS if name not in header(path)]
    if missing:
        raise DataError(
            f"{path} has no column called {missing[0]}: a table of triplets has the columns "
            f"{', '.join(COLUMNS)}"
        )
    table = read_columns(path, COLUMNS)
    columns = [tuple(strings(table, name)) for name in COLUMNS]
    if not columns[0]:
        raise DataError(f"{path} has no rows below its header, expected one for each triplet")
    for row, names in enumerate(zip(*columns, strict=True), start=1):
        if "" in names:
            raise DataError(
                f"{path}, row {row} has no {COLUMNS[names.index('')]}: fill it in, or leave it out"
            )
        if len(set(names)) < 3:
            raise DataError(
                f"{path}, row {row} names one item twice ({', '.join(names)}): expected three different ones"
            )
    return TripletTable(str(path), *columns)


def nearest_name(name: str, names: Sequence[str]) -> str:
    """Ends an error about an unknown item: the nearest name, or what the items are called."""
    close = difflib.get_close_matches(name, names[:_SEARCHED], n=1)
    known = close[0] if close else names[0] if names else None
    if known is None:
        return "there are no items"
    return f"did you mean {known!r}?" if close else f"items are called {known!r} and so on"
