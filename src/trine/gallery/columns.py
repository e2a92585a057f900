"""The values of one metadata key as arrays, so that a condition is evaluated on all of them at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trine.data.table import EXACT
from trine.gallery.filters import Among, Between, Kind, Typed
from trine.shapes import Bool, Int64

_KINDS: dict[Kind | None, int] = {None: 0, "null": 1, "boolean": 2, "number": 3, "text": 4}

_Ranked = Callable[[list[Any]], tuple[list[Any], Int64[np.ndarray, " n"]]]


class Column:
    """The values of one metadata key, at most one per item.

    Args:
        values: The typed value of each item; `None` if it has no comparable value.

    Example:
        >>> column = Column([("number", 1.0), ("number", 3.0), None])
        >>> column.matches(Between("x", "number", 2, None)).tolist()
        [False, True, False]
    """

    def __init__(self, values: Sequence[Typed | None]) -> None:
        """Splits the values by type, and replaces numbers and strings by their ranks."""
        kinds = [_KINDS[value[0] if value and value[1] == value[1] else None] for value in values]  # no NaN
        self._kinds = np.array(kinds, dtype=np.uint8)
        self._ranks = np.array([value is not None and value[1] is True for value in values], dtype=np.int64)
        self._ordered: dict[str, list[Any]] = {}
        ways: dict[Kind, _Ranked] = {"number": _ranked_numbers, "text": _ranked}
        for kind, rank in ways.items():
            rows = np.flatnonzero(self._kinds == _KINDS[kind])
            of_kind: list[Any] = [values[row][1] for row in rows.tolist()]  # type: ignore[index]
            self._ordered[kind], self._ranks[rows] = rank(of_kind)

    def matches(self, condition: Among | Between) -> Bool[np.ndarray, " n"]:
        """Returns for each item whether its value meets a condition."""
        if isinstance(condition, Between):
            return self._between(condition)
        matching = np.zeros(len(self._kinds), dtype=bool)
        for kind, value in condition.values:
            rank = int(bool(value))
            if kind in self._ordered:
                ordered = self._ordered[kind]
                rank = bisect_left(ordered, value)
                if rank == len(ordered) or ordered[rank] != value:
                    continue
            matching |= (self._kinds == _KINDS[kind]) & (self._ranks == rank)
        return matching

    def _between(self, condition: Between) -> Bool[np.ndarray, " n"]:
        ordered = self._ordered[condition.kind]
        matching: Bool[np.ndarray, " n"] = self._kinds == _KINDS[condition.kind]
        if condition.low is not None:
            matching &= self._ranks >= bisect_left(ordered, condition.low)
        if condition.high is not None:
            matching &= self._ranks < bisect_right(ordered, condition.high)
        return matching


def _ranked_numbers(numbers: list[Any]) -> tuple[list[Any], Int64[np.ndarray, " n"]]:
    if any(isinstance(number, int) and abs(number) > EXACT for number in numbers):
        return _ranked(numbers)
    ordered, ranks = np.unique(np.array(numbers, dtype=np.float64), return_inverse=True)
    return ordered.tolist(), ranks


def _ranked(values: list[Any]) -> tuple[list[Any], Int64[np.ndarray, " n"]]:
    """Returns the distinct values in ascending order, and the place of each value among them."""
    ordered = sorted(set(values))
    place = {value: rank for rank, value in enumerate(ordered)}
    return ordered, np.array([place[value] for value in values], dtype=np.int64)
