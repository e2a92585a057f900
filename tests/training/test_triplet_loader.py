"""Training on listed triplets: their items make the batches, and their loss is what is learned."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trine import Triplets, triplet_loss
from trine.data import Dataset, load
from trine.encoders import Encoder, EncoderRecipe, SmallResNetSettings
from trine.errors import DataError, SettingError
from trine.mining import OfflineMining, mine_offline
from trine.training import LossRecipe, Recipe, SamplerRecipe, TrainingRecipe, fit
from trine.training.metric_step import MetricStep

RECIPE = Recipe(
    encoder=EncoderRecipe(dimension=8, small_resnet=SmallResNetSettings(width=8, dropout=0.2)),
    sampler=SamplerRecipe(batch=30),
    loss=LossRecipe(margin=0.4),
    training=TrainingRecipe(steps=24, checkpoint_every=3),
)


def digits(count: int) -> Dataset:
    data, _ = load("digits")
    return data.subset(range(count))


def listed(data: Dataset) -> np.ndarray:
    """Triplets of raw pixels, all with the same few negatives."""
    rows = np.stack([data.items[i].ravel() for i in range(len(data))]).astype(np.float32)
    found = mine_offline(rows, data.labels, how=OfflineMining(rule="hard", negatives=2))
    return np.stack([found.anchor, found.positive, found.negative], axis=1)


def assert_same_weights(one: Encoder, other: Encoder) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


class Killed(BaseException):
    """Ends a run in the middle, as a kill would."""


@pytest.mark.parametrize("cache", [0.0, 2.0])
def test_the_loss_is_that_of_the_listed_triplets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: float
) -> None:
    data = digits(60)
    triplets = listed(data)
    seen, original = Counter(), MetricStep.loss

    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        found = original(self, embeddings, batch, step=step)
        positions = batch.positions.tolist()
        assert len(positions) == len(set(positions)) == len(embeddings) <= 30
        named = batch.positions[batch.triplets]
        assert set(named.flatten().tolist()) == set(positions)
        if step < 12:
            seen.update(map(tuple, named.tolist()))
        values = triplet_loss(
            embeddings, Triplets(*batch.triplets.unbind(1)), margin=0.4, reduction="none"
        )  # one value for each
        expected = values.sum() / max(int((values > 0).sum()), 1)
        torch.testing.assert_close(found, expected)
        return found

    monkeypatch.setattr(MetricStep, "loss", loss)
    recipe = replace(RECIPE, training=replace(RECIPE.training, cache=cache))
    fit(data, recipe, out=tmp_path, triplets=triplets)
    assert len(triplets) == 120
    assert seen == Counter(map(tuple, triplets.tolist())), "each comes once an epoch"


def test_a_killed_run_is_resumed_with_its_triplets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, original = digits(60), MetricStep.loss
    triplets = listed(data)
    expected = fit(data, RECIPE, out=tmp_path / "whole", triplets=triplets)

    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        if step >= 16:
            raise Killed
        return original(self, embeddings, batch, step=step)

    with monkeypatch.context() as patched:
        patched.setattr(MetricStep, "loss", loss)
        with pytest.raises(Killed):
            fit(data, RECIPE, out=tmp_path / "broken", triplets=triplets)
    with pytest.raises(DataError, match=r"was started on different training items"):
        fit(data, RECIPE, out=tmp_path / "broken", triplets=triplets[:-1], resume=True)
    resumed = fit(data, RECIPE, out=tmp_path / "broken", triplets=triplets, resume=True)
    assert_same_weights(resumed, expected)


def test_it_learns_what_the_triplets_say(tmp_path: Path) -> None:
    data = digits(300)
    rng = np.random.default_rng(0)
    # The parity of a digit, which no label of the data says.
    odd = data.labels % 2
    anchor = rng.integers(0, 300, 2000)
    same = np.array([rng.choice(np.flatnonzero(odd == odd[a])) for a in anchor])
    other = np.array([rng.choice(np.flatnonzero(odd != odd[a])) for a in anchor])
    triplets = np.stack([anchor, same, other], axis=1)[anchor != same]
    network = EncoderRecipe(dimension=8, small_resnet=SmallResNetSettings(width=12, pool=2))
    recipe = replace(
        RECIPE, encoder=network, training=replace(RECIPE.training, steps=100, learning_rate=3e-3)
    )
    rows = fit(data, recipe, out=tmp_path, triplets=triplets).embed(data)
    d = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    alike, off = odd[:, None] == odd[None], ~np.eye(300, dtype=bool)
    assert d[~alike].mean() > 1.5 * d[alike & off].mean()


def test_triplets_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    data = digits(30)
    triplets = np.array([[0, 1, 2]])
    for message, recipe, given in (
        (r"^loss.memory is 9, which a run on listed triplets cannot use; set it to null",
         replace(RECIPE, loss=LossRecipe(memory=9)), triplets),
        (r"^sampler.confusable is 0.5, which .* set it to 0, or train without triplets$",
         replace(RECIPE, sampler=SamplerRecipe(confusable=0.5)), triplets),
        (r"^training.devices is 2, which a run on listed triplets cannot use; set it to 1",
         replace(RECIPE, training=TrainingRecipe(devices=2)), triplets),
        (r"^there are no triplets to train on", RECIPE, triplets[:0]),
        (r"^triplets hold positions from 0 to 30, expected those of the 30 training items$",
         RECIPE, np.array([[0, 1, 30]])),
    ):  # fmt: skip
        with pytest.raises((SettingError, DataError), match=message):
            fit(data, recipe, out=tmp_path / "run", triplets=given)
    assert not (tmp_path / "run").exists()
