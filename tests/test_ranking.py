"""Figures of a ranked list equal what their definitions say, counted in loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine import ranking
from trine.errors import InputError


@st.composite
def lists(draw):
    """Ranked lists of one query set, each with at least as many entries as its R."""
    width = draw(st.integers(1, 12))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=6))
    positives = [draw(st.integers(max(1, sum(row)), max(sum(row), width))) for row in rows]
    return rows, positives


@given(lists())
def test_equal_to_the_definitions(given_lists):
    rows, positives = given_lists
    hits, r = np.array(rows), np.array(positives)
    recall, precision, rp, mapr, first = [], [], [], [], []
    k = 1 + len(rows[0]) // 2
    for row, positive in zip(rows, positives, strict=True):
        recall.append(float(sum(row[:k]) > 0))
        precision.append(sum(row[:k]) / k)
        rp.append(sum(row[:positive]) / positive)
        total = 0.0
        for i in range(positive):
            if row[i]:
                total += sum(row[: i + 1]) / (i + 1)
        mapr.append(total / positive)
        first.append(row.index(True) + 1 if True in row else 0)
    np.testing.assert_allclose(ranking.recall_at_k(hits, k=k), recall)
    np.testing.assert_allclose(ranking.precision_at_k(hits, k=k), precision)
    np.testing.assert_allclose(ranking.r_precision(hits, r), rp)
    np.testing.assert_allclose(ranking.map_at_r(hits, r), mapr)
    np.testing.assert_array_equal(ranking.first_hit(hits), first)
    np.testing.assert_allclose(ranking.reciprocal_rank(np.array(first)), [1 / f if f else 0 for f in first])
    assert (ranking.map_at_r(hits, r) <= ranking.r_precision(hits, r) + 1e-12).all()


def test_what_lies_behind_r_does_not_count():
    hits = np.array([[False, True, True, True]])
    assert ranking.map_at_r(hits, np.array([2])).tolist() == [0.25]
    assert ranking.r_precision(hits, np.array([2])).tolist() == [0.5]


def test_no_queries_and_no_items():
    assert ranking.first_hit(np.zeros((2, 0), bool)).tolist() == [0, 0]
    assert ranking.map_at_r(np.zeros((0, 3), bool), np.zeros(0, np.int64)).shape == (0,)


def test_lists_that_are_too_short_are_named():
    hits = np.array([[True, False]])
    with pytest.raises(InputError, match="k must be from 1 to the 2 items ranked, given 3"):
        ranking.recall_at_k(hits, k=3)
    with pytest.raises(InputError, match="k must be from 1"):
        ranking.precision_at_k(hits, k=0)
    with pytest.raises(InputError, match="nearest R = 3, given 2"):
        ranking.map_at_r(hits, np.array([3]))
    with pytest.raises(InputError, match="query 0 has no relevant item"):
        ranking.r_precision(hits, np.array([0]))
