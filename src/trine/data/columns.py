"""The columns of a table, whatever their type: as texts, numbers, times, lists of numbers or plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.data.number_formats import read_numbers, text_cells
from trine.data.table import EXACT, whole_numbers
from trine.errors import DataError, require
from trine.labels import MISSING
from trine.shapes import Float, Int64, Shaped

SHOWN_BYTES = 64
"""The most bytes, other than text, that are written in hexadecimal."""


class Columns:
    """The columns of a table that was read, by name.

    Args:
        source: Where the table is from, for errors.
        columns: The columns, as Arrow holds them; or what makes them when they are asked for.
        rows: How many rows there are.
        written: The columns of a CSV file, which are texts that may be numbers.
        separator: The separator of the CSV file.
        notes: What to tell the user about how the table was read.
    """

    def __init__(
        self,
        source: str,
        columns: Mapping[str, Any | Callable[[], Any]],
        *,
        rows: int,
        written: Iterable[str] = (),
        separator: str = ",",
        notes: tuple[str, ...] = (),
    ) -> None:
        self.source = source
        self._columns = dict(columns)
        self._rows = rows
        self._written, self._separator, self._notes = frozenset(written), separator, notes

    def __len__(self) -> int:
        return self._rows

    @property
    def notes(self) -> tuple[str, ...]:
        """What to tell the user about how the table was read, and in what format its numbers are."""
        return (*self._notes, *self._read_numbers[1])

    @cached_property
    def _read_numbers(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        texts = {name: column for name, column in self._columns.items() if name in self._written}
        return read_numbers(texts, separator=self._separator) if texts else ({}, ())

    def column(self, name: str) -> Any:
        """Returns a column as Arrow holds it, without dictionaries and other encodings.

        Raises:
            DataError: It holds objects that are not values of a table.
        """
        return plain_column(self._held(name))

    def _held(self, name: str) -> Any:
        column = self._columns[name]
        if callable(column):
            column = self._columns[name] = column()
        return column

    def texts(self, name: str) -> list[str]:
        """Reads a column as text: times as ISO 8601, and whole floats without ".0", as they were before gaps.

        Raises:
            DataError: The column holds lists, or bytes that are not text.
        """
        try:
            return column_texts(self.column(name))
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{self.source}: the column {name!r} {error}") from error

    def labels(self, name: str) -> list[str]:
        """Reads a column of labels as text, empty where one is missing."""
        return ["" if text in MISSING else text for text in self.texts(name)]

    def filled(self, name: str) -> list[str]:
        """Reads a column as text in which no cell may be empty.

        Raises:
            DataError: One is.
        """
        texts = self.labels(name)
        if "" in texts:
            raise self.empty(name, texts.index(""))
        return texts

    def several(self, name: str, separator: str) -> list[list[str]]:
        """Reads a column of lists of texts, or of texts that a separator cuts into several."""
        column = self.column(name)
        if _is_list(column.type):
            texts = iter(column_texts(require("pyarrow.compute", extra="train").list_flatten(column)))
            lengths = require("pyarrow.compute", extra="train").list_value_length(column).to_pylist()
            cells = [[next(texts) for _ in range(length or 0)] for length in lengths]
        else:
            cells = [text.split(separator) for text in self.texts(name)]
        return [[part for part in cell if part] for cell in cells]

    def numbered(self, name: str) -> tuple[tuple[str, ...], Int64[np.ndarray, " n"]]:
        """Reads a column without empty cells: its distinct texts as they appear, and each row's number."""
        cells = self.filled(name)
        number = {text: at for at, text in enumerate(dict.fromkeys(cells))}
        return tuple(number), np.array([number[text] for text in cells], dtype=np.int64)

    def empty(self, name: str, row: int) -> DataError:
        """The error for an empty cell, its row counted from 0."""
        return DataError(f"{self.source}, row {row + 1} has no {name}: fill it in, or remove the row")

    def numbers(self, name: str) -> Shaped[np.ndarray, " n"] | None:
        """Reads a column as float64, NaN where a number is missing; None if it holds anything else.

        Whole numbers that float64 does not hold stay whole numbers: as integers, or beside a missing one as
        objects of Python.
        """
        column = self._numeric(name)
        return None if column is None else as_numbers(column)

    def odd_cell(self, name: str) -> tuple[int, str] | None:
        """The first cell that is no number, and its row from 0, in a column of mostly numbers."""
        if name not in self._written or name in self._read_numbers[0]:
            return None
        odd = np.asarray(text_cells(self.column(name)).to_numpy(), dtype=bool)
        row = int(np.argmax(odd))
        return None if 2 * odd.sum() > len(odd) else (row, self.texts(name)[row])

    def vectors(self, name: str) -> Float[np.ndarray, "n d"] | None:
        """Reads a column of lists of numbers, all of one length; None if it holds anything else."""
        try:
            column = self.column(name)
        except DataError:
            return None
        return as_vectors(column) if _is_list(column.type) else None

    def times(self, name: str) -> Shaped[np.ndarray, " n"] | None:
        """Reads a column of numbers or times as numbers that sort in their order; None if it holds others.

        Times are whole numbers in the unit of the column, so that nanoseconds differ. Those of a CSV file are
        texts, which this does not read.
        """
        arrow = require("pyarrow", extra="train")
        column = self.column(name)
        if not arrow.types.is_temporal(column.type) or arrow.types.is_interval(column.type):
            return self.numbers(name)
        wide = column.type.bit_width == 64
        return as_numbers(column.cast(arrow.int64() if wide else arrow.int32()))

    def array(self, name: str) -> NDArray[Any] | None:
        """Reads a column as numbers, or else as texts; None if it is neither."""
        try:
            numbers = self.numbers(name)
            return np.array(self.texts(name), dtype=object) if numbers is None else numbers
        except DataError:
            return None

    def values(self, name: str) -> list[Any]:
        """Reads a column as plain values that JSON knows, None where one is missing.

        Numbers of a CSV file that begin with zeros are codes, and stay texts.

        Raises:
            DataError: A value is none that JSON knows.
        """
        arrow, compute = require("pyarrow", extra="train"), require("pyarrow.compute", extra="train")
        column = self.column(name)
        if name in self._written:
            numbers = self._read_numbers[0].get(name)
            if (
                numbers is None
                or compute.any(compute.match_substring_regex(column, "^ *[+-]?0[0-9]")).as_py()
            ):
                return [text or None for text in self.texts(name)]
            column = numbers
        if arrow.types.is_nested(column.type):
            return [self._json(name, row, value) for row, value in enumerate(column.to_pylist())]
        if arrow.types.is_decimal(column.type):
            return [None if value is None else _of_decimal(value) for value in column.to_pylist()]
        if _is_number(column.type):
            return [value if value == value else None for value in column.to_pylist()]
        if arrow.types.is_duration(column.type):
            return [_of_decimal(Decimal(text)) if text else None for text in self.texts(name)]
        return [text or None for text in self.texts(name)]

    def _numeric(self, name: str) -> Any:
        """A column of numbers as Arrow holds it; None if it holds anything else, such as categories."""
        if name in self._written:
            return self._read_numbers[0].get(name)
        if require("pyarrow", extra="train").types.is_dictionary(self._held(name).type):
            return None
        column = self.column(name)
        return column if _is_number(column.type) else None

    def _json(self, name: str, row: int, value: Any) -> Any:
        try:
            return json.loads(json.dumps(value, default=_plain, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{self.source}, row {row + 1}: the {name} cannot be stored ({error}): leave the column out"
            ) from error


def plain_column(column: Any) -> Any:
    """Removes the encodings of a column: dictionaries, runs and extension types."""
    arrow = require("pyarrow", extra="train")
    while True:
        kind = column.type
        if arrow.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
        elif arrow.types.is_run_end_encoded(kind):
            column = require("pyarrow.compute", extra="train").run_end_decode(column)
        elif isinstance(kind, arrow.BaseExtensionType):
            if kind.extension_name == "arrow.uuid":
                return arrow.chunked_array([[None if v is None else str(v) for v in column.to_pylist()]])
            parts = [chunk.storage for chunk in column.chunks]
            column = arrow.chunked_array(parts, type=kind.storage_type)
        else:
            return column


def column_texts(column: Any) -> list[str]:
    """Writes the values of a column as texts, empty where one is missing.

    Raises:
        ValueError: It holds lists, or bytes that are not text; the message continues "the column ...".
    """
    arrow = require("pyarrow", extra="train")
    types, kind = arrow.types, column.type
    if types.is_null(kind):
        return [""] * len(column)
    if _is_list(kind) and (single := _single(column)) is not None:
        return column_texts(single)
    if types.is_nested(kind):
        raise ValueError("holds lists or mappings, expected one text or number in each row")
    if types.is_duration(kind):
        return [_seconds(ticks, kind.unit) for ticks in column.cast(arrow.int64()).to_pylist()]
    if types.is_temporal(kind) and not types.is_interval(kind):
        return _iso_texts(column)
    values = column.to_pylist()
    if types.is_floating(kind):
        narrow = {16: np.float16, 32: np.float32}.get(kind.bit_width, np.float64)
        return [
            "" if v is None or v != v else str(int(v)) if v.is_integer() else str(narrow(v)) for v in values
        ]
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return [_of_bytes(value) for value in values]
    return ["" if value is None else str(value).strip() for value in values]


def as_numbers(column: Any) -> Shaped[np.ndarray, " n"]:
    """Reads a column of numbers as float64, NaN where one is missing; see `Columns.numbers`."""
    arrow, compute = require("pyarrow", extra="train"), require("pyarrow.compute", extra="train")
    kind = column.type
    if arrow.types.is_null(kind):
        return np.full(len(column), np.nan)
    if arrow.types.is_boolean(kind):
        column = column.cast(arrow.int8())
    if arrow.types.is_decimal(kind):
        try:
            column = column.cast(arrow.int64())
        except arrow.ArrowInvalid:
            column = column.cast(arrow.float64())
    if arrow.types.is_integer(column.type) and column.null_count < len(column):
        ends = compute.min_max(column).as_py()
        if max(-ends["min"], ends["max"]) > EXACT:
            return whole_numbers(column.to_pylist()) if column.null_count else np.asarray(column.to_numpy())
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def as_vectors(column: Any) -> Float[np.ndarray, "n d"] | None:
    """Reads a column of lists of numbers, NaN where a number or a list is missing; None if it is none."""
    arrow, compute = require("pyarrow", extra="train"), require("pyarrow.compute", extra="train")
    kind = column.type
    if not _is_number(kind.value_type):
        return None
    if arrow.types.is_fixed_size_list(kind):
        width = kind.list_size
    else:
        ends = compute.min_max(compute.list_value_length(column)).as_py()
        width = ends["min"]
        if width is None or width != ends["max"]:
            return None
    if not width:
        return None
    filled = np.asarray(column.is_valid().to_numpy(), dtype=bool)
    rows = np.full((len(column), width), np.nan)
    if filled.any():
        numbers = compute.list_flatten(column.filter(arrow.array(filled)))
        rows[filled] = as_numbers(numbers).reshape(-1, width)
    return rows


def _single(column: Any) -> Any:
    """The values of a column of lists with one value each; None where a list has another length."""
    compute = require("pyarrow.compute", extra="train")
    lengths = compute.list_value_length(column)
    if column.null_count or not compute.all(compute.equal(lengths, 1)).as_py():
        return None
    return compute.list_flatten(column)


def _is_number(kind: Any) -> bool:
    types = require("pyarrow", extra="train").types
    tests = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    return any(test(kind) for test in tests)


def _is_list(kind: Any) -> bool:
    types = require("pyarrow", extra="train").types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _iso_texts(column: Any) -> list[str]:
    """Writes times as ISO 8601, in UTC where the zone is known; a column without fractions shows none."""
    arrow = require("pyarrow", extra="train")
    kind = column.type
    zoned = arrow.types.is_timestamp(kind) and kind.tz is not None
    if zoned:
        column = column.cast(arrow.timestamp(kind.unit, "UTC"))
    texts = [
        (text or "").removesuffix("Z").replace(" ", "T") for text in column.cast(arrow.string()).to_pylist()
    ]
    fractions = {text.partition(".")[2] for text in texts if "." in text}
    if all(set(fraction) <= {"0"} for fraction in fractions):
        texts = [text.partition(".")[0] for text in texts]
    return [f"{text}Z" if zoned and text else text for text in texts]


_TICKS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def _seconds(ticks: int | None, unit: str) -> str:
    """Writes a duration in seconds, with all its digits."""
    if ticks is None:
        return ""
    whole, _, fraction = f"{Decimal(ticks).scaleb(-_TICKS[unit]):f}".partition(".")
    return f"{whole}.{fraction}".rstrip("0").rstrip(".") if fraction else whole


def _of_bytes(value: bytes | None) -> str:
    """The text that bytes spell; short ones that spell none, such as a hash, in hexadecimal."""
    if value is None:
        return ""
    try:
        return value.decode("utf-8").strip()
    except UnicodeDecodeError:
        if len(value) <= SHOWN_BYTES:
            return value.hex()
        raise ValueError(f"holds {len(value):,} bytes that are not text in UTF-8: leave it out") from None


def _of_decimal(value: Decimal) -> int | float | str:
    """A number with all its digits; the text of one that has more than a float holds."""
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return _of_bytes(value)
    if isinstance(value, Decimal):
        return _of_decimal(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
