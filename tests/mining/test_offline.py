"""Offline mining against plain loops: who is confused with whom, and the triplets of a whole set."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.reference import distance as between
from trine.data import load
from trine.distances import DISTANCES, pairwise_distances
from trine.errors import InputError
from trine.mining import OfflineMining, confusable_identities, mine_offline, stream_triplets
from trine.neighbours import InvertedSearch


@st.composite
def sets(draw):
    """(rows, labels) with small integers for coordinates: ties and copies are common, and exact."""
    count, width = draw(st.integers(0, 12)), draw(st.integers(1, 3))
    cells = draw(st.lists(st.integers(-3, 3), min_size=count * width, max_size=count * width))
    labels = draw(st.lists(st.integers(-2, 2), min_size=count, max_size=count))
    rows = np.array(cells, dtype=np.float64).reshape(count, width)
    return rows, np.array(labels, dtype=np.int64)


guards = st.builds(
    OfflineMining,
    rule=st.sampled_from(["hard", "semihard"]),
    positives=st.none(),
    negatives=st.integers(1, 3),
    skip=st.integers(0, 2),
    among=st.integers(1, 5),
    absolute_margin=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
    relative_margin=st.none() | st.sampled_from([0.0, 0.25]),
    min_distance=st.none() | st.sampled_from([0.0, 1.0]),
    max_distance=st.none() | st.sampled_from([1.0, 3.0]),
)


def allowed(d, labels, a, p, how):
    """The candidates of a pair that the rule and the guards let through, nearest first."""
    others = sorted((n for n in range(len(labels)) if labels[n] != labels[a]), key=lambda n: (d[a][n], n))
    kept = []
    for n in others[how.skip : how.skip + how.among]:
        if how.rule == "semihard" and not d[a][n] > d[a][p]:
            continue
        if how.absolute_margin is not None and not d[a][n] >= d[a][p] + how.absolute_margin:
            continue
        if how.relative_margin is not None and not d[a][n] >= (1 + how.relative_margin) * d[a][p]:
            continue
        if how.min_distance is not None and d[a][n] < how.min_distance:
            continue
        if how.max_distance is not None and d[a][n] > how.max_distance:
            continue
        kept.append(n)
    return kept


def looped(d, labels, how):
    found, wanted = [], 0
    for a in range(len(labels)):
        for p in range(len(labels)):
            if p != a and labels[p] == labels[a]:
                wanted += how.negatives
                found += [(a, p, n) for n in allowed(d, labels, a, p, how)[: how.negatives]]
    return found, wanted


def listed(mined):
    return list(zip(mined.anchor.tolist(), mined.positive.tolist(), mined.negative.tolist(), strict=True))


@given(sets(), guards, st.sampled_from(DISTANCES), st.sampled_from([1, 2, 5, 2048]))
def test_triplets_are_those_of_plain_loops(data, how, distance, anchors):
    rows, labels = data
    d = pairwise_distances(torch.from_numpy(rows), distance=distance).tolist()
    expected, wanted = looped(d, labels, how)
    found = mine_offline(rows, labels, how=how, distance=distance, anchors_at_once=anchors)
    assert listed(found) == expected
    assert found.wanted == wanted
    assert found.d_ap.tolist() == pytest.approx([d[a][p] for a, p, _ in expected], abs=1e-12)
    assert found.d_an.tolist() == pytest.approx([d[a][n] for a, _, n in expected], abs=1e-12)


def digits(count=700):
    data, _ = load("digits")
    rows = np.stack([data.items[i].ravel() for i in range(count)]).astype(np.float32)
    return rows, data.labels[:count]


def test_the_loops_find_something_to_list():
    rows, labels = digits(120)
    d = pairwise_distances(torch.from_numpy(rows).double()).tolist()
    how = OfflineMining(rule="semihard", positives=None, negatives=2, skip=1, among=30, relative_margin=0.1)
    expected, wanted = looped(d, labels, how)
    assert 100 < len(expected) < wanted
    assert listed(mine_offline(rows, labels, how=how)) == expected


@pytest.mark.parametrize("count", [1, 3])
def test_every_item_is_a_positive_equally_often(count):
    _, labels = digits(300)
    rows = np.random.default_rng(0).normal(size=(300, 4))
    how = OfflineMining(rule="hard", positives=count, seed=4)
    found = mine_offline(rows, labels, how=how)
    assert set(Counter(found.positive.tolist()).values()) == {count}
    assert set(Counter(found.anchor.tolist()).values()) == {count}
    assert (labels[found.anchor] == labels[found.positive]).all()
    assert (found.anchor != found.positive).all()
    assert listed(mine_offline(rows, labels, how=how)) == listed(found)
    assert listed(mine_offline(rows, labels, how=replace(how, seed=5))) != listed(found)


def test_more_positives_than_there_are_take_all():
    rows, labels = np.arange(7.0)[:, None], np.array([0, 0, 0, 1, 1, 2, 2])
    every = mine_offline(rows, labels, how=OfflineMining(rule="hard", positives=None))
    assert listed(mine_offline(rows, labels, how=OfflineMining(rule="hard", positives=9))) == listed(every)


@given(sets(), guards, st.integers(0, 3))
def test_random_negatives_are_some_of_those_allowed(data, how, seed):
    rows, labels = data
    d = pairwise_distances(torch.from_numpy(rows)).tolist()
    how = replace(how, choose="random", seed=seed)
    found = mine_offline(rows, labels, how=how)
    drawn = {}
    for a, p, n in listed(found):
        drawn.setdefault((a, p), []).append(n)
    for a in range(len(labels)):
        for p in range(len(labels)):
            if p != a and labels[p] == labels[a]:
                kept = allowed(d, labels, a, p, how)
                got = drawn.pop((a, p), [])
                assert len(got) == len(set(got)) == min(how.negatives, len(kept))
                assert set(got) <= set(kept)
    assert not drawn
    assert listed(mine_offline(rows, labels, how=how)) == listed(found)


def test_the_draw_goes_through_all_of_them():
    rows, labels = digits(200)
    how = OfflineMining(rule="hard", choose="random", among=4, seed=1)
    found, nearest = (
        mine_offline(rows, labels, how=how),
        mine_offline(rows, labels, how=replace(how, among=1)),
    )
    same = (found.negative == nearest.negative).mean()
    assert 0.15 < same < 0.35, "one in four is the nearest"


def test_hard_triplets_of_digits_are_harder_than_random_ones():
    rows, labels = digits()
    hard = mine_offline(rows, labels, how=OfflineMining(rule="hard"))
    semihard = mine_offline(rows, labels)
    any_other = mine_offline(rows, labels, how=OfflineMining(rule="hard", among=699, choose="random"))
    assert hard.d_an.mean() < semihard.d_an.mean() < 0.9 * any_other.d_an.mean()
    assert (semihard.d_an > semihard.d_ap).all()
    skipped = mine_offline(rows, labels, how=OfflineMining(rule="hard", skip=10))
    assert skipped.d_an.mean() > hard.d_an.mean()


def test_blocks_come_one_after_the_other():
    rows, labels = digits(300)
    whole = listed(mine_offline(rows, labels))
    parts = [listed(part) for part in stream_triplets(rows, labels, anchors_at_once=64)]
    assert len(parts) == 5
    assert [triplet for part in parts for triplet in part] == whole


def test_through_inverted_lists_it_finds_nearly_the_same():
    pytest.importorskip("faiss")
    rows, labels = digits()
    exact = set(listed(mine_offline(rows, labels, how=OfflineMining(rule="hard", among=5))))
    search = InvertedSearch(rows, distance="euclidean")
    lists = set(listed(mine_offline(rows, labels, how=OfflineMining(rule="hard", among=5), search=search)))
    assert len(exact & lists) > 0.9 * len(exact)


def looped_confusable(rows, labels, k, distance):
    means = []
    for label in sorted(set(labels.tolist())):
        own = [row for row, y in zip(rows.tolist(), labels.tolist(), strict=True) if y == label]
        if distance == "cosine":
            norms = [sum(v * v for v in row) ** 0.5 for row in own]
            own = [[v / n for v in row] for row, n in zip(own, norms, strict=True)]
        means.append([sum(column) / len(own) for column in zip(*own, strict=True)])
    order = []
    for i, mine in enumerate(means):
        others = [j for j in range(len(means)) if j != i]
        order.append(sorted(others, key=lambda j: (between(mine, means[j], distance), j))[:k])
    return order


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("k", [1, 3, 99])
def test_confusable_identities_are_those_of_plain_loops(distance, k):
    generator = np.random.default_rng(3)
    labels = generator.integers(-4, 5, size=80) * 7
    rows = generator.normal(size=(80, 3)) + 1
    assert len(set(labels.tolist())) == 9
    expected = looped_confusable(rows, labels, k, distance)
    assert confusable_identities(rows, labels, k=k, distance=distance).tolist() == expected


def test_digits_are_confused_as_people_confuse_them():
    found = confusable_identities(*digits(1797), k=3)
    assert found[9].tolist() == [3, 8, 5]
    assert found[3, 0] == 9
    assert found[1, 0] == 8


def test_sets_without_others():
    assert confusable_identities(np.zeros((0, 2)), np.zeros(0, np.int64)).shape == (0, 0)
    assert confusable_identities(np.zeros((3, 2)), np.ones(3, np.int64)).shape == (1, 0)
    for rows, labels in (
        (np.zeros((0, 2)), np.zeros(0, np.int64)),
        (np.zeros((1, 2)), np.zeros(1, np.int64)),
        (np.zeros((3, 2)), np.ones(3, np.int64)),
        (np.eye(3), np.arange(3)),
    ):
        assert len(mine_offline(rows, labels, how=OfflineMining(rule="hard"))) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "semi-hard"}, "unknown rule of offline mining 'semi-hard': did you mean 'semihard'"),
        ({"choose": "first"}, "unknown choose of offline mining 'first': .*known: nearest, random"),
        ({"positives": 0}, "positives of offline mining must be at least 1, given 0"),
        ({"negatives": 0}, "negatives of offline mining must be at least 1, given 0"),
        ({"skip": -1}, "skip of offline mining must be at least 0, given -1"),
        ({"among": 0}, "among of offline mining must be at least 1, given 0"),
        ({"relative_margin": -0.1}, "relative_margin must be a number >= 0, given -0.1"),
        ({"max_distance": float("nan")}, "max_distance must be a number >= 0, given nan"),
    ],
)
def test_mistakes_in_the_guards(arguments, message):
    with pytest.raises(InputError, match=message):
        OfflineMining(**arguments)


@pytest.mark.usefixtures("as_in_production")
def test_mistakes_in_the_set():
    rows, labels = np.zeros((3, 2)), np.arange(3)
    with pytest.raises(InputError, match=r"labels must hold one label for each of the 3 items, given \(2,\)"):
        mine_offline(rows, labels[:2])
    with pytest.raises(InputError, match="k must be at least 1, given 0"):
        confusable_identities(rows, labels, k=0)
    with pytest.raises(InputError, match="embeddings must be finite, row 1 holds NaN"):
        confusable_identities(np.array([[0.0], [np.nan], [1.0]]), labels)
    with pytest.raises(InputError, match="unknown distance 'manhattan'"):
        mine_offline(rows, labels, distance="manhattan")
