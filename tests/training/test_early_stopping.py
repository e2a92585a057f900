"""Which weights a run ends with, where training helps and where it does harm."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from support.runs import rows
from trine.data import Dataset, Vectors
from trine.encoders import Encoder, build_encoder, load
from trine.errors import InputError
from trine.evaluation import retrieval
from trine.pipelines import examine, train_run
from trine.training import Recipe, RunDir, fit, load_recipe, read_findings
from trine.training.early_stopping import Validator
from trine.training.schedule import stream_seed

METRICS = st.floats(0, 1) | st.just(math.nan)


class Weights(nn.Module):
    """One number."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))


@given(METRICS, st.lists(METRICS, min_size=1, max_size=8), st.sampled_from(["best", "trained", "last"]))
def test_the_weights_that_are_kept_are_those_a_loop_finds(start, rounds, keep):
    """The twin: the first of the largest metrics, NaN below any number; a tie goes to the start."""
    given = iter([start, *rounds] if keep == "best" else rounds)
    encoder = Weights()
    validator = Validator(lambda _: next(given), patience=None, best_weights=None, keep=keep)
    if keep == "best":
        validator.measure_start(encoder)
    for number in range(1, len(rounds) + 1):
        encoder.value.data.fill_(number)
        validator.validate(encoder)
    validator.restore_best(encoder)
    expected, best = (0, start) if keep == "best" else (1, rounds[0])
    for number, metric in enumerate(rounds, start=1):
        if metric > best or (math.isnan(best) and not math.isnan(metric)):
            expected, best = number, metric
    found = int(encoder.value.item())
    if keep == "last":
        expected = len(rounds)
    # Of rounds that are all NaN, any one may be kept.
    assert found == expected or math.isnan(best)
    assert validator.keeps_start == (keep == "best" and found == 0)


def test_patience_counts_from_the_best_round_of_training_not_from_the_start():
    metrics = iter([0.9, 0.1, 0.2, 0.3, 0.2, 0.2])
    encoder = Weights()
    validator = Validator(lambda _: next(metrics), patience=2, best_weights=None, keep="best")
    validator.measure_start(encoder)
    out_of_patience = []
    for _ in range(5):
        validator.validate(encoder)
        out_of_patience.append(validator.out_of_patience)
    assert out_of_patience == [False, False, False, False, True]
    again = Validator(lambda _: 0.0, patience=2, best_weights=None, keep="best")
    again.load_state_dict(validator.state_dict())
    assert (again.start, again.best, again.keeps_start, again.out_of_patience) == (0.9, 0.3, True, True)


SMALL = {
    "encoder.mlp.hidden": [],
    "encoder.head": "principal",
    "encoder.dimension": 32,
    "training.device": "cpu",
    "training.steps": 12,
    "training.evaluate_every": 4,
    "training.learning_rate": 1e-2,
    "data.validation": 0.2,
}


def recipe_of(**settings: object) -> Recipe:
    return load_recipe(None, overrides=SMALL | settings)


def noisy(seed: int, *, misleading: bool = False) -> Dataset:
    """Rows around centres, with as many columns of noise: to ignore these helps with any identities.

    In misleading rows the columns have changed places, and whoever learns from them ignores the wrong ones.
    """
    data = rows([8] * 12, spread=0.4, seed=seed)
    noise = np.random.default_rng(seed).normal(size=(len(data), 16)).astype(np.float32)
    parts = [data.items.rows, noise]  # type: ignore[attr-defined]
    return replace(data, items=Vectors(np.concatenate(parts[::-1] if misleading else parts, axis=1)))


def map_at_r(embeddings: np.ndarray, labels: np.ndarray) -> float:
    return retrieval(embeddings, labels).map_at_r


def trained(recipe: Recipe, out: Path | None, *, misleading: bool, **settings: Any) -> Encoder:
    """Trains on identities that are not those of validation."""
    given = {"validation": noisy(2), "metric": map_at_r, "progress": False} | settings
    return fit(noisy(1, misleading=misleading), recipe, out=out, **given)


def map_at_r_of(encoder: Encoder) -> float:
    return map_at_r(encoder.embed(noisy(2)), noisy(2).labels)


def start_of(recipe: Recipe, data: Dataset) -> Encoder:
    """The encoder before training."""
    seed = stream_seed(recipe.seed, "weights")
    return build_encoder(data.items, recipe=recipe.encoder, distance=recipe.loss.distance, seed=seed)


@pytest.mark.parametrize("in_folder", [True, False])
def test_training_that_does_harm_is_undone(tmp_path: Path, in_folder: bool) -> None:
    out = tmp_path / "run" if in_folder else None
    harmed = trained(recipe_of(**{"training.keep": "trained"}), None, misleading=True)
    kept = trained(recipe_of(**{"training.keep": "best"}), out, misleading=True)
    before, after = map_at_r_of(kept), map_at_r_of(harmed)
    assert after < before - 0.05
    assert kept.fingerprint == start_of(recipe_of(), noisy(1, misleading=True)).fingerprint
    if not in_folder:
        return
    assert load(out).fingerprint == kept.fingerprint
    _, found, _ = read_findings(RunDir(out))
    said = {diagnosis.name: str(diagnosis) for diagnosis in found}["no gain"]
    assert f"the metric was {before:.3f} before training and at most {after:.3f} in it" in said
    assert "the weights before training are kept" in said
    with (out / "metrics.csv").open() as file:
        looks = [row for row in csv.DictReader(file) if row["validation_metric"]]
    assert [row["step"] for row in looks] == ["0", "3", "7", "11"]
    assert float(looks[0]["validation_metric"]) == pytest.approx(before, abs=1e-5)
    assert looks[0]["loss"] == ""


def test_training_that_helps_is_kept(tmp_path: Path) -> None:
    both = [
        trained(recipe_of(**{"training.keep": keep}), None, misleading=False) for keep in ("best", "trained")
    ]
    assert both[0].fingerprint == both[1].fingerprint
    assert map_at_r_of(both[0]) > map_at_r_of(start_of(recipe_of(), noisy(1))) + 0.02
    last = trained(recipe_of(**{"training.keep": "last"}), tmp_path / "run", misleading=False)
    without = fit(noisy(1), recipe_of(), out=None)
    assert last.fingerprint == without.fingerprint
    assert "no gain" not in {found.name for found in read_findings(RunDir(tmp_path / "run"))[1]}


class CutOffError(Exception):
    """As if the process was killed."""


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_a_resumed_run_keeps_the_start_as_well(tmp_path: Path, rounds: int) -> None:
    recipe = recipe_of(**{"training.keep": "best", "training.checkpoint_every": 5})
    whole = trained(recipe, tmp_path / "whole", misleading=True)
    seen = []

    def metric(embeddings: np.ndarray, labels: np.ndarray) -> float:
        if len(seen) > rounds:
            raise CutOffError
        seen.append(1)
        return map_at_r(embeddings, labels)

    with pytest.raises(CutOffError):
        trained(recipe, tmp_path / "cut", misleading=True, metric=metric)
    resumed = trained(recipe, tmp_path / "cut", misleading=True, resume=True)
    assert resumed.fingerprint == whole.fingerprint
    texts = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "cut")]
    assert texts[0] == texts[1]
    found = [read_findings(RunDir(tmp_path / name))[1] for name in ("whole", "cut")]
    assert "no gain" in {diagnosis.name for diagnosis in found[0]}
    assert found[0] == found[1]
    again = trained(recipe, tmp_path / "cut", misleading=True, resume=True)
    assert again.fingerprint == whole.fingerprint


def test_the_start_counts_by_default_where_it_is_pretrained() -> None:
    assert Recipe().keep == "trained"
    assert load_recipe("products").keep == "best"
    assert load_recipe("intents").keep == "best"
    recipe = load_recipe("products", overrides={"training.keep": "last"})
    assert recipe.keep == "last"


def test_what_to_keep_needs_validation_items() -> None:
    with pytest.raises(InputError, match=r"training\.keep is best, but there are no validation items; pass"):
        fit(rows([6, 6], spread=0.5), recipe_of(**{"training.keep": "best"}), out=None)
    last = replace(Recipe(), training=replace(Recipe().training, keep="last", steps=1))
    fit(rows([6, 6], spread=0.5), last, out=None)


def test_a_report_says_that_the_start_was_kept(tmp_path: Path) -> None:
    taught, asked = noisy(1, misleading=True), noisy(2)
    data = Dataset(
        Vectors(np.concatenate([taught.items.rows, asked.items.rows])),  # type: ignore[attr-defined]
        np.concatenate([taught.labels, asked.labels + 12]),
        tuple(map(str, range(24))),
        tuple(f"item {at}" for at in range(192)),
    )
    parts = {"train": ["0-11"], "validation": ["12-17"], "test": ["18-23"]}
    split = {"data.split": "named", **{f"data.{part}_identities": ids for part, ids in parts.items()}}
    recipe = recipe_of(**split, **{"data.validation": 0, "training.keep": "best"})
    report = train_run(data, recipe, out=tmp_path / "run", progress=False)
    assert "doctor: no gain" in str(report)
    stored = json.loads((tmp_path / "run/metrics.json").read_text())
    assert "the weights before training are kept" in str(stored["doctor"])
    assert "the weights before training are kept" in (tmp_path / "run/report.html").read_text()
    assert examine(tmp_path / "run").diagnoses[-1].name == "no gain"
