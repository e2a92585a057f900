"""Charts as inline SVG: they scale with the page and follow its colour scheme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trine.report.html.markup import Markup, element, join, number
from trine.shapes import Float, Int64

WIDTH, HEIGHT = 480, 320
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 30, 46
COLOURS = 6
"""The number of distinct line colours."""
LABEL_ROOM, HALF = 16, 4


MOST_TICKS = 6


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        title: The label.
        low: The value at its start; above 0 if logarithmic.
        high: The value at its end, above `low`.
        log: Whether it is logarithmic.
        percent: Whether its values are shares, to be written as percentages.

    Example:
        >>> axis = Axis("FAR", 0.001, 1, log=True, percent=True)
        >>> axis.ticks()
        [(0.001, '0.1 %'), (0.01, '1 %'), (0.1, '10 %'), (1.0, '100 %')]
        >>> [round(axis.place(value), 3) for value in (0.001, 0.1, 0)]
        [0.0, 0.667, 0.0]
    """

    title: str
    low: float
    high: float
    log: bool = False
    percent: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"an axis needs low < high, both finite, given {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic axis needs low > 0, given {self.low}")

    def place(self, value: float) -> float:
        """The position of a value from 0 to 1, clipped to the axis."""
        if self.log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """The tick values, ascending, with their labels."""
        values = self._decades() if self.log else self._round_steps()
        return [(value, self._written(value)) for value in values]

    def _decades(self) -> list[float]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        every = max(1, math.ceil((last - first + 1) / MOST_TICKS))
        return [10.0**power for power in range(last, first - 1, -every)][::-1]

    def _round_steps(self) -> list[float]:
        rough = (self.high - self.low) / (MOST_TICKS - 1)
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]

    def _written(self, value: float) -> str:
        return f"{100 * value:.10g} %" if self.percent else f"{value:,.10g}"


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart.

    Attributes:
        name: Its name.
        x: The x values of its points, ascending.
        y: Their y values.
        colour: The number of its colour.
        stepped: Whether y is constant until the next point, as in an empirical curve.
        dotted: Whether to draw it paler, as a baseline.
    """

    name: str
    x: Float[np.ndarray, " p"]
    y: Float[np.ndarray, " p"]
    colour: int = 0
    stepped: bool = False
    dotted: bool = False


def line_chart(lines: Sequence[Line], *, x: Axis, y: Axis, about: str) -> Markup:
    """Draws lines, each with a label where it is far from the others, and a legend.

    Args:
        lines: The lines; points that are not finite are left out.
        x: The horizontal axis.
        y: The vertical axis.
        about: The alternative text.

    Returns:
        The chart with its legend.
    """
    drawn = [
        element("path", d=_line(line, x, y), class_=f"line s{line.colour % COLOURS}{' dotted' * line.dotted}")
        for line in lines
    ]
    labels = _labels(lines, x, y) if len(lines) > 1 else []
    return join(
        _legend([(f"s{line.colour % COLOURS}{' dotted' * line.dotted}", line.name) for line in lines])
        if len(lines) > 1
        else None,
        _frame(x, y, about, *drawn, *labels),
    )


def histogram_chart(
    edges: Float[np.ndarray, " e"],
    kinds: Sequence[tuple[str, str, Int64[np.ndarray, " b"]]],
    *,
    title: str,
    threshold: float | None,
    about: str,
    counted: str = "pairs",
) -> Markup:
    """Draws a histogram for each kind of values, as shares of the values of that kind.

    Args:
        edges: The edges of the bins, ascending.
        kinds: For each kind its name, its class (`"right"` or `"wrong"`), and its counts.
        title: The label of the values.
        threshold: A value to mark.
        about: The alternative text.
        counted: The noun for what is counted.

    Returns:
        The chart with its legend.
    """
    shares = [counts / max(int(counts.sum()), 1) for _, _, counts in kinds]
    low, high = float(edges[0]), float(edges[-1])
    x = Axis(title, low, high if high > low else low + 1)
    top = max((float(share.max()) for share in shares if len(share)), default=0.0)
    y = Axis(f"share of the {counted} of its kind", 0.0, 1.12 * top or 1.0, percent=True)
    drawn = []
    for (_, kind, _), share in zip(kinds, shares, strict=True):
        d = _outline(edges, share, x, y)
        drawn.append(element("path", d=d, class_=f"area {kind}"))
    mark = None
    if threshold is not None and x.low <= threshold <= x.high:
        at = _across(x, threshold)
        left = x.place(threshold) > 0.7
        mark = join(
            element("line", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, class_="mark"),
            _text(
                f"threshold {threshold:.3g}", at + (-6 if left else 6), TOP + 10,
                anchor="end" if left else "start", kind="name",
            ),
        )  # fmt: skip
    legend = _legend([(kind, f"{name}: {int(counts.sum()):,} {counted}") for name, kind, counts in kinds])
    return join(legend, _frame(x, y, about, *drawn, mark))


def range_bar(value: float, low: float | None, high: float | None, *, before: float | None = None) -> Markup:
    """Draws a share on a bar from 0 to 1: a dot, its interval, and the baseline as a ring.

    Args:
        value: The share.
        low: The lower end of its interval; None without one.
        high: The upper end.
        before: The baseline.
    """
    width, height = 160, 18

    def at(share: float) -> float:
        return 8 + min(max(share, 0.0), 1.0) * (width - 16)

    middle = height / 2
    return element(
        "svg",
        element("line", x1=8, x2=width - 8, y1=middle, y2=middle, class_="track"),
        None
        if low is None or high is None
        else element("line", x1=at(low), x2=at(high), y1=middle, y2=middle, class_="range"),
        None if before is None else element("circle", cx=at(before), cy=middle, r=4, class_="before"),
        element("circle", cx=at(value), cy=middle, r=4.5, class_="now"),
        viewBox=f"0 0 {width} {height}", class_="bar", aria_hidden="true",
    )  # fmt: skip


def _frame(x: Axis, y: Axis, about: str, *inside: Markup | None) -> Markup:
    grid = []
    for value, written in y.ticks():
        up = _up(y, value)
        grid += [
            element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=up, y2=up, class_="grid"),
            _text(written, LEFT - 7, up + 4, anchor="end"),
        ]
    for value, written in x.ticks():
        at = _across(x, value)
        grid += [
            element("line", x1=at, x2=at, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM + 4, class_="tick"),
            _text(
                written,
                WIDTH if at > WIDTH - 30 else at,
                HEIGHT - BOTTOM + 18,
                anchor="end" if at > WIDTH - 30 else "middle",
            ),
        ]
    base = element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM, class_="tick")
    return element(
        "svg",
        *grid, base, *inside,
        _text(x.title, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, anchor="middle"),
        _text(y.title, 0, 13, anchor="start"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="chart", role="img", aria_label=about,
    )  # fmt: skip


def _line(line: Line, x: Axis, y: Axis) -> str:
    known = np.isfinite(line.x) & np.isfinite(line.y)
    points = [
        (number(_across(x, float(a))), number(_up(y, float(b))))
        for a, b in zip(line.x[known], line.y[known], strict=True)
    ]
    if not points:
        return "M0 0"
    steps = [f"M{points[0][0]} {points[0][1]}"]
    for (old_x, old_y), (new_x, new_y) in pairwise(points):
        if not line.stepped:
            steps.append(f"L{new_x} {new_y}")
            continue
        steps.append((f"H{new_x}" if new_x != old_x else "") + (f"V{new_y}" if new_y != old_y else ""))
    return "".join(steps)


def _outline(edges: np.ndarray, share: np.ndarray, x: Axis, y: Axis) -> str:
    base = number(HEIGHT - BOTTOM)
    steps = "".join(
        f"V{number(_up(y, float(height)))}H{number(_across(x, float(right)))}"
        for height, right in zip(share, edges[1:], strict=True)
    )
    return f"M{number(_across(x, float(edges[0])))} {base}{steps}V{base}Z"


def _labels(lines: Sequence[Line], x: Axis, y: Axis) -> list[Markup]:
    """The label of each line where it is farthest from all others, if there is room."""
    places = np.linspace(0.05, 0.95, 37)
    heights = np.array([_heights(line, x, y, places) for line in lines])
    labels = []
    for own, line in enumerate(lines):
        others = np.delete(heights, own, axis=0)
        gaps = np.abs(others - heights[own]).min(axis=0)
        gaps[:HALF], gaps[-HALF:] = np.nan, np.nan
        best = int(np.where(np.isfinite(gaps), gaps, -1).argmax())
        if not gaps[best] >= 1.6 * LABEL_ROOM:
            continue
        nearest = others[:, best][np.abs(others[:, best] - heights[own][best]).argmin()]
        around = heights[own][best - HALF : best + HALF + 1]
        above = nearest > heights[own][best]
        up = np.nanmin(around) - 7 if above else np.nanmax(around) + LABEL_ROOM
        if TOP + 6 < up < HEIGHT - BOTTOM - 4:
            at = LEFT + places[best] * (WIDTH - LEFT - RIGHT)
            labels.append(_text(_short(line.name), at, float(up), anchor="middle", kind="name"))
    return labels


def _heights(line: Line, x: Axis, y: Axis, places: np.ndarray) -> Float[np.ndarray, " q"]:
    """The height of a line at these places, in pixels from the top; NaN where it has none."""
    known = np.isfinite(line.x) & np.isfinite(line.y)
    at = np.array([x.place(float(value)) for value in line.x[known]])
    if not len(at):
        return np.full(len(places), np.nan)
    before = np.searchsorted(at, places, side="right") - 1
    up = np.array([_up(y, float(value)) for value in line.y[known]])
    return np.where(before >= 0, up[np.maximum(before, 0)], np.nan)


def _legend(entries: Sequence[tuple[str, str]]) -> Markup:
    items = [element("li", element("span", class_=f"key {kind}"), name) for kind, name in entries]
    return element("ul", *items, class_="legend")


def _text(text: str, x: float, y: float, *, anchor: str, kind: str = "t") -> Markup:
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=kind)


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"


def _across(x: Axis, value: float) -> float:
    return LEFT + x.place(value) * (WIDTH - LEFT - RIGHT)


def _up(y: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM)
