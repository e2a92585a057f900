"""Recommendation: the full ranking equals a loop over users, and NDCG that of scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from trine.errors import InputError
from trine.evaluation import recommendation, recommendation_from_scores
from trine.neighbours import NEVER


def twin(scores, held_out, seen):
    """For each user the ranks of the held-out items in an order of all not seen, ties behind."""
    found = {}
    for user in sorted({u for u, _ in held_out}):
        met = {i for u, i in seen if u == user}
        left = [i for i in range(scores.shape[1]) if i not in met]
        wanted = {i for u, i in held_out if u == user}
        order = sorted(left, key=lambda i: (-scores[user, i], i in wanted))
        found[user] = [rank for rank, i in enumerate(order, 1) if i in wanted]
    return found


@st.composite
def querys(draw):
    users, items = draw(st.integers(1, 6)), draw(st.integers(2, 12))
    pair = st.tuples(st.integers(0, users - 1), st.integers(0, items - 1))
    held_out = draw(st.lists(pair, min_size=1, max_size=10))
    seen = [each for each in draw(st.lists(pair, max_size=20)) if each not in held_out]
    flat = draw(st.lists(st.integers(0, 4), min_size=users * items, max_size=users * items))
    return np.array(flat, dtype=np.float64).reshape(users, items), held_out, seen


def as_pairs(pairs):
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


@given(querys())
def test_ranks_are_those_of_a_loop_over_users(query):
    scores, held_out, seen = query
    report = recommendation_from_scores(
        lambda some: scores[some],
        users=scores.shape[0],
        items=scores.shape[1],
        held_out=as_pairs(held_out),
        seen=as_pairs(seen),
        resamples=0,
    )
    expected = twin(scores, held_out, seen)
    assert report.users.tolist() == list(expected)
    for row, ranks in zip(report.ranks, expected.values(), strict=True):
        assert row[row < NEVER].tolist() == ranks
    assert report.hit_rate_at(2) == pytest.approx(np.mean([ranks[0] <= 2 for ranks in expected.values()]))
    assert report.mrr == pytest.approx(np.mean([1 / ranks[0] for ranks in expected.values()]))


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine"])
def test_ndcg_is_that_of_scikit_learn(distance):
    random = np.random.default_rng(0)
    users, items = random.normal(size=(12, 4)), random.normal(size=(40, 4))
    chosen = [random.choice(40, 9, replace=False) for _ in users]
    held_out = as_pairs([(u, i) for u, own in enumerate(chosen) for i in own[: 1 + u % 3]])
    seen = as_pairs([(u, i) for u, own in enumerate(chosen) for i in own[3:]])
    report = recommendation(users, items, held_out=held_out, seen=seen, distance=distance, tile=100)
    if distance == "cosine":
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (users, items)]
        near = -(1 - unit[0] @ unit[1].T)
    else:
        near = -((users[:, None] - items[None]) ** 2).sum(-1)
    expected = []
    for u in range(12):
        left = np.setdiff1d(np.arange(40), seen[seen[:, 0] == u, 1])
        gains = np.isin(left, held_out[held_out[:, 0] == u, 1]).astype(float)
        expected.append(ndcg_score(gains[None], near[u, left][None], k=10))
    assert 0 < np.mean(expected) < 1
    np.testing.assert_allclose(report.per_query("ndcg_at", 10), expected)
    interval = report.interval("ndcg_at", 10)
    assert interval.low < report.ndcg_at(10) < interval.high
    listed = report.to_json()
    assert listed["users"] == 12
    assert listed["ndcg_at"]["10"] == pytest.approx(np.mean(expected))


def test_what_tells_nothing_apart_finds_nothing():
    same = np.zeros((30, 3))
    held_out = as_pairs([(u, u) for u in range(30)])
    report = recommendation(same, same, held_out=held_out, seen=as_pairs([]), resamples=0)
    assert report.ranks.ravel().tolist() == [30] * 30


def test_held_out_items_of_equal_scores_take_a_rank_each():
    scores = np.array([[3.0, 3.0, 3.0, 1.0, 5.0]])
    report = recommendation_from_scores(
        lambda some: scores[some],
        users=1,
        items=5,
        held_out=as_pairs([(0, 0), (0, 2), (0, 3)]),
        seen=as_pairs([(0, 4)]),
        resamples=0,
    )
    assert report.ranks.tolist() == [[2, 3, 4]]  # behind item 1, and not both at 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"held_out": as_pairs([])}, "nothing is held out"),
        (
            {"held_out": as_pairs([(0, 1)]), "seen": as_pairs([(0, 1)])},
            "item 1 is held out for user 0",
        ),
        ({"held_out": as_pairs([(0, 1), (2, 0)])}, r"held_out\[1\] refers to user 2, expected 0 to 1"),
        ({"seen": as_pairs([(0, 3)])}, r"seen\[0\] refers to item 3"),
        ({"items": np.zeros((3, 5))}, "users have width 2 and items 5"),
        ({"at": (0,)}, "each rank of at must be at least 1, given 0"),
    ],
)
def test_bad_queries_are_refused(change, message):
    query = {
        "items": np.eye(3)[:, :2],
        "held_out": as_pairs([(0, 1)]),
        "seen": as_pairs([(1, 0)]),
    } | change
    with pytest.raises(InputError, match=message):
        recommendation(np.zeros((2, 2)), query.pop("items"), **query)


def test_scores_that_are_no_numbers_are_refused():
    scores = np.array([[1.0, np.nan]])
    with pytest.raises(InputError, match="a score of user 0 is not finite"):
        recommendation_from_scores(
            lambda some: scores[some], users=1, items=2, held_out=as_pairs([(0, 0)]), seen=as_pairs([])
        )
