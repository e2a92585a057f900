"""Training by the folds of a list of pairs: who is learned from, what is measured, and at which threshold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from support.commands import answered, refused
from trine.cli import main
from trine.data import Dataset, Vectors, read_pairs
from trine.encoders import load as load_encoder
from trine.errors import DataError, SettingError
from trine.evaluation import choose_cluster_threshold, clustering
from trine.evaluation.listed_pairs import HeldOut, pairs_within
from trine.pipelines import evaluate_run, listed_pairs, open_trained_run, part_of, train_run
from trine.pipelines.measure import EvaluationSet, measure
from trine.report import EvaluatedPart
from trine.training import load_recipe

PEOPLE, EACH, FOLDS = 18, 6, ("1", "2", "3")
SETTINGS = {
    "data.split": "folds",
    "data.test_folds": [3],
    "data.validation_folds": [2],
    "training.steps": 25,
    "encoder.mlp.hidden": [32],
    "encoder.dimension": 8,
    "evaluation.far": 0.05,
    "evaluation.clustering": "average",
}


def people(root: str = "people") -> Dataset:
    """Rows around a centre for each person; half of the features say nothing."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(PEOPLE), EACH)
    told = random.normal(size=(PEOPLE, 6))[labels] + 0.5 * random.normal(size=(len(labels), 6))
    rows = np.concatenate([told, 2 * random.normal(size=(len(labels), 6))], axis=1).astype(np.float32)
    names = tuple(f"p{label}/{at % EACH}" for at, label in enumerate(labels.tolist()))
    return Dataset(Vectors(rows), labels, tuple(f"p{i}" for i in range(PEOPLE)), names, root=root)


def write_list(path: Path) -> Path:
    """For each fold, six people of its own, all pairs of two items each, half of them of one person."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["fold", "a", "b", "same"])
        for at, fold in enumerate(FOLDS):
            own = range(6 * at, 6 * at + 6)
            for person in own:
                for one in range(EACH - 1):
                    writer.writerow([fold, f"p{person}/{one}", f"p{person}/{one + 1}", 1])
                    other = own[(own.index(person) + 1 + one) % 6]
                    if other != person:
                        writer.writerow([fold, f"p{person}/{one}", f"p{other}/{one}", 0])
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listed")
    pairs = write_list(folder / "pairs.csv")
    recipe = load_recipe(overrides=SETTINGS)
    report = train_run(people(), recipe, out=folder / "run", pairs=pairs, progress=False)
    return folder / "run", pairs, report


def test_the_folds_split_the_people(trained):
    run, pairs, report = trained
    split = json.loads((run / "split.json").read_text())
    assert split["method"] == "folds"
    found = [sorted({identity for _, identity in split["parts"][part]}) for part in split["parts"]]
    assert found == [sorted(f"p{i}" for i in range(6 * at, 6 * at + 6)) for at in range(3)]
    assert "unseen identities" in str(report.part)
    assert "split by folds (3 for test, 2 for validation)" in (run / "model" / "README.md").read_text()
    assert report.notes == (
        f"{2 * len(read_pairs(pairs)) // 3} pairs of the list were left out: they name items outside the "
        "part",
    )


def test_the_threshold_is_that_of_the_validation_pairs(trained):
    run, pairs, report = trained
    data, table, encoder = people(), read_pairs(pairs), load_encoder(run)
    parts = {part: part_of(run, data, part)[0] for part in ("validation", "test")}
    rows = encoder.embed(data)

    def distances(fold, values):
        """Of the pairs of one fold in plain loops, genuine and impostor."""
        found = {True: [], False: []}
        for (a, b), same, own in zip(table.positions(data.names), table.same, table.fold, strict=True):
            if table.fold_names[own] == fold:
                found[bool(same)].append(float(np.float32(np.linalg.norm(values[a] - values[b]))))
        return found

    def share(found, threshold):
        right = sum(d <= threshold for d in found[True]) + sum(d > threshold for d in found[False])
        return right / (len(found[True]) + len(found[False]))

    raw = np.stack([data.items[at] for at in range(len(data))])
    raw = (raw - encoder.mean.numpy()) / encoder.std.numpy()
    for figures, values in ((report.after, rows.astype(np.float64)), (report.before, raw.astype(np.float64))):
        chosen_on, tested = distances("2", values), distances("3", values)
        threshold = figures.pairs_at_threshold.threshold
        assert share(chosen_on, threshold) == max(share(chosen_on, d) for d in chosen_on[True] + [0.0])
        assert figures.pairs_at_threshold.accuracy == pytest.approx(share(tested, threshold), abs=1e-12)
        assert figures.pairs.genuine_pairs == len(tested[True])
        assert figures.pairs.accuracy is None  # of one fold there is no accuracy over folds
    assert report.after.pairs_at_threshold.threshold != report.before.pairs_at_threshold.threshold
    assert len(parts["validation"]) == len(parts["test"]) == 6 * EACH


def test_the_report_shows_it(trained):
    run, _, report = trained
    line = "listed pairs: accuracy at the threshold of the validation pairs"
    (shown,) = [row for row in str(report).splitlines() if row.startswith(line)]
    judged = report.after.pairs_at_threshold
    assert f"{judged.accuracy:.3f}   ({judged.interval('accuracy')})" in shown
    kept = json.loads((run / "metrics.json").read_text())["after_training"]["pairs_at_threshold"]
    assert kept["threshold"] == judged.threshold
    assert kept["accuracy"] == judged.accuracy
    assert kept["protocol"] == "the threshold of the validation pairs"
    assert "accuracy at the threshold of the validation pairs" in (run / "report.html").read_text()


def test_clusters_are_made_as_the_recipe_says(trained):
    run, _, report = trained
    data, encoder = people(), load_encoder(run)
    tested = data.subset(part_of(run, data, "test")[0])
    validation = data.subset(part_of(run, data, "validation")[0])
    chosen = choose_cluster_threshold(encoder.embed(validation), validation.labels, distance=encoder.distance)
    assert encoder.cluster_threshold.items == len(validation)
    assert encoder.cluster_threshold.at(36, "average") == pytest.approx(chosen.at(36, "average"), rel=1e-5)
    how = {"threshold": chosen.at(len(tested), "average"), "distance": encoder.distance}
    rows = encoder.embed(tested)
    found = report.after.clustering
    assert found.how["method"] == "average"
    expected = clustering(rows, tested.labels, method="average", **how)
    np.testing.assert_array_equal(found.assignment, expected.assignment)
    assert f"{found.sentence()} (chosen on 36 items of 6 identities)" in str(report)
    kept = json.loads((run / "metrics.json").read_text())
    assert kept["clusters_above_alone_and_all_in_one"] is True
    assert kept["cluster_threshold"] == json.loads(json.dumps(encoder.cluster_threshold.to_json()))
    assert kept["after_training"]["clustering"]["bcubed_f_alone"] == found.bcubed_f_alone
    page = (run / "report.html").read_text()
    assert all(words in page for words in (found.sentence(), "BCubed F of every item alone"))

    evaluated = evaluate_run(run, data, part="test", far=0.05)
    assert evaluated.after.clustering.how["method"] == "average"


def test_more_items_than_average_linkage_takes_are_clustered_all_the_same(trained, tmp_path):
    path, _, report = trained
    assert not any(note.startswith("clustered") for note in report.notes)
    run, data = open_trained_run(path), people()
    evaluated = EvaluationSet(data.subset(part_of(path, data, "test")[0]), EvaluatedPart("test part"), 0.05)
    found = measure(run.encoder, evaluated, folder=tmp_path, recipe=run.recipe, largest_all_pairs=35)
    assert found.after.clustering.how["method"] == "connected"
    assert found.notes == ("clustered 36 items with connected: average takes at most 35",)


def test_evaluate_measures_the_pairs_of_one_fold(trained, tmp_path):
    run, pairs, report = trained
    evaluated = evaluate_run(run, people(), pairs=pairs, out=tmp_path)
    assert evaluated.after.pairs.roc_auc == report.after.pairs.roc_auc
    assert evaluated.after.pairs.accuracy is None
    whole = evaluate_run(run, people(), part="all", pairs=pairs, out=tmp_path / "all")
    assert len(whole.after.pairs.fold_accuracies) == 3


def test_without_a_validation_part_there_is_no_threshold(trained, tmp_path):
    _, pairs, _ = trained
    recipe = load_recipe(overrides=SETTINGS | {"data.validation_folds": [], "training.steps": 2})
    report = train_run(people(), recipe, out=tmp_path / "run", pairs=pairs, progress=False)
    assert report.after.pairs is not None
    assert report.after.pairs_at_threshold is None
    assert "listed pairs: ROC AUC" in str(report)
    assert "at the threshold of the validation pairs" not in str(report)


def test_pairs_beside_another_split(trained, tmp_path):
    _, pairs, _ = trained
    changed = {"data.split": "stratified", "data.test": 0.5, "data.validation": 0.2, "training.steps": 2}
    recipe = load_recipe(overrides=SETTINGS | changed | {"data.test_folds": [], "data.validation_folds": []})
    data = people()
    report = train_run(data, recipe, out=tmp_path / "run", pairs=pairs, progress=False)
    positions = part_of(tmp_path / "run", data, "test")[0]
    listed = listed_pairs(read_pairs(pairs), data, positions)
    assert report.after.pairs.genuine_pairs == listed.same.sum()
    assert report.after.pairs.accuracy is not None  # pairs of all three folds are left


def test_pairs_that_are_not_in_the_part(trained):
    _, pairs, _ = trained
    data, table = people(), read_pairs(pairs)
    alone = np.array([0, 7])
    assert len(pairs_within(table, data, alone).pairs) == 0
    with pytest.raises(
        DataError, match=r"of the \d+ pairs of .*pairs.csv, 0 of one identity and 0 of two .*folds"
    ):
        listed_pairs(table, data, alone)
    none = HeldOut(data.subset(alone), pairs_within(table, data, alone))
    assert none.threshold(np.zeros((2, 2), np.float32), distance="euclidean") is None


def test_folds_need_a_list(tmp_path):
    with pytest.raises(SettingError, match=r"data.split folds needs a list of pairs with folds; give one"):
        train_run(people(), load_recipe(overrides=SETTINGS), out=tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data.test_folds": []}, r"data.split folds needs data.test_folds; set it to a list such as"),
        (
            {"data.split": "identity"},
            r"data.test_folds needs data.split folds, given identity; set data.split",
        ),
        ({"training.patience": 3, "data.validation_folds": []}, r"training.patience needs a validation part"),
        ({"evaluation.clustering": "averge"}, r"evaluation.clustering is 'averge'; did you mean 'average'"),
    ],
)
def test_settings_that_do_not_go_together(changed, message):
    with pytest.raises(SettingError, match=message):
        load_recipe(overrides=SETTINGS | changed)


def test_the_verb(tmp_path, capsys):
    data, pairs = people(), write_list(tmp_path / "pairs.csv")
    rows = np.stack([data.items[at] for at in range(len(data))])
    np.savez(tmp_path / "people.npz", x=rows, y=np.array([data.identity(at) for at in range(len(data))]))
    text = pairs.read_text()
    for at in reversed(range(len(data))):
        text = text.replace(f"{data.names[at]},", f"item {at},")
    pairs.write_text(text)
    words = [f"{key}={json.dumps(value)}" for key, value in SETTINGS.items()]
    run = ["train", tmp_path / "people.npz", "--out", tmp_path / "run"]
    said = answered(capsys, *run, "--pairs", pairs, "--set", *words)
    assert "listed pairs: accuracy at the threshold of the validation pairs" in said
    assert "give one with --pairs" in refused(capsys, *run[:-1], tmp_path / "other", "--set", *words)
    wrong = [word.replace("[3]", "[7]") for word in words]
    sentence = refused(capsys, *run[:-1], tmp_path / "other", "--pairs", pairs, "--set", *wrong)
    assert "has no fold 7 for test" in sentence
    assert main(["recipe", "facenet-lfw"]) == 0
