"""What is chosen to be looked at: queries, their neighbours, the map, and the hardest pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from trine.distances import pairwise_distances
from trine.errors import InputError
from trine.evaluation import hardest
from trine.evaluation.hardest import PER_IDENTITIES, PER_ITEM, hardest_pairs
from trine.neighbours import nearest_neighbours
from trine.report.selection import view


def digits(n=60):
    bunch = load_digits()
    return bunch.data[:n], bunch.target[:n]


def separated(labels):
    return np.eye(10)[labels] + 1e-3 * np.random.default_rng(0).standard_normal((len(labels), 10))


def test_queries_are_one_per_identity_and_failures_come_last():
    _, labels = digits()
    x = separated(labels)
    x[7] = x[8]  # of another identity
    shown = view(x, labels, neighbours=2)
    assert len(set(labels[shown.queries[:6]])) == 6
    assert shown.failing == 2
    first = shown.neighbours.indices[:, 0]
    assert ((labels[first] != labels[shown.queries]) == [False] * 6 + [True] * 2).all()
    every = nearest_neighbours(x, k=2)
    assert (every.indices[shown.queries] == shown.neighbours.indices).all()


def test_what_is_known_of_the_nearest_is_not_searched_again():
    x, labels = digits()
    first = nearest_neighbours(x, k=1).indices[:, 0]
    known = view(x, labels, nearest_is_wrong=labels[first] != labels)
    found = view(x, labels)
    assert (known.queries == found.queries).all()
    assert (known.points == found.points).all()


def test_names_and_numbers_choose_the_same():
    x, labels = digits()
    named = view(x, [f"digit {label}" for label in labels])
    assert (named.queries == view(x, labels).queries).all()


@pytest.mark.parametrize("n", [2, 5])
def test_few_items_are_mapped_along_their_principal_axes(n):
    x, labels = digits(n)
    points = view(x, labels).points
    spread = np.linalg.svd(x - x.mean(0), compute_uv=False)
    ratios = np.linalg.svd(points, compute_uv=False)
    np.testing.assert_allclose(ratios[1] / ratios[0], spread[1] / spread[0], atol=1e-5)


def test_a_collapsed_encoder_is_one_point():
    x, labels = digits()
    assert (view(np.ones_like(x), labels).points == 0).all()


def test_identities_of_one_item_can_be_shown():
    x, _ = digits(12)
    shown = view(x, np.arange(12), queries=4)
    assert len(shown.queries) == 4


def test_one_item_cannot_be_viewed():
    with pytest.raises(InputError, match="at least two items, given 1"):
        view(np.zeros((1, 3)), ["a"])


def naive_hardest(x, labels, count):
    """Every item's farthest positive and nearest negative, ranked by hand."""
    n = len(x)
    d = np.sqrt(((x[:, None] - x) ** 2).sum(2))
    answers = []
    for same in (True, False):
        pairs = set()
        for a in range(n):
            others = [b for b in range(n) if b != a and (labels[a] == labels[b]) == same]
            both = any(b != a and labels[b] == labels[a] for b in range(n)) and len(set(labels)) > 1
            if others and both:
                b = max(others, key=lambda b: d[a, b]) if same else min(others, key=lambda b: d[a, b])
                pairs.add((min(a, b), max(a, b)))
        ranked = sorted(pairs, key=lambda pair: -d[pair] if same else d[pair])
        chosen, items, names = [], [], []
        for a, b in ranked:
            who = tuple(sorted((labels[a], labels[b])))
            crowded = max(items.count(a), items.count(b)) >= PER_ITEM or names.count(who) >= PER_IDENTITIES
            if not crowded and len(chosen) < count:
                chosen.append((a, b))
                items += [a, b]
                names.append(who)
        answers.append(chosen)
    return answers


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 25), st.integers(2, 5), st.integers(1, 12))
def test_hardest_pairs_equal_a_naive_twin(seed, n, identities, count):
    random = np.random.default_rng(seed)
    x, labels = random.normal(size=(n, 3)), random.integers(0, identities, n)
    if len(set(labels)) < 2 or len(set(labels)) == n:
        return
    found = hardest_pairs(x, labels, count=count)
    positives, negatives = naive_hardest(x, labels, count)
    assert list(zip(found.positives.first, found.positives.second, strict=True)) == positives
    assert list(zip(found.negatives.first, found.negatives.second, strict=True)) == negatives
    assert not found.sampled
    import torch

    d = pairwise_distances(torch.from_numpy(x), torch.from_numpy(x), distance="euclidean").numpy()
    np.testing.assert_allclose(found.negatives.distances, [d[pair] for pair in negatives], rtol=1e-9)


def test_a_wrong_label_comes_first():
    _, labels = digits()
    x = separated(labels)
    given = labels.copy()
    given[13] = (given[13] + 1) % 10
    found = hardest_pairs(x, given)
    assert 13 in (found.positives.first[0], found.positives.second[0])
    assert 13 in (found.negatives.first[0], found.negatives.second[0])


def test_of_many_items_a_part_is_asked(monkeypatch):
    monkeypatch.setattr(hardest, "MOST_DISTANCES", 600)
    x, labels = digits()
    found = hardest_pairs(x, labels)
    assert found.sampled
    assert found.anchors == 10
    assert 0 < len(found.negatives) <= 10


@pytest.mark.parametrize("labels", [["a", "a", "a"], ["a", "b", "c"]])
def test_hard_pairs_need_both_kinds(labels):
    with pytest.raises(InputError, match="two items of one identity and one of another"):
        hardest_pairs(np.zeros((3, 2)), labels)
