"""JSON that a stranger wrote is refused in a sentence, however it is nested."""

import time

import pytest

from trine.plain_json import parse_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * 100 + "]" * 100, None),
        (b'{"a": "\xc3\xab"}', {"a": "ë"}),
        ('["' + "[" * 500 + '"]', ["[" * 500]),
    ],
)
def test_what_is_not_too_deep_is_read(text, value):
    read = parse_json(text)
    assert read == value or value is None
    assert parse_json("[" + ",".join(["{}"] * 1000) + "]") == [{}] * 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        b"\xff",
        None,
        5,
        "[" * 101 + "]" * 101,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "[" * 100_000,
        "1" * 309,
    ],
)
def test_anything_else_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 101 + '"' + '\\"' * 1_000_000,
        "[" * 101 + '"' + '\\"' * 1_000_000 + "\\",
        "[" * 101 + '"' + "\\\\" * 1_000_000,
        "[[" + "[]," * 1_000_000,
        '["' + "a" * 2_000_000 + '"' + ",[]" * 101,
    ],
    ids=["quotes", "a backslash at the end", "backslashes", "lists", "a long string"],
)
def test_time_grows_with_the_length_alone(text):
    began = time.process_time()
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    assert time.process_time() - began < 5


def test_strings_hide_brackets_however_they_end():
    inside = '["' + r"[[[\\\"[[[" * 100 + '"' + ",{}" * 101 + "]"
    assert len(parse_json(inside)) == 102
