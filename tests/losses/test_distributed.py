"""Several processes: averaged, their gradients are that of one process on the joined batch."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from support.effort import thorough
from support.multiprocess import run_processes
from trine import ContrastiveLoss, TripletLoss, Triplets, triplet_loss
from trine.errors import InputError
from trine.losses import gathered

pytestmark = pytest.mark.slow
SIZES = [2, pytest.param(3, marks=thorough)]
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


@functools.cache
def world(size: int) -> list[dict[str, Any]]:
    """Everything at once: starting the processes takes longer than what they do."""
    return run_processes(size, "support.multiprocess_losses:everything")


@pytest.mark.parametrize("size", SIZES)
def test_every_rule_and_reduction_is_that_of_the_joined_batch(size: int) -> None:
    wrong = []
    for found in world(size):
        assert len(found["compare"]) > 60
        for case in found["compare"]:
            if max(case["gradient"], case["value"]) > TOLERANCE[case["dtype"]]:
                wrong.append(case)
            if case["kind"] == "plain":
                assert case["norm"] > 1e-3, f"the twin has a gradient: {case}"
    assert not wrong


@pytest.mark.parametrize("size", SIZES)
def test_every_process_returns_the_loss_of_the_joined_batch(size: int) -> None:
    values = [[case["same"] for case in found["compare"]] for found in world(size)]
    assert all(each == values[0] for each in values)
    assert sum(value > 0 for value in values[0]) > 50


@pytest.mark.parametrize("size", SIZES)
def test_references_may_be_given_and_hold_more_than_the_batch(size: int) -> None:
    for found in world(size):
        for case in found["refer"]:
            assert case["norm"] > 1e-3
            assert max(case["gradient"], case["value"]) < 1e-10, case


@pytest.mark.parametrize("size", SIZES)
def test_relations_of_the_caller_stay_as_they_are(size: int) -> None:
    for found in world(size):
        for case in found["repeat"]:
            assert case["unchanged"]
            assert case["values"] == pytest.approx([case["alone"]] * 3, abs=1e-12)
            assert case["alone"] > 0.1


@pytest.mark.parametrize("size", SIZES)
def test_chunks_begin_with_the_buffers_of_the_first_process(size: int) -> None:
    first = world(size)[0]["drift"]
    assert all(step["drift"] < 1e-12 for step in first), "and move once"
    for found in world(size):
        for step in found["drift"]:
            assert step["norm"] > 1e-3
            assert step["gradient"] < 1e-10


@pytest.mark.parametrize("size", SIZES)
def test_processes_that_do_not_fit_together_are_told_so_everywhere(size: int) -> None:
    for rank, found in enumerate(world(size)):
        widths, known, relations, lonely, labels, ids, first = found["mistakes"]
        given = ", ".join(str(2 + each) for each in range(size))
        assert widths.startswith(
            f"the processes have embeddings of {given} columns (by rank), expected equally"
        )
        assert known == "some processes have item_ids and others none: give them in all, or in none"
        assert relations.startswith("Relations with across_processes=True need references")
        assert lonely.startswith("reference_labels and reference_ids need references")
        assert labels == str([1] if size == 2 else [1, 2, 2])
        assert ids == str(list(range(1 if size == 2 else 3)))
        assert first == str(rank * (rank - 1) // 2)


@pytest.mark.parametrize("loss", [TripletLoss, ContrastiveLoss])
def test_one_process_is_the_whole_world(loss: type) -> None:
    g = torch.Generator().manual_seed(0)
    rows, labels = torch.randn(12, 3, generator=g), torch.arange(12) // 3
    left = []
    for across in (False, True):
        x = rows.clone().requires_grad_()
        value = loss(across_processes=across)(x, labels)
        value.backward()
        left.append((value.detach(), x.grad))
    assert torch.equal(left[0][0], left[1][0])
    assert torch.equal(left[0][1], left[1][1])
    everyone = gathered(rows, labels, labels + 7)
    assert everyone.rows is rows
    assert everyone.item_ids.tolist() == (labels + 7).tolist()


def test_lists_of_triplets_and_the_census_belong_to_one_process() -> None:
    rows, labels = torch.ones(3, 2), torch.tensor([0, 0, 1])
    one = torch.tensor([0])
    listed = r"^across_processes=True needs labels and a reduction other than 'none'"
    with pytest.raises(InputError, match=listed):
        triplet_loss(rows, labels, reduction="none", across_processes=True)
    with pytest.raises(InputError, match=listed):
        triplet_loss(rows, Triplets(one, one + 1, one + 2), across_processes=True)
    with pytest.raises(
        InputError, match=r"^return_census=True does not work with across_processes=True: call"
    ):
        triplet_loss(rows, labels, return_census=True, across_processes=True)
