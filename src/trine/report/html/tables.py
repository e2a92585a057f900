"""Tables of values with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trine.evaluation.intervals import Interval
from trine.report.html.markup import Child, Markup, element, join

WIDE = 3
"""The number of columns that may not fit on a phone."""


def table(head: Sequence[str], rows: Sequence[Sequence[Child] | str], *, words: int = 1) -> Markup:
    """Builds a table that scrolls sideways, and says so, if the page is too narrow.

    Args:
        head: The column headers.
        rows: The cells of each row, the first of which is its header; a string heads the rows below.
        words: The number of leading text columns; the others hold numbers and are right-aligned.

    Returns:
        The table.
    """

    def cell(at: int, child: Child) -> Markup:
        if at == 0:
            return element("th", child, scope="row")
        return element("td", child, class_=None if at < words else "n")

    def row(cells: Sequence[Child] | str) -> Markup:
        if isinstance(cells, str):
            title = element("th", element("span", cells), colspan=len(head), scope="colgroup", class_="group")
            return element("tr", title)
        return element("tr", *(cell(at, child) for at, child in enumerate(cells)))

    titles = [
        element("th", title, scope="col", class_=None if at < words else "n") for at, title in enumerate(head)
    ]
    hint = element("p", "This table scrolls sideways.", class_="hint wide" if len(head) >= WIDE else "hint")
    return element(
        "div",
        hint,
        element(
            "table",
            element("thead", element("tr", *titles)),
            element("tbody", *(row(cells) for cells in rows)),
        ),
        class_="scroll",
        tabindex=0,
    )


def metric_cell(value: float | None, interval: Interval | None = None, *, signed: bool = False) -> Markup:
    """Formats a value, followed by its interval in small type.

    Args:
        value: The value; None and NaN give a dash.
        interval: Its interval; left out if both ends read the same.
        signed: Whether to write a plus sign, as for differences.

    Example:
        >>> metric_cell(0.8931, Interval(0.84, 0.94))
        '<b>0.893</b> <small>0.840 to 0.940</small>'
        >>> metric_cell(None)
        '–'
    """
    if value is None or math.isnan(value):
        return Markup("–")
    written = element("b", _written(value, signed))
    if interval is None or math.isnan(interval.low):
        return written
    low, high = _written(interval.low, signed), _written(interval.high, signed)
    return written if low == high else join(written, " ", element("small", f"{low} to {high}"))


def facts(entries: Sequence[tuple[str, Child]]) -> Markup:
    """Builds a list of names with their values."""
    return element(
        "dl", *(join(element("dt", name), element("dd", said)) for name, said in entries), class_="facts"
    )


def _written(value: float, signed: bool) -> str:
    plain = f"{abs(value):.3f}"
    sign = "" if float(plain) == 0 else "−" if value < 0 else "+" if signed else ""
    return f"{sign}{plain}"
