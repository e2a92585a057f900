import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import reference
from support.batches import batches
from trine import Mining, TripletLoss, mine, triplet_loss
from trine.cosine import unit_rows
from trine.distances import DISTANCES, pairwise_distances
from trine.errors import InputError
from trine.triplets import PRESETS

REDUCTIONS = ["active", "mean", "anchor", "sum"]
RULES = [name for name in PRESETS if name != "weighted"]


@pytest.mark.parametrize("name", RULES)
@given(
    batch=batches(),
    distance=st.sampled_from(DISTANCES),
    reduction=st.sampled_from(REDUCTIONS),
    margin=st.sampled_from([0.013, 0.217, 1.313, None]),
)
def test_value_and_gradient_equal_the_twin(name, batch, distance, reduction, margin):
    embeddings, labels = batch
    embeddings.requires_grad_()
    settings = {"margin": margin, "reduction": reduction, "mining_margin": 0.313, "seed": 5}
    loss = triplet_loss(embeddings, labels, mining=name, distance=distance, **settings)
    loss.backward()
    twin, gradient = reference.triplet_loss(
        embeddings.tolist(), labels.tolist(), Mining.named(name), name=distance, **settings
    )
    # The value is a difference of distances: it is as exact as they are.
    largest = pairwise_distances(embeddings.detach(), distance=distance).max().item() if len(labels) else 0
    torch.testing.assert_close(loss.item(), float(twin), rtol=1e-9, atol=1e-12 + 1e-12 * largest)
    expected = torch.tensor(gradient, dtype=torch.float64).reshape(embeddings.shape)
    tolerance = 1e-9 * max(1.0, float(expected.abs().max()) if expected.numel() else 0.0)
    torch.testing.assert_close(embeddings.grad, expected, rtol=1e-7, atol=tolerance)


def test_the_twin_is_not_trivially_zero():
    rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(1)).tolist()
    for name in RULES:
        value, gradient = reference.triplet_loss(
            rows, [0, 0, 0, 1, 1, 1, 2, 2], Mining.named(name), margin=1.5, name="euclidean", reduction="mean"
        )
        assert value > 0.05
        assert max(abs(g) for row in gradient for g in row) > 0.01


@given(batches())
def test_none_gives_one_value_for_each_row_of_mine(batch):
    embeddings, labels = batch
    for name in ("all", "hard", "semihard"):
        values = triplet_loss(embeddings, labels, mining=name, reduction="none")
        chosen = mine(embeddings, labels, mining=name)
        assert values.shape == chosen.anchor.shape
        torch.testing.assert_close(
            values.sum(), triplet_loss(embeddings, labels, mining=name, reduction="sum")
        )


@pytest.mark.parametrize("labels", [[], [3], [3, 3], [3, 4], [0, 0, 0, 0], [0, 1, 2, 3]])
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("margin", [0.2, None])
def test_where_nothing_is_selected_the_loss_is_zero_and_attached(labels, name, margin):
    embeddings = torch.randn(len(labels), 5, requires_grad=True)
    loss = triplet_loss(
        embeddings, torch.tensor(labels, dtype=torch.int64), mining=name, margin=margin, mining_margin=0.2
    )
    assert loss.item() == 0
    loss.backward()
    assert not embeddings.grad.any()


def test_default_reduction_is_the_field_s_habit():
    assert TripletLoss(mining="all").reduction == "active"
    assert TripletLoss(mining="all", margin=None).reduction == "mean"
    assert TripletLoss(mining="semihard").reduction == "mean"


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("name", ["all", "hard", "semihard"])
def test_gradcheck_where_the_loss_is_smooth(distance, name):
    embeddings = torch.randn(
        7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    ).requires_grad_()
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    assert torch.autograd.gradcheck(
        lambda e: triplet_loss(e, labels, mining=name, distance=distance, margin=None), (embeddings,)
    )


def test_soft_margin_neither_overflows_nor_loses_small_terms():
    far = torch.tensor([[0.0], [1e-9], [1e4]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    assert 0 < triplet_loss(far[[0, 1, 2]] * 3e-3, labels, margin=None).item() < 1e-12
    near = torch.tensor([[0.0], [1e4], [1e-9]], dtype=torch.float64)
    assert triplet_loss(near, labels, margin=None, mining="hard").item() == pytest.approx(5e3, rel=1e-3)


def test_half_precision_up_to_norm_1e4_is_finite_and_returned_in_float32():
    embeddings = (unit_rows(torch.randn(12, 16)) * 1e4).half().requires_grad_()
    for distance in DISTANCES:
        loss = triplet_loss(embeddings, torch.arange(12) // 3, distance=distance)
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)


def test_random_rules_draw_anew_at_each_call_and_resume_from_the_state():
    embeddings, labels = torch.randn(40, 8), torch.arange(40) // 5
    loss = TripletLoss(mining="random", seed=3)
    first, second = loss(embeddings, labels), loss(embeddings, labels)
    assert first != second
    resumed = TripletLoss(mining="random", seed=3)
    resumed.load_state_dict(loss.state_dict())
    assert resumed(embeddings, labels) == loss(embeddings, labels)
    again = TripletLoss(mining="random", seed=3)
    assert again(embeddings, labels) == first
    again.eval()
    assert again(embeddings, labels) == again(embeddings, labels)


def test_module_keeps_its_settings_and_travels_between_processes():
    loss = pickle.loads(pickle.dumps(TripletLoss(margin=0.5, mining="hard", distance="cosine")))
    assert "margin=0.5, distance='cosine', mining=('hard', 'hard'), reduction='mean'" in repr(loss)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reduction": "average"}, "unknown reduction 'average'"),
        ({"seed": "a"}, "seed must be a whole number, given 'a'"),
        ({"distance": "cosin"}, "unknown distance 'cosin': did you mean 'cosine'"),
        ({"mining": "violating", "margin": None}, "pass mining_margin="),
        ({"margin": float("nan")}, "margin must be a finite number"),
    ],
)
@pytest.mark.usefixtures("as_in_production")
def test_mistakes_are_named_when_the_loss_is_made(settings, message):
    with pytest.raises(InputError, match=message):
        TripletLoss(**settings)
