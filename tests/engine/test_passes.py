"""Every pass, against the naive twin: the exact one, the tiled ones in torch, the tiled ones compiled."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import reference
from support.backends import (
    SHAPES,
    WAYS,
    in_proportion,
    made,
    through_tiles,
    value_and_gradient,
    without_tiles,
)
from support.batches import batches
from trine import Mining, triplet_loss
from trine.distances import DISTANCES
from trine.engine import dispatch
from trine.errors import InputError
from trine.losses import differentiable_triplet_loss
from trine.triplets import PRESETS

TILED = ["all", "hard", "semihard", "semihard-strict", "easy-positive-hard", "easy-positive-semihard"]
REDUCTIONS = ["active", "mean", "anchor", "sum"]


def hold_against_twin(got, embeddings, labels, rule, *, distance, reduction, margin, seed=0):
    """Value and gradient, to the rounding of float32: of the value, a difference of distances, and α."""
    settings = {"margin": margin, "reduction": reduction, "mining_margin": 0.313, "seed": seed}
    rows = embeddings.double().tolist()
    value, gradient = reference.triplet_loss(
        rows, labels.tolist(), Mining.named(rule), name=distance, **settings
    )
    largest = max((max(row) for row in reference.distance_matrix(rows, distance)), default=0.0)
    number = len(labels) ** 3 if reduction == "sum" else 1
    torch.testing.assert_close(got[0].item(), float(value), rtol=1e-5, atol=1e-6 * largest * number + 1e-12)
    expected = torch.tensor(gradient, dtype=torch.float64).reshape(embeddings.shape)
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(got[1], expected, rtol=1e-4, atol=1e-5 * scale + 1e-12 * number)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", TILED)
@given(
    batch=batches(max_rows=14, dtype=torch.float32),
    distance=st.sampled_from(["euclidean", "squared_euclidean"]),
    reduction=st.sampled_from(REDUCTIONS),
    margin=st.sampled_from([0.0137, 0.2173, 1.3131, None]),
)
def test_tiles_equal_the_twin(way, rule, batch, distance, reduction, margin):
    embeddings, labels = batch
    embeddings, margin = in_proportion(embeddings, margin, distance)
    settings = {"distance": distance, "reduction": reduction, "margin": margin}
    with through_tiles(way):
        got = value_and_gradient(embeddings, labels, mining=rule, mining_margin=0.313, **settings)
    hold_against_twin(got, embeddings, labels, rule, **settings)


@pytest.mark.parametrize(
    ("way", "rule"),
    [(way, name) for way in ("exact", "direct") for name in PRESETS if name != "weighted"]
    + [("proposed by float32", name) for name in ("hard", "easy-positive-hard")],
)
@given(
    batch=batches(max_rows=9, dtype=torch.float32),
    distance=st.sampled_from(["euclidean", "squared_euclidean"]),
    reduction=st.sampled_from(REDUCTIONS),
    margin=st.sampled_from([0.0137, 0.2173, 1.3131, None]),
)
def test_small_batches_in_float32_equal_the_twin(way, rule, batch, distance, reduction, margin):
    embeddings, labels = batch
    embeddings, margin = in_proportion(embeddings, margin, distance)
    settings = {"distance": distance, "reduction": reduction, "margin": margin}
    with without_tiles(way):
        got = value_and_gradient(embeddings, labels, mining=rule, mining_margin=0.313, **settings)
    hold_against_twin(got, embeddings, labels, rule, **settings)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("rule", "margin"),
    [("all", 0.2), ("all", None), ("hard", 2.1), ("semihard", 2.1), ("semihard-strict", 0.2)],
)
def test_tiles_equal_the_exact_pass_in_float64(way, shape, distance, rule, margin):
    labels = SHAPES[shape](202)[torch.randperm(202, generator=torch.Generator().manual_seed(3))]
    embeddings = made("random", labels)
    settings = {"mining": rule, "margin": margin, "distance": distance}
    with without_tiles():
        value, gradient = value_and_gradient(embeddings.double(), labels, **settings)
    assert value > 0.01
    with through_tiles(way, height=64):
        got = value_and_gradient(embeddings, labels, **settings)
    torch.testing.assert_close(got[0], value, rtol=5e-6, atol=0)
    # A triplet within rounding of the hinge may fall on either side of it.
    assert (got[1] - gradient).norm() <= (2e-4 if margin == 0.2 else 1e-5) * gradient.norm()


@pytest.mark.parametrize("way", ["exact", "direct", "proposed by float32", *WAYS])
@pytest.mark.parametrize("kind", ["collapsed", "tight 1e-3", "tight 1e-4", "duplicated", "with zero rows"])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("rule", TILED)
def test_accuracy_where_products_of_float32_lose_their_digits(way, kind, distance, rule):
    labels = torch.arange(400) // 4
    embeddings = made(kind, labels)
    settings = {"mining": rule, "margin": 3.0, "distance": distance}
    with without_tiles():
        value, gradient = value_and_gradient(embeddings.double(), labels, **settings)
    with through_tiles(way, height=128) if way in ("torch", "compiled") else without_tiles(way):
        got = value_and_gradient(embeddings, labels, **settings)
    torch.testing.assert_close(got[0], value, rtol=1e-6, atol=0)
    assert gradient.norm() > 0
    assert (got[1] - gradient).norm() <= 1e-5 * gradient.norm()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", ["all", "hard", "semihard"])
@pytest.mark.parametrize("margin", [0.2, None])
def test_results_depend_neither_on_the_tiles_nor_on_the_threads(way, rule, margin):
    labels = SHAPES["uneven"](600)
    embeddings = made("random", labels)
    results = []
    for height, threads in ((64, 1), (100, 1), (256, 1), (64, 3)):
        with through_tiles(way, height), pytest.MonkeyPatch.context() as patch:
            patch.setattr(dispatch, "workers", lambda x, n=threads: n)
            results.append(value_and_gradient(embeddings, labels, mining=rule, margin=margin))
    for value, gradient in results[1:]:
        torch.testing.assert_close(value, results[0][0], rtol=5e-6, atol=0)
        assert (gradient - results[0][1]).norm() <= 5e-6 * gradient.norm()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("rows", [57, 131, 192])
@pytest.mark.parametrize("rule", ["all", "hard", "semihard", "semihard-band"])
@pytest.mark.parametrize("margin", [0.2, None])
def test_small_batches_give_the_same_bits_on_any_number_of_threads(rows, rule, margin):
    results = []
    for shape in ("fours", "skewed"):
        labels = SHAPES[shape](rows)
        embeddings = made("random", labels, width=130)
        try:
            for threads in (1, 2, 3, 4):
                torch.set_num_threads(threads)
                results.append(
                    value_and_gradient(embeddings, labels, mining=rule, margin=margin, mining_margin=0.2)
                )
        finally:
            torch.set_num_threads(1)
        assert results[0][0] > 0
        for value, gradient in results[1:]:
            assert torch.equal(value, results[0][0])
            assert torch.equal(gradient, results[0][1])
        results.clear()


def test_small_batches_compile_nothing(monkeypatch):
    monkeypatch.setattr(dispatch, "installed", lambda: pytest.fail("numba was asked for"))
    labels = torch.arange(192) // 4
    for rule in TILED:
        triplet_loss(made("random", labels), labels, mining=rule)


@pytest.mark.parametrize("way", WAYS)
def test_soft_margin_at_distances_beyond_the_exponential(way):
    labels = torch.arange(220) // 4
    embeddings = made("random", labels) * 200
    with without_tiles():
        value, gradient = value_and_gradient(embeddings.double(), labels, mining="all", margin=None)
    with through_tiles(way, height=64):
        got = value_and_gradient(embeddings, labels, mining="all", margin=None)
    torch.testing.assert_close(got[0], value, rtol=1e-5, atol=0)
    assert (got[1] - gradient).norm() <= 1e-5 * gradient.norm()


@pytest.mark.parametrize("way", WAYS)
def test_soft_margin_keeps_small_terms(way):
    labels = torch.arange(220) // 4
    embeddings = made("tight 1e-2", labels) * 3
    settings = {"mining": "all", "margin": None, "distance": "squared_euclidean"}
    with without_tiles():
        value, gradient = value_and_gradient(embeddings.double(), labels, **settings)
    assert value < 1e-3
    with through_tiles(way, height=64):
        got = value_and_gradient(embeddings, labels, **settings)
    torch.testing.assert_close(got[0], value, rtol=1e-5, atol=0)
    assert (got[1] - gradient).norm() <= 1e-5 * gradient.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", ["all", "hard", "semihard"])
def test_half_precision_is_computed_in_float32(dtype, way, rule):
    labels = torch.arange(230) // 4
    embeddings = (made("random", labels) * 1e4).to(dtype)
    with through_tiles(way, height=64):
        half = value_and_gradient(embeddings, labels, mining=rule)
        full = value_and_gradient(embeddings.float(), labels, mining=rule)
    assert half[0] == full[0]
    assert torch.isfinite(half[1]).all()
    torch.testing.assert_close(half[1], full[1].to(dtype).double(), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15])
def test_huge_and_tiny_norms(scale):
    labels = torch.arange(210) // 3
    embeddings = made("random", labels)
    value, gradient = value_and_gradient(embeddings, labels, mining="hard", margin=0.0)
    got = value_and_gradient(embeddings * scale, labels, mining="hard", margin=0.0)
    torch.testing.assert_close(got[0], value * scale, rtol=1e-5, atol=0)
    torch.testing.assert_close(got[1], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("rule", ["all", "hard"])
def test_rows_that_are_not_finite_make_the_loss_nan(rule):
    for rows in (6, 300):
        embeddings = torch.randn(rows, 4)
        embeddings[2, 1] = torch.inf
        value, gradient = value_and_gradient(embeddings, torch.arange(rows) // 3, mining=rule)
        assert torch.isnan(value)
        assert torch.isnan(gradient).all()


def test_labels_are_compared_as_64_bit_integers_in_tiles():
    labels = 2**60 + torch.arange(300) // 3
    embeddings = made("random", labels)
    small = triplet_loss(embeddings, torch.arange(300) // 3, mining="all")
    assert triplet_loss(embeddings, labels, mining="all") == small > 0.1


def test_nothing_is_computed_that_no_input_asks_for(monkeypatch):
    asked = []
    exact, direct = dispatch.exact_pass, dispatch.direct_pass
    monkeypatch.setattr(dispatch, "exact_pass", lambda *a: asked.append(a[4:]) or exact(*a))
    monkeypatch.setattr(dispatch, "direct_pass", lambda *a: asked.append((a[3], False)) or direct(*a))
    x, y = torch.randn(4, 3), torch.randn(5, 3)
    labels, others = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 0, 2])
    for side in (x, y):
        side.requires_grad_()
        triplet_loss(x, labels, references=y, reference_labels=others)
        side.requires_grad_(False)
    triplet_loss(x, labels, references=y, reference_labels=others)
    with torch.no_grad():
        triplet_loss(x.requires_grad_(), labels)
    assert asked == [(True, False), (False, True), (False, False), (False, False)]


@pytest.mark.usefixtures("as_in_production")
def test_a_second_derivative_is_refused_by_the_name_of_what_has_one():
    embeddings, labels = torch.randn(6, 3, requires_grad=True), torch.arange(6) // 2
    loss = triplet_loss(embeddings, labels, margin=None, mining="all")
    (slope,) = torch.autograd.grad(loss, embeddings, create_graph=True)
    with pytest.raises(InputError, match=r"use trine.losses.differentiable_triplet_loss"):
        slope.square().sum().backward()


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_differentiable_form_equals_it_and_has_a_second_derivative(distance):
    embeddings = made("random", torch.arange(8), width=3).double().requires_grad_()
    labels = torch.arange(8) // 2
    for rule, margin in (("all", 0.2), ("semihard", 0.2), ("hard", None)):
        settings = {"mining": rule, "margin": margin, "distance": distance}
        value, gradient = value_and_gradient(embeddings, labels, **settings)
        loss = differentiable_triplet_loss(embeddings, labels, **settings)
        torch.testing.assert_close(loss.detach(), value)
        torch.testing.assert_close(torch.autograd.grad(loss, embeddings)[0], gradient)
    smooth = {"mining": "hard", "margin": None, "distance": distance}
    assert torch.autograd.gradgradcheck(
        lambda e: differentiable_triplet_loss(e, labels, **smooth), (embeddings,)
    )


def test_autocast_changes_nothing():
    labels = torch.arange(300) // 3
    embeddings = made("random", labels)
    plain = value_and_gradient(embeddings, labels, mining="all")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = value_and_gradient(embeddings, labels, mining="all")
    assert plain[0] == cast[0]
    assert torch.equal(plain[1], cast[1])
