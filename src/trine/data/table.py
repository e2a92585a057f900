"""Rows of a table as items: numbers and texts in named columns."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trine.errors import DataError, InputError, nearest
from trine.labels import is_missing_value
from trine.shapes import Float, Shaped

EXACT, EXACT32 = 2**53, 2**24
"""Up to here float64, and float32, hold every whole number."""

Row = Mapping[str, float | str | None]
"""One row: a number or a text for each column; None, NaN and the empty text are missing values."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of numbers and texts, one for each item; an item is a mapping from column to value.

    An encoder that was trained on a table finds its columns in another table by their names, whatever their
    order and whatever other columns there are.

    Args:
        columns: The values of each column: float64, NaN where one is missing; whole numbers, where float64
            does not hold all of their digits (objects of Python, if one is missing); or texts, empty where
            one is missing.
        features: The feature columns. Those of texts are categories.

    Raises:
        DataError: Columns differ in length, or a feature is not a column.

    Example:
        >>> table = Table({"size": np.array([1.5, np.nan]), "packer": np.array(["upx", ""])}, ("size",))
        >>> len(table), table[0]
        (2, {'size': 1.5, 'packer': 'upx'})
    """

    columns: Mapping[str, NDArray[Any]]
    features: tuple[str, ...]
    kind: Literal["vectors"] = field(default="vectors", init=False)

    def __post_init__(self) -> None:
        if not self.columns:
            raise DataError("a table without columns has no rows: give at least one column")
        lengths = {name: len(values) for name, values in self.columns.items()}
        first = next(iter(lengths))
        for name, length in lengths.items():
            if length != lengths[first]:
                raise DataError(
                    f"column {name!r} has {length} values and column {first!r} has {lengths[first]}: "
                    "expected columns of equal length"
                )
        for name in self.features:
            if name not in self.columns:
                raise DataError(f"feature {name!r} is not a column: {nearest(name, self.columns)}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int, /) -> dict[str, float | str]:
        row = {name: values[int(index)] for name, values in self.columns.items()}
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}

    @property
    def categories(self) -> tuple[str, ...]:
        """The features that hold texts."""
        return tuple(name for name in self.features if not is_numeric(self.columns[name]))

    @property
    def rows(self) -> Float[np.ndarray, "n d"]:
        """The features as float64, where all of them are numbers.

        Raises:
            InputError: A feature holds texts.
        """
        if self.categories:
            raise InputError(
                f"column {self.categories[0]!r} holds texts, and rows are numbers: use columns instead"
            )
        rows = np.empty((len(self), len(self.features)))
        for place, name in enumerate(self.features):
            rows[:, place] = self.columns[name]
        return rows

    def subset(self, indices: Sequence[int] | NDArray[np.integer[Any]], /) -> Table:
        """Takes a part of the rows, in the order given."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(self, columns={name: values[chosen] for name, values in self.columns.items()})


def table_of(rows: Sequence[Row], names: Sequence[str], *, first: int = 0) -> Table:
    """Makes a table of single rows.

    Args:
        rows: The rows; at least one.
        names: The columns to take; others are ignored.
        first: The number of the first row, for errors.

    Returns:
        The table; a column with any text is a column of texts.

    Raises:
        InputError: A row lacks a column, or holds neither a number nor a text.
    """
    columns: dict[str, NDArray[Any]] = {}
    for name in names:
        values = []
        for position, row in enumerate(rows):
            try:
                value = _value(row, name)
            except LookupError:
                known = nearest(name, [str(key) for key in row])
                raise InputError(f"item {first + position} has no column {name!r}: {known}") from None
            if not isinstance(value, str) and is_missing_value(value):
                value = None
            elif isinstance(value, Decimal):
                value = float(value)
            elif isinstance(value, datetime.date | datetime.time):
                value = value.isoformat()
            if not isinstance(value, str | float | int | np.number | np.bool_ | None):
                raise InputError(
                    f"item {first + position} has a {type(value).__name__} in column {name!r}, expected a "
                    "number, a text, or None for a missing value"
                )
            values.append(value)
        columns[name] = _column(values)
    return Table(columns, tuple(names))


def _value(row: Row, name: str) -> Any:
    """The value of a column of a row, which may be a place of a list: `embedding[3]`."""
    listed, _, place = name.removesuffix("]").rpartition("[")
    if name in row or not place.isdecimal():
        return row[name]
    values: Any = row[listed]
    return values[int(place)]


def is_numeric(values: NDArray[Any]) -> bool:
    """Whether a column holds numbers, not texts."""
    if values.dtype.kind == "O":
        return bool(len(values)) and isinstance(values[0], int | float)
    return values.dtype.kind in "fiub"


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values of a column are missing: NaN, or the empty text."""
    return np.asarray(values != values if is_numeric(values) else values == "", dtype=np.bool_)


def is_infinite(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values of a column are infinite; no text is."""
    if not is_numeric(values):
        return np.zeros(len(values), dtype=np.bool_)
    return np.asarray((values == np.inf) | (values == -np.inf), dtype=np.bool_)


def is_finite(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values of a column are numbers, neither missing nor infinite."""
    return ~(is_missing(values) | is_infinite(values))


def whole_numbers(values: Sequence[int | None]) -> NDArray[Any]:
    """Returns whole numbers of any size with all their digits, NaN where one is missing.

    Example:
        >>> whole_numbers([2**60 + 1, None]).tolist()
        [1152921504606846977, nan]
    """
    held = np.empty(len(values), dtype=object)
    held[:] = [np.nan if value is None else value for value in values]
    return held


def narrowest(numbers: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Returns numbers as float32 if that holds every digit of them, else as float64 or whole numbers.

    Example:
        >>> [narrowest(np.array([number])).dtype.name for number in (0.5, 0.1, 2**53 + 1)]
        ['float32', 'float64', 'int64']
    """
    if numbers.dtype.kind in "iu":
        most = (
            max((abs(int(end)) for end in (numbers.min(), numbers.max())), default=0) if numbers.size else 0
        )
        return numbers.astype(np.float32 if most <= EXACT32 else np.float64) if most <= EXACT else numbers
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32, copy=False)
    if numbers.dtype.kind == "b" or np.array_equal(narrow, numbers, equal_nan=True):
        return narrow
    return numbers.astype(np.float64, copy=False)


def differences(values: Shaped[np.ndarray, " n"], origin: int) -> Float[np.ndarray, " n"]:
    """Returns numbers minus a whole number, as float64; of whole numbers small differences are exact.

    Example:
        >>> differences(np.array([2**60, 2**60 + 1]), 2**60).tolist()
        [0.0, 1.0]
    """
    if values.dtype.kind == "O":
        return (values - origin).astype(np.float64)
    if values.dtype.kind not in "iu":
        return values.astype(np.float64) - float(origin)
    high, low = divmod(origin, 2**32)
    return ((values >> 32).astype(np.int64) - high) * 2.0**32 + ((values & 0xFFFFFFFF).astype(np.int64) - low)


def _column(values: Sequence[Any]) -> NDArray[Any]:
    if any(isinstance(value, str) for value in values):
        return np.array(["" if v is None or v != v else str(v) for v in values], dtype=object)
    known = [int(value) for value in values if isinstance(value, int | np.integer)]
    missing = sum(value is None or value != value for value in values)
    if known and len(known) + missing == len(values) and EXACT < max(map(abs, known)) < 2**63:
        if missing:
            return whole_numbers(
                [None if value is None or value != value else int(value) for value in values]
            )
        return np.array(known, dtype=np.int64)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
