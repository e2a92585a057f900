"""Reads JSON that a stranger may have written, or that is damaged."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

DEEPEST = 100
"""How many lists and objects may lie inside each other."""

MOST_DIGITS = 308
"""How many digits a whole number may have, so that it is also a float; unless another limit is given."""

# Every match that begins also ends, at the end of the text if need be: a search takes time in proportion.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def parse_json(text: str | bytes, *, digits: int = MOST_DIGITS, unique: bool = False) -> Any:
    """Reads JSON, which may be nested to a depth of 100.

    Args:
        text: The JSON, as text or in UTF-8.
        digits: How many digits a whole number may have, at most the 4,300 that Python reads.
        unique: Whether a name that an object has twice is an error; otherwise its last value counts.

    Raises:
        ValueError: It is not JSON, not UTF-8, not a text at all, nested deeper, or a number is too long; or
            an object has a name twice, if that is an error.

    Example:
        >>> parse_json('{"a": [1, 2.5, null]}')
        {'a': [1, 2.5, None]}
        >>> parse_json("[" * 101 + "]" * 101)
        Traceback (most recent call last):
        ValueError: more than 100 lists and objects inside each other
    """
    if isinstance(text, bytes | bytearray):
        text = text.decode("utf-8")
    if not isinstance(text, str):
        raise ValueError(f"expected JSON, given {type(text).__name__}")
    check_depth(text)

    def whole(number: str) -> int:
        if len(number) > digits:
            raise ValueError(f"a number of {len(number):,} digits")
        return int(number)

    return json.loads(text, parse_int=whole, object_pairs_hook=_once if unique else None)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"an object has the name {twice[:80]!r} twice")
    return found


def check_depth(text: str) -> None:
    """Raises a `ValueError` for JSON that is nested too deeply for `parse_json`."""
    # Only a text with as many brackets can be nested too deeply, and few texts are.
    if text.count("[") + text.count("{") > DEEPEST and _depth(text) > DEEPEST:
        raise ValueError(f"more than {DEEPEST} lists and objects inside each other")


def _depth(text: str) -> int:
    plain = _STRING.sub("", text).encode("utf-8", errors="replace")
    brackets = np.frombuffer(plain.translate(None, _NO_BRACKETS), dtype=np.uint8)
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), np.int8(1), np.int8(-1))
    return int(steps.cumsum(dtype=np.int32).max(initial=0))
