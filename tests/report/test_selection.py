"""What is chosen to be looked at: queries, their neighbours and the map."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from trine.errors import InputError
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
    with pytest.raises(InputError, match="at least two items to show, given 1"):
        view(np.zeros((1, 3)), ["a"])
