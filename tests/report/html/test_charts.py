"""Charts: axes tick where a reader expects it, and every point stands inside the frame."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.page_reader import Reader
from trine.report.html.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Line,
    histogram_chart,
    line_chart,
    range_bar,
)
from trine.report.html.scatter import map_chart


def points(path):
    """The absolute points of a path made of M, L, H and V."""
    x = y = 0.0
    found = []
    for letter, words in re.findall(r"([MLHV])([^MLHVZ]*)", path):
        values = [float(word) for word in words.split()]
        if letter in "ML":
            x, y = values
        elif letter == "H":
            (x,) = values
        else:
            (y,) = values
        found.append((x, y))
    return np.array(found)


def drawn(chart, kind):
    return [element["d"] for element in Reader(chart).all("path") if kind in element["class"].split()]


@given(st.integers(-8, 2), st.integers(1, 8))
def test_a_log_axis_ticks_at_decades(first, decades):
    axis = Axis("FAR", 10.0**first, 10.0 ** (first + decades), log=True)
    values = [value for value, _ in axis.ticks()]
    powers = np.log10(values)
    assert 1 <= len(values) <= 6
    np.testing.assert_allclose(powers, powers.round(), atol=1e-9)
    assert len(set(np.diff(powers).round(6))) <= 1
    assert values[-1] == pytest.approx(axis.high), "the end, 100 %, is always written"
    places = [axis.place(value) for value in values]
    np.testing.assert_allclose(np.diff(places), np.diff(powers) / decades, atol=1e-9)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_a_linear_axis_ticks_at_round_values_within_it(low, width):
    axis = Axis("distance", low, low + width)
    values = [value for value, _ in axis.ticks()]
    assert 2 <= len(values) <= 7
    assert all(low - 1e-6 * width <= value <= low + width * (1 + 1e-6) for value in values)
    step = values[1] - values[0]
    assert round(step / 10 ** np.floor(np.log10(step * 1.0001)), 3) in (1, 2, 5)
    for before, after in pairwise(values):
        assert after - before == pytest.approx(step, rel=1e-6)


def test_shares_are_written_as_percentages():
    axis = Axis("FAR", 1e-4, 1, log=True, percent=True)
    assert [written for _, written in axis.ticks()] == ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"]


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (0, 1, True), (0, np.nan, False)])
def test_an_axis_that_leads_nowhere_is_refused(low, high, log):
    with pytest.raises(ValueError, match="axis"):
        Axis("x", low, high, log=log)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30), st.booleans())
def test_lines_stay_inside_and_go_through_their_points(given_points, stepped):
    x, y = np.array(sorted(given_points)).T
    axes = {"x": Axis("FAR", 1e-3, 1, log=True), "y": Axis("TAR", 0, 1)}
    chart = line_chart([Line("a", x, y, stepped=stepped)], about="a", **axes)
    found = points(drawn(chart, "line")[0])
    assert (found >= [LEFT - 0.01, TOP - 0.01]).all()
    assert (found <= [WIDTH - RIGHT + 0.01, HEIGHT - BOTTOM + 0.01]).all()
    for a, b in zip(x, y, strict=True):
        at = (
            LEFT + axes["x"].place(a) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - b * (HEIGHT - TOP - BOTTOM),
        )
        # A stepped line passes at the height of a point, or from below to a higher one at the same x.
        near = np.abs(found - at).max(1).min()
        assert near < 0.02 or stepped


def test_points_that_are_not_finite_are_left_out():
    axes = {"x": Axis("x", 0, 1), "y": Axis("y", 0, 1)}
    line = Line("a", np.array([0.0, np.nan, 1.0]), np.array([0.5, 0.5, np.inf]))
    chart = line_chart([line, Line("none", np.zeros(0), np.zeros(0))], about="a", **axes)
    assert len(points(drawn(chart, "line")[0])) == 1
    assert "nan" not in chart


def test_several_lines_have_a_legend_and_their_names_beside_them():
    x = np.linspace(0, 1, 20)
    axes = {"x": Axis("x", 0, 1), "y": Axis("y", 0, 1)}
    chart = line_chart(
        [Line("high", x, 0.8 + 0 * x), Line("low", x, 0.2 + 0 * x, colour=1)], about="a", **axes
    )
    reader = Reader(chart)
    assert reader.text.split("\n")[:2] == ["high", "low"]
    names = {text["y"]: text for text in reader.all("text") if text.get("class") == "name"}
    assert len(names) == 2
    alike = line_chart([Line("one", x, x), Line("same", x, x, colour=1)], about="a", **axes)
    assert not [text for text in Reader(alike).all("text") if text.get("class") == "name"]


def test_a_histogram_has_the_shares_and_the_threshold():
    edges, counts = np.array([0.0, 1.0, 2.0]), np.array([1, 3])
    other = np.array([0, 0])
    kinds = [("same", "right", counts), ("different", "wrong", other)]
    chart = histogram_chart(edges, kinds, title="distance", threshold=0.5, about="a")
    heights = points(drawn(chart, "right")[0])[:, 1]
    base = HEIGHT - BOTTOM
    np.testing.assert_allclose((base - heights[3]) / (base - heights[1]), 3, rtol=1e-2)
    (mark,) = [line for line in Reader(chart).all("line") if line["class"] == "mark"]
    assert float(mark["x1"]) == pytest.approx(LEFT + 0.25 * (WIDTH - LEFT - RIGHT), abs=0.01)
    assert "threshold 0.5" in Reader(chart).text
    beyond = histogram_chart(edges, kinds, title="distance", threshold=9.0, about="a")
    assert "threshold" not in Reader(beyond).text


def test_a_bar_shows_value_interval_and_before():
    reader = Reader(range_bar(0.5, 0.25, 0.75, before=0.1))
    assert [circle["class"] for circle in reader.all("circle")] == ["before", "now"]
    (held,) = [line for line in reader.all("line") if line["class"] == "range"]
    assert float(held["x2"]) - float(held["x1"]) == pytest.approx(72)
    assert not [line for line in Reader(range_bar(0.5, None, None)).all("line") if line["class"] == "range"]


def test_a_map_holds_every_point_once_by_identity():
    random = np.random.default_rng(0)
    at, kinds = random.normal(size=(300, 2)), random.integers(0, 40, 300)
    names = [f"id {i}" for i in range(40)]
    reader = Reader(map_chart(at, kinds, names, about="map"))
    dots = [path["d"] for path in reader.all("path") if path["class"] == "dots"]
    assert [path.count("M") for path in dots] == np.bincount(kinds, minlength=40).tolist()
    # Forms tell apart what has the same colour.
    looks = {
        (group["class"], path["stroke-linecap"])
        for group, path in zip(
            reader.all("g"), [p for p in reader.all("path") if p["class"] == "dots"], strict=True
        )
    }
    assert len(looks) == 24
    assert sum(path["class"] == "hole" for path in reader.all("path")) == 16


@pytest.mark.parametrize("points_given", [np.zeros((1, 2)), np.zeros((5, 2)), np.array([[0.0, 1], [0, 2]])])
def test_points_in_one_place_are_drawn_all_the_same(points_given):
    chart = map_chart(points_given, np.zeros(len(points_given), np.int64), ["one"], about="map")
    assert chart.count("h.01") == len(points_given)
    assert "nan" not in chart
