"""What --where understands, against a plain reading of what is written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.cli.where import conditions, value_of
from trine.errors import InputError

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(TEXTS, TEXTS)
def test_a_quoted_text_is_that_text(text, other):
    wanted = conditions([f"key={json.dumps(text)}"])
    assert wanted.matches({"key": text})
    assert wanted.matches({"key": other}) == (text == other)
    either = conditions([f"key={json.dumps(text)},{json.dumps(other)}"])
    assert either.matches({"key": text})
    assert either.matches({"key": other})


@given(*[st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) for _ in range(3)])
def test_a_range_of_numbers_holds_both_ends(one, two, three):
    low, high = sorted((one, two))
    for text, holds in [
        (f"{low!r}..{high!r}", low <= three <= high),
        (f"{low!r}..", three >= low),
        (f"..{high!r}", three <= high),
    ]:
        wanted = conditions([f"price={text}"])
        assert wanted.matches({"price": three}) == holds
        assert not wanted.matches({"price": str(three)})
    assert conditions([f"price={low!r}..{high!r}"]).matches({"price": low})


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none())
def test_a_bare_value_is_itself_and_its_text(value):
    text = json.dumps(value)
    assert value_of(text) == value
    wanted = conditions([f"key={text}"])
    assert wanted.matches({"key": value})
    assert wanted.matches({"key": text})
    assert not conditions([f'key="{text}"']).matches({"key": value})


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("colour=red,blue", ["red", "blue"], ["green", "red,blue", None]),
        ("colour = red , blue ", ["red", "blue"], [" red "]),
        ("sold=false", [False, "false"], [0, True, None]),
        ("n=1", [1, 1.0, "1"], [True, "1.0", 2]),
        ("day=2024-05-01..2024-05-31", ["2024-05-01", "2024-05-31"], ["2024-06-01", 2024]),
        ('name="b"..', ["b", "c"], ["a", 3]),
        ('note="a, b","c..d"', ["a, b", "c..d"], ["a", "b"]),
        ("a=b=c", ["b=c"], ["b"]),
        ('a=""', [""], [None, "x"]),
        ("x=0...5", [0, 0.5], [0.6, "0...5"]),
        ("file=a.b.png", ["a.b.png"], ["a"]),
        ("n=-1.5e3..+2", [-1500, 0, 2], [-1501, 3]),
        ("größe=10 cm", ["10 cm"], ["10"]),
    ],
)
def test_what_is_written_is_what_matches(text, inside, outside):
    key = text.partition("=")[0].strip()
    wanted = conditions([text])
    assert [value for value in inside if not wanted.matches({key: value})] == []
    assert [value for value in outside if wanted.matches({key: value})] == []
    assert not wanted.matches({"another": inside[0]})


def test_all_conditions_must_hold():
    wanted = conditions(["year=2024", "price=10..20"])
    assert wanted.matches({"year": 2024, "price": 20})
    assert not wanted.matches({"year": 2024, "price": 21})
    assert not wanted.matches({"year": 2023, "price": 20})
    assert not conditions([])


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["price"], "it has no KEY="),
        (["=3"], "it has no KEY="),
        (["a=1", "a=2"], "'a' already has a condition"),
        (["a="], "a value or a comma is missing"),
        (["a=1,,2"], "a value or a comma is missing"),
        (["a=1,"], "a value or a comma is missing"),
        (['a="x"y'], "a value or a comma is missing"),
        (['a="x'], "its quotes are unbalanced"),
        (['a="\\q"'], "its quotes are unbalanced"),
        (["a=.."], "a range has one or two ends"),
        (["a=1..2..3"], "a range has one or two ends"),
        (["a=1..2,3"], "a range has one or two ends"),
        (["a=1..b"], "the ends of a range are two numbers or two texts"),
        (["a=true.."], "the ends of a range are two numbers or two texts"),
        (["a=2..1"], "ends before it begins"),
    ],
)
def test_what_cannot_be_read(texts, why):
    with pytest.raises(InputError, match=why):
        conditions(texts)
