"""Conditions on metadata: equality, membership and closed ranges, the same in every store.

A value is a string, a number, a boolean or null, and equals only values of the same type: `True` is not 1.
Numbers compare exactly, whole ones with all their digits, and strings by code point (so dates such as
"2024-05-31" have ranges too). A key that an item lacks, or whose value is a list or a mapping, matches
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trine.errors import InputError

Kind = Literal["null", "boolean", "number", "text"]
"""The type of a comparable metadata value."""

Typed = tuple[Kind, str | float | bool | None]
"""A value with its type."""


@dataclass(frozen=True)
class Among:
    """The value of a key is one of several values.

    Attributes:
        key: The key.
        values: The accepted values, each with its type.
    """

    key: str
    values: frozenset[Typed]

    def holds(self, value: Typed) -> bool:
        """Returns whether a value meets the condition."""
        return value in self.values


@dataclass(frozen=True)
class Between:
    """The value of a key lies in a closed range.

    Attributes:
        key: The key.
        kind: The type of the values.
        low: The smallest value; `None` for no bound.
        high: The largest value; `None` for no bound.
    """

    key: str
    kind: Literal["number", "text"]
    low: str | float | None
    high: str | float | None

    def holds(self, value: Typed) -> bool:
        """Returns whether a value meets the condition."""
        kind, given = value
        if kind != self.kind:
            return False
        above = self.low is None or given >= self.low  # type: ignore[operator]
        return above and (self.high is None or given <= self.high)  # type: ignore[operator]


@dataclass(frozen=True)
class Filter:
    """Conditions that the metadata of an item must all meet; without conditions, every item passes.

    Example:
        >>> wanted = Filter.of({"year": (2020, 2024), "colour": {"red", "blue"}, "sold": False})
        >>> wanted.matches({"year": 2024, "colour": "red", "sold": False})
        True
        >>> wanted.matches({"year": 2024, "colour": "red"})
        False
    """

    conditions: tuple[Among | Between, ...] = ()

    @classmethod
    def of(cls, where: Mapping[str, Any] | Filter | None) -> Filter:
        """Builds a filter from a mapping of keys to required values.

        Args:
            where: For each key either the value it must equal (string, number, boolean, `None` for null), a
                set or list of accepted values, or a range (low, high) of two numbers or two strings, both
                included; `None` leaves that side open.

        Raises:
            InputError: A condition is none of these.
        """
        if isinstance(where, Filter):
            return where
        if where is not None and not isinstance(where, Mapping):
            raise InputError(f"where takes a mapping such as {{'year': 2024}}, given {where!r}")
        return cls(tuple(_condition(key, value) for key, value in sorted((where or {}).items())))

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Returns whether the metadata of an item meets every condition."""
        for condition in self.conditions:
            value = typed(metadata[condition.key]) if condition.key in metadata else None
            if value is None or not condition.holds(value):
                return False
        return True


NO_FILTER = Filter()


def typed(value: object) -> Typed | None:
    """Returns a value with its type; `None` for lists, mappings and other values that do not compare."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return "null", None
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, str):
        return "text", value
    return ("number", value) if isinstance(value, int | float) else None


def _condition(key: str, value: Any) -> Among | Between:
    if isinstance(value, tuple):
        return _range(key, value)
    if isinstance(value, set | frozenset | list):
        return Among(key, frozenset(_comparable(key, one) for one in value))
    return Among(key, frozenset([_comparable(key, value)]))


def _range(key: str, value: Sequence[Any]) -> Between:
    ends = [None if end is None else typed(end) for end in value]
    kinds = {end[0] for end in ends if end is not None}
    if len(ends) != 2 or kinds not in ({"number"}, {"text"}):
        raise InputError(
            f"the range of {key!r} must be two numbers or two strings, None for an open end, given "
            f"{value!r}: to match one of several values, pass a set"
        )
    low, high = (None if end is None else end[1] for end in ends)
    if (low is not None and low != low) or (high is not None and high != high):
        raise InputError(f"the range of {key!r} must not contain NaN, given {value!r}")
    if low is not None and high is not None and low > high:  # type: ignore[operator]
        raise InputError(f"the range of {key!r} ends before it begins, given {value!r}: swap its ends")
    return Between(key, kinds.pop(), low, high)  # type: ignore[arg-type]


def _comparable(key: str, value: Any) -> Typed:
    comparable = typed(value)
    if comparable is None or comparable[1] != comparable[1]:
        expected = "a string, a number, a boolean or None, a set of these, or a range (low, high)"
        raise InputError(f"the condition on {key!r} must be {expected}, given {value!r}")
    return comparable
