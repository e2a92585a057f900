"""Cross-batch memory in a run: it is used after its warm-up, and a checkpoint holds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from trine.data import Dataset, Vectors
from trine.encoders import Encoder, EncoderRecipe, MlpSettings
from trine.training import LossRecipe, Recipe, SamplerRecipe, TrainingRecipe, fit
from trine.training.metric_step import MetricStep

RECIPE = Recipe(
    encoder=EncoderRecipe(dimension=8, mlp=MlpSettings((16,), dropout=0.2)),
    sampler=SamplerRecipe(identities=4, items=3),
    loss=LossRecipe(mining="semihard", memory=50, memory_warmup=0.25),
    training=TrainingRecipe(steps=16, checkpoint_every=3, warmup=0.2),
)


def digits(count: int) -> Dataset:
    bunch = load_digits()
    rows = Vectors(bunch.data[:count].astype(np.float32))
    names = tuple(f"item {i}" for i in range(count))
    return Dataset(rows, bunch.target[:count].astype(np.int64), tuple("0123456789"), names, root="digits")


def assert_same_weights(one: Encoder, other: Encoder) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


class Killed(BaseException):
    """Ends a run in the middle, as a kill would."""


def test_a_batch_meets_the_past_once_the_warmup_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, seen, held = MetricStep.loss, [], []

    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        found = original(self, embeddings, batch, step=step)
        seen.extend(batch.positions.tolist())
        held.append((step, self.memory.ids[: len(self.memory)].tolist()))
        return found

    monkeypatch.setattr(MetricStep, "loss", loss)
    fit(digits(120), RECIPE, out=tmp_path)
    sizes = [len(batch) for _, batch in held]
    assert sizes[:4] == [0] * 4
    assert sizes[4] > 0
    assert sizes[-1] == 50
    assert sorted(held[-1][1]) == sorted(seen[-50:]), "the last 50 items"


@pytest.mark.parametrize("killed", [2, 5, 13])
def test_a_killed_run_is_resumed_with_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    data, original = digits(120), MetricStep.loss
    expected = fit(data, RECIPE, out=tmp_path / "whole")

    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        if step >= killed:
            raise Killed
        return original(self, embeddings, batch, step=step)

    with monkeypatch.context() as patched:
        patched.setattr(MetricStep, "loss", loss)
        with pytest.raises(Killed):
            fit(data, RECIPE, out=tmp_path / "broken")
    torch.manual_seed(killed)
    assert_same_weights(fit(data, RECIPE, out=tmp_path / "broken", resume=True), expected)
    without = replace(RECIPE, loss=replace(RECIPE.loss, memory=None))
    assert fit(data, without, out=tmp_path / "without").fingerprint != expected.fingerprint


def test_a_memory_that_never_gets_warm_changes_nothing(tmp_path: Path) -> None:
    late = replace(RECIPE, loss=replace(RECIPE.loss, memory_warmup=0.95))
    without = replace(RECIPE, loss=replace(RECIPE.loss, memory=None))
    assert_same_weights(
        fit(digits(120), late, out=tmp_path / "late"), fit(digits(120), without, out=tmp_path / "without")
    )


def test_a_large_memory_of_digits_still_learns(tmp_path: Path) -> None:
    data = digits(600)
    steps = replace(RECIPE.training, steps=80, learning_rate=3e-3)
    recipe = replace(RECIPE, training=steps, loss=replace(RECIPE.loss, memory=1000, reduction="mean"))
    rows = fit(data, recipe, out=tmp_path).embed(data)
    raw = np.stack([data.items[i] for i in range(len(data))])
    assert separation(rows, data.labels) > separation(raw, data.labels) + 0.1


def separation(rows: np.ndarray, labels: np.ndarray) -> float:
    """Mean distance between identities over that within them, minus 1."""
    d = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    same = labels[:, None] == labels[None]
    off = ~np.eye(len(rows), dtype=bool)
    return float(d[~same].mean() / d[same & off].mean() - 1)
