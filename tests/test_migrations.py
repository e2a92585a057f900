"""Folders that 707ac2e wrote open today, and answer as they did."""

import json
import shutil

import numpy as np
import pytest

from support.paths import FIXTURES
from trine import load
from trine.data import Dataset, ImageArray, Table
from trine.encoders import load_towers
from trine.model import read_model
from trine.pipelines import evaluate_run

OLD = FIXTURES / "707ac2e"
ANSWERS = json.loads((OLD / "answers.json").read_text())


def dataset(name):
    """The items that the model of this name was trained and evaluated on."""
    with np.load(OLD / name / "items.npz") as file:
        columns = {column: file[column] for column in file.files}
    labels = columns.pop("labels")
    if name == "pictures":
        items, item, identity, root = ImageArray(columns["pixels"]), "{1:02d}/{0}", "motif {}", "motifs"
    else:
        items = Table(columns, ("size", "packer", "entropy"))
        item, identity, root = "row {0}", "family {}", "families.csv"
    names = tuple(item.format(number, label) for number, label in enumerate(labels))
    identities = tuple(identity.format(number) for number in range(labels.max() + 1))
    return Dataset(items, labels, identities, names, root=root)


@pytest.mark.parametrize("name", ["pictures", "table"])
def test_an_old_encoder_embeds_as_it_did(name):
    answer = ANSWERS[name]
    encoder = load(OLD / name)
    assert encoder.fingerprint == answer["fingerprint"]
    assert encoder.distance == answer["distance"]
    expected = np.array(answer["embeddings"])
    assert expected.std(axis=0).min() > 0.005
    np.testing.assert_allclose(encoder.embed(dataset(name).items), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["pictures", "table"])
def test_an_old_calibration_is_read(name):
    answer = ANSWERS[name]["calibration"]
    calibration = load(OLD / name).calibration
    for field in ("threshold", "far", "tar", "identities", "impostor_pairs", "genuine_pairs", "provisional"):
        assert getattr(calibration, field) == answer[field], field
    for field in ("far_interval", "tar_interval", "threshold_interval"):
        assert list(getattr(calibration, field)) == answer[field], field
    knots = np.array(answer["curve"]["knots"])
    assert len(knots) > 2
    for distance, probability in knots:
        assert calibration.probability(distance) == pytest.approx(probability)


@pytest.mark.parametrize("name", ["pictures", "table", "towers"])
def test_the_card_of_an_old_model_is_read(name):
    model = read_model(OLD / name)
    assert model.figures == ANSWERS[name]["card"]
    assert model.trained_on == ANSWERS[name]["trained_on"]


def test_old_towers_recommend_as_they_did():
    answer = ANSWERS["towers"]
    towers = load_towers(OLD / "towers")
    assert towers.fingerprint == answer["fingerprint"]
    for of in ("users", "items"):
        np.testing.assert_allclose(towers.embed(of), answer[of], atol=1e-5)
    found = [[each.item, each.title] for each in towers.recommend("u0", k=4)]
    assert found == [[item, title] for item, title, _ in answer["recommended"]]


@pytest.mark.parametrize("name", ["pictures", "table"])
def test_an_old_run_is_evaluated_on_its_test_part(name, tmp_path):
    run = shutil.copytree(OLD / name, tmp_path / name)
    report = evaluate_run(run, dataset(name), far=0.05)
    assert "test part" in report.part
    found, expected = report.after.headline(0.05), ANSWERS[name]["evaluation"]
    for metric, value in expected.items():
        # A near tie may go either way with another order of summation.
        assert found[metric] == pytest.approx(value, abs=0.01), metric
