"""Figures of a ranked list equal what their definitions say, counted in loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine import ranking
from trine.errors import InputError
from trine.neighbours import NEVER


@st.composite
def rankings(draw):
    """Which items of each query's whole ranking are relevant; at least one."""
    width = draw(st.integers(1, 12))
    row = st.lists(st.booleans(), min_size=width, max_size=width).filter(any)
    return draw(st.lists(row, min_size=1, max_size=6))


def ranks_of(rows):
    widest = max(map(sum, rows))
    found = [[rank for rank, hit in enumerate(row, 1) if hit] for row in rows]
    return np.array([ranks + [NEVER] * (widest - len(ranks)) for ranks in found])


@given(rankings(), st.integers(1, 14))
def test_equal_to_the_definitions(rows, k):
    ranks = ranks_of(rows)
    names = ("recall", "precision", "rp", "mapr", "ap", "trapezoids", "ndcg")
    expected = {name: [] for name in names}
    for row in rows:
        r = sum(row)
        precision = [sum(row[: i + 1]) / (i + 1) for i in range(len(row))]
        expected["recall"].append(float(any(row[:k])))
        expected["precision"].append(sum(row[:k]) / k)
        expected["rp"].append(sum(row[:r]) / r)
        expected["mapr"].append(sum(precision[i] for i in range(r) if row[i]) / r)
        expected["ap"].append(sum(p for p, hit in zip(precision, row, strict=True) if hit) / r)
        before = [1.0, *precision]
        expected["trapezoids"].append(
            sum((before[i] + precision[i]) / 2 for i in range(len(row)) if row[i]) / r
        )
        gain = sum(1 / np.log2(2 + i) for i, hit in enumerate(row[:k]) if hit)
        expected["ndcg"].append(gain / sum(1 / np.log2(2 + i) for i in range(min(r, k))))
    found = {
        "recall": ranking.recall_at_k(ranks, k=k),
        "precision": ranking.precision_at_k(ranks, k=k),
        "rp": ranking.r_precision(ranks),
        "mapr": ranking.map_at_r(ranks),
        "ap": ranking.average_precision(ranks),
        "trapezoids": ranking.market1501_average_precision(ranks),
        "ndcg": ranking.ndcg_at_k(ranks, k=k),
    }
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], err_msg=name)
    assert (found["mapr"] <= found["rp"] + 1e-12).all()
    assert (found["mapr"] <= found["ap"] + 1e-12).all()


def test_what_lies_behind_r_does_not_count():
    ranks = np.array([[2, 3]])
    assert ranking.map_at_r(ranks).tolist() == [0.25]
    assert ranking.r_precision(ranks).tolist() == [0.5]


def test_no_queries_and_no_rank():
    assert ranking.map_at_r(np.zeros((0, 3), np.int64)).shape == (0,)
    assert ranking.reciprocal_rank(np.array([NEVER, 2])).tolist() == [0.0, 0.5]


def test_what_has_no_figure_is_named():
    ranks = np.array([[1], [NEVER]])
    for figure in (ranking.r_precision, ranking.map_at_r, ranking.average_precision):
        with pytest.raises(InputError, match="query 1 has no relevant item"):
            figure(ranks)
    with pytest.raises(InputError, match="k must be at least 1, given 0"):
        ranking.precision_at_k(ranks, k=0)
