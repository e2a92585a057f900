"""Typed settings: what fits comes back equal, what does not is refused in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.errors import SettingError
from trine.settings import Range, Settings, check_number, differences, keys, parse, plain


@dataclass(frozen=True)
class Inner:
    count: Annotated[int, Range(at_least=1)] | None = 3
    rate: Annotated[float, Range(above=0, below=1)] = 0.5
    rule: Literal["all", "hard"] = "all"


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    flag: bool = False
    size: int | tuple[int, int] | None = None
    steps: tuple[Inner, ...] = ()
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None


@dataclass(frozen=True)
class Needed:
    name: str


@dataclass(frozen=True)
class Span(Settings):
    low: Annotated[float, Range(at_least=0)] = 0.0
    high: float = 1.0

    def check(self) -> None:
        if self.high < self.low:
            raise SettingError(f"high must be at least low, {self.low:g}, given {self.high:g}")


@dataclass(frozen=True)
class Spans(Settings):
    first: Span = field(default_factory=Span)
    more: tuple[Span, ...] = ()


WHOLE = st.integers(1 - 2**63, 2**63 - 1)
"""Settings have at most 64 bits."""

inners = st.builds(
    Inner,
    count=st.none() | st.integers(1, 9),
    rate=st.floats(0.001, 0.999),
    rule=st.sampled_from(["all", "hard"]),
)
outers = st.builds(
    Outer,
    name=st.text(),
    flag=st.booleans(),
    size=st.none() | WHOLE | st.tuples(WHOLE, WHOLE),
    steps=st.lists(inners, max_size=3).map(tuple),
    inner=inners,
    maybe=st.none() | inners,
)


@given(outers)
def test_plain_values_give_equal_settings(settings: Outer) -> None:
    assert parse(Outer, plain(settings), source="s") == settings


@given(outers, outers)
def test_differences_are_the_keys_that_differ(one: Outer, other: Outer) -> None:
    found = differences(one, other)
    assert (found == []) == (one == other)
    assert ("name" in found) == (one.name != other.name)
    if one.maybe is None and other.maybe is None:
        assert ("inner.rate" in found) == (one.inner.rate != other.inner.rate)


@pytest.mark.parametrize(
    ("plain_values", "message"),
    [
        ({"nmae": 1}, r"^s: unknown setting 'nmae'; did you mean 'name\?|'name'"),
        ({"count": 1}, r"^s: unknown setting 'count'; did you mean 'inner.count'\?$"),
        ({"inner": {"cuont": 1}}, r"^s: unknown setting 'inner.cuont'; did you mean 'inner.count'"),
        ({"name": 3}, r"^s: name must be a string, given 3$"),
        ({"flag": 1}, r"^s: flag must be true or false, given 1$"),
        ({"inner": {"count": True}}, r"^s: inner.count must be an integer or null, given true$"),
        ({"inner": {"count": 0}}, r"inner.count must be an integer >= 1 or null, given 0$"),
        ({"inner": {"rate": 1}}, r"inner.rate must be a number > 0 and < 1, given 1$"),
        ({"inner": {"rate": float("nan")}}, r"inner.rate must be a number, given nan$"),
        ({"inner": {"rate": "fast"}}, r"inner.rate must be a number, given 'fast'$"),
        ({"inner": {"rule": "hadr"}}, r"inner.rule is 'hadr'; did you mean 'hard'\? known: all, hard$"),
        ({"inner": {"rule": 3}}, r"inner.rule must be one of all, hard, given 3$"),
        ({"inner": 3}, r"^s: inner must be a section of keys, given 3$"),
        ({"maybe": 3}, r"^s: maybe must be a section of keys or null, given 3$"),
        ({"maybe": {"count": 0}}, r"^s: maybe.count must be an integer >= 1 or null, given 0$"),
        ({"size": [1, 2, 3]}, r"^s: size must be an integer or a list of 2 or null, given \[1, 2, 3\]$"),
        ({"steps": 3}, r"^s: steps must be a list, given 3$"),
        ({"steps": [{}, {"count": 0}]}, r"^s: steps\[1\].count must be an integer >= 1 or null"),
        ([], r"^s: expected a section of keys, given \[\]$"),
    ],
)
def test_what_does_not_fit_is_refused(plain_values: object, message: str) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        parse(Outer, plain_values, source="s")
    assert "\n" not in str(caught.value)


def test_a_missing_setting_without_default_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^s: name is missing$"):
        parse(Needed, {}, source="s")


def test_a_number_in_scientific_notation_may_come_as_text() -> None:
    assert parse(Inner, {"rate": "1e-3"}, source="s").rate == 0.001


def test_keys_are_listed_with_sections_opened() -> None:
    assert list(keys(Outer)) == [
        "name", "flag", "size", "steps", "inner.count", "inner.rate", "inner.rule", "maybe"
    ]  # fmt: skip


def test_settings_are_converted_and_checked_when_they_are_made() -> None:
    assert Spans(first={"low": "1e-1"}, more=[Span(), {"high": 3}]) == Spans(  # type: ignore[arg-type]
        Span(low=0.1), (Span(), Span(high=3.0))
    )
    assert isinstance(Span(high=3).high, float)
    with pytest.raises(SettingError, match=r"^low must be a number >= 0, given -1$"):
        Span(low=-1)
    with pytest.raises(SettingError, match=r"^high must be at least low, 3, given 1$"):
        replace(Span(), low=3)
    with pytest.raises(SettingError, match=r"^first must be a section of keys, given 'wide'$"):
        Spans(first="wide")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plain_values", "message"),
    [
        ({"first": {"low": -1}}, r"^s: first.low must be a number >= 0, given -1$"),
        ({"more": [{}, {"high": "far"}]}, r"^s: more\[1\].high must be a number, given 'far'$"),
        ({"more": [{"hihg": 1}]}, r"^s: unknown setting 'more\[0\].hihg'; did you mean 'more\[0\].high'\?"),
        ({"more": [{"low": 2}]}, r"^s: high must be at least low, 2, given 1$"),
    ],
)
def test_what_does_not_fit_settings_is_refused_with_its_key(plain_values: object, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        parse(Spans, plain_values, source="s")


@dataclass(frozen=True)
class Anything(Settings):
    values: dict[str, Any] = field(default_factory=dict)


def test_a_section_of_any_keys_holds_plain_values() -> None:
    given = {"a": np.float32(0.5), "b": (1, "1e-3"), "c": {"on": True, "none": None}, "d": "word"}
    found = parse(Anything, {"values": given}, source="s")
    assert found.values == {"a": 0.5, "b": [1, 0.001], "c": {"on": True, "none": None}, "d": "word"}
    assert parse(Anything, plain(found), source="s") == found
    assert differences(found, Anything({**found.values, "a": 1})) == ["values.a"]
    for values, message in (
        (3, r"^s: values must be a section of keys, given 3$"),
        ({1: 2}, r"^s: values must be a section of keys"),
        (
            {"a": object()},
            r"^s: values\.a must be a number, a string, true, false, null, a list or a section",
        ),
    ):
        with pytest.raises(SettingError, match=message):
            parse(Anything, {"values": values}, source="s")


@pytest.mark.parametrize("number", [10**400, -(10**400), 2**63])
def test_numbers_beyond_64_bits_are_refused(number):
    with pytest.raises(SettingError, match=r"count must be an integer.*, given -?\d+"):
        parse(Inner, {"count": number}, source="x")
    with pytest.raises(SettingError, match=r"rate must be a number.*, given -?\d+"):
        parse(Inner, {"rate": number}, source="x")
    with pytest.raises(SettingError, match="must be a number"):
        check_number("rate", number, Range(at_least=0, at_most=1))
