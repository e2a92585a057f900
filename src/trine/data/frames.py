"""Tables in memory: data frames of pandas, polars and others, mappings of columns, and lists of rows."""

from __future__ import annotations

import datetime
import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from trine.data.columns import Columns
from trine.data.table_reader import TableReader
from trine.errors import DataError, InputError, require
from trine.labels import as_array, is_missing


@runtime_checkable
class DataFrame(Protocol):
    """A data frame, such as one of pandas or polars."""

    @property
    def columns(self) -> Any:
        """The names of the columns."""

    def __len__(self) -> int: ...


Tabular = DataFrame | Mapping[str, Any]
"""A table in memory: a data frame, or a mapping from column to values."""

SCALARS = (
    *(str, bytes, bool, int, float, complex, Decimal, np.generic, uuid.UUID, os.PathLike),
    *(datetime.date, datetime.time, datetime.timedelta),
)
"""The types of values that a column of mixed values may hold."""


def is_frame(source: object) -> bool:
    """Whether an object is a data frame, a series, a structured array, or a mapping of columns.

    It may also be a pair of one of these and the labels of its rows.
    """
    if isinstance(source, Mapping):
        return bool(source) and not any(_is_scalar(values) for values in source.values())
    if isinstance(source, np.ndarray):
        return source.dtype.names is not None
    if isinstance(source, tuple):
        return len(source) == 2 and is_frame(source[0]) and not hasattr(source[1], "columns")
    return _is_series(source) or _is_data_frame(source)


def are_rows(source: object) -> bool:
    """Whether an object is a list of rows, each a mapping from column to value."""
    return (
        isinstance(source, list | tuple) and bool(source) and all(isinstance(row, Mapping) for row in source)
    )


def as_row(source: object) -> dict[str, Any] | None:
    """Returns a row, given as a mapping from column to value or taken from a DataFrame; else None."""
    if isinstance(source, Mapping) and source and not is_frame(source):
        return {str(name): value for name, value in source.items()}
    index = getattr(source, "index", None) if _is_series(source) else None
    if index is not None and not callable(index) and all(isinstance(name, str) for name in index):
        return dict(zip(index, source, strict=True))  # type: ignore[call-overload]
    return None


class Frame(TableReader):
    """A table in memory.

    Args:
        source: A data frame, a series, a mapping from column to values, a list of rows, or a structured
            array.
        of: What a row is about, for errors.

    Raises:
        DataError: Columns differ in length, two have one name, or there are none.
    """

    def __init__(self, source: Any, *, of: str = "item") -> None:
        if not is_frame(source) and not are_rows(source):
            raise DataError(
                f"a {type(source).__name__} is not a table of {of}s: expected the path of a table, a "
                "DataFrame, a mapping from column to values, or a list of rows"
            )
        name, columns = _columns_of(source)
        super().__init__(name, of=of, names=[key for key, _ in columns], folder=Path())
        if not columns:
            raise DataError(f"{name} has no columns, expected at least one")
        lengths = {}
        for key, values in columns:
            if (
                not isinstance(values, Sized)
                or isinstance(values, set)
                or getattr(values, "shape", None) == ()
            ):
                raise DataError(
                    f"{name}: the column {key!r} is a {type(values).__name__}, expected a list, an array or "
                    "a series"
                )
            lengths[key] = len(values)
        first = next(iter(lengths))
        for key, length in lengths.items():
            if length != lengths[first]:
                raise DataError(
                    f"{name}: column {key!r} has {length} values and column {first!r} has "
                    f"{lengths[first]}: expected columns of equal length"
                )
        self._held = dict(columns)
        self.rows = lengths[first]

    def _columns(self, text: Iterable[str]) -> Columns:
        made: dict[str, Callable[[], Any]] = {
            key: partial(arrow_column, values, name=f"{self.source}: the column {key!r}")
            for key, values in self._held.items()
        }
        return Columns(self.source, made, rows=self.rows)


def arrow_column(values: Any, *, name: str) -> Any:
    """Makes an Arrow column of the values of a column, whatever holds them.

    Args:
        values: A series, an array, a tensor or a sequence.
        name: What an error calls them.

    Returns:
        The column; values of mixed types become texts.

    Raises:
        DataError: The values are no numbers, texts, times or lists of them.
    """
    arrow = require("pyarrow", extra="train")
    if isinstance(values, arrow.Array | arrow.ChunkedArray):
        return values if isinstance(values, arrow.ChunkedArray) else arrow.chunked_array([values])
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        halves = values.is_floating_point() and values.dtype.itemsize < 4
        values = (values.float() if halves else values).numpy()
    if isinstance(values, np.ma.MaskedArray):
        values = as_array(values)
    kind = str(getattr(values, "dtype", "")).lower()
    if kind.startswith("sparse"):
        values = np.asarray(values)
    if kind.startswith(("period", "interval")):
        values = values.astype(str)
    if kind == "object" and hasattr(values, "to_arrow"):
        values = values.to_list()  # polars would hand over the addresses of the objects
    if isinstance(values, np.ndarray):
        if values.ndim == 2 and values.dtype.kind in "fiub":
            rows = np.ascontiguousarray(values)
            made = arrow.FixedSizeListArray.from_arrays(arrow.array(rows.ravel()), rows.shape[1])
            return arrow.chunked_array([made])
        if values.ndim != 1:
            raise DataError(f"{name} has shape {values.shape}, expected one value or one list for each row")
        if values.dtype.kind in "fT" and values.dtype.itemsize > 8:
            values = values.astype(np.float64 if values.dtype.kind == "f" else object)
    try:
        made = values.to_arrow() if hasattr(values, "to_arrow") else arrow.array(values, from_pandas=True)
    except (arrow.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        made = arrow.array(_mixed_texts(list(values), name), arrow.string())
    return made if isinstance(made, arrow.ChunkedArray) else arrow.chunked_array([made])


def _mixed_texts(values: Sequence[Any], name: str) -> list[str | None]:
    """Values of several types as texts; a `DataError` where one is an object of another kind."""
    objects = np.fromiter(values, dtype=object, count=len(values))
    texts: list[str | None] = []
    for row, (value, missing) in enumerate(zip(values, is_missing(objects).tolist(), strict=True)):
        if not (missing or _is_scalar(value)):
            raise DataError(
                f"{name} holds a {type(value).__name__} in row {row + 1}, expected a number, a text, a time "
                "or a list of numbers: leave it out, or convert it"
            )
        text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
        texts.append(None if missing else text.encode("utf-8", "backslashreplace").decode())
    return texts


def _is_scalar(value: object) -> bool:
    if type(value).__module__.startswith("pandas."):  # a timestamp, a period, an interval, or NA
        return not hasattr(value, "__len__")
    return value is None or isinstance(value, SCALARS)


def _is_series(source: object) -> bool:
    return type(source).__name__ == "Series" and type(source).__module__.split(".")[0] in ("pandas", "polars")


def _is_data_frame(source: object) -> bool:
    wanted = ("__arrow_c_stream__", "__dataframe__")
    lazy = type(source).__name__ == "LazyFrame"
    return not isinstance(source, type) and (lazy or any(hasattr(source, name) for name in wanted))


def _columns_of(source: Any) -> tuple[str, list[tuple[str, Any]]]:
    """What to call a table in memory, and its columns."""
    if isinstance(source, tuple) and is_frame(source):
        name, columns = _columns_of(source[0])
        return name, [*columns, ("label", source[1])]
    if isinstance(source, Mapping):
        # As pandas' to_dict() makes them, the columns are mappings from row to value.
        held = {name: [*v.values()] if isinstance(v, Mapping) else v for name, v in source.items()}
        return "the mapping of columns", [(str(name), values) for name, values in held.items()]
    if isinstance(source, list | tuple):
        names = dict.fromkeys(name for row in source for name in row)
        return "the list of rows", [(str(name), [row.get(name) for row in source]) for name in names]
    if isinstance(source, np.ndarray):
        return "the structured array", [(name, source[name]) for name in source.dtype.names or ()]
    if _is_series(source):
        return "the Series", [("text" if source.name in (None, "") else str(source.name), source)]
    package = type(source).__module__.split(".")[0]
    if package == "pandas":
        named = [name for name in source.index.names if name is not None and name not in source.columns]
        if named and type(source.index).__name__ != "RangeIndex":
            source = source.reset_index(level=named)
        return "the DataFrame", [(str(name), source.iloc[:, at]) for at, name in enumerate(source.columns)]
    if package == "polars":
        frame = source.collect() if hasattr(source, "collect") else source
        return "the DataFrame", [(name, frame.get_column(name)) for name in frame.columns]
    arrow = require("pyarrow", extra="train")
    try:
        if hasattr(source, "__arrow_c_stream__"):
            table = arrow.table(source)
        else:
            table = require("pyarrow.interchange", extra="train").from_dataframe(source)
    except (arrow.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"a {type(source).__name__} cannot be read as a table ({error})") from error
    return "the table", [(name, table.column(at)) for at, name in enumerate(table.column_names)]
