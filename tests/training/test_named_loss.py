"""Losses by name: their sizes follow from the data, and what does not fit has its sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, losses
from torch import nn

from trine.errors import InputError, SettingError
from trine.training import Recipe, load_recipe
from trine.training.custom_loss import loss_terms
from trine.training.named_loss import ClassificationLoss, build_loss


def terms(**settings: Any) -> Any:
    recipe = load_recipe(
        overrides={f"loss.{name.replace('__', '.')}": value for name, value in settings.items()}
    )
    return loss_terms(recipe, None, labels=np.array([4, 4, 7, 7]), dimension=3)


def test_a_classification_head_is_the_cross_entropy_of_a_linear_layer() -> None:
    loss = ClassificationLoss(3, 4, label_smoothing=0.1)
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 2, 0])
    logits = x @ loss.layer.weight.T + loss.layer.bias
    logs = logits - logits.exp().sum(dim=1, keepdim=True).log()
    target = 0.9 * nn.functional.one_hot(y, 3) + 0.1 / 3
    torch.testing.assert_close(loss(x, y), -(target * logs).sum(dim=1).mean())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ProxyAnchorLoss", (5, 8)),
        ("NormalizedSoftmaxLoss", (8, 5)),
        ("CosFaceLoss", (8, 5)),  # takes them as further arguments
        ("SubCenterArcFaceLoss", (8, 15)),
        ("SoftTripleLoss", (8, 50)),
        ("P2SGradLoss", (8, 5)),
        ("MultiSimilarityLoss", None),
        ("TripletMarginLoss", None),
    ],
)
def test_the_sizes_of_a_loss_follow_from_the_data(name: str, shape: tuple[int, int] | None) -> None:
    loss = build_loss(f"pml:{name}", {}, classes=5, dimension=8)
    assert type(loss) is getattr(losses, name)
    assert {tuple(each.shape) for each in loss.parameters()} == ({shape} if shape else set())


def test_distances_of_the_library_are_named_with_their_arguments() -> None:
    loss = build_loss(
        "pml:TripletMarginLoss",
        {"margin": 0.3, "distance": {"name": "LpDistance", "p": 1}},
        classes=2,
        dimension=3,
    )
    x, y = torch.randn(6, 3), torch.arange(6) % 2
    expected = losses.TripletMarginLoss(margin=0.3, distance=distances.LpDistance(p=1))(x, y)
    torch.testing.assert_close(loss(x, y), expected)


def test_the_weights_of_a_loss_follow_from_the_seed() -> None:
    one, same, other = (
        loss_terms(
            Recipe(seed=seed, loss=load_recipe(overrides={"loss.name": "pml:ProxyAnchorLoss"}).loss),
            None,
            labels=np.arange(4),
            dimension=3,
        )[0].loss.proxies  # type: ignore[attr-defined]
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "proxyanchor"}, r"loss.name is 'proxyanchor'; did you mean 'pml:ProxyAnchorLoss'"),
        ({"name": "pml:ProxyAnchorLos"}, r"^loss.name is 'ProxyAnchorLos'; did you mean 'ProxyAnchorLoss'"),
        (
            {"name": "pml:CrossBatchMemory"},
            r"^loss.name is CrossBatchMemory, which takes other losses; make it",
        ),
        (
            {"name": "pml:ProxyAnchorLoss", "arguments__margn": 0.1},
            r"^loss.arguments: ProxyAnchorLoss has no argument 'margn'; did you mean 'margin'",
        ),
        ({"name": "pml:RankedListLoss"}, r"^loss.arguments: RankedListLoss needs margin and Tn; set them"),
        (
            {"name": "pml:RankedListLoss", "arguments": {"margin": 0.4, "Tn": 10}},
            r"^loss.arguments: RankedListLoss does not take \{'margin': 0.4, 'Tn': 10\} \(Values of",
        ),
        (
            {"name": "pml:TripletMarginLoss", "arguments__distance": "LpDistanc"},
            r"^loss.arguments.distance.name is 'LpDistanc'; did you mean 'LpDistance'",
        ),
        (
            {"name": "pml:TripletMarginLoss", "arguments__distance": {"name": "LpDistance", "q": 1}},
            r"^loss.arguments.distance: LpDistance has no argument 'q'",
        ),
        (
            {"arguments__margin": 0.1},
            r"loss.arguments is .'margin': 0.1., but loss.name is triplet; they are for",
        ),
        (
            {"added__name": "clasification"},
            r"loss.added.name is 'clasification'; did you mean 'classification'",
        ),
        ({"added__name": "triplet"}, r"loss.added.name is 'triplet'; known: classification, pml:"),
        ({"added__weight": 2}, r"loss.added.name is missing"),
        (
            {"added__name": "classification", "added__weight": 0},
            r"added.weight must be a number > 0, given 0",
        ),
        ({"added__name": "classification", "added__wieght": 2}, r"did you mean 'loss.added.weight'"),
        (
            {"added__name": "classification", "added__arguments__label_smoothing": 2},
            r"^loss.added.arguments: label_smoothing must be a number >= 0 and < 1, given 2",
        ),
        (
            {"name": "pml:NCALoss", "mining": "hard"},
            r"loss.mining is hard, but it is a setting of the triplet",
        ),
    ],
)
def test_what_does_not_fit_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        terms(**settings)


def test_an_argument_that_the_loss_cannot_compute_with_is_named_at_the_first_step() -> None:
    (term,) = terms(name="pml:ProxyAnchorLoss", arguments__num_classes=1)
    with pytest.raises(
        InputError,
        match=r"^the loss pml:ProxyAnchorLoss cannot be computed of 4 embeddings .*num_classes.*; change",
    ):
        term.value(torch.randn(4, 3, requires_grad=True), torch.tensor([4, 4, 7, 7]))
