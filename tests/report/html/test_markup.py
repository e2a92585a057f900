"""Whatever is no HTML is escaped, and what is HTML stays."""

import html

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.page_reader import Reader, check_page
from trine.evaluation.intervals import Interval
from trine.report.html.document import Section, Stat, document, side_by_side
from trine.report.html.markup import Markup, element, number
from trine.report.html.tables import facts, metric_cell, table
from trine.report.html.tiles import Tile, neighbour_rows, pair_cards

EVIL = "<script>alert('x')</script>"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
def test_any_text_comes_back_as_it_was(text):
    made = element("p", text, title=text)
    reader = Reader(made)
    assert "".join(reader.words) == text
    assert reader.elements == [("p", {"title": text})]


def test_markup_is_not_escaped_twice():
    assert element("p", element("b", "a & b")) == "<p><b>a &amp; b</b></p>"
    assert element("td", None, "x", class_=None, hidden=True, open=False) == "<td hidden>x</td>"


@given(st.floats(-1e6, 1e6))
def test_coordinates_are_short_and_near(value):
    assert abs(float(number(value)) - value) <= 0.005 + 1e-9
    assert "e" not in number(value)
    assert number(value) != "-0"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_coordinate_must_be_finite(value):
    with pytest.raises(ValueError, match="a coordinate must be finite"):
        number(value)


def test_every_part_escapes_its_names():
    tile = Tile(EVIL, EVIL, None, EVIL, "wrong")
    parts = [
        table([EVIL, EVIL], [[EVIL, EVIL], EVIL]),
        facts([(EVIL, EVIL)]),
        neighbour_rows([(tile, [tile])]),
        pair_cards([(tile, tile, EVIL)]),
    ]
    page = document(
        EVIL,
        [Section("a", EVIL, EVIL, side_by_side(*parts))],
        lead=EVIL,
        stats=[Stat(EVIL, EVIL, (EVIL,))],
        notes=[EVIL],
        foot=EVIL,
    )
    reader = check_page(page)
    assert "<script" not in page
    assert page.count(html.escape(EVIL)) >= 20
    assert reader.text.count(EVIL) >= 18


def test_right_and_wrong_are_told_apart_without_colour():
    shown = {
        mark: Reader(neighbour_rows([(Tile("q", "q"), [Tile("n", "n", mark=mark)])]))
        for mark in ("right", "wrong")
    }
    assert "✓" in shown["right"].text
    assert "✗" in shown["wrong"].text
    for mark, reader in shown.items():
        assert {"class": "sign", "role": "img", "aria-label": mark} in reader.all("span")


def test_figures_carry_their_interval_and_their_sign():
    assert metric_cell(0.25, Interval(0.2, 0.3)) == "<b>0.250</b> <small>0.200 to 0.300</small>"
    signed = metric_cell(-0.25, Interval(-0.4, 0.1), signed=True)
    assert signed == "<b>−0.250</b> <small>−0.400 to +0.100</small>"
    assert metric_cell(-0.0001, signed=True) == "<b>0.000</b>"
    assert metric_cell(np.nan) == metric_cell(None) == "–"
    assert isinstance(signed, Markup)
    # An interval without width says nothing.
    assert metric_cell(1.0, Interval(0.9999, 1.0)) == "<b>1.000</b>"
    assert metric_cell(0.0, Interval(-0.0001, 0.0001), signed=True) == "<b>0.000</b>"


def test_a_row_of_a_table_has_as_many_cells_as_the_head():
    reader = Reader(table(["a", "b", "c"], ["of one kind", ["x", "1", "2"]]))
    assert reader.all("th")[3] == {"colspan": "3", "scope": "colgroup", "class": "group"}
    assert len(reader.all("td")) == 2
