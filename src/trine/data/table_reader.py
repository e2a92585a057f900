"""A table that was opened: the names of its columns, and how to find and read them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from trine.data.columns import Columns
from trine.data.load_report import some
from trine.errors import Argument, DataError, nearest

LISTED = 12
"""How many columns an error names."""


class TableReader(ABC):
    """A table that was opened: the names of its columns; `read` reads the rows.

    Args:
        source: Where the table is, for errors.
        of: What a row is about, such as "item" or "pair"; for errors.
        names: The names of the columns.
        folder: The folder that paths in the table are relative to.

    Raises:
        DataError: Two columns have one name.
    """

    def __init__(self, source: str, *, of: str, names: Sequence[str], folder: Path) -> None:
        self.source, self.of, self.names, self.folder = source, of, tuple(names), folder
        repeats = sorted(name for name, times in Counter(self.names).items() if times > 1)
        if repeats:
            raise DataError(f"{source} has two columns named {repeats[0]!r}: rename one")

    def __str__(self) -> str:
        return self.source

    @abstractmethod
    def _columns(self, text: Iterable[str]) -> Columns: ...

    def known_as(self, usual: Sequence[str]) -> list[str]:
        """Returns the columns that have a usual name, in the order of these names; case is ignored."""
        return [held for name in usual for held in self.names if held.lower() == name]

    def column(self, given: str | None, usual: Sequence[str] = (), *how: str | Argument) -> str:
        """Finds a column: the one that is named, or the first one that has a usual name.

        Args:
            given: The name; None takes a usual one.
            usual: The usual names, in lower case.
            how: What to do where no column has a usual name, for the error.

        Raises:
            DataError: The column is missing.
        """
        if given is not None:
            if given not in self.names:
                raise DataError(
                    f"{self.source} has no column {given!r}: {nearest(given, self.names, most=LISTED)}"
                )
            return given
        found = self.known_as(usual)
        if not found:
            *others, last = usual
            named = f"{', '.join(others)} or {last}" if others else last
            numbers = sum(name.replace(".", "").isdecimal() for name in self.names)
            header = "; its first line must name the columns" if 2 * numbers > len(self.names) else ""
            raise DataError(
                f"{self.source} has no column named {named}: ",
                *how,
                f"; its columns are {some(self.names, limit=LISTED)}{header}",
            )
        return found[0]

    def read(self, *, text: Iterable[str] = ()) -> Columns:
        """Reads all rows.

        Args:
            text: The columns of a CSV file that are read as they are written: "007" stays "007".

        Raises:
            DataError: The table is damaged, or has no rows.
        """
        columns = self._columns(text)
        if len(columns) == 0:
            raise DataError(f"{self.source} has no rows below its header, expected one for each {self.of}")
        return columns
