"""JSON that a stranger wrote is refused in a sentence, however it is nested."""

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
