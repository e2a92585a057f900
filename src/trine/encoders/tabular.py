"""Preprocessing of table rows: scaled numbers, markers of missing values, categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trine.data import Items, Table, Vectors
from trine.data.table import EXACT, differences, is_infinite, is_missing, is_numeric, table_of
from trine.encoders.preprocessing import stacked_vectors
from trine.encoders.scaling import Scaling, learn_scale, scale
from trine.encoders.settings import ColumnSettings, TableSettings
from trine.errors import DataError, InputError, nearest
from trine.shapes import Float, Float32, Float64, Shaped

MOST_CATEGORIES, FEWEST_ROWS = 64, 2


def learn_table(items: Table | Vectors, *, scaling: Scaling) -> TableSettings:
    """Fits the preprocessing of each column to the training rows: scaling, imputation and categories.

    A constant column gets no feature. A column with missing values gets one more feature, which marks them.
    Of a column of texts, the 64 most frequent ones that at least two rows have become categories; all others
    share one further category.

    Args:
        items: The training items.
        scaling: How numbers are scaled.

    Returns:
        The settings to save with the encoder.

    Raises:
        DataError: A value is infinite, or no column varies.

    Example:
        >>> rows = Vectors(np.array([[1, 5], [2, 5], [np.nan, 5]], dtype=np.float32))
        >>> [column.features for column in learn_table(rows, scaling="standard").columns]
        [2, 0]
    """
    if isinstance(items, Table):
        held = {name: items.columns[name] for name in items.features}
    else:
        held = {str(place): column for place, column in enumerate(items.rows.T)}
    columns = tuple(
        _learn_numbers(name, values, scaling) if is_numeric(values) else _learn_categories(name, values)
        for name, values in held.items()
    )
    table = TableSettings(scaling, isinstance(items, Table), columns)
    if table.features == 0:
        raise DataError(
            f"each of the {len(columns)} columns is constant over the training items, so there is nothing to "
            "learn from; choose other features"
        )
    return table


def prepare_rows(
    items: Sequence[Any] | Items, *, table: TableSettings, first: int = 0
) -> Float32[Tensor, "n d"]:
    """Preprocesses one batch of rows as the training rows were: scaled in float64, then float32.

    Columns of tables and mappings are found by name, those of arrays by position. A missing number is
    replaced by the training rows' median.

    Args:
        items: A table; mappings from column to value; or arrays with one number for each column.
        table: The result of `learn_table`.
        first: The number of the first item, for errors.

    Returns:
        One batch.

    Raises:
        InputError: A column is missing, or a value does not suit its column.
    """
    columns = _columns_of(items, table, first)
    # Rows that are divided by their length may be beyond float32 before that.
    dtype = np.float64 if table.scaling == "length" else np.float32
    batch = np.empty((len(items), table.features), dtype=dtype)
    place = 0
    for column in table.columns:
        if column.features == 0:
            continue
        values, stop = columns[column.name], place + column.features
        if column.categories is None:
            numbers = differences(_as_numbers(values, column.name, first), column.origin)
            with np.errstate(over="ignore"):
                batch[:, place:stop] = _from_numbers(numbers, column, table.scaling)
        else:
            batch[:, place:stop] = _from_categories(values, column.categories)
        place = stop
    if table.scaling == "length":
        _, exponents = np.frexp(np.abs(batch).max(axis=1, keepdims=True))
        batch = np.ldexp(batch, -exponents).astype(np.float32)
    return torch.from_numpy(batch)


def raw_rows(
    items: Sequence[Any] | Items, *, table: TableSettings, columns: Sequence[ColumnSettings]
) -> Float64[np.ndarray, "n c"]:
    """Turns rows into numbers without scaling them, as an exported graph takes them.

    Args:
        items: As for `prepare_rows`.
        table: The result of `learn_table`.
        columns: The columns of it that are wanted.

    Returns:
        A number less the column's origin, NaN where it is missing; or the place of a text among the column's
        categories, and their number for any other text.

    Raises:
        InputError: As for `prepare_rows`.
    """
    found = _columns_of(items, table, 0)
    rows = np.empty((len(items), len(columns)))
    for at, column in enumerate(columns):
        values = found[column.name]
        if column.categories is None:
            rows[:, at] = differences(_as_numbers(values, column.name, 0), column.origin)
        else:
            rows[:, at] = _codes(values, column.categories)
    return rows


def _learn_numbers(name: str, values: NDArray[Any], scaling: Scaling) -> ColumnSettings:
    if is_infinite(values).any():
        row = int(np.argmax(is_infinite(values)))
        raise DataError(f"training item {row} holds infinity in column {name!r}; fix or drop it first")
    known = values[~is_missing(values)]
    whole = values.dtype.kind in "iuO" and len(known) > 0 and scaling != "length"
    origin = int(known[len(known) // 2]) if whole else 0
    origin = origin if abs(origin) > EXACT else 0
    known = differences(known, origin)
    missing = 0 < len(known) < len(values)
    fill = float(np.median(known)) if len(known) else 0.0
    return ColumnSettings(name, learn_scale(known, scaling=scaling), fill, missing, origin=origin)


def _learn_categories(name: str, values: NDArray[Any]) -> ColumnSettings:
    counts = Counter(_names(values))
    often = sorted(counts, key=lambda category: (-counts[category], category))[:MOST_CATEGORIES]
    kept = tuple(sorted(category for category in often if counts[category] >= FEWEST_ROWS))
    return ColumnSettings(name, categories=kept if len(counts) > 1 else ())


def _columns_of(items: Any, table: TableSettings, first: int) -> Mapping[str, NDArray[Any]]:
    names = [column.name for column in table.columns]
    wanted = [column.name for column in table.columns if column.features]
    if isinstance(items, Table) and table.named:
        for name in wanted:
            if name not in items.columns:
                raise InputError(
                    f"the table has no column {name!r}, which this encoder was trained on: "
                    f"{nearest(name, items.columns)}"
                )
        return items.columns
    if isinstance(items, Table | Vectors):
        array = items.rows
    elif len(items) and table.named and isinstance(items[0], Mapping):
        return table_of(items, wanted, first=first).columns
    else:
        array = stacked_vectors(items, features=len(names), first=first)
    if array.shape[1] != len(names):
        raise InputError(
            f"items have {array.shape[1]} numbers, but this encoder takes {len(names)}; give the columns "
            "that it was trained on"
        )
    texts = [column.name for column in table.columns if column.categories]
    if texts:
        raise InputError(
            f"column {texts[0]!r} holds texts, but arrays hold numbers; give a table, or mappings from "
            "column to value"
        )
    return dict(zip(names, array.T, strict=True))


def _as_numbers(values: NDArray[Any], name: str, first: int) -> Shaped[np.ndarray, " n"]:
    if is_numeric(values):
        numbers = values
    else:
        numbers = np.empty(len(values))
        for position, text in enumerate(values.tolist()):
            try:
                numbers[position] = float(text) if text.strip() else np.nan
            except ValueError:
                raise InputError(
                    f"item {first + position} has {text[:40]!r} in column {name!r}, but this encoder takes "
                    "numbers there"
                ) from None
    if is_infinite(numbers).any():
        position = int(np.argmax(is_infinite(numbers)))
        raise InputError(f"item {first + position} holds infinity in column {name!r}; give a finite number")
    return numbers


def _from_numbers(
    values: Float[np.ndarray, " n"], column: ColumnSettings, scaling: Scaling
) -> Float[np.ndarray, "n f"]:
    missing = np.isnan(values)
    features = []
    if column.points:
        features.append(scale(np.where(missing, column.fill, values), column.points, scaling=scaling))
    if column.missing:
        features.append(missing.astype(np.float64))
    return np.stack(features, axis=1)


def _from_categories(values: NDArray[Any], categories: Sequence[str]) -> Float32[np.ndarray, "n f"]:
    chosen = _codes(values, categories)
    features = np.zeros((len(chosen), len(categories) + 1), dtype=np.float32)
    features[np.arange(len(chosen)), chosen] = 1
    return features


def _codes(values: NDArray[Any], categories: Sequence[str]) -> list[int]:
    """The place of each text among the categories; their number for all others."""
    place = {name: at for at, name in enumerate(categories)}
    return [place.get(name, len(categories)) for name in _names(values)]


def _names(values: NDArray[Any]) -> list[str]:
    """One name for each category, whether it is read as number or text: "007", 7 and 7.0 are one."""
    distinct, which = np.unique(values, return_inverse=True)
    names = [_name(value) for value in distinct.tolist()]
    return [names[at] for at in which.tolist()]


def _name(value: str | float) -> str:
    try:
        number = float(value)
    except ValueError:
        return str(value).strip()
    if not abs(number) < EXACT:  # NaN, and codes with more digits than a float can hold.
        return "" if number != number and not isinstance(value, str) else str(value).strip()
    return str(int(number)) if number.is_integer() else repr(number)
