"""Ranks of listed references equal their places in a stable sort of all distances."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from trine.distances import DISTANCES, pairwise_distances
from trine.errors import InputError
from trine.neighbours import NEVER, RankSearch


def naive(queries, references, listed, counted, distance):
    """The ranks in a full sort of float64 distances."""
    full = pairwise_distances(
        torch.as_tensor(queries).double(), torch.as_tensor(references).double(), distance=distance
    ).tolist()
    return by_sorting(full, listed, counted)


def by_sorting(full, listed, counted):
    """Sorts every row by (distance, index), drops what leaves the ranking, and looks."""
    found = np.full(listed.shape, NEVER)
    for i, row in enumerate(full):
        gone = {j for j, kept in zip(listed[i], counted[i], strict=True) if j >= 0 and not kept}
        order = [j for _, j in sorted((d, j) for j, d in enumerate(row)) if j not in gone]
        places = sorted(
            1 + order.index(j) for j, kept in zip(listed[i], counted[i], strict=True) if j >= 0 and kept
        )
        found[i, : len(places)] = places
    return found


def lists(random, queries, references, width):
    """Some rows for each query, ascending with -1 at the end, and which of them count."""
    listed = np.full((queries, width), -1)
    for row in listed:
        some = random.choice(references, random.integers(1, width + 1), replace=False)
        row[: len(some)] = np.sort(some)
    return listed, random.random(listed.shape) < 0.7


def check(x, y, listed, counted, distance="euclidean"):
    found = RankSearch(y, distance=distance).ranks(x, listed, counted=counted)
    np.testing.assert_array_equal(found, naive(x, y, listed, counted, distance))
    return found


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_equals_a_full_sort_on_digits(distance, precision):
    x = load_digits().data[:300].astype(np.float32)
    listed, counted = lists(np.random.default_rng(0), 300, 300, 9)
    torch.set_float32_matmul_precision(precision)
    try:
        found = check(x, x, listed, counted & (listed != np.arange(300)[:, None]), distance)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert len(np.unique(found)) > 100


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ties_and_any_scale_equal_the_naive_twin(data):
    n, m = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 40))
    d = data.draw(st.integers(1, 4))
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    values = data.draw(st.sampled_from([1, 3, 1000]))
    y = random.integers(-values, values + 1, (m, d)).astype(np.float32)
    x = random.integers(-values, values + 1, (n, d)).astype(np.float32)
    scale, apart = data.draw(st.sampled_from([1e-20, 1.0, 1e15])), data.draw(st.sampled_from([1.0, 1e10]))
    listed, counted = lists(random, n, m, data.draw(st.integers(1, m)))
    check(
        x * np.float32(scale * apart),
        y * np.float32(scale),
        listed,
        counted,
        data.draw(st.sampled_from(DISTANCES)),
    )


@pytest.mark.parametrize("values", [1, 2])
def test_collapsed_and_repeated_rows_rank_by_index(values):
    random = np.random.default_rng(1)
    x = 0.3 * random.integers(0, values, (200, 2)).repeat(8, 1).astype(np.float32)
    listed, counted = lists(random, 200, 200, 12)
    check(x, x, listed, counted)


@pytest.mark.parametrize("radius", [1e-3, 1e-5, 1e-7])
def test_tight_classes_far_from_the_origin_rank_right(radius):
    random = np.random.default_rng(2)
    x = random.standard_normal((4, 16)).repeat(60, 0) + 100 + radius * random.standard_normal((240, 16))
    listed, counted = lists(random, 240, 240, 40)
    check(x, x, listed, counted)
    single = x.astype(np.float32)
    check(single, single, listed, counted)


def test_single_precision_alone_would_rank_wrongly_here():
    random = np.random.default_rng(3)
    x = random.standard_normal((4, 16)).repeat(60, 0) + 1e-3 * random.standard_normal((240, 16))
    listed, counted = lists(random, 240, 240, 5)
    single = x.astype(np.float32)
    right = check(single, single, listed, counted)
    norms = (single**2).sum(1)
    assert (by_sorting((norms - 2 * single @ single.T).tolist(), listed, counted) != right).any()


@pytest.mark.parametrize(("columns", "rows", "many", "tile"), [(16, 5, 256, 1 << 22), (70, 64, 2, 900)])
def test_small_tiles_give_the_same_answer(columns, rows, many, tile):
    x = np.random.default_rng(4).standard_normal((150, 6)).astype(np.float32)
    x[100:] = x[:50]
    listed, counted = lists(np.random.default_rng(5), 150, 150, 8)
    whole = check(x, x, listed, counted)
    search = RankSearch(x, columns=columns, rows=rows, many=many, tile=tile)
    np.testing.assert_array_equal(search.ranks(x, listed, counted=counted), whole)


def test_long_shared_lists_equal_the_naive_twin():
    x = np.random.default_rng(6).standard_normal((500, 5)).astype(np.float32)
    x[250:300] = x[:50]
    listed = np.tile(np.arange(0, 500, 1)[np.arange(500) % 3 != 0], (40, 1))
    check(x[:40], x, listed, listed != np.arange(40)[:, None])


def test_nothing_to_rank():
    search = RankSearch(np.zeros((3, 2), np.float32))
    assert search.ranks(np.zeros((0, 2), np.float32), np.zeros((0, 4), np.int64)).shape == (0, 4)
    assert search.ranks(np.zeros((2, 2), np.float32), np.zeros((2, 0), np.int64)).shape == (2, 0)
    assert search.ranks(np.zeros((1, 2), np.float32), np.array([[-1, -1]])).tolist() == [[NEVER, NEVER]]


def test_what_cannot_be_used_is_named():
    x = np.zeros((3, 2), np.float32)
    search = RankSearch(x)
    with pytest.raises(InputError, match="listed must have a row for each of the 3 queries, given 1"):
        search.ranks(x, np.array([[0]]))
    with pytest.raises(InputError, match="listed must hold rows of the 3 references, or -1"):
        search.ranks(x[:1], np.array([[3]]))
    with pytest.raises(InputError, match="listed must ascend in each row, row 1 does not"):
        search.ranks(x[:2], np.array([[0, 1], [1, 0]]))
    with pytest.raises(InputError, match="must be as wide as the references, given 3 and 2 columns"):
        search.ranks(np.zeros((1, 3), np.float32), np.array([[0]]))
