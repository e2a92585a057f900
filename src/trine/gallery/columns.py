"""The values of one metadata key as arrays, so that a condition is evaluated on all of them at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

import numpy as np

from trine.gallery.filters import Among, Between, Typed
from trine.shapes import Bool

_KINDS = {None: 0, "null": 1, "boolean": 2, "number": 3, "text": 4}


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
        """Splits the values by type."""
        self._kinds = np.array([_KINDS[value[0] if value else None] for value in values], dtype=np.uint8)
        # Strings are stored as ranks, so that a range of strings is a range of ranks.
        texts = {value[1] for value in values if value and value[0] == "text"}
        self._texts: list[str] = sorted(texts)  # type: ignore[arg-type]
        ranks = {text: rank for rank, text in enumerate(self._texts)}
        self._numbers = np.array([_number(value, ranks) for value in values], dtype=np.float64)

    def matches(self, condition: Among | Between) -> Bool[np.ndarray, " n"]:
        """Returns for each item whether its value meets a condition."""
        if isinstance(condition, Between):
            return self._between(condition)
        matching = np.zeros(len(self._kinds), dtype=bool)
        for kind, value in condition.values:
            number = value
            if kind == "text":
                rank = bisect_left(self._texts, value)  # type: ignore[type-var]
                if rank == len(self._texts) or self._texts[rank] != value:
                    continue
                number = rank
            matching |= (self._kinds == _KINDS[kind]) & (self._numbers == (number or 0.0))
        return matching

    def _between(self, condition: Between) -> Bool[np.ndarray, " n"]:
        low, high = condition.low, condition.high
        matching: Bool[np.ndarray, " n"] = self._kinds == _KINDS[condition.kind]
        if low is not None:
            matching &= self._numbers >= (bisect_left(self._texts, low) if isinstance(low, str) else low)
        if high is not None:
            matching &= self._numbers <= (
                bisect_right(self._texts, high) - 1 if isinstance(high, str) else high
            )
        return matching


def _number(value: Typed | None, ranks: Mapping[str, int]) -> float:
    if value is None or value[1] is None:
        return 0.0
    return ranks[value[1]] if isinstance(value[1], str) else value[1]
