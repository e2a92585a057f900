"""Open-set identification in a run's report: who is known, and who is a stranger."""

import dataclasses
import json

import numpy as np
import pytest

from support.runs import rows
from trine.data import Vectors, load, split
from trine.errors import SettingError
from trine.evaluation import open_set
from trine.pipelines import evaluate_run, train_run
from trine.training import load_recipe

QUICK = {
    "encoder.dimension": 4,
    "encoder.mlp.hidden": (16,),
    "training.steps": 30,
    "training.threads": 1,
    "data.split": "open",
}


@pytest.fixture(scope="module")
def data():
    return rows([20, 20, 20, 20, 20], spread=0.3)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    recipe = load_recipe(overrides={**QUICK, "data.unknown_identities": ["id 1", "id 3"]})
    folder = tmp_path_factory.mktemp("open") / "run"
    return folder, train_run(data, recipe, out=folder, progress=False)


def test_a_run_says_how_well_strangers_are_told_from_the_known(data, run):
    folder, report = run
    parts = json.loads((folder / "split.json").read_text())["parts"]
    place = {name: at for at, name in enumerate(data.names)}
    train, test = ([place[name] for name, _ in parts[part]] for part in ("train", "test"))
    assert {data.identity(at) for at in train} == {"id 0", "id 2", "id 4"}
    from trine import load

    encoder = load(folder)
    twin = open_set(
        encoder.embed(data.subset(test)),
        data.labels[test],
        encoder.embed(data.subset(train)),
        data.labels[train],
        resamples=0,
    )
    measured = report.after.open_set
    assert (len(measured.unknowns), len(measured.distances)) == (40, 15)
    for rate in (0.01, 0.05, 0.1):
        assert measured.dir_at_fpir(rate) == pytest.approx(twin.dir_at_fpir(rate))
    # Before training: the scaled features, as a stranger's distance to the nearest shows.
    rows_of = [(data.items.rows[part] - encoder.mean.numpy()) / encoder.std.numpy() for part in (test, train)]
    strange = ~np.isin(data.labels[test], data.labels[train])
    nearest = np.linalg.norm(rows_of[0][strange][:, None] - rows_of[1][None], axis=2).min(axis=1)
    np.testing.assert_allclose(np.sort(report.before.open_set.unknowns), np.sort(nearest), rtol=1e-4)


def test_the_figures_stand_in_the_table_in_json_and_on_the_page(run):
    folder, report = run
    assert "open set: DIR at FPIR 1 %" in str(report)
    assert "unseen items of seen identities, and unknown identities" in str(report)
    held = json.loads((folder / "metrics.json").read_text())
    for when in ("before_training", "after_training"):
        assert set(held[when]["open_set"]["dir_at_fpir"]) == {"0.01", "0.05", "0.1"}
    page = (folder / "report.html").read_text()
    assert "15 probes of 3 known identities and 40 of unknown ones, 45 items enrolled" in page
    assert "DIR at FPIR 5 %" in page


def test_evaluate_finds_the_same_figures_on_the_test_part_alone(data, run):
    folder, report = run
    again = evaluate_run(folder, data)
    np.testing.assert_allclose(again.after.open_set.distances, report.after.open_set.distances, atol=1e-5)
    assert evaluate_run(folder, data, part="train", out=folder / "t").after.open_set is None
    assert evaluate_run(folder, data, part="all", out=folder / "a").after.open_set is None
    other = dataclasses.replace(data, items=Vectors(data.items.rows + 1))
    assert evaluate_run(folder, other, out=folder / "o").after.open_set is None


def test_unknown_identities_may_be_called_by_numbers():
    digits, _ = load("digits")
    asked = load_recipe(overrides={"data.split": "open", "data.unknown_identities": [9, "4"]}).data
    parts = split(digits, method="open", unknown=asked.unknown_identities)
    assert set("0123456789") - {digits.identity(at) for at in parts.train} == {"9", "4"}


def test_a_stratified_run_has_no_strangers(data, tmp_path):
    recipe = load_recipe(overrides={**QUICK, "data.split": "stratified", "training.steps": 2})
    assert train_run(data, recipe, out=tmp_path / "run", progress=False).after.open_set is None


@pytest.mark.parametrize("given", [{"data.split": "open"}, {"data.unknown_identities": 2}])
def test_unknown_identities_and_the_open_split_belong_together(given):
    with pytest.raises(SettingError, match=r"open and data\.unknown_identities must be set together"):
        load_recipe(overrides=given)


def test_items_that_are_too_many_to_learn_from_are_in_a_part(data, tmp_path):
    few = {"data.split": "stratified", "data.shots": 4, "training.steps": 2}
    report = train_run(data, load_recipe(overrides=QUICK | few), out=tmp_path / "run", progress=False)
    parts = json.loads((tmp_path / "run" / "split.json").read_text())["parts"]
    assert len(parts["train"]) == 20
    assert "at most 4 per identity" in (tmp_path / "run" / "model" / "README.md").read_text()
    assert not any("left out" in note for note in report.notes)
