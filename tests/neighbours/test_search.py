"""Neighbours equal a stable sort of all distances, whatever proposed them."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from trine.distances import DISTANCES, pairwise_distances
from trine.errors import InputError, MissingDependencyError
from trine.neighbours import ExactSearch, as_rows, nearest_neighbours
from trine.neighbours.search import resolve_backend

BACKENDS = ["torch", "faiss"]


def naive(queries, references, k, distance, exclude):
    """Every distance in float64, each row sorted by (distance, index)."""
    indices, distances = [], []
    full = pairwise_distances(
        torch.as_tensor(queries).double(), torch.as_tensor(references).double(), distance=distance
    ).tolist()
    for row, left_out in zip(full, exclude, strict=True):
        ranked = sorted((d, j) for j, d in enumerate(row) if j != left_out)[:k]
        indices.append([j for _, j in ranked])
        distances.append([d for d, _ in ranked])
    return np.array(indices), np.array(distances)


def check(x, k, distance, backend):
    found = nearest_neighbours(x, k=k, distance=distance, backend=backend)
    indices, distances = naive(x, x, k, distance, range(len(x)))
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(found.distances, distances.astype(x.dtype))
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_equals_a_full_sort_on_digits(distance, backend):
    x = load_digits().data[:500].astype(np.float32)
    found = check(x, 12, distance, backend)
    assert found.distances.min() > 0
    assert found.distances.dtype == np.float32


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("radius", [1e-3, 1e-4, 1e-6])
def test_tight_classes_far_from_the_origin_rank_right(radius, backend):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((4, 16)) + 100
    x = (centres.repeat(60, 0) + radius * rng.standard_normal((240, 16))).astype(np.float64)
    product = (x**2).sum(1)[:, None] + (x**2).sum(1) - 2 * (x @ x.T)
    found = check(x, 5, "euclidean", backend)
    single = nearest_neighbours(x.astype(np.float32), k=5, backend=backend)
    exact = naive(x.astype(np.float32), x.astype(np.float32), 5, "euclidean", range(240))[0]
    np.testing.assert_array_equal(single.indices, exact)
    if radius == 1e-6:  # the case is a real one: the product alone ranks wrongly even in float64
        np.fill_diagonal(product, np.inf)
        assert (product.argsort(1, kind="stable")[:, :5] != found.indices).any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_many_duplicates_rank_by_index(distance, backend):
    x = np.random.default_rng(1).integers(0, 2, (300, 3)).astype(np.float32)
    found = check(x, 10, distance, backend)
    assert (np.diff(found.indices, axis=1)[np.diff(found.distances, axis=1) == 0] > 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_collapsed_encoder_ranks_by_index(backend):
    found = nearest_neighbours(np.full((200, 8), 0.3, np.float32), k=2, backend=backend)
    assert found.indices[:3].tolist() == [[1, 2], [0, 2], [0, 1]]
    assert (found.distances == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_zero_row_is_at_cosine_distance_one_of_everything(backend):
    x = np.random.default_rng(2).standard_normal((100, 4)).astype(np.float32)
    x[[0, 50]] = 0
    found = nearest_neighbours(x, k=99, distance="cosine", backend=backend)
    assert (found.distances[[0, 50]] == 1).all()
    assert found.indices[50].tolist() == [i for i in range(100) if i != 50]
    check(x, 20, "cosine", backend)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_both_backends_equal_the_naive_twin(data):
    n = data.draw(st.integers(2, 60))
    d = data.draw(st.integers(1, 5))
    seed = data.draw(st.integers(0, 999))
    scale = data.draw(st.sampled_from([1e-20, 1e-3, 1.0, 1e18]))
    x = np.random.default_rng(seed).integers(-3, 4, (n, d)).astype(np.float32) * np.float32(scale)
    k = data.draw(st.integers(1, n - 1))
    distance = data.draw(st.sampled_from(DISTANCES))
    for backend in BACKENDS:
        if np.float32(scale) == np.float32(1e18) and distance == "squared_euclidean":
            continue  # beyond float32's range the reported distance is infinite
        check(x, k, distance, backend)


def test_small_tiles_give_the_same_answer():
    x = np.random.default_rng(3).standard_normal((150, 6)).astype(np.float32)
    whole = nearest_neighbours(x, k=7, backend="torch")
    tiled = ExactSearch(x, backend="torch", tile=64).nearest(x, k=7, exclude=np.arange(len(x)))
    np.testing.assert_array_equal(tiled.indices, whole.indices)
    np.testing.assert_array_equal(tiled.distances, whole.distances)


def test_reduced_product_precision_does_not_change_the_answer():
    x = np.random.default_rng(4).standard_normal((100, 6)).astype(np.float32)
    whole = nearest_neighbours(x, k=5)
    torch.set_float32_matmul_precision("medium")
    try:
        again = nearest_neighbours(x, k=5)
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(again.indices, whole.indices)


def test_references_and_excluded_rows():
    references = np.array([[0.0], [1.0], [2.0]])
    queries = np.array([[0.1], [0.1]])
    found = nearest_neighbours(queries, references, k=3, exclude=np.array([0, -1]))
    assert found.indices.tolist() == [[1, 2, -1], [0, 1, 2]]
    assert found.distances[0, 2] == np.inf


@pytest.mark.parametrize(("n", "width"), [(0, 0), (1, 0), (2, 1)])
def test_too_few_rows_give_fewer_columns(n, width):
    found = nearest_neighbours(np.zeros((n, 3)), k=5)
    assert found.indices.shape == found.distances.shape == (n, width)


def test_no_references_and_no_queries():
    assert nearest_neighbours(np.zeros((2, 3)), np.zeros((0, 3)), k=1).indices.shape == (2, 0)
    assert nearest_neighbours(np.zeros((0, 3)), np.zeros((2, 3)), k=1).indices.shape == (0, 1)


def test_tensors_and_half_precision():
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    whole = nearest_neighbours(x, k=3)
    np.testing.assert_array_equal(whole.indices, nearest_neighbours(x.detach().numpy(), k=3).indices)
    assert nearest_neighbours(x.half(), k=3).distances.dtype == np.float32
    assert nearest_neighbours(x.double(), k=3).distances.dtype == np.float64


def test_what_cannot_be_used_is_named():
    x = np.zeros((3, 2), np.float32)
    bad = x.copy()
    bad[1, 0] = np.nan
    with pytest.raises(InputError, match="queries must be finite, row 1 holds NaN"):
        nearest_neighbours(bad, x, k=1)
    with pytest.raises(InputError, match=r"within ±1e\+150, beyond which squares overflow, row 0 is not"):
        nearest_neighbours(np.array([[1e200], [0.0]]), k=1)
    with pytest.raises(
        InputError, match="queries must reach 1e-150, below which squares vanish, given 1e-200"
    ):
        nearest_neighbours(np.array([[1e-200], [0.0]]), k=1)
    with pytest.raises(InputError, match=r"unknown backend 'fais': did you mean 'faiss'\?"):
        resolve_backend("fais", torch.device("cpu"))
    with pytest.raises(InputError, match="k must be at least 1, given 0"):
        nearest_neighbours(x, k=0)
    with pytest.raises(InputError, match="must be as wide as the references, given 3 and 2 columns"):
        ExactSearch(x).nearest(np.zeros((1, 3), np.float32), k=1)
    with pytest.raises(InputError, match="exclude must hold rows of the 3 references"):
        nearest_neighbours(x, x, k=1, exclude=np.array([0, 1, 3]))
    with pytest.raises(InputError, match="exclude needs references"):
        nearest_neighbours(x, k=1, exclude=np.array([0, 1, 2]))
    with pytest.raises(InputError, match=r"convert with .astype\('float32'\)"):
        as_rows(x.astype(int), name="embeddings")
    with pytest.raises(InputError, match="must be a floating-point matrix"):
        as_rows(x[0], name="embeddings")
    with pytest.raises(InputError, match="must be an array or a tensor, given list"):
        as_rows([[0.0]], name="embeddings")


def test_without_faiss_torch_answers(monkeypatch):
    x = np.random.default_rng(6).standard_normal((60, 4))
    with_faiss = nearest_neighbours(x, k=3)
    monkeypatch.setitem(sys.modules, "faiss", None)
    np.testing.assert_array_equal(nearest_neighbours(x, k=3).indices, with_faiss.indices)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trine\[gallery\]'"):
        nearest_neighbours(x, k=3, backend="faiss")
