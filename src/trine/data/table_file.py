"""Reads table files, CSV or Parquet, into named columns; each source interprets them."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.data.load_report import some
from trine.errors import DataError, nearest, require
from trine.shapes import Float, Int64

TABLE_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
"""The endings, in lower case, of the files that are read as tables."""

LISTED = 12
"""How many columns an error names."""


def is_table(path: Path) -> bool:
    """Whether a path ends as a table does."""
    return path.name.lower().endswith(TABLE_SUFFIXES)


class TableFile:
    """A table file; only its header is read until `read` is called.

    Args:
        path: The file: .csv, .tsv (either also with .gz) or .parquet.
        of: What a row is about, such as "item" or "pair"; for errors.

    Attributes:
        path: The file.
        of: What a row is about.
        names: The names of the columns.

    Raises:
        DataError: The file is missing, not a table or damaged, or two columns have one name.
        MissingDependencyError: pyarrow is not installed.
    """

    def __init__(self, path: str | Path, *, of: str = "item") -> None:
        self.path, self.of = Path(path), of
        if not is_table(self.path):
            raise DataError(
                f"{path} is not a table of {of}s: expected a file that ends in {', '.join(TABLE_SUFFIXES)}"
            )
        if not self.path.is_file():
            raise DataError(f"there is no table of {of}s at {path}: give the path of an existing file")
        self.names = self._parquet_names() if self._is_parquet else self._csv_names()
        if repeats := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise DataError(f"{path} has two columns named {repeats[0]!r}: rename one")

    def known_as(self, usual: Sequence[str]) -> str | None:
        """Returns the column that has one of the usual names, the first of these first; case is ignored."""
        return next((held for name in usual for held in self.names if held.lower() == name), None)

    def column(self, given: str | None, usual: Sequence[str] = (), *, how: str = "") -> str:
        """Finds a column: the one that is named, or the one that has a usual name.

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
                    f"{self.path} has no column {given!r}: {nearest(given, self.names, most=LISTED)}"
                )
            return given
        found = self.known_as(usual)
        if found is None:
            *others, last = usual
            named = f"{', '.join(others)} or {last}" if others else last
            raise DataError(
                f"{self.path} has no column named {named}: {how}; its columns are "
                f"{some(self.names, limit=LISTED)}"
            )
        return found

    def read(self, *, text: Iterable[str] = ()) -> Columns:
        """Reads all rows.

        Args:
            text: The columns of a CSV file that are read as they are written: "007" stays "007".

        Raises:
            DataError: The file is damaged, or has no rows.
        """
        arrow = require("pyarrow", extra="train")
        try:
            if self._is_parquet:
                table = require("pyarrow.parquet", extra="train").read_table(self.path)
            else:
                table = self._read_csv(arrow, text)
        except (ValueError, OSError, EOFError, zlib.error) as error:
            why = str(error).partition("\n")[0]
            raise DataError(f"{self.path} cannot be read as a table: {why}") from error
        if table.num_rows == 0:
            raise DataError(f"{self.path} has no rows below its header, expected one for each {self.of}")
        return Columns(self.path, table)

    @property
    def _is_parquet(self) -> bool:
        return self.path.suffix.lower() == ".parquet"

    def _open(self) -> Any:
        return gzip.open(self.path) if self.path.suffix.lower() == ".gz" else self.path.open("rb")

    @cached_property
    def _first_line(self) -> str:
        try:
            with self._open() as file:
                line: bytes = file.readline()
        except (OSError, EOFError) as error:
            raise DataError(f"{self.path} cannot be read: {error}") from error
        return line.lstrip(b"\xef\xbb\xbf").decode("utf-8", "replace").strip("\r\n")

    @property
    def _separator(self) -> str:
        # A comma wins: in a header line the others are part of a name more often than not.
        return next((mark for mark in ",;\t" if mark in self._first_line), ",")

    def _parquet_names(self) -> list[str]:
        parquet = require("pyarrow.parquet", extra="train")
        try:
            names = parquet.read_schema(self.path).names
        except (ValueError, OSError) as error:
            raise DataError(f"{self.path} is not a Parquet file, or it is damaged: write it again") from error
        return [name for name in names if not name.startswith("__index_level")]

    def _csv_names(self) -> list[str]:
        if not self._first_line:
            raise DataError(f"{self.path} is empty, expected a header line and one row for each {self.of}")
        try:
            return next(csv.reader([self._first_line], delimiter=self._separator))
        except csv.Error as error:
            raise DataError(
                f"the header line of {self.path} cannot be read ({error}): save the table as CSV in UTF-8"
            ) from error

    def _read_csv(self, arrow: Any, text: Iterable[str]) -> Any:
        reader = require("pyarrow.csv", extra="train")
        with self._open() as file:
            content = file.read()
        return reader.read_csv(
            arrow.BufferReader(content),
            # One block: types are inferred from the first, and a later one that differs is an error.
            # One thread: a reading thread that outlives an error aborts the process when it ends.
            read_options=reader.ReadOptions(block_size=min(len(content) + 1, 2**31 - 1), use_threads=False),
            parse_options=reader.ParseOptions(delimiter=self._separator, newlines_in_values=True),
            convert_options=reader.ConvertOptions(
                column_types={name: arrow.string() for name in text}, strings_can_be_null=False
            ),
        )


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a table that was read, by name.

    Args:
        path: Where the table is from, for errors.
        table: The table, as Arrow holds it.
    """

    path: Path
    table: Any

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def texts(self, name: str) -> list[str]:
        """Reads a column as text; whole floats, as pandas writes integers with gaps, lose ".0"."""
        return [
            ""
            if value is None or value != value
            else str(int(value))
            if isinstance(value, float) and value.is_integer()
            else str(value).strip()
            for value in self.values(name)
        ]

    def filled(self, name: str) -> list[str]:
        """Reads a column as text in which no cell may be empty.

        Raises:
            DataError: One is.
        """
        texts = self.texts(name)
        if "" in texts:
            raise self.empty(name, texts.index(""))
        return texts

    def numbered(self, name: str) -> tuple[tuple[str, ...], Int64[np.ndarray, " n"]]:
        """Reads a column without empty cells: its distinct texts as they appear, and each row's number."""
        cells = self.filled(name)
        number = {text: at for at, text in enumerate(dict.fromkeys(cells))}
        return tuple(number), np.array([number[text] for text in cells], dtype=np.int64)

    def empty(self, name: str, row: int) -> DataError:
        """The error for an empty cell, its row counted from 0."""
        return DataError(f"{self.path}, row {row + 1} has no {name}: fill it in, or remove the row")

    def numbers(self, name: str) -> Float[np.ndarray, " n"] | None:
        """Reads a column as numbers, NaN where one is missing; None if it holds anything else."""
        arrow = require("pyarrow", extra="train")
        types, column = arrow.types, self.table.column(name)
        if types.is_boolean(column.type):
            column = column.cast(arrow.int8())
        elif types.is_decimal(column.type):
            column = column.cast(arrow.float64())
        elif not (types.is_integer(column.type) or types.is_floating(column.type)):
            return None
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)

    def times(self, name: str) -> Float[np.ndarray, " n"] | None:
        """Reads a column of numbers, or of dates as microseconds; None if it holds anything else."""
        arrow = require("pyarrow", extra="train")
        column = self.table.column(name)
        if not arrow.types.is_temporal(column.type):
            return self.numbers(name)
        moments = column.cast(arrow.timestamp("us")).cast(arrow.int64()).cast(arrow.float64())
        return np.asarray(moments.to_numpy(zero_copy_only=False))

    def array(self, name: str, *, text: bool = False) -> NDArray[Any] | None:
        """Reads a column as float64, NaN where a number is missing, or as strings; None if it is neither."""
        types = require("pyarrow", extra="train").types
        kind = self.table.schema.field(name).type
        if text or types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind):
            return np.array(self.texts(name), dtype=np.str_)
        return np.full(len(self), np.nan) if types.is_null(kind) else self.numbers(name)

    def values(self, name: str) -> list[Any]:
        """Reads a column as plain Python values, None where one is missing."""
        values: list[Any] = self.table.column(name).to_pylist()
        return values
