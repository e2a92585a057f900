"""The hardest pairs equal those of a naive ranking."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from trine.distances import pairwise_distances
from trine.errors import InputError
from trine.evaluation.hardest import PER_IDENTITIES, PER_ITEM, hardest_pairs


def digits(n=60):
    bunch = load_digits()
    return bunch.data[:n], bunch.target[:n]


def separated(labels):
    return np.eye(10)[labels] + 1e-3 * np.random.default_rng(0).standard_normal((len(labels), 10))


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


def test_of_many_items_a_part_is_asked():
    x, labels = digits()
    found = hardest_pairs(x, labels, most_distances=600)
    assert found.sampled
    assert found.anchors == 10
    assert 0 < len(found.negatives) <= 10


@pytest.mark.parametrize("labels", [["a", "a", "a"], ["a", "b", "c"]])
def test_hard_pairs_need_both_kinds(labels):
    with pytest.raises(InputError, match="two items of one identity and one of another"):
        hardest_pairs(np.zeros((3, 2)), labels)
