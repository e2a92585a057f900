"""Typed settings: frozen dataclasses, filled and checked from YAML or JSON values.

A dataclass names each setting, its type and, with `Annotated[..., Range(...)]`, its range. `parse` fills one
from nested mappings, and an error names the key; `plain` goes the other way. A dataclass that derives from
`Settings` is checked whenever it is made, so a value of its type is always valid.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import numbers
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from trine.display import shortened
from trine.errors import SettingError, closest, nearest, shown

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """The range of a number, written into its type: `Annotated[int, Range(at_least=1)]`.

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
            _is_finite(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = {">=": self.at_least, ">": self.above, "<=": self.at_most, "<": self.below}
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None)


Share = Annotated[float, Range(at_least=0, below=1)]
"""A share of a whole, which is never all of it."""


RATE, INNER_RATE = Range(at_least=0, at_most=1), Range(above=0, below=1)
"""The ranges of a rate: with its ends, and without."""

NOT_NEGATIVE = Range(at_least=0)
"""The range of a distance, a margin or a weight."""


def check_number(name: str, given: object, allowed: Range) -> float:
    """Checks that a value is a finite number in a range.

    Args:
        name: The value's name in the error.
        given: The value.
        allowed: The range.

    Returns:
        The number.

    Raises:
        SettingError: It is no number, not finite, or out of range.

    Example:
        >>> check_number("tol", float("nan"), Range(at_least=0))
        Traceback (most recent call last):
        trine.errors.SettingError: tol must be a number >= 0, given nan
    """
    # bool subclasses int; reject it.
    if isinstance(given, numbers.Real) and not isinstance(given, bool):
        number = given if isinstance(given, int) else float(given)
        if number in allowed:
            return float(number)
    raise SettingError(f"{name} must be a number {allowed}, given {shown(given)}")


class Settings:
    """The base of frozen dataclasses of settings that are checked when they are made.

    Each value is converted to the type of its field: a list becomes a tuple, a mapping a section. A class
    overrides `check` for what several settings say together.

    Raises:
        SettingError: A value has the wrong type or is out of range, or settings contradict each other.

    Example:
        >>> @dataclass(frozen=True)
        ... class Colour(Settings):
        ...     red: Annotated[int, Range(at_least=0, at_most=255)] = 0
        >>> Colour(red=300)
        Traceback (most recent call last):
        trine.errors.SettingError: red must be an integer >= 0 and <= 255, given 300
    """

    def __post_init__(self) -> None:
        try:
            for name, hint in _hints(type(self)).items():
                object.__setattr__(self, name, _field(name, hint, getattr(self, name)))
        except _MisfitError as misfit:
            raise SettingError(str(misfit)) from None
        self.check()

    def check(self) -> None:
        """Raises a `SettingError` if settings contradict each other; names them by their dotted keys."""


class _MisfitError(Exception):
    """Why a value does not fit: what was expected, or a description of the problem; and its key.

    Without a key, the current value itself does not fit.
    """

    def __init__(
        self, expected: str = "", *, problem: str = "", key: str = "", known: Sequence[str] = ()
    ) -> None:
        super().__init__(expected)
        self.problem, self.key, self.known = problem, key, known

    def within(self, section: str, value: Any = None) -> _MisfitError:
        """The same error with the key of the enclosing section or field in front."""
        if not self.key:
            problem = self.problem or f"must be {self.args[0]}, given {_shown(value)}"
            return _MisfitError(problem=problem, key=section)
        dot = "" if self.key.startswith("[") else "."
        known = [f"{section}{dot}{name}" for name in self.known]
        return _MisfitError(problem=self.problem, key=f"{section}{dot}{self.key}", known=known)

    def __str__(self) -> str:
        if not self.known:
            return f"{self.key} {self.problem}"
        return self.with_keys(())

    def with_keys(self, every: Iterable[str]) -> str:
        """The message; for an unknown key it names the nearest of these, or else the known ones beside it."""
        if not self.known:
            return str(self)
        meant = closest(self.key, [*self.known, *every])
        advice = nearest(self.key, self.known) if meant is None else f"did you mean {meant!r}?"
        return f"unknown setting {self.key!r}; {advice}"


def parse(kind: type[T], given: Any, *, source: str, key: str = "") -> T:
    """Fills a dataclass of settings from plain values.

    Args:
        kind: The dataclass; a key that is missing keeps its default.
        given: Nested mappings, lists, numbers, strings and None, as YAML and JSON give them.
        source: The source of the values, such as a file name; every error starts with it.
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
        trine.errors.SettingError: colours.yaml: unknown setting 'rde'; did you mean 'red'?
    """
    if not isinstance(given, Mapping):
        what = f"{key} must be" if key else "expected"
        raise SettingError(f"{source}: {what} a section of keys, given {_shown(given)}")
    try:
        return _filled(kind, given)
    except _MisfitError as error:
        named = error.within(key) if key else error
        raise SettingError(f"{source}: {named.with_keys(keys(kind, key=key))}") from None
    except SettingError as error:
        raise SettingError(f"{source}: {error}") from None


def plain(settings: Any) -> Any:
    """Turns settings into nested dicts, lists, numbers, strings and None, as in YAML and JSON.

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
    if isinstance(settings, dict):
        return {name: plain(value) for name, value in settings.items()}
    return settings


def keys(kind: type[Any], *, key: str = "") -> Iterator[str]:
    """Lists the dotted keys of a dataclass of settings, with those of its sections.

    Args:
        kind: The dataclass.
        key: The dotted key in front of each.

    Yields:
        Keys such as `"training.epochs"`, in the order of the fields.
    """
    for name, hint in _hints(kind).items():
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


def _hints(kind: type[Any]) -> dict[str, Any]:
    """The types of the fields that a dataclass is made with."""
    if kind not in _HINTS:
        hints = get_type_hints(kind, include_extras=True)
        _HINTS[kind] = {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
    return _HINTS[kind]


_HINTS: dict[type[Any], dict[str, Any]] = {}
"""What `_hints` found, as evaluating annotations takes milliseconds."""


def _filled(kind: type[T], given: Mapping[Any, Any]) -> T:
    hints = _hints(kind)
    for name in given:
        if name not in hints:
            raise _MisfitError(key=str(name), known=list(hints))
    assert dataclasses.is_dataclass(kind)
    for field in dataclasses.fields(kind):
        optional = (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
        if field.init and not optional and field.name not in given:
            raise _MisfitError(key=field.name, problem="is missing")
    if issubclass(kind, Settings):
        try:
            return kind(**given)
        except SettingError as error:
            # A section that checks itself does not know its key; add it to the error here.
            raise (error.__context__ if isinstance(error.__context__, _MisfitError) else error) from None
    return kind(**{name: _field(name, hints[name], value) for name, value in given.items()})


def _field(name: str, hint: Any, value: Any) -> Any:
    """Converts the value of one field."""
    try:
        return _converted(hint, value)
    except _MisfitError as misfit:
        raise misfit.within(name, value) from None


def _converted(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return _converted_plain(value)
    if origin is Annotated:
        converted = _converted(arguments[0], value)
        for allowed in arguments[1:]:
            if isinstance(allowed, Range) and converted not in allowed:
                raise _MisfitError(f"{_expected(arguments[0])} {allowed}")
        return converted
    if origin in (Union, types.UnionType):
        return _converted_union(arguments, value)
    if origin is Literal:
        return _converted_choice(hint, arguments, value)
    if origin is tuple:
        return _converted_tuple(hint, arguments, value)
    if origin is dict:
        return _converted_mapping(value)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return _filled(hint, value)  # type: ignore[arg-type]
    return _converted_scalar(hint, value)


def _converted_scalar(hint: Any, value: Any) -> Any:
    if hint is float and isinstance(value, str):  # YAML reads 1e-3, without a point, as a string.
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool | int | float):  # a number of numpy
        value = int(value) if isinstance(value, numbers.Integral) else float(value)
    kind = int | float if hint is float else hint
    # bool subclasses int; reject it.
    if not isinstance(value, kind) or (isinstance(value, bool) and hint is not bool):
        raise _MisfitError(_expected(hint))
    if hint in (int, float) and not _is_finite(value):
        raise _MisfitError(_expected(hint))
    return float(value) if hint is float else value


def _is_finite(value: Any) -> bool:
    """Whether a number is finite, and if it is whole, one of 64 bits."""
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def _converted_mapping(value: Any) -> dict[str, Any]:
    """Converts a section of any keys, whose values are plain."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _MisfitError(_expected(dict[str, Any]))
    return {name: _field(name, Any, item) for name, item in value.items()}


def _converted_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _converted_mapping(value)
    if isinstance(value, list | tuple):
        return [_converted_plain(item) for item in value]
    for hint in (bool, int, float, str):
        with contextlib.suppress(_MisfitError):
            return _converted_scalar(hint, value)
    if value is None:
        return None
    raise _MisfitError("a number, a string, true, false, null, a list or a section of keys")


def _converted_choice(hint: Any, choices: tuple[Any, ...], value: Any) -> Any:
    if value in choices and type(value) in {type(choice) for choice in choices}:
        return value
    if type(value) is int and str(value) in choices:  # YAML reads 32 as a number.
        return str(value)
    problem = f"is {value!r}; {nearest(value, map(str, choices))}" if isinstance(value, str) else ""
    raise _MisfitError(_expected(hint), problem=problem)


def _converted_union(hints: tuple[Any, ...], value: Any) -> Any:
    expected = []
    for hint in hints:
        try:
            return _converted(hint, value)
        except _MisfitError as misfit:
            if misfit.problem or misfit.key:  # The value has this type; the problem is inside it.
                raise
            expected.append(misfit.args[0])
    raise _MisfitError(" or ".join(expected))


def _converted_tuple(hint: Any, hints: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if hints[-1] is Ellipsis and isinstance(value, list | tuple):
        hints = (hints[0],) * len(value)
    if not isinstance(value, list | tuple) or len(hints) != len(value):
        raise _MisfitError(_expected(hint))
    converted = []
    for position, (each, item) in enumerate(zip(hints, value, strict=True)):
        try:
            converted.append(_converted(each, item))
        except _MisfitError as misfit:
            if misfit.key:
                raise misfit.within(f"[{position}]") from None
            raise _MisfitError(f"{_expected(hint)}, each {misfit.args[0]}", problem=misfit.problem) from None
    return tuple(converted)


def _expected(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _expected(arguments[0])
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        count = "" if arguments[-1] is Ellipsis else f" of {len(arguments)}"
        return f"a list{count}"
    if dataclasses.is_dataclass(hint) or origin is dict:
        return "a section of keys"
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
    return names.get(hint, "null")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else shortened(repr(value), most=200)
