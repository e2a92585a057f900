"""A CSV or Parquet table of triplets: which item is to be nearer to the anchor than which other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trine.data.item_lookup import Places
from trine.data.sources.table import SUFFIXES, header, read_columns, strings
from trine.errors import DataError
from trine.shapes import Int64

COLUMNS = ("anchor", "positive", "negative")
"""The columns that a table of triplets has; others are not looked at."""

ALSO = {
    "anchor": ("head", "target", "reference", "query"),
    "positive": ("close", "closer", "near", "nearer", "similar", "winner"),
    "negative": ("far", "farther", "dissimilar", "loser"),
}
"""What these columns are called elsewhere; capitals do not matter."""


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
            names: The names of the items, as `Dataset.names` has them. A name of the table may leave out
                the suffix of a picture, and "17" is "item 17" of an array.

        Returns:
            For each triplet the positions of its anchor, positive and negative among the names.

        Raises:
            DataError: A name is none of them, or may be several.

        Example:
            >>> table = TripletTable("t.csv", ("a",), ("c",), ("b",))
            >>> table.positions(["a", "b", "c"]).tolist()
            [[0, 2, 1]]
        """
        places = Places(names)
        found = np.empty((len(self), 3), dtype=np.int64)
        for column, part in enumerate(COLUMNS):
            for row, name in enumerate(getattr(self, part)):
                found[row, column] = places.find(
                    name, where=f"{self.source}, row {row + 1}", what=f"the {part}"
                )
        return found


def read_triplets(path: str | Path) -> TripletTable:
    """Reads a table with the columns anchor, positive and negative, as `trine mine` writes it.

    Tables of people's judgements call the same columns head, close and far, or target, winner and loser;
    these and their like are understood as well.

    Args:
        path: The table: .csv, .tsv (either also with .gz) or .parquet. Items go by the names that the
            data gives them: paths relative to its folder, the name column or "row 17" of a table, the names
            or "item 17" of an array.

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
    held = header(path)
    wanted = [_column(path, name, held) for name in COLUMNS]
    table = read_columns(path, wanted)
    columns = [tuple(strings(table, name)) for name in wanted]
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


def _column(path: Path, name: str, held: Sequence[str]) -> str:
    """The table's word for a column; what it is called here goes before what it is called elsewhere."""
    lower = {each.lower(): each for each in reversed(held)}
    for word in (name, *ALSO[name]):
        if word in lower:
            return lower[word]
    raise DataError(
        f"{path} has no column called {name}: a table of triplets has the columns {', '.join(COLUMNS)}, or "
        "head, close, far"
    )
