"""The search through inverted lists: nearly all of what an exact one finds, the same each time."""

import sys

import numpy as np
import pytest

from trine import neighbours
from trine.distances import DISTANCES
from trine.neighbours import ExactSearch, InvertedSearch, make_search, nearest_neighbours

pytest.importorskip("faiss")


def rows(count=6000, width=8, seed=0):
    """Items of sixty identities, each a cloud of its own."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(60, width))
    return (centres[np.arange(count) % 60] + 0.3 * generator.normal(size=(count, width))).astype(np.float32)


@pytest.mark.parametrize("distance", DISTANCES)
def test_it_finds_nearly_all_and_measures_exactly(distance):
    data = rows()
    exact = nearest_neighbours(data, k=10, distance=distance)
    search = InvertedSearch(data, distance=distance)
    found = search.nearest(data, k=10, exclude=np.arange(len(data)))
    both = [len(set(a) & set(b)) for a, b in zip(found.indices, exact.indices, strict=True)]
    assert 0.95 < np.mean(both) / 10 < 1, "approximate, and hardly so"
    same = found.indices == exact.indices
    np.testing.assert_array_equal(found.distances[same], exact.distances[same])
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert (found.indices != np.arange(len(data))[:, None]).all()


def test_it_finds_the_same_each_time():
    data = rows()
    one, two = (InvertedSearch(data).nearest(data[:500], k=7) for _ in range(2))
    np.testing.assert_array_equal(one.indices, two.indices)


@pytest.mark.parametrize("k", [300, 390, 400])
def test_a_row_that_the_lists_gave_too_little_is_searched_exactly(k):
    """More neighbours than a few lists hold: the rest comes from everywhere."""
    data = rows(400)
    found = InvertedSearch(data).nearest(data[:50], k=k)
    np.testing.assert_array_equal(found.indices, ExactSearch(data).nearest(data[:50], k=k).indices)


def test_the_number_of_rows_decides(monkeypatch):
    data = rows(300)
    assert type(make_search(data)) is ExactSearch
    assert type(make_search(data, many=300)) is InvertedSearch
    assert type(make_search(data, many=301)) is ExactSearch
    assert neighbours.inverted.MANY == 1_000_000
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert type(make_search(data, many=300)) is ExactSearch
