"""Cells of CSV files that a spreadsheet would run as formulas, and how they are written and read.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@`; a tab or a line break in front does not stop
it. It shows a cell that begins with `'` as text, without the `'`. So a text that would be run is written with
`'` in front, and one that begins with `'` and would be run without it gets another: each is read back as
it was. Numbers are written as they are.
"""

from __future__ import annotations

import re
from typing import Any

_FORMULA = "[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"  # the last four are wide forms, which some take as well
_RUN = re.compile(f"'*{_FORMULA}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_GUARDED = f"^'('*{_FORMULA})"


def guarded(cell: object) -> object:
    """Returns what to write into a cell so that a spreadsheet shows it and does not run it.

    Args:
        cell: A text, a number or another value.

    Example:
        >>> guarded("=1+1"), guarded("'=1+1"), guarded("-0.5"), guarded(-1), guarded("ann")
        ("'=1+1", "''=1+1", '-0.5', -1, 'ann')
    """
    if isinstance(cell, str) and _RUN.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def unguarded(column: Any) -> Any:
    """Returns a column of text without what `guarded` put in front.

    Args:
        column: A column of text of pyarrow.
    """
    import pyarrow.compute as compute

    return compute.replace_substring_regex(column, pattern=_GUARDED, replacement="\\1")
