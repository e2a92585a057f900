"""The search among rows on disk: that of the exact search with all lists, nearly so with few."""

import numpy as np
import pytest

from trine.distances import DISTANCES
from trine.errors import InputError, SettingError
from trine.neighbours import DiskSearch, nearest_neighbours

pytest.importorskip("faiss")


def rows(folder, count=6000, width=8, seed=0, *, unit=False):
    """Items of sixty identities, each a cloud of its own, in a file."""
    generator = np.random.default_rng(seed)
    made = generator.normal(size=(60, width))[np.arange(count) % 60]
    made = made + 0.3 * generator.normal(size=(count, width))
    if unit:
        made /= np.linalg.norm(made, axis=1, keepdims=True)
    kept = np.lib.format.open_memmap(folder / "rows.npy", mode="w+", dtype=np.float32, shape=made.shape)
    kept[:] = made
    return kept


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("memory", [1 << 26, 1 << 30])
def test_all_lists_are_the_exact_search(distance, memory, tmp_path):
    # Numbers so wide that 64 MiB hold a few shards.
    data = rows(tmp_path, 3000, 2000 if memory == 1 << 26 else 8, unit=distance == "cosine")
    search = DiskSearch(data, folder=tmp_path, distance=distance, memory=memory, probed=1)
    asked = np.arange(0, 3000, 37)
    found = search.nearest(data[asked], k=12, exclude=asked)
    exact = nearest_neighbours(np.array(data[asked]), np.array(data), k=12, distance=distance, exclude=asked)
    np.testing.assert_array_equal(found.indices, exact.indices)
    np.testing.assert_allclose(found.distances, exact.distances, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(search.distances(data[asked], found.indices), found.distances)
    assert (len(list(tmp_path.glob("*.faiss"))) > 1) == (memory == 1 << 26)


def test_few_lists_find_nearly_all(tmp_path):
    data = rows(tmp_path)
    exact = nearest_neighbours(np.array(data), k=10)
    found = DiskSearch(data, folder=tmp_path).nearest(data, k=10, exclude=np.arange(len(data)))
    both = [len(set(a) & set(b)) for a, b in zip(found.indices, exact.indices, strict=True)]
    assert 0.95 < np.mean(both) / 10 < 1


def test_queries_whose_lists_hold_too_few_are_searched_everywhere(tmp_path):
    data = rows(tmp_path, 400)
    found = DiskSearch(data, folder=tmp_path).nearest(data[:50], k=390)
    exact = nearest_neighbours(np.array(data[:50]), np.array(data), k=390)
    np.testing.assert_array_equal(found.indices, exact.indices)


def test_mistakes(tmp_path, as_in_production):
    data = rows(tmp_path, 50)
    with pytest.raises(InputError, match=r"rows must have length 1 to be compared by cosine, row 0 has not"):
        DiskSearch(data, folder=tmp_path, distance="cosine")
    with pytest.raises((InputError, SettingError), match=r"memory .*67108864"):
        DiskSearch(data, folder=tmp_path, memory=1000)
    data[3, 1] = np.nan
    with pytest.raises(InputError, match=r"must be finite, row 3"):
        DiskSearch(data, folder=tmp_path)


def test_with_the_searches_that_another_package_puts_in_place_of_those_of_faiss(tmp_path):
    pytest.importorskip("pytorch_metric_learning.utils.inference")  # imports faiss.contrib.torch_utils
    data = rows(tmp_path, 3000)
    found = DiskSearch(data, folder=tmp_path, probed=1).nearest(data[:50], k=10)
    exact = nearest_neighbours(np.array(data[:50]), np.array(data), k=10)
    np.testing.assert_array_equal(found.indices, exact.indices)
