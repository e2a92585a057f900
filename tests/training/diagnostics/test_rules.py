"""The doctor: every illness on a run made sick on purpose, and silence over healthy ones."""

from __future__ import annotations

import csv
import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.effort import effort
from support.runs import findings, mislabelled, rows
from trine.data import load, split
from trine.errors import InputError, ModelError
from trine.training import (
    LoggedBatch,
    RunDir,
    RunFacts,
    diagnose,
    fit,
    load_recipe,
    read_findings,
    read_metrics,
)
from trine.training.diagnostics.label_noise import Suspect
from trine.training.diagnostics.rules import label_noise, latest_diagnoses
from trine.training.metric_step import MetricStep

CHAOS = rows([20] * 12, spread=50.0)  # nothing in it can be learned from a batch
EASY = rows([30] * 20, spread=0.3)
MANY = rows([6] * 60, spread=0.2)
OVERLAPPING = rows([30] * 20, spread=1.0)


# --- runs made sick on purpose ---------------------------------------------------------------------


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine"])
def test_a_run_that_collapses_onto_a_point(tmp_path: Path, distance: str) -> None:
    found, _ = findings(
        CHAOS, tmp_path / "run", training__steps=150, training__learning_rate=0.03, loss__mining="hard",
        loss__distance=distance,
    )  # fmt: skip
    assert list(found) == ["collapsed"]
    assert found["collapsed"].step < 150
    assert (
        "about the margin; try a lower training.learning_rate, or start with" in found["collapsed"].sentence
    )


def test_a_run_that_collapses_with_the_soft_margin(tmp_path: Path) -> None:
    found, _ = findings(
        CHAOS, tmp_path / "run", training__steps=150, training__learning_rate=0.05, loss__mining="hard",
        loss__margin=None, encoder__normalise=False,
    )  # fmt: skip
    assert list(found) == ["collapsed"]
    assert "the loss stays at 0.693, about ln 2; try" in found["collapsed"].sentence


def test_a_run_that_starves_for_identities(tmp_path: Path) -> None:
    settings = {"training__steps": 120, "sampler__items": 4}
    found, _ = findings(MANY, tmp_path / "few", sampler__identities=4, **settings)
    assert list(found) == ["starved"]
    assert "try a larger sampler.identities (it is 4 of 60)" in found["starved"].sentence


@pytest.mark.parametrize("rule", ["easy-positive-semihard", "easy-positive-hard"])
def test_a_run_that_starves_for_a_harder_rule(tmp_path: Path, rule: str) -> None:
    found, _ = findings(OVERLAPPING, tmp_path / rule, training__steps=300, loss__mining=rule)
    assert list(found) == ["starved"]
    assert f"try a harder loss.mining than {rule}, since" in found["starved"].sentence


def test_a_run_whose_embeddings_explode(tmp_path: Path) -> None:
    found, _ = findings(
        OVERLAPPING,
        tmp_path / "run",
        training__steps=60,
        training__learning_rate=0.3,
        encoder__normalise=False,
    )
    assert list(found) == ["exploding"]
    assert "try encoder.normalise true, a lower training.learning_rate" in found["exploding"].sentence


def test_a_run_that_one_identity_dominates(tmp_path: Path) -> None:
    skewed = rows([200] + [3] * 9, spread=2.0)
    settings = {"training__steps": 120, "sampler__identities": 4, "sampler__items": 32}
    found, _ = findings(skewed, tmp_path / "never", **settings)
    assert list(found) == ["dominated"]
    assert "try a smaller sampler.items, a larger sampler.identities, or sampler.repeat fill" in (
        found["dominated"].sentence
    )
    cured, _ = findings(skewed, tmp_path / "fill", sampler__repeat="fill", **settings)
    assert not cured, "what it says to try helps"


def test_a_run_on_wrong_labels(tmp_path: Path) -> None:
    data, wrong = mislabelled(EASY, 0.04)
    slowly = {"training__learning_rate": 3e-4, "training__schedule": "linear", "training__decay_from": 0}
    slowly |= {"training__late_beta1": None, "training__steps": 300, "sampler__items": 3}
    found, suspects = findings(data, tmp_path / "run", "trinet", **slowly)
    assert list(found) == ["label noise"]
    assert len(set(suspects) & wrong) > len(wrong) / 2
    assert set(suspects) <= wrong
    sentence = found["label noise"].sentence
    assert f"{len(suspects)} of 600 items stay among one other identity" in sentence
    assert all(name in sentence for name in suspects[:5])


# --- healthy runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [None, "facenet", "trinet"])
@pytest.mark.parametrize("data", [CHAOS, EASY, OVERLAPPING], ids=["chaos", "easy", "overlapping"])
def test_healthy_runs_hear_nothing(tmp_path: Path, data: Any, recipe: str | None) -> None:
    found, _ = findings(
        data, tmp_path / "run", recipe, training__steps=130, sampler__identities=12, sampler__items=5
    )
    assert not found


@pytest.mark.parametrize(
    "settings",
    [
        {"encoder__normalise": False, "loss__margin": 10.0},
        {"encoder__normalise": False, "loss__distance": "cosine"},
        {"loss__mining": "all", "loss__reduction": "sum"},
        {"loss__mining": "hard", "training__schedule": "constant"},
        {"loss__margin": 1.5, "training__warmup": 0.5},
        {"curriculum": [{"at": 0.4, "mining": "hard", "until": 0.8, "margin": 0.5, "identities": 6}]},
    ],
    ids=str,
)
def test_other_settings_are_no_illness(tmp_path: Path, settings: dict[str, Any]) -> None:
    found, _ = findings(OVERLAPPING, tmp_path / "run", training__steps=150, **settings)
    assert not found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        (None, {"training__steps": effort(150, 400)}),
        ("trinet", {"encoder__image_size": None, "augment__flip": 0, "training__steps": effort(100, 300)}),
    ],
    ids=["default", "trinet"],
)
def test_digits_hear_nothing(tmp_path: Path, recipe: str | None, settings: dict[str, Any]) -> None:
    data, _ = load("digits")
    train = data.subset(split(data, method="stratified", test=0.25, seed=0).train)
    found, _ = findings(train, tmp_path / "run", recipe, sampler__identities=10, **settings)
    assert not found


# --- said once, kept, resumed ----------------------------------------------------------------------

SICK = {
    "training.steps": 150,
    "training.learning_rate": 0.03,
    "loss.mining": "hard",
    "training.checkpoint_every": 30,
}


class Killed(BaseException):
    pass


def test_it_is_said_once_and_a_resumed_run_says_nothing_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(overrides=SICK)
    with caplog.at_level(logging.WARNING, logger="trine.training"):
        fit(CHAOS, recipe, out=tmp_path / "whole")
    _, (said,), _ = read_findings(RunDir(tmp_path / "whole"))
    assert [record.getMessage() for record in caplog.records] == [f"doctor: {said}"]
    caplog.clear()

    original = MetricStep.loss

    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        if step == 131:
            raise Killed
        return original(self, embeddings, batch, step=step)

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, logger="trine.training"):
        patched.setattr(MetricStep, "loss", loss)
        with pytest.raises(Killed):
            fit(CHAOS, recipe, out=tmp_path / "broken")
        assert len(caplog.records) == 1
        patched.undo()
        fit(CHAOS, recipe, out=tmp_path / "broken", resume=True)
        assert len(caplog.records) == 1
    assert (tmp_path / "broken/doctor.json").read_text() == (tmp_path / "whole/doctor.json").read_text()


def test_suspicions_are_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = mislabelled(EASY, 0.04)
    recipe = load_recipe(
        "trinet",
        overrides={
            "encoder.views": "one",
            "training.steps": 150,
            "training.checkpoint_every": 20,
            "sampler.items": 3,
        },
    )
    fit(data, recipe, out=tmp_path / "whole")
    original = MetricStep.loss

    def loss(self: Any, embeddings: torch.Tensor, batch: Any, *, step: int) -> torch.Tensor:
        if step == 73:
            raise Killed
        return original(self, embeddings, batch, step=step)

    with monkeypatch.context() as patched:
        patched.setattr(MetricStep, "loss", loss)
        with pytest.raises(Killed):
            fit(data, recipe, out=tmp_path / "broken")
    fit(data, recipe, out=tmp_path / "broken", resume=True)
    whole = json.loads((tmp_path / "whole/doctor.json").read_text())
    assert len(whole["suspects"]) > 3
    assert json.loads((tmp_path / "broken/doctor.json").read_text()) == whole


def test_the_log_says_the_same_after_the_fact(tmp_path: Path) -> None:
    fit(CHAOS, load_recipe(overrides=SICK), out=tmp_path)
    patient, said, _ = read_findings(RunDir(tmp_path))
    again = diagnose(read_metrics(tmp_path / "metrics.csv"), patient)
    assert [(found.name, found.step) for found in again] == [(found.name, found.step) for found in said]
    columns = next(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert all(
        math.isfinite(float(columns[name]))
        for name in ("active_per_item", "norm_mean", "norm_max", "effective_rank", "largest_identity")
    )


# --- the signs by themselves -----------------------------------------------------------------------

PATIENT = RunFacts(steps=300, warmup=30, distance="euclidean", normalised=False, identities=100)
HEALTHY = LoggedBatch(
    0, mining="semihard", loss=0.1, margin=0.2, identities=32, active=0.02, active_per_item=1.0,
    positive_distance=0.4, negative_distance=1.4, norm_mean=1.0, norm_max=1.2, effective_rank=20.0,
    largest_identity=0.05,
)  # fmt: skip
ILL: dict[str, dict[str, Any]] = {
    "collapsed": {"loss": 0.2, "active": 1.0, "positive_distance": 0.01, "negative_distance": 0.011},
    "starved": {"active": 0.0, "active_per_item": 0.0},
    "exploding": {"norm_mean": 100.0, "negative_distance": 130.0},
    "dominated": {"largest_identity": 0.7},
}


def log(changes: dict[int, dict[str, Any]], *, steps: int = 300) -> list[LoggedBatch]:
    """A healthy log with other figures from some steps on."""
    looks, now = [], HEALTHY
    for step in range(0, steps, 10):
        now = replace(now, **changes.get(step, {}))
        looks.append(replace(now, step=step))
    return looks


@pytest.mark.parametrize("illness", ILL)
def test_each_illness_has_its_signs_and_no_other(illness: str) -> None:
    found = diagnose(log({100: ILL[illness]}), PATIENT)
    assert [each.name for each in found] == [illness]
    assert found[0].step > 100
    well = {name: getattr(HEALTHY, name) for name in ILL[illness]}
    assert not diagnose(log({100: ILL[illness], 110: well}), PATIENT), "one bad batch is no illness"


@pytest.mark.parametrize("illness", ["collapsed", "starved", "dominated"])
def test_a_short_log_is_not_judged(illness: str) -> None:
    assert not diagnose(log({0: ILL[illness]}, steps=90), replace(PATIENT, steps=90))


def test_a_diagnosis_once_made_stays_where_the_run_recovers() -> None:
    well = {name: getattr(HEALTHY, name) for name in ILL["collapsed"]}
    looks = log({50: ILL["collapsed"], 200: well})
    (found,) = diagnose(looks, PATIENT)
    assert found.step == 140
    assert not latest_diagnoses(looks, PATIENT)


def test_embeddings_that_start_at_zero_are_no_measure_of_growth() -> None:
    """A head that starts at zero: the first norm is 0, and the next ones are what growth is measured from."""
    assert not diagnose(log({0: {"norm_mean": 0.0}, 20: {"norm_mean": 1.0}}), PATIENT)
    (found,) = diagnose(log({0: {"norm_mean": 0.0}, 20: {"norm_mean": 1.0}, 100: ILL["exploding"]}), PATIENT)
    assert found.name == "exploding"
    assert "have become 100 times as long" in found.sentence
    always = dict.fromkeys(("norm_mean", "norm_max", "negative_distance", "positive_distance"), 0.0)
    diagnose(log({0: {**always, "loss": 0.0, "margin": 0.0, "identities": 0.0}}), PATIENT)


def test_the_warm_up_is_no_collapse() -> None:
    assert not diagnose(log({0: ILL["collapsed"], 100: {"loss": 0.1}}), replace(PATIENT, warmup=100))


def test_all_there_is_to_learn_learned_is_no_starving() -> None:
    assert not diagnose(log({100: ILL["starved"]}), replace(PATIENT, identities=40))
    assert diagnose(log({100: {**ILL["starved"], "mining": "random", "active": 0.01}}), PATIENT)


def test_embeddings_may_be_as_long_as_the_margin_asks() -> None:
    assert not diagnose(log({0: {"margin": 50.0, "loss": 3.0}, 100: ILL["exploding"]}), PATIENT)
    assert not diagnose(log({100: ILL["exploding"]}), replace(PATIENT, normalised=True))


def test_two_identities_share_a_batch_as_they_must() -> None:
    assert not diagnose(log({0: {"identities": 2, "largest_identity": 0.6}}), PATIENT)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "loss": st.floats(0, 5), "margin": st.sampled_from([0.2, 1.0, math.nan]),
                "active": st.floats(0, 1), "active_per_item": st.floats(0, 5) | st.just(math.nan),
                "positive_distance": st.floats(0, 3),
                "negative_distance": st.floats(0, 3) | st.just(math.nan),
                "norm_mean": st.floats(0, 1e6), "largest_identity": st.floats(0.01, 1),
            }
        ),
        max_size=60,
    )
)  # fmt: skip
def test_any_log_can_be_read_and_each_illness_is_told_once(figures: list[dict[str, float]]) -> None:
    looks = [replace(HEALTHY, step=10 * i, **each) for i, each in enumerate(figures)]
    found = diagnose(looks, PATIENT)
    assert len({each.name for each in found}) == len(found)
    for count in range(len(looks) + 1):
        told = {each.name for each in latest_diagnoses(looks[:count], PATIENT)}
        known = {each.name for each in found if each.step <= (looks[count - 1].step if count else -1)}
        assert told <= known


def suspects(count: int) -> list[Suspect]:
    return [Suspect(f"item {i}", "a", "b", 0.9) for i in range(count)]


def test_noise_takes_several_suspects() -> None:
    def said(count: int, observed: int, doubtful: int = 0) -> bool:
        return label_noise(suspects(count), doubtful=doubtful, observed=observed, step=7) is not None

    assert not said(2, 100)
    assert said(3, 100)
    assert not said(13, 2000)
    assert said(14, 2000)
    assert not said(3, 100, doubtful=16)
    found = label_noise(suspects(9), doubtful=0, observed=100, step=7)
    assert found is not None
    assert found.sentence.endswith("item 4 (a, looks like b), ...")


def test_a_folder_without_findings_says_so(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with pytest.raises(ModelError, match=r"has no doctor.json; name a run folder that trine train created"):
        read_findings(run)
    run.doctor.write_text("{}")
    with pytest.raises(ModelError, match=r"doctor.json is damaged \('run'\); resume the run"):
        read_findings(run)
    facts = {"steps": [0, 0], "warmup": 1, "distance": "cosine", "normalised": True, "identities": 2}
    run.doctor.write_text(json.dumps({"run": facts, "diagnoses": [], "suspects": []}))
    with pytest.raises(ModelError, match=r"doctor.json is damaged \(run: steps must be an integer"):
        read_findings(run)
    with pytest.raises(ModelError, match=r"cannot read .*metrics.csv as the log of a run"):
        read_metrics(run.metrics)
    run.metrics.write_text("step,loss\n0,none\n")
    with pytest.raises(ModelError, match=r"could not convert string to float: 'none'"):
        read_metrics(run.metrics)


def test_a_run_has_a_known_distance() -> None:
    with pytest.raises(InputError, match="unknown distance 'manhattan'"):
        RunFacts(steps=300, warmup=30, distance="manhattan", normalised=False, identities=100)
