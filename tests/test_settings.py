"""Typed settings: what fits comes back equal, what does not is refused in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.errors import SettingError
from trine.settings import Range, differences, keys, parse, plain


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
    size=st.none() | st.integers() | st.tuples(st.integers(), st.integers()),
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
        ({"inner": {"cuont": 1}}, r"^s: unknown setting 'inner.cuont'; did you mean 'inner.count'"),
        ({"name": 3}, r"^s: name must be a text, not 3$"),
        ({"flag": 1}, r"^s: flag must be true or false, not 1$"),
        ({"inner": {"count": True}}, r"^s: inner.count must be a whole number or null, not true$"),
        ({"inner": {"count": 0}}, r"inner.count must be a whole number at least 1 or null, not 0$"),
        ({"inner": {"rate": 1}}, r"inner.rate must be a number above 0 and below 1, not 1$"),
        ({"inner": {"rate": float("nan")}}, r"inner.rate must be a number, not nan$"),
        ({"inner": {"rate": "fast"}}, r"inner.rate must be a number, not 'fast'$"),
        ({"inner": {"rule": "hadr"}}, r"inner.rule is 'hadr'; did you mean 'hard'\? known: all, hard$"),
        ({"inner": {"rule": 3}}, r"inner.rule must be one of all, hard, not 3$"),
        ({"inner": 3}, r"^s: inner must be a section of keys, not 3$"),
        ({"maybe": 3}, r"^s: maybe must be a section of keys or null, not 3$"),
        ({"maybe": {"count": 0}}, r"^s: maybe.count must be a whole number at least 1 or null, not 0$"),
        ({"size": [1, 2, 3]}, r"^s: size must be a whole number or a list of 2 or null, not \[1, 2, 3\]$"),
        ({"steps": 3}, r"^s: steps must be a list, not 3$"),
        ({"steps": [{}, {"count": 0}]}, r"^s: steps\[1\].count must be a whole number at least 1 or null"),
        ([], r"^s: expected a section of keys, not \[\]$"),
    ],
)
def test_what_does_not_fit_is_refused(plain_values: object, message: str) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        parse(Outer, plain_values, source="s")
    assert "\n" not in str(caught.value)


def test_a_missing_setting_without_default_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^s: the setting name is missing$"):
        parse(Needed, {}, source="s")


def test_a_number_in_scientific_notation_may_come_as_text() -> None:
    assert parse(Inner, {"rate": "1e-3"}, source="s").rate == 0.001


def test_keys_are_listed_with_sections_opened() -> None:
    assert list(keys(Outer)) == [
        "name", "flag", "size", "steps", "inner.count", "inner.rate", "inner.rule", "maybe"
    ]  # fmt: skip
