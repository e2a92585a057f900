"""`loss.name contrastive`: the pairs of a batch train, in all that a run can be; no triplets are claimed."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.runs import rows
from trine.data import load
from trine.encoders import Encoder, EncoderRecipe, MlpSettings
from trine.errors import SettingError
from trine.losses import Memory, contrastive_loss
from trine.pipelines import train_run
from trine.training import (
    LossRecipe,
    Recipe,
    SamplerRecipe,
    Stage,
    TrainingRecipe,
    diagnose,
    fit,
    load_recipe,
    read_findings,
)
from trine.training.diagnostics.rules import LoggedBatch, RunFacts
from trine.training.metric_step import MetricStep
from trine.training.run_dir import RunDir
from trine.training.schedule import describe_stage

DATA = rows([9] * 8, spread=0.9)
RECIPE = Recipe(
    encoder=EncoderRecipe(dimension=6, mlp=MlpSettings((24,)), normalise=False),
    sampler=SamplerRecipe(identities=6, items=4),
    loss=LossRecipe(name="contrastive", margin=1.5, reduction="mean"),
    training=TrainingRecipe(steps=20, checkpoint_every=4, device="cpu"),
)


def same(one: Encoder, other: Encoder) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_it_is_the_papers_loss_of_all_pairs_of_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = MetricStep.loss

    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        value = original(self, embeddings, batch, step=step)
        apart = torch.pdist(embeddings.detach().double())
        first, second = torch.triu_indices(len(embeddings), len(embeddings), offset=1)
        alike = batch.labels[first] == batch.labels[second]
        naive = torch.where(alike, apart**2 / 2, (1.5 - apart).clamp(min=0) ** 2 / 2).mean()
        seen.append((value.item(), naive.item()))
        return value

    monkeypatch.setattr(MetricStep, "loss", loss)
    fit(DATA, RECIPE, out=tmp_path / "run", progress=False)
    assert len(seen) == 20
    assert min(naive for _, naive in seen) > 0.01
    assert [value for value, _ in seen] == pytest.approx([naive for _, naive in seen], rel=1e-4)
    assert seen[-1][0] < 0.95 * seen[0][0]


@pytest.mark.parametrize("settings", [{"form": "linear"}, {"reduction": "sum"}, {"reduction": "active"}])
def test_its_settings_are_those_of_the_function(tmp_path: Path, settings: dict[str, str]) -> None:
    recipe = replace(RECIPE, loss=replace(RECIPE.loss, **settings))  # type: ignore[arg-type]
    arguments = {"reduction": "mean", **settings}

    def given(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return contrastive_loss(x, y, margin=1.5, **arguments)

    expected = fit(
        DATA, replace(RECIPE, loss=LossRecipe()), out=tmp_path / "given", loss=given, progress=False
    )
    assert same(fit(DATA, recipe, out=tmp_path / "own", progress=False), expected)


def test_null_is_the_mean_of_all_pairs(tmp_path: Path) -> None:
    null = replace(RECIPE, loss=replace(RECIPE.loss, reduction=None))
    one = fit(DATA, null, out=tmp_path / "null", progress=False)
    assert same(one, fit(DATA, RECIPE, out=tmp_path / "mean", progress=False))


def test_memory_chunks_and_a_moving_margin_go_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, original = [], Memory.joined
    monkeypatch.setattr(
        Memory, "joined", lambda self, *given: held.append(len(self)) or original(self, *given)
    )
    whole = replace(
        RECIPE,
        loss=replace(RECIPE.loss, memory=60, memory_warmup=0.2),
        curriculum=(Stage(at=0.3, until=0.8, margin=2.5, identities=8),),
    )
    cut = replace(whole, training=replace(whole.training, chunk=10))
    encoders = [
        fit(DATA, each, out=tmp_path / str(at), progress=False) for at, each in enumerate((whole, cut))
    ]
    # Batch statistics are those of a chunk, so the weights are near each other and not equal.
    assert max(held) == 60
    for encoder in encoders:
        x = encoder.embed(DATA)
        apart = np.linalg.norm(x[:, None] - x[None], axis=2)
        alike = DATA.labels[:, None] == DATA.labels
        assert apart[~alike].mean() > 1.3 * apart[alike].mean()
    with (tmp_path / "0/metrics.csv").open(encoding="utf-8") as file:
        margins = [float(row["margin"]) for row in csv.DictReader(file) if row["loss"]]
    assert margins[0] == 1.5
    assert 1.5 < margins[1] < 2.5
    assert margins[-1] == 2.5
    assert describe_stage(19, steps=20, recipe=whole, shape=(8, 3)) == "margin 2.5, 8×3"


def test_a_run_says_what_it_was_trained_with_and_claims_no_triplets(tmp_path: Path) -> None:
    data, _ = load("digits")
    settings = {
        "data.identities": ["4", 9],
        "loss.name": "contrastive",
        "loss.margin": 1.0,
        "encoder.dimension": 2,
        "encoder.normalise": False,
        "encoder.small_resnet.width": 8,
        "training.steps": 60,
        "sampler.batch": 32,
    }
    report = train_run(data, load_recipe(overrides=settings), out=tmp_path / "run", progress=False)
    assert load_recipe(tmp_path / "run/recipe.yaml").loss.name == "contrastive"
    assert report.census is None
    assert "Triplets" not in (tmp_path / "run/report.html").read_text(encoding="utf-8")
    with (tmp_path / "run/metrics.csv").open(encoding="utf-8") as file:
        logged = [row for row in csv.DictReader(file) if row["loss"]]
    assert {row[key] for row in logged for key in ("mining", "active", "active_per_item")} == {""}
    assert {row["margin"] for row in logged} == {"1"}
    assert float(logged[-1]["negative_distance"]) > 2 * float(logged[-1]["positive_distance"])
    patient, found, _ = read_findings(RunDir(tmp_path / "run"))
    assert patient.loss == "contrastive"
    assert not {each.name for each in found} & {"collapsed", "starved"}
    assert set(data.labels[data.labels == 4]) == {4}
    assert {data.identities[label] for label in report.after.retrieval.labels + 4} <= set("0123456789")


def test_the_doctor_leaves_alone_what_only_triplets_tell() -> None:
    patient = RunFacts(steps=200, warmup=20, distance="euclidean", normalised=False, identities=9)
    looks = [
        LoggedBatch(step, margin=0.2, loss=0.2, active=1.0, positive_distance=0.01, negative_distance=0.011,
             norm_mean=10.0 ** (step / 40), norm_max=99.0, identities=9, largest_identity=0.9)
        for step in range(0, 200, 10)
    ]  # fmt: skip
    names = {
        loss: {found.name for found in diagnose(looks, replace(patient, loss=loss))}
        for loss in ("triplet", "contrastive", "given")
    }
    assert "collapsed" in names["triplet"]
    assert names["contrastive"] == {"dominated"}
    assert names["given"] == {"dominated"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"loss.mining": "hard"},
            "loss.mining is hard, but it is a setting of the triplet loss, and loss.name is contr",
        ),
        ({"loss.margin": None}, "loss.margin is null, but the contrastive loss needs a margin"),
        ({"loss.reduction": "anchor"}, "loss.reduction is anchor, but the contrastive loss is over pairs"),
        (
            {"curriculum": [{"at": 0.5, "mining": "hard"}]},
            r"curriculum\[0\].mining is hard, but it is a setting of the tripl",
        ),
        (
            {"loss.name": "triplet", "loss.form": "linear"},
            "loss.form is linear, but it is a setting of the contrastive loss",
        ),
        ({"loss.name": "contrastiv"}, "loss.name"),
    ],
)
def test_settings_of_the_other_loss_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        load_recipe(overrides={"loss.name": "contrastive", **settings})


def test_listed_triplets_are_of_the_triplet_loss(tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"loss\.name is contrastive, but the triplets of this run are listed"
    ):
        fit(DATA, RECIPE, out=tmp_path, triplets=np.array([[0, 1, 20]]))
