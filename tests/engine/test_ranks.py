"""Ranks among many: the kernel, and what is made of it where classes are large."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.backends import SHAPES, WAYS, made, through_tiles, value_and_gradient, without_tiles
from trine.distances import DISTANCES
from trine.engine import one_negative
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
    from trine.engine.compiled.ranks import ranks

    rising, looked_up = np.sort(np.array(t, dtype)), np.array(d, dtype)
    places = np.full(len(d), 99, np.uint32)
    ranks(looked_up, rising, places, ties)
    expected = np.searchsorted(rising, looked_up, side="right" if ties else "left")
    np.testing.assert_array_equal(places, expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["random", "duplicated", "collapsed", "tight 1e-3"])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("rule", ["semihard", "semihard-strict"])
@pytest.mark.parametrize(("margin", "reduction"), [(2.1, "mean"), (0.2, "anchor"), (None, "sum")])
def test_large_classes_equal_the_exact_pass(way, kind, distance, rule, margin, reduction):
    labels = SHAPES["skewed"](200)[torch.randperm(200, generator=torch.Generator().manual_seed(3))]
    embeddings = made(kind, labels)
    settings = {"mining": rule, "distance": distance, "margin": margin, "reduction": reduction}
    with without_tiles():
        value, gradient = value_and_gradient(embeddings, labels, **settings)
    with through_tiles(way, height=64):
        got = value_and_gradient(embeddings, labels, **settings)
    torch.testing.assert_close(got[0], value, rtol=5e-6, atol=1e-9)
    assert (got[1] - gradient).norm() <= 2e-5 * gradient.norm()


@needs_numba
@pytest.mark.parametrize("rule", ["semihard", "semihard-strict"])
@given(seed=st.integers(0, 10**6), side=st.integers(1, 3))
def test_ties_of_large_classes_go_where_the_exact_pass_sends_them(rule, seed, side):
    g = torch.Generator().manual_seed(seed)
    embeddings = torch.randint(-side, side + 1, (60, 3), generator=g).float()  # many equal distances
    labels = torch.randint(0, 3, (60,), generator=g) // 2
    settings = {"mining": rule, "distance": "squared_euclidean", "margin": 30.0}
    with without_tiles():
        value, gradient = value_and_gradient(embeddings, labels, **settings)
    with through_tiles("compiled", height=16), pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_negative, "MANY", 2)
        got = value_and_gradient(embeddings, labels, **settings)
    torch.testing.assert_close(got[0], value, rtol=1e-6, atol=0)
    torch.testing.assert_close(got[1], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()) + 1e-12)
