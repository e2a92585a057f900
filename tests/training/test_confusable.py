"""Batches of confusable identities in a run: looked for at the right moment, and resumed exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.effort import thorough
from support.multiprocess import run_processes
from trine.data import Dataset, load
from trine.encoders import Encoder, EncoderRecipe, SmallResNetSettings, build_encoder
from trine.mining import confusable_identities
from trine.training import LossRecipe, Recipe, SamplerRecipe, TrainingRecipe, fit
from trine.training.data_loader import BatchLoader, PreparedItems
from trine.training.metric_step import MetricStep
from trine.training.samplers import LISTED, ConfusableRefresh, SamplerSchedule

RECIPE = Recipe(
    encoder=EncoderRecipe(dimension=8, small_resnet=SmallResNetSettings(width=8, dropout=0.2)),
    sampler=SamplerRecipe(identities=4, items=3, confusable=0.5),
    loss=LossRecipe(mining="semihard", memory=30),
    training=TrainingRecipe(steps=34, checkpoint_every=3),
)


def digits(count: int) -> Dataset:
    data, _ = load("digits")
    return data.subset(range(count))


def assert_same_weights(one: Encoder, other: Encoder) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


class Killed(BaseException):
    """Ends a run in the middle, as a kill would."""


class Told:
    """Lists that are known beforehand: who is asked, and when."""

    def __init__(self, identities: int, every: int) -> None:
        self.every, self.asked, self.count, self.handed_out = every, 0, identities, [0]

    def due(self, epoch: int) -> bool:
        return epoch > 0 and epoch % self.every == 0

    def next_due(self, epoch: int) -> int:
        return (epoch // self.every + 1) * self.every

    def find(self) -> np.ndarray:
        self.asked += 1
        return np.random.default_rng(self.handed_out[0]).permuted(
            np.tile(np.arange(self.count), (self.count, 1)), axis=1
        )[:, :3]


@pytest.mark.parametrize("cache", [0, 1e9])
@pytest.mark.parametrize("every", [1, 2])
def test_lists_are_made_when_every_batch_before_them_is_learned(cache: float, every: int) -> None:
    """The lists depend on how many batches have been handed out, as an encoder's would."""
    data = digits(120)
    encoder = build_encoder(data.items, recipe=RECIPE.encoder)
    told = Told(10, every)

    def made(refresh: Told) -> BatchLoader:
        sampler = SamplerSchedule(data.labels, recipe=replace(RECIPE, seed=4)).at(0.0)
        items = PreparedItems(data, encoder=encoder, cache=cache)
        return BatchLoader(
            items, labels=data.labels, sampler_at=lambda step: sampler, steps=45, refresh=refresh
        )

    whole, seen, states = made(told), [], []
    for batch in whole:
        told.handed_out[0] = len(seen) + 1
        seen.append(batch.positions.tolist())
        states.append(whole.state_dict())
        if len(seen) == 45:
            break
    assert whole.position[0] == 4
    assert told.asked == 4 // every
    assert [("neighbours" in state) for state in states] == [state["epoch"] >= every for state in states]
    per_epoch = sum(state["epoch"] == 0 for state in states)
    # Only lists from the right moment make the same batches.
    sampler = SamplerSchedule(data.labels, recipe=replace(RECIPE, seed=4)).at(0.0)
    told.handed_out[0] = 2 * per_epoch
    sampler.set_neighbours(told.find())
    sampler.set_epoch(2)
    assert list(sampler) == seen[2 * per_epoch : 3 * per_epoch]
    for start in range(1, 45, 4):
        rest = made(told)
        rest.load_state_dict(states[start - 1])
        told.handed_out[0] = start
        for number, batch in enumerate(rest, start=start):
            told.handed_out[0] = number + 1
            assert batch.positions.tolist() == seen[number]
            if number == 44:
                break


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Encoder]:
    made: dict[int, Encoder] = {}

    def run(refresh: int) -> Encoder:
        if refresh not in made:
            recipe = replace(RECIPE, sampler=replace(RECIPE.sampler, refresh=refresh))
            made[refresh] = fit(digits(120), recipe, out=tmp_path_factory.mktemp("whole") / "run")
        return made[refresh]

    return run


@pytest.mark.parametrize(("refresh", "cache"), [(1, 2.0), (2, 2.0), (1, 0.0)])
@pytest.mark.parametrize("killed", [10, 11, 25])
@thorough
def test_a_killed_run_is_resumed_to_the_same_weights(
    unbroken: Callable[[int], Encoder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed: int,
    refresh: int,
    cache: float,
) -> None:
    recipe = replace(
        RECIPE,
        sampler=replace(RECIPE.sampler, refresh=refresh),
        training=replace(RECIPE.training, cache=cache),
    )
    data, original = digits(120), MetricStep.loss
    expected = unbroken(refresh)

    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        if step >= killed:
            raise Killed
        return original(self, embeddings, batch, step=step)

    with monkeypatch.context() as patched:
        patched.setattr(MetricStep, "loss", loss)
        with pytest.raises(Killed):
            fit(data, recipe, out=tmp_path / "broken")
    assert_same_weights(fit(data, recipe, out=tmp_path / "broken", resume=True), expected)


def test_a_run_looks_every_so_often_and_changes_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, found = digits(120), []
    original = ConfusableRefresh.find

    def find(self: ConfusableRefresh) -> np.ndarray:
        lists = original(self)
        found.append((self._encoder.training, lists))
        return lists

    monkeypatch.setattr(ConfusableRefresh, "find", find)
    with_lists = fit(data, RECIPE, out=tmp_path / "with")
    assert len(found) == 3
    assert all(training for training, _ in found), "the encoder is left as it was"
    assert all(lists.shape == (10, 9) for _, lists in found)
    assert any(not np.array_equal(found[0][1], lists) for _, lists in found[1:])
    without = replace(RECIPE, sampler=replace(RECIPE.sampler, confusable=0.0))
    assert fit(data, without, out=tmp_path / "without").fingerprint != with_lists.fingerprint
    assert len(found) == 3


@pytest.mark.slow
def test_processes_divide_the_items_and_find_the_same() -> None:
    data = digits(100)
    encoder = build_encoder(data.items, recipe=RECIPE.encoder)
    expected = confusable_identities(encoder.embed(data), data.labels, k=LISTED)
    alone = ConfusableRefresh(
        encoder, prepared=PreparedItems(data, encoder=encoder, cache=1e9), labels=data.labels, every=1
    )
    np.testing.assert_array_equal(alone.find(), expected)
    for found in run_processes(3, "support.multiprocess_memory:confusions"):
        np.testing.assert_array_equal(found.numpy(), expected)
