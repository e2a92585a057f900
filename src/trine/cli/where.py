"""The conditions on metadata that `--where` reads.

    KEY=VALUE            the value is this: year=2024, colour=red, sold=false, price=null
    KEY=VALUE,VALUE      it is one of these: colour=red,blue
    KEY=LOW..HIGH        it is between these, both included: price=10..20, day=2024-05-01..2024-05-31
    KEY=LOW.. KEY=..HIGH one end is open

A number, true, false or null also matches the same text; a value in quotes
is always a text, and may contain commas and dots: colour="red, faded".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from trine.errors import InputError

if TYPE_CHECKING:
    from trine.gallery import Filter

HELP = "KEY=VALUE, KEY=VALUE,VALUE or KEY=LOW..HIGH: what an item's metadata must match; may be repeated"

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|,|\.\.|(?:(?!\.\.)[^",])+)\s*')
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_WORDS = {"true": True, "false": False, "null": None}


def conditions(texts: Sequence[str]) -> Filter:
    """Parses conditions, all of which must hold.

    Args:
        texts: One condition each.

    Raises:
        InputError: A condition is invalid, or two have the same key.

    Example:
        >>> wanted = conditions(["year=2024", "price=10..20", "colour=red,blue"])
        >>> wanted.matches({"year": 2024, "price": 12.5, "colour": "red"})
        True
        >>> wanted.matches({"year": "2024", "price": 30, "colour": "red"})
        False
    """
    from trine.gallery import Filter

    where: dict[str, Any] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip()
        if not (key and equals):
            raise _wrong(text, "it has no KEY=")
        if key in where:
            raise _wrong(text, f"{key!r} already has a condition")
        where[key] = _wanted(text, values)
    return Filter.of(where)


def value_of(text: str) -> Any:
    """Parses one value: a number, true, false, null, or a text, which may be quoted; "007" is a text.

    Raises:
        ValueError: The quotes are unbalanced.

    Example:
        >>> [value_of(text) for text in ("2024", "1.5", "true", "null", "red", '"2024"', "007")]
        [2024, 1.5, True, None, 'red', '2024', '007']
    """
    if text.startswith('"'):
        return json.loads(text)
    if text in _WORDS:
        return _WORDS[text]
    if _NUMBER.fullmatch(text) and not re.match(r"[+-]?0\d", text):
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    return text


def _wanted(text: str, values: str) -> Any:
    try:
        tokens = list(_tokens(values))
        read = [token if token in (",", "..") else value_of(token) for token in tokens]
    except ValueError:
        raise _wrong(text, "its quotes are unbalanced") from None
    if ".." in tokens:
        return _range(text, tokens, read)
    if not tokens or len(tokens) % 2 == 0 or any((i % 2 == 1) != (t == ",") for i, t in enumerate(tokens)):
        raise _wrong(text, "a value or a comma is missing")
    found = read[::2]
    # A value that looks like a number may have been enrolled as a text.
    also = [t for t, value in zip(tokens[::2], found, strict=True) if not isinstance(value, str)]
    return [*found, *also]


def _range(text: str, tokens: list[str], read: list[Any]) -> tuple[Any, Any]:
    at = tokens.index("..")
    ends = [read[:at], read[at + 1 :]]
    if "," in tokens or tokens.count("..") > 1 or any(len(end) > 1 for end in ends) or len(tokens) < 2:
        raise _wrong(text, "a range has one or two ends")
    low, high = (end[0] if end else None for end in ends)
    given = [end[0] for end in ends if end]
    if any(isinstance(end, bool) or end is None for end in given) or len(set(map(_kind, given))) > 1:
        raise _wrong(text, "the ends of a range are two numbers or two texts")
    return low, high


def _kind(value: object) -> type:
    return str if isinstance(value, str) else float


def _tokens(values: str) -> Iterator[str]:
    at = 0
    while at < len(values):
        found = _TOKEN.match(values, at)
        if found is None:
            raise ValueError("a quote that does not end")
        if found[1].strip():
            yield found[1].strip()
        at = found.end()


def _wrong(text: str, why: str) -> InputError:
    return InputError(
        f"invalid --where {text[:80]!r}: {why}; expected KEY=VALUE, KEY=VALUE,VALUE or KEY=LOW..HIGH"
    )
