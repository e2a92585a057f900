"""Training that did not help on the identities kept out for calibration is undone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from support.pretrained import digits, saved_weights
from trine.data import Dataset, Vectors
from trine.encoders import EncoderRecipe, MlpSettings, build_encoder, load
from trine.evaluation import retrieval
from trine.pipelines import examine, train_run
from trine.pipelines.split_data import split_by_identity
from trine.pipelines.start import better_of, chosen_of, kept_out, surely_better_of
from trine.training import (
    DataRecipe,
    Recipe,
    RunDir,
    SamplerRecipe,
    TrainingRecipe,
    fit,
    read_findings,
    unsure_gain,
)
from trine.training.schedule import stream_seed


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = saved_weights(tmp_path_factory.mktemp("weights"))
    return Recipe(
        data=DataRecipe(split="stratified", calibration=0.3, calibration_folds=0),
        encoder=EncoderRecipe(
            network="test_resnet",
            weights=str(path),
            dimension=16,
            image_size=32,
            frozen=True,
            head="principal",
        ),
        sampler=SamplerRecipe(identities=4, items=3),
        training=TrainingRecipe(steps=30, learning_rate=0.1),
    )


def test_the_better_one_is_kept_and_the_report_says_which(recipe: Recipe, tmp_path: Path) -> None:
    data = split_by_identity(digits(200), recipe, triplets=None, pairs=None)
    items = kept_out(data, recipe)
    assert items is not None
    assert not set(np.unique(items.labels)) & set(np.unique(data.train.labels))
    trained = fit(data.train, recipe, out=None)
    start = build_encoder(
        data.train.items, recipe=recipe.encoder, distance=trained.distance, seed=stream_seed(0, "weights")
    )
    before, after = (
        retrieval(each.embed(items), items.labels, distance=trained.distance, resamples=0).map_at_r
        for each in (start, trained)
    )
    assert before != after
    report = train_run(digits(200), recipe, out=tmp_path / "run", progress=False)
    kept = load(tmp_path / "run")
    assert kept.fingerprint == (trained if after > before else start).fingerprint
    assert kept.trained is not None
    assert kept.trained.items(data.train).all()
    found = {each.name: each.sentence for each in read_findings(RunDir(tmp_path / "run"))[1]}
    assert ("no gain" in found) == (after <= before)
    # Of the two, the other one is undone where the roles are changed.
    worse, better = sorted((start, trained), key=lambda each: before if each is start else after)
    assert better_of(worse, items, data.train, recipe).fingerprint == start.fingerprint
    assert better is not worse
    if "no gain" in found:
        said = (
            f"kept out for calibration MAP@R was {before:.3f} before training and at most {after:.3f} in it"
        )
        assert said in found["no gain"]
        assert said in str(report)
        assert said in json.dumps(json.loads((tmp_path / "run/metrics.json").read_text())["doctor"])
        assert examine(tmp_path / "run").diagnoses[-1].name == "no gain"


def test_training_that_does_nothing_is_a_tie_and_the_start_stays(recipe: Recipe, tmp_path: Path) -> None:
    still = replace(recipe, training=replace(recipe.training, steps=1, learning_rate=1e-30))
    report = train_run(digits(200), still, out=tmp_path / "run", progress=False)
    assert "doctor: no gain (step 1): on the identities kept out for calibration MAP@R was" in str(report)


def test_who_may_judge(recipe: Recipe) -> None:
    def judged(recipe: Recipe) -> Dataset | None:
        return kept_out(split_by_identity(digits(200), recipe, triplets=None, pairs=None), recipe)

    assert judged(recipe) is not None
    assert judged(replace(recipe, training=replace(recipe.training, keep="last"))) is None
    assert judged(replace(recipe, data=replace(recipe.data, calibration=0.0))) is None
    # The identities of the test part, on which a threshold is calibrated then, must choose nothing.
    by_identity = replace(recipe, data=DataRecipe(split="identity", test=0.3))
    assert split_by_identity(digits(200), by_identity, triplets=None, pairs=None).calibrate_on is not None
    assert judged(by_identity) is None
    validated = replace(recipe, data=replace(recipe.data, validation=0.2))
    assert judged(validated) is None


def surely(rows: np.ndarray, labels: np.ndarray, *, helps: bool) -> bool:
    """Whether a head is kept that drops the first number of each row, or the second."""
    items = Dataset(Vectors(rows), labels, tuple("abcdefgh"), tuple(map(str, range(len(rows)))))
    recipe = Recipe(
        encoder=EncoderRecipe(dimension=2, head="identity", normalise=False, mlp=MlpSettings(hidden=())),
        training=TrainingRecipe(keep="sure"),
    )
    start = build_encoder(items.items, recipe=recipe.encoder)
    changed = build_encoder(items.items, recipe=recipe.encoder)
    with torch.no_grad():
        changed.head.weight.copy_(torch.diag(torch.tensor([0.0, 1.0] if helps else [1.0, 0.0])))
    kept = surely_better_of(changed, items, items, recipe)
    assert (kept is changed) or kept.fingerprint == start.fingerprint
    return kept is changed


def test_a_gain_is_sure_or_the_start_stays() -> None:
    random, labels = np.random.default_rng(0), np.repeat(np.arange(8), 6)
    rows = np.stack([random.normal(0, 5, 48), labels + random.normal(0, 0.05, 48)], axis=1)
    assert surely(rows.astype(np.float32), labels, helps=True)
    assert not surely(rows.astype(np.float32), labels, helps=False)
    assert unsure_gain((0.01, 0.001, 0.02), (0.5, 0.6), step=3, far=0.01) is None
    fewer = unsure_gain((0.01, 0.001, 0.02), (0.6, 0.5), step=3, far=0.01)
    assert fewer is not None
    assert "TAR at FAR 1 % from 0.600 to 0.500, which is no sure gain" in fewer.sentence
    unknown = unsure_gain((float("nan"),) * 3, (float("nan"),) * 2, step=3, far=0.01)
    assert unknown is not None
    assert "training was not judged" in unknown.sentence


def test_nobody_to_judge_keeps_the_start(recipe: Recipe, tmp_path: Path) -> None:
    sure = replace(recipe, training=replace(recipe.training, keep="sure", learning_rate=0.01))
    judged = split_by_identity(digits(200), sure, triplets=None, pairs=None)
    trained = fit(judged.train, sure, out=None)
    nobody = replace(judged, validation=None, calibrate_on=None)
    start = build_encoder(
        judged.train.items, recipe=sure.encoder, distance=trained.distance, seed=stream_seed(0, "weights")
    )
    assert chosen_of(trained, nobody, sure, run=None).fingerprint == start.fingerprint
    last = replace(sure, training=replace(sure.training, keep="last"))
    assert chosen_of(trained, judged, last, run=None) is trained
    report = train_run(digits(200), sure, out=tmp_path / "run", progress=False)
    kept = load(tmp_path / "run").fingerprint
    assert (kept == start.fingerprint) == ("no sure gain" in str(report))
