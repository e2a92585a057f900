"""A table of triplets: the positive should be nearer to the anchor than the negative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trine.data.item_lookup import ItemLookup
from trine.data.table_file import open_table
from trine.errors import DataError
from trine.shapes import Int64

COLUMNS = ("anchor", "positive", "negative")
"""The columns of a table of triplets; others are ignored."""

ALSO_NAMED = {
    "anchor": ("head", "target", "reference", "query"),
    "positive": ("close", "closer", "near", "nearer", "similar", "winner"),
    "negative": ("far", "farther", "dissimilar", "loser"),
}
"""Other names of these columns; case is ignored."""


@dataclass(frozen=True)
class TripletTable:
    """Triplets of items by their names, one a row.

    Attributes:
        source: Where they come from, for errors.
        anchor: The name of each anchor.
        positive: The name of the item that should be nearer to it.
        negative: The name of the item that should be farther from it.
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
                the suffix of an image, and "17" is "item 17" of an array.

        Returns:
            For each triplet the positions of its anchor, positive and negative among the names.

        Raises:
            DataError: A name is unknown or ambiguous.

        Example:
            >>> table = TripletTable("t.csv", ("a",), ("c",), ("b",))
            >>> table.positions(["a", "b", "c"]).tolist()
            [[0, 2, 1]]
        """
        lookup = ItemLookup(names)
        found = np.empty((len(self), 3), dtype=np.int64)
        for column, part in enumerate(COLUMNS):
            for row, name in enumerate(getattr(self, part)):
                found[row, column] = lookup.find(name, where=f"{self.source}, row {row + 1}: the {part}")
        return found


def read_triplets(path: object) -> TripletTable:
    """Reads a table with the columns anchor, positive and negative, as `trine mine` writes it.

    Tables of human judgements name these columns head, close and far, or target, winner and loser;
    these names and similar ones are understood as well.

    Args:
        path: The table: .csv, .tsv (either also with .gz) or .parquet, a DataFrame or a mapping of columns.
            Items are named as the data names them: paths relative to its folder, the name column or "row 17"
            of a table, the names or "item 17" of an array.

    Returns:
        The triplets.

    Raises:
        DataError: The table is missing, damaged or empty, a column is missing, or a row names an
            item twice or not at all.
        MissingDependencyError: pyarrow is not installed.
    """
    file = open_table(path, of="triplet")
    how = f"a table of triplets has the columns {', '.join(COLUMNS)}, or head, close, far"
    wanted = [file.column(None, (name, *ALSO_NAMED[name]), how) for name in COLUMNS]
    table = file.read(text=wanted)
    columns = [tuple(table.filled(name)) for name in wanted]
    for row, names in enumerate(zip(*columns, strict=True), start=1):
        if len(set(names)) < 3:
            raise DataError(
                f"{file.source}, row {row} names one item twice ({', '.join(names)}): expected three "
                "different ones"
            )
    return TripletTable(file.source, *columns)
