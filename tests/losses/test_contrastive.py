import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import reference
from support.batches import batches
from trine import ContrastiveLoss, Relations, contrastive_loss
from trine.distances import DISTANCES
from trine.errors import InputError


def twin(rows, labels, margin, name, form, reduction):
    """The value in plain loops, over unordered pairs."""
    positive, negative = [], []
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            d = reference.distance(rows[i], rows[j], name)
            reach = d if labels[i] == labels[j] else max(0.0, margin - d)
            value = reach**2 / 2 if form == "squared" else reach
            (positive if labels[i] == labels[j] else negative).append(value)
    if reduction == "sum":
        return sum(positive) + sum(negative)
    if reduction == "mean":
        return (sum(positive) + sum(negative)) / max(1, len(positive) + len(negative))
    return sum(sum(part) / max(1, sum(v > 0 for v in part)) for part in (positive, negative))


@given(
    batch=batches(),
    distance=st.sampled_from(DISTANCES),
    form=st.sampled_from(["squared", "linear"]),
    reduction=st.sampled_from(["mean", "sum", "active"]),
    margin=st.sampled_from([0.313, 1.717]),
)
def test_value_equals_the_twin(batch, distance, form, reduction, margin):
    embeddings, labels = batch
    embeddings.requires_grad_()
    loss = contrastive_loss(
        embeddings, labels, margin=margin, distance=distance, form=form, reduction=reduction
    )
    expected = twin(embeddings.tolist(), labels.tolist(), margin, distance, form, reduction)
    torch.testing.assert_close(loss.item(), float(expected), rtol=1e-9, atol=1e-12)
    loss.backward()
    assert torch.isfinite(embeddings.grad).all()


def test_the_twin_is_not_trivially_zero():
    assert twin([[0.0], [1.0], [1.5]], [0, 0, 1], 1.0, "euclidean", "squared", "sum") == 0.5 + 0.125


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "active"])
def test_gradient_is_that_of_the_value(distance, reduction):
    embeddings = torch.randn(
        7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4)
    ).requires_grad_()
    references = torch.randn(
        5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
    ).requires_grad_()
    labels, others = torch.tensor([0, 0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 2, 3, 3])
    settings = {"margin": 1.0, "distance": distance, "reduction": reduction}
    assert torch.autograd.gradcheck(lambda e: contrastive_loss(e, labels, **settings), (embeddings,))
    assert torch.autograd.gradcheck(
        lambda e, r: contrastive_loss(e, labels, references=r, reference_labels=others, **settings),
        (embeddings, references),
    )


def test_relations_stand_in_place_of_labels():
    embeddings, labels = torch.randn(6, 3), torch.tensor([0, 0, 1, 1, 2, 2])
    same = Relations.from_masks(labels[:, None] == labels[None], own=True)
    assert contrastive_loss(embeddings, same) == contrastive_loss(embeddings, labels) > 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "square"}, "unknown form 'square': did you mean 'squared'"),
        ({"reduction": "none"}, "unknown reduction 'none'"),
        ({"margin": None}, "margin must be a finite number of at least 0, given None"),
        ({"distance": "euclid"}, "unknown distance 'euclid': did you mean 'euclidean'"),
    ],
)
@pytest.mark.usefixtures("as_in_production")
def test_mistakes_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        ContrastiveLoss(**settings)
    with pytest.raises(InputError, match=message):
        contrastive_loss(torch.randn(2, 2), torch.tensor([0, 1]), **settings)
