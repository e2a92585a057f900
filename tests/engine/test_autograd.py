"""The contract of the early gradient."""

import pytest
import torch

from support.backends import Problem, computed, made
from trine import triplet_loss
from trine.distances import DISTANCES
from trine.engine.autograd import early_gradient
from trine.errors import InputError
from trine.losses import differentiable_triplet_loss


def test_nothing_is_computed_that_no_input_needs():
    needed = []

    def run(grad_x, grad_y):
        needed.append((grad_x, grad_y))
        return torch.ones(()), torch.ones(2) if grad_x else None, torch.ones(3) if grad_y else None

    x, y = torch.zeros(2), torch.zeros(3)
    for side in (x, y):
        side.requires_grad_()
        early_gradient(x, y, run)
        side.requires_grad_(False)
    early_gradient(x, y, run)
    early_gradient(x.requires_grad_(), None, run)
    with torch.no_grad():
        early_gradient(x, None, run)
    assert needed == [(True, False), (False, True), (False, False), (True, False), (False, False)]


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
        value, gradient = computed(Problem(embeddings, labels), **settings)
        loss = differentiable_triplet_loss(embeddings, labels, **settings)
        torch.testing.assert_close(loss.detach(), value)
        torch.testing.assert_close(torch.autograd.grad(loss, embeddings)[0], gradient)
    smooth = {"mining": "hard", "margin": None, "distance": distance}
    assert torch.autograd.gradgradcheck(
        lambda e: differentiable_triplet_loss(e, labels, **smooth), (embeddings,)
    )


def test_autocast_changes_nothing():
    labels = torch.arange(300) // 3
    problem = Problem(made("random", labels), labels)
    plain = computed(problem, mining="all")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = computed(problem, mining="all")
    assert plain[0] == cast[0]
    assert torch.equal(plain[1], cast[1])
