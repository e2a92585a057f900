"""Ranks among many: the kernel, and the semi-hard negatives of large classes that are made of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.backends import BACKENDS, FLOAT64, Problem, assert_close, computed, problem_of, tiles
from trine.distances import DISTANCES
from trine.engine.numba_backend import installed

needs_numba = pytest.mark.skipif(not installed(), reason="numba is not installed")


@needs_numba
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    t=st.lists(st.integers(-5, 5), min_size=1, max_size=40),
    d=st.lists(st.integers(-7, 7), max_size=30),
    ties=st.booleans(),
)
def test_ranks_are_those_of_a_sorted_search(dtype, t, d, ties):
    from trine.engine.compiled.rows import ranks

    rising, looked_up = np.sort(np.array(t, dtype)), np.array(d, dtype)
    places = np.full(len(d), 99, np.uint32)
    ranks(looked_up, rising, places, ties)
    expected = np.searchsorted(rising, looked_up, side="right" if ties else "left")
    np.testing.assert_array_equal(places, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("geometry", ["square", "apart"])
@pytest.mark.parametrize("kind", ["random", "duplicated", "collapsed", "tight 1e-3"])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("rule", ["semihard", "semihard-strict"])
@pytest.mark.parametrize(("margin", "reduction"), [(2.1, "mean"), (0.2, "anchor"), (None, "sum")])
def test_large_classes_equal_float64(backend, geometry, kind, distance, rule, margin, reduction):
    problem = problem_of(geometry, kind, "skewed", rows=200)
    settings = {"mining": rule, "distance": distance, "margin": margin, "reduction": reduction}
    expected = computed(problem, FLOAT64["blocks"], **settings)
    got = computed(problem, tiles(backend, 64), **settings)
    torch.testing.assert_close(got[0], expected[0], rtol=5e-6, atol=1e-9)
    assert_close((expected[0], *got[1:]), expected, gradient=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", ["semihard", "semihard-strict"])
def test_one_large_class_without_negatives_has_no_loss_and_no_gradient(backend, rule):
    problem = Problem(torch.randn(60, 3), torch.zeros(60, dtype=torch.int64))
    value, gradient = computed(problem, tiles(backend, 16), mining=rule)
    assert value == 0
    assert not gradient.any()


@needs_numba
@pytest.mark.parametrize("rule", ["semihard", "semihard-strict"])
@pytest.mark.parametrize("apart", [False, True])
@given(seed=st.integers(0, 10**6), side=st.integers(1, 3))
def test_ties_of_large_classes_go_where_float64_sends_them(rule, apart, seed, side):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-side, side + 1, (60, 3), generator=g).float()  # many equal distances
    labels = torch.randint(0, 3, (60,), generator=g) // 2
    problem = Problem(x[:20], labels[:20], x[20:], labels[20:]) if apart else Problem(x, labels)
    settings = {"mining": rule, "distance": "squared_euclidean", "margin": 30.0}
    expected = computed(problem, FLOAT64["blocks"], **settings)
    got = computed(problem, tiles("numba", 16, sorted_from=2), **settings)
    torch.testing.assert_close(got[0], expected[0], rtol=1e-6, atol=0)
    for mine, exact in zip(got[1:], expected[1:], strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-5 * float(exact.abs().max()) + 1e-12)
