"""Opens tables - CSV, Parquet, data frames, mappings of columns - and reads their columns by name."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trine.data.columns import Columns
from trine.data.csv_layout import CsvLayout, decode, detect_encoding, is_utf8, read_layout
from trine.data.formula_cells import unguarded
from trine.data.frames import Frame
from trine.data.table_reader import TableReader
from trine.errors import DataError, require
from trine.io import check_readable

TABLE_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
"""The endings, in lower case, of the files that are read as tables."""

SAMPLE = 1 << 18
"""How many bytes of a CSV file are read first; more only if its header is longer."""

UNPACKED, MOST_TIMES = 1 << 28, 200
"""A packed file may unpack to so many bytes, and to more if it grows by no more than this factor."""


def is_table(path: Path) -> bool:
    """Whether a path ends as a table does."""
    return path.name.lower().endswith(TABLE_SUFFIXES)


def open_table(source: object, *, of: str = "item") -> TableReader:
    """Opens a table; of a file only the header is read until `read` is called.

    Args:
        source: A file: .csv, .tsv (either also with .gz) or .parquet; or a table in memory, as `Frame` takes
            it; or one that is open.
        of: What a row is about, such as "item" or "pair"; for errors.

    Returns:
        The table.

    Raises:
        DataError: The file is missing, not a table or damaged, or two columns have one name.
        MissingDependencyError: pyarrow is not installed.
    """
    if isinstance(source, TableReader):
        return source
    if not isinstance(source, str | Path):
        return Frame(source, of=of)
    path = Path(source)
    if not is_table(path):
        raise DataError(
            f"{path} is not a table of {of}s: expected a file that ends in {', '.join(TABLE_SUFFIXES)}"
        )
    if not os.path.isfile(path):  # noqa: PTH113 - which answers for any name
        raise DataError(f"there is no table of {of}s at {path}: give the path of an existing file")
    return _ParquetFile(path, of) if path.suffix.lower() == ".parquet" else _CsvFile(path, of)


class _ParquetFile(TableReader):
    def __init__(self, path: Path, of: str) -> None:
        parquet = require("pyarrow.parquet", extra="train")
        self._path = path
        check_readable(path, DataError)
        try:
            with parquet.ParquetFile(path) as file:
                names, rows = file.schema_arrow.names, file.metadata.num_rows
        except (ValueError, OSError, NotImplementedError) as error:
            raise DataError(f"{path} is not a Parquet file, or it is damaged: write it again") from error
        names = [name for name in names if not name.startswith("__index_level")]
        super().__init__(str(path), of=of, names=names, folder=path.parent)
        _check_growth(path, rows * len(names) * 8)

    def _columns(self, text: Iterable[str]) -> Columns:
        arrow = require("pyarrow", extra="train")
        try:
            # A folder named "key=value" is no column of the file.
            table = require("pyarrow.parquet", extra="train").read_table(self._path, partitioning=None)
        except (arrow.ArrowException, ValueError, OSError) as error:
            raise _unreadable(self.source, error) from error
        columns = {name: table.column(at) for at, name in enumerate(table.column_names)}
        return Columns(self.source, columns, rows=table.num_rows)


class _CsvFile(TableReader):
    def __init__(self, path: Path, of: str) -> None:
        self._path = path
        self._layout = self._read_layout()
        # Spreadsheets and data frames number the rows in a column without a name.
        names = [name for name in self._layout.names if _is_named(name)]
        super().__init__(str(path), of=of, names=names, folder=path.parent)

    def _open(self) -> Any:
        return gzip.open(self._path) if self._path.suffix.lower() == ".gz" else self._path.open("rb")

    def _read_layout(self) -> CsvLayout:
        sample = b""
        try:
            with self._open() as file:
                while True:
                    more = file.read(SAMPLE + len(sample))
                    sample += more
                    layout = read_layout(sample, whole=not more, name=str(self._path))
                    if layout is not None:
                        return layout
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self._path} cannot be read: {error}") from error

    def _columns(self, text: Iterable[str]) -> Columns:
        arrow, reader = require("pyarrow", extra="train"), require("pyarrow.csv", extra="train")
        layout, as_text = self._layout, set(text)
        places = [name if _is_named(name) else f"\0{at}" for at, name in enumerate(layout.names)]
        try:
            content, notes = self._content()
            if not content.strip(b"\r\n"):
                return Columns(self.source, {}, rows=0)
            table = reader.read_csv(
                arrow.BufferReader(content),
                # One thread: a reading thread that outlives an error aborts the process when it ends.
                read_options=reader.ReadOptions(
                    column_names=places, block_size=min(len(content) + 1, 2**31 - 1), use_threads=False
                ),
                parse_options=reader.ParseOptions(delimiter=layout.separator, newlines_in_values=True),
                convert_options=reader.ConvertOptions(
                    column_types=dict.fromkeys(places, arrow.string()),
                    include_columns=list(self.names),
                    strings_can_be_null=False,
                ),
            )
        except (ValueError, OSError, EOFError, zlib.error) as error:
            if isinstance(error, DataError):
                raise
            raise _unreadable(self.source, error) from error
        columns = {name: table.column(at) for at, name in enumerate(self.names)}
        if b"'" in content:
            columns = {name: unguarded(column) for name, column in columns.items()}
        return Columns(
            self.source,
            columns,
            rows=table.num_rows,
            written=[name for name in self.names if name not in as_text],
            separator=layout.separator,
            notes=notes,
        )

    def _content(self) -> tuple[bytes, tuple[str, ...]]:
        """The rows in UTF-8, without the header, and what to tell the user about their encoding."""
        packed = self._path.suffix.lower() == ".gz"
        with self._open() as file:
            parts, size = [], 0
            while part := file.read(1 << 24):
                parts.append(part)
                size += len(part)
                if packed:
                    _check_growth(self._path, size)
            content = b"".join(parts)
        encoding, start = self._layout.encoding, self._layout.start
        if encoding == "utf-8":
            header = content[: 4 * start].decode("utf-8", "replace")[:start].encode()
            if is_utf8(content, whole=True):
                return content[len(header) :], ()
            if not header.isascii():
                raise DataError(
                    f"{self.source}: the header is UTF-8 and some rows are not: save all as UTF-8"
                )
            encoding = detect_encoding(content)
        text = decode(content, encoding, whole=True, name=self.source)
        note = f"read as {encoding}, since it is not UTF-8: save it as UTF-8 if letters look wrong"
        return text[start:].encode(), () if encoding.startswith("utf") else (note,)


def _is_named(name: str) -> bool:
    return bool(name) and not name.startswith("Unnamed: ")


def _check_growth(path: Path, size: int) -> None:
    """Raises a `DataError` for a packed file that unpacks to far more than tables do."""
    if size > max(UNPACKED, MOST_TIMES * path.stat().st_size):
        raise DataError(
            f"{path} unpacks to more than {MOST_TIMES} times its size: it is damaged, or made to fill the "
            "memory; unpack it yourself if it is neither"
        )


def _unreadable(source: str, error: BaseException) -> DataError:
    return DataError(f"{source} cannot be read as a table: {str(error).partition(chr(10))[0]}")
