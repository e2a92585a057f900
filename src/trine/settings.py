"""Typed settings from plain values: what YAML and JSON hold, checked against frozen dataclasses.

A dataclass names each setting, its type and, with `Annotated[..., Range(...)]`, its range. `parse` fills
one from nested mappings and refuses what does not fit in one sentence that names the key; `plain` goes
the other way.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from trine.errors import SettingError, nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have; written into its type as `Annotated[int, Range(at_least=1)]`.

    Attributes:
        at_least: The smallest value allowed.
        at_most: The largest value allowed.
        above: The value must be larger than this.
        below: The value must be smaller than this.
    """

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = {
            "at least": self.at_least,
            "at most": self.at_most,
            "above": self.above,
            "below": self.below,
        }
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)


class _MismatchError(Exception):
    """A value is not of the type that was asked for; the text says what was expected."""


def parse(kind: type[T], given: Any, *, source: str, key: str = "") -> T:
    """Fills a dataclass of settings from plain values.

    Args:
        kind: The dataclass; a key that is missing keeps its default.
        given: Nested mappings, lists, numbers, texts and None, as YAML and JSON give them.
        source: Where the values come from, such as a file name: the first words of every error.
        key: The dotted key of the section, where `given` is one.

    Returns:
        The settings.

    Raises:
        SettingError: A key is unknown or missing, or a value has the wrong type or is out of range.

    Example:
        >>> @dataclass(frozen=True)
        ... class Colour:
        ...     red: Annotated[int, Range(at_least=0, at_most=255)] = 0
        >>> parse(Colour, {"red": 7}, source="colours.yaml")
        Colour(red=7)
        >>> parse(Colour, {"rde": 7}, source="colours.yaml")
        Traceback (most recent call last):
        trine.errors.SettingError: colours.yaml: unknown setting 'rde'; did you mean 'red'? known: red
    """
    if not isinstance(given, Mapping):
        expected = f"{key} must be a section of keys" if key else "expected a section of keys"
        raise SettingError(f"{source}: {expected}, not {_shown(given)}")
    assert dataclasses.is_dataclass(kind)
    hints = get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    values = {}
    for name, value in given.items():
        full = f"{key}.{name}" if key else str(name)
        if name not in fields:
            known = [f"{key}.{field}" if key else field for field in fields]
            raise SettingError(f"{source}: unknown setting {full!r}; {nearest(full, known)}")
        try:
            values[name] = _converted(hints[name], value, source=source, key=full)
        except _MismatchError as mismatch:
            raise SettingError(f"{source}: {full} must be {mismatch}, not {_shown(value)}") from None
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING
        if required and field.default_factory is dataclasses.MISSING and name not in values:
            raise SettingError(f"{source}: the setting {f'{key}.{name}'.strip('.')} is missing")
    return kind(**values)


def plain(settings: Any) -> Any:
    """Turns settings into nested dicts, lists, numbers, texts and None: what YAML and JSON can hold.

    Args:
        settings: A dataclass of settings, or a value inside one.

    Returns:
        The plain values; `parse` of them gives equal settings.

    Example:
        >>> plain(Range(at_least=0.0))
        {'at_least': 0.0, 'at_most': None, 'above': None, 'below': None}
    """
    if dataclasses.is_dataclass(settings):
        return {
            field.name: plain(getattr(settings, field.name))
            for field in dataclasses.fields(settings)
            if field.init
        }
    if isinstance(settings, tuple | list):
        return [plain(value) for value in settings]
    return settings


def keys(kind: type[Any], *, key: str = "") -> Iterator[str]:
    """Lists the dotted keys of a dataclass of settings, sections opened.

    Args:
        kind: The dataclass.
        key: The dotted key in front of each.

    Yields:
        Keys such as `"training.epochs"`, in the order of the fields.
    """
    for name, hint in get_type_hints(kind).items():
        full = f"{key}.{name}" if key else name
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from keys(hint, key=full)
        else:
            yield full


def differences(one: Any, other: Any) -> list[str]:
    """Lists the dotted keys whose values differ between two settings of the same kind.

    Args:
        one: A dataclass of settings.
        other: Another of the same kind.

    Returns:
        Keys such as `["training.epochs"]`; empty where the two are equal.
    """
    return _differences(plain(one), plain(other), key="")


def _differences(one: Any, other: Any, *, key: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            found
            for name in {**one, **other}
            for found in _differences(one.get(name), other.get(name), key=f"{key}.{name}" if key else name)
        ]
    return [] if one == other else [key]


def _converted(hint: Any, value: Any, *, source: str, key: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        converted = _converted(arguments[0], value, source=source, key=key)
        for allowed in arguments[1:]:
            if isinstance(allowed, Range) and converted not in allowed:
                raise _MismatchError(f"{_expected(arguments[0])} {allowed}")
        return converted
    if origin in (Union, types.UnionType):
        return _converted_union(arguments, value, source=source, key=key)
    if origin is Literal:
        if value in arguments and type(value) in {type(argument) for argument in arguments}:
            return value
        if type(value) is int and str(value) in arguments:  # YAML reads 32 as a number
            return str(value)
        if isinstance(value, str):
            known = [str(argument) for argument in arguments]
            raise SettingError(f"{source}: {key} is {value!r}; {nearest(value, known)}")
        raise _MismatchError(_expected(hint))
    if origin is tuple:
        return _converted_tuple(hint, arguments, value, source=source, key=key)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return parse(hint, value, source=source, key=key)
    return _converted_scalar(hint, value)


def _converted_scalar(hint: Any, value: Any) -> Any:
    if hint is float and not isinstance(value, bool):
        # YAML reads 1e-3, without a point, as text.
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise _MismatchError(_expected(hint)) from None
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    # True is an int to Python, and none to whoever wrote the setting.
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise _MismatchError(_expected(hint))


def _converted_union(hints: tuple[Any, ...], value: Any, *, source: str, key: str) -> Any:
    expected = []
    for hint in hints:
        if dataclasses.is_dataclass(hint):
            # A section that was begun says itself what is wrong in it.
            if isinstance(value, Mapping):
                return _converted(hint, value, source=source, key=key)
            expected.append("a section of keys")
            continue
        try:
            return _converted(hint, value, source=source, key=key)
        except _MismatchError as mismatch:
            expected.append(str(mismatch))
    raise _MismatchError(" or ".join(expected))


def _converted_tuple(
    hint: Any, hints: tuple[Any, ...], value: Any, *, source: str, key: str
) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _MismatchError(_expected(hint))
    if hints[-1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise _MismatchError(_expected(hint))
    try:
        return tuple(
            _converted(each, item, source=source, key=f"{key}[{position}]")
            for position, (each, item) in enumerate(zip(hints, value, strict=True))
        )
    except _MismatchError as mismatch:
        raise _MismatchError(f"{_expected(hint)}, each {mismatch}") from None


def _expected(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _expected(arguments[0])
    if origin is Literal:
        return "one of " + ", ".join(str(argument) for argument in arguments)
    if origin is tuple:
        count = "" if arguments[-1] is Ellipsis else f" of {len(arguments)}"
        return f"a list{count}"
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return words.get(hint, "null")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else repr(value)
