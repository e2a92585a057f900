"""Numbers as CSV files write them: with a point or a comma, in groups of thousands, or missing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import numpy as np

from trine.data.load_report import some
from trine.errors import require

MISSING = (
    *("", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "NULL", "null", "None", "<NA>", "NaT"),
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""What stands for a missing number."""

DecimalMark = Literal["point", "comma"]
"""The mark before the fraction of a number."""

_SIGN, _POWER, _SPACES = "[+-]?", "(?:[eE][+-]?[0-9]+)?", "' \u00a0\u202f"
_MARKS: tuple[tuple[DecimalMark, str, str], ...] = (("point", ",", r"\."), ("comma", ".", ","))
_FORMATS: Mapping[DecimalMark, str] = {
    decimal: (
        f"^{_SIGN}(?:(?:[0-9]+|[1-9][0-9]{{0,2}}(?:[{group}{_SPACES}][0-9]{{3}})+)(?:{mark}[0-9]*)?"
        f"|{mark}[0-9]+){_POWER}$"
    )
    for decimal, group, mark in _MARKS
}
_GROUPS_OF_POINTS = rf"^{_SIGN}(?:[0-9]{{1,3}}|[1-9][0-9]{{0,2}}(?:\.[0-9]{{3}})+)$"
_WHOLE_BEYOND_64_BITS = "^[+-]?[0-9]{19,}$"


def plain_numbers(cells: Any) -> Any:
    """Reads texts as numbers with a point, or as true and false.

    Args:
        cells: A column of strings, as Arrow holds it.

    Returns:
        A column of integers, floats or booleans, null where a number is missing; None if it holds anything
        else, or whole numbers of more than 64 bits.
    """
    arrow, _ = _arrow()
    for make in (None, without_gaps):
        read = cells if make is None else make(cells)
        floats = _cast(read, arrow.float64())
        if floats is not None:
            return _whole(read, floats)
        if _has(read, "0x") and (whole := _cast(read, arrow.int64())) is not None:
            return whole
    return _cast(without_gaps(cells), arrow.bool_())


def _whole(cells: Any, floats: Any) -> Any:
    """Reads numbers as whole numbers if all are; None if one has more than 64 bits."""
    arrow, compute = _arrow()
    values = floats.to_numpy()
    known = values[~np.isnan(values)]
    if (np.floor(known) != known).any() or np.isinf(known).any():
        return floats
    for kind in (arrow.int64(), arrow.uint64()):
        whole = _cast(cells, kind)
        if whole is not None:
            return whole
    beyond = compute.match_substring_regex(cells, _WHOLE_BEYOND_64_BITS)
    return None if np.abs(known).max(initial=0) >= 2.0**63 and _any(beyond) else floats


def _cast(cells: Any, kind: Any) -> Any:
    """A column as another type; None where a cell cannot be."""
    try:
        return cells.cast(kind)
    except _arrow()[0].ArrowInvalid:
        return None


def without_gaps(cells: Any) -> Any:
    """Removes spaces around the cells of a column of strings, and makes those null that are missing."""
    arrow, compute = _arrow()
    trimmed = compute.utf8_trim_whitespace(cells)
    missing = compute.is_in(trimmed, value_set=arrow.array(MISSING, trimmed.type))
    return compute.if_else(missing, arrow.scalar(None, trimmed.type), trimmed)


def read_numbers(columns: Mapping[str, Any], *, separator: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Reads those columns of a CSV file that hold numbers, in the format that the file writes them in.

    Whether "1,234" is 1234 or 1.234 is decided by the other numbers of the file, or else by its separator: a
    comma that separates cells is no decimal comma, and a semicolon is used where the comma is one.

    Args:
        columns: Columns of strings, as Arrow holds them.
        separator: The separator of the file.

    Returns:
        The columns that hold numbers, and what to tell the user about their format.
    """
    found = {name: plain_numbers(cells) for name, cells in columns.items()}
    texts = {name: without_gaps(columns[name]) for name, numbers in found.items() if numbers is None}
    suits = {name: formats for name, cells in texts.items() if (formats := _suiting(cells))}
    if suits:
        plain = {name: columns[name] for name in found if name not in texts and _has(columns[name], ".")}
        groups = {name: cells for name, cells in plain.items() if _match(cells, _GROUPS_OF_POINTS)}
        told = {formats[0] for formats in suits.values() if len(formats) == 1}
        told |= {"point"} if len(groups) < len(plain) else set()
        if told == {"comma"}:  # so a point separates thousands
            texts |= groups
            suits |= dict.fromkeys(groups, ("comma",))
        by_separator: dict[str, DecimalMark] = {";": "comma", ",": "point"}
        usual = next(iter(told)) if len(told) == 1 else by_separator.get(separator)
    notes: dict[str, list[str]] = {}
    for name, formats in suits.items():
        either = len(formats) > 1 and (_has(texts[name], ",") or _has(texts[name], "."))
        decimal = usual if either else formats[0]
        numbers = None if decimal is None else _converted(texts[name], decimal)
        if numbers is not None:
            found[name] = numbers
            comma = decimal == "comma" and _has(texts[name], ",")
            how = "numbers with a decimal comma" if comma else "numbers in groups of thousands"
            notes.setdefault(how, []).append(name)
        elif decimal is None:
            notes.setdefault("not read as numbers, since 1,234 may be 1.234 or 1234", []).append(name)
    return (
        {name: numbers for name, numbers in found.items() if numbers is not None},
        tuple(f"{how}: {some(names, limit=6)}" for how, names in notes.items()),
    )


def text_cells(cells: Any) -> Any:
    """Which cells of a column of strings are neither numbers in any format nor missing."""
    _, compute = _arrow()
    known = without_gaps(cells)
    numbers = [compute.match_substring_regex(known, pattern) for pattern in _FORMATS.values()]
    return compute.fill_null(compute.invert(compute.or_(*numbers)), False)


def _suiting(cells: Any) -> tuple[DecimalMark, ...]:
    """The formats in which all cells are numbers; none where all are missing."""
    if cells.null_count == len(cells):
        return ()
    return tuple(decimal for decimal, pattern in _FORMATS.items() if _match(cells, pattern))


def _converted(cells: Any, decimal: DecimalMark) -> Any:
    _, compute = _arrow()
    group = "." if decimal == "comma" else ","
    bare = compute.replace_substring_regex(cells, f"[{group}{_SPACES}]", "")
    return plain_numbers(compute.replace_substring(bare, ",", ".") if decimal == "comma" else bare)


def _match(cells: Any, pattern: str) -> bool:
    """Whether all cells that are not missing match a pattern."""
    _, compute = _arrow()
    return bool(compute.all(compute.match_substring_regex(without_gaps(cells), pattern)).as_py())


def _has(cells: Any, mark: str) -> bool:
    return _any(_arrow()[1].match_substring(cells, mark))


def _any(found: Any) -> bool:
    return bool(_arrow()[1].any(found).as_py())


@cache
def _arrow() -> tuple[Any, Any]:
    return require("pyarrow", extra="train"), require("pyarrow.compute", extra="train")
