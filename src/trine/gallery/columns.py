"""The values under one key of metadata, as arrays that a condition is held against all at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

import numpy as np

from trine.gallery.filters import Among, Between, Typed
from trine.shapes import Bool

_KINDS = {None: 0, "null": 1, "boolean": 2, "number": 3, "text": 4}


class Column:
    """The values of one key, of each item one or none.

    Args:
        values: For each item its value with its kind; `None` where it has none that can be compared.

    Example:
        >>> column = Column([("number", 1.0), ("number", 3.0), None])
        >>> column.matches(Between("x", "number", 2, None)).tolist()
        [False, True, False]
    """

    def __init__(self, values: Sequence[Typed | None]) -> None:
        """Sorts the values by their kinds."""
        self._kinds = np.array([_KINDS[value[0] if value else None] for value in values], dtype=np.uint8)
        # Texts are held by their rank, so that a range of texts is a range of ranks.
        texts = {value[1] for value in values if value and value[0] == "text"}
        self._texts: list[str] = sorted(texts)  # type: ignore[arg-type]
        ranks = {text: rank for rank, text in enumerate(self._texts)}
        self._numbers = np.array([_number(value, ranks) for value in values], dtype=np.float64)

    def matches(self, condition: Among | Between) -> Bool[np.ndarray, " n"]:
        """Says for each item whether its value meets a condition."""
        if isinstance(condition, Between):
            return self._between(condition)
        found = np.zeros(len(self._kinds), dtype=bool)
        for kind, value in condition.values:
            number = value
            if kind == "text":
                rank = bisect_left(self._texts, value)  # type: ignore[type-var]
                if rank == len(self._texts) or self._texts[rank] != value:
                    continue
                number = rank
            found |= (self._kinds == _KINDS[kind]) & (self._numbers == (number or 0.0))
        return found

    def _between(self, condition: Between) -> Bool[np.ndarray, " n"]:
        low, high = condition.low, condition.high
        found: Bool[np.ndarray, " n"] = self._kinds == _KINDS[condition.kind]
        if low is not None:
            found &= self._numbers >= (bisect_left(self._texts, low) if isinstance(low, str) else low)
        if high is not None:
            found &= self._numbers <= (bisect_right(self._texts, high) - 1 if isinstance(high, str) else high)
        return found


def _number(value: Typed | None, ranks: Mapping[str, int]) -> float:
    if value is None or value[1] is None:
        return 0.0
    return ranks[value[1]] if isinstance(value[1], str) else value[1]
