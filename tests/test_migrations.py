"""Folders and galleries that 707ac2e wrote open today, and answer as they did."""

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.paths import FIXTURES
from trine import load
from trine.data import Dataset, ImageArray, Table
from trine.encoders import load_two_tower
from trine.errors import SettingError
from trine.gallery import Gallery
from trine.model import read_model
from trine.pipelines import evaluate_run
from trine.rates import State
from trine.report import headline
from trine.training import load_recipe, load_run_recipe

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
    for field in ("threshold", "tar", "impostor_pairs", "genuine_pairs"):
        assert getattr(calibration, field) == answer[field], field
    for field in ("tar_interval", "threshold_interval"):
        assert list(getattr(calibration, field)) == answer[field], field
    assert_provisional(calibration.promise, answer)
    knots = np.array(answer["curve"]["knots"])
    assert len(knots) > 2
    for distance, probability in knots:
        assert calibration.probability(distance) == pytest.approx(probability)


def assert_provisional(promise, answer):
    """The rate was measured over pairs and never bounded over identities, so no more than an estimate."""
    assert (promise.name, promise.rate, promise.estimate) == ("far", answer["far"], answer["far"])
    assert promise.state is State.PROVISIONAL
    assert promise.identities == answer.get("identities", 1)
    low, high = answer["far_interval"]
    assert promise.interval == (min(low, answer["far"]), max(high, answer["far"]))


@pytest.mark.parametrize("name", ["pictures", "table", "towers"])
def test_the_card_of_an_old_model_is_read(name):
    model = read_model(OLD / name)
    assert model.metrics == ANSWERS[name]["card"]
    assert model.trained_on == ANSWERS[name]["trained_on"]


def test_old_towers_recommend_as_they_did():
    answer = ANSWERS["towers"]
    towers = load_two_tower(OLD / "towers")
    assert towers.fingerprint == answer["fingerprint"]
    for of in ("users", "items"):
        np.testing.assert_allclose(towers.embed(of), answer[of], atol=1e-5)
    found = [[each.item, each.title] for each in towers.recommend("u0", k=4)]
    assert found == [[item, title] for item, title, _ in answer["recommended"]]


@pytest.mark.parametrize("name", ["pictures", "table"])
def test_an_old_run_is_evaluated_on_its_test_part(name, tmp_path):
    run = shutil.copytree(OLD / name, tmp_path / name)
    report = evaluate_run(run, dataset(name), far=0.05)
    assert "test part" in str(report.part)
    # Its one threshold was chosen for verification, and is never used for clusters.
    assert report.after.clustering is None
    assert any("trine evaluate --calibrate chooses it" in note for note in report.notes)
    found, expected = headline(report.after, 0.05), ANSWERS[name]["evaluation"]
    for metric, value in expected.items():
        # A near tie may go either way with another order of summation.
        assert found[metric] == pytest.approx(value, abs=0.01), metric


GALLERIES = ("float32", "int8")
PROBES = json.loads((OLD / "gallery.json").read_text())["probes"]


def answers_of(gallery, probes):
    """What the fixture's author asked, by the threshold that was stored.

    Sentences may be reworded, and rates have become promises, so they are left out.
    """
    by_hand = gallery.threshold.value

    def decided(decision):
        return {name: value for name, value in decision.to_json().items() if name not in REPLACED}

    def found(hit):
        return {
            "item": hit.item,
            "identity": hit.identity,
            "score": hit.score,
            "metadata": dict(hit.metadata),
        }

    binding, stats, entry = gallery.binding, gallery.stats().to_json(), gallery.get("03/0.png")
    identified = {
        name: [
            decided(one) for one in gallery.identify_many(embeddings=probes, threshold=by_hand, **settings)
        ]
        for name, settings in (
            ("identify", {}),
            ("identify_mean", {"scoring": "mean"}),
            ("identify_centroid", {"scoring": "centroid"}),
        )
    }
    return {
        **identified,
        "binding": {
            "dimension": binding.dimension,
            "distance": binding.distance,
            "fingerprint": binding.fingerprint,
            "model": binding.model,
            "calibration": {
                name: value for name, value in binding.calibration.to_json().items() if name not in REPLACED
            },
        },
        "stats": {
            name: stats[name]
            for name in (
                *("items", "identities", "per_identity", "clusters"),
                *("dimension", "distance", "fingerprint", "dtype"),
            )
        },
        "identities": gallery.identities(),
        "clusters": gallery.cluster().to_json(),
        "verify": [
            *(decided(gallery.verify(embedding=probe, identity="Zoë")) for probe in probes),
            decided(gallery.verify(embedding=probes[0], other_embedding=probes[1])),
        ],
        "search": [
            [found(hit) for hit in gallery.search(embedding=p, k=5, where={"year": (2003, 2017)}, offset=1)]
            for p in probes
        ],
        "recommend": [
            found(hit) for hit in gallery.recommend(["03/0.png"], unlike=["05/1.png"], k=4, diversity=0.3)
        ],
        "get": {
            "identity": entry.identity,
            "item": entry.item,
            "embedding": [float(number) for number in entry.embedding],
            "metadata": dict(entry.metadata),
            "source": entry.source,
        },
    }


REPLACED = {
    *("sentence", "far", "far_interval", "provisional", "promise", "state", "probability", "warning"),
}
"""What a decision or a calibration then said of its rate, or says now; probabilities are asked for apart."""


def without_rates(expected):
    """The answers of then, but for what was replaced."""
    if isinstance(expected, list):
        return [without_rates(one) for one in expected]
    if not isinstance(expected, dict):
        return expected
    return {name: without_rates(value) for name, value in expected.items() if name not in REPLACED}


def assert_answers(gallery, expected):
    """The gallery answers as it did, and reads its threshold and its calibration."""
    then = {name: answer for name, answer in without_rates(expected).items() if name != "threshold"}
    calibration = expected["binding"]["calibration"]
    del then["binding"]["calibration"]["identities"]
    assert_same(answers_of(gallery, PROBES), then)
    assert gallery.threshold.value == calibration["threshold"]
    interval = {"far": calibration["far"], "far_interval": calibration["far_interval"]}
    assert_provisional(gallery.threshold.promise, interval)
    assert_provisional(gallery.binding.calibration.promise, calibration)
    *claimed, pair = expected["verify"]
    found = [gallery.verify(embedding=probe, identity="Zoë") for probe in PROBES]
    for one, other in zip(found, claimed, strict=True):
        assert one.promise == gallery.threshold.promise
        assert one.probability == pytest.approx(other["probability"])
    two = gallery.verify(embedding=PROBES[0], other_embedding=PROBES[1])
    assert two.probability == pytest.approx(pair["probability"])


def assert_same(found, expected, where="answers"):
    """Numbers to float32's rounding, everything else exactly."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in found:
            assert_same(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{where}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9), where
    else:
        assert found == expected, where


@pytest.mark.parametrize("dtype", GALLERIES)
def test_a_gallery_answers_as_before(dtype, tmp_path):
    path = Path(shutil.copy(OLD / f"gallery-{dtype}.db", tmp_path))
    expected = json.loads((OLD / "gallery.json").read_text())
    with Gallery.open(path, create=False) as gallery:
        assert len(gallery) == 40
        assert gallery.binding.dtype == dtype
        assert_answers(gallery, expected[dtype])
        # Today the gallery decides by its own rate: 21 people, none of them trained on.
        answer, calibration = gallery.identify(embedding=PROBES[0]), gallery.calibration()
        assert answer.nearest == expected[dtype]["identify"][0]["nearest"]
        assert answer.promise == calibration.promise
        assert (calibration.source, calibration.identities, calibration.promise.name) == (
            "gallery",
            21,
            "fpir",
        )
        assert gallery.check() == []
        gallery.enrol("new", "new.png", embedding=np.ones(8))
    with Gallery.open(path, create=False) as gallery:
        assert gallery.forget("new") == 1
        assert_answers(gallery, expected[dtype])


def test_a_gallery_that_may_only_be_read_needs_no_write_to_open(tmp_path):
    path = Path(shutil.copy(OLD / "gallery-int8.db", tmp_path))
    before = path.read_bytes()
    with Gallery.open(path, create=False) as gallery:
        assert gallery.binding.dtype == "int8"
    assert path.read_bytes() == before


def test_a_rebuild_that_was_interrupted_continues(tmp_path):
    path = Path(shutil.copy(OLD / "gallery-float32.db", tmp_path))
    with Gallery.open(path, create=False) as gallery:
        binding = replace(gallery.binding, fingerprint="next")
        noted = binding.to_texts()
        noted["form"] = noted.pop("dtype")
        with sqlite3.connect(path) as connection:
            connection.execute(
                "INSERT INTO notes VALUES ('trine:staged', ?)", (json.dumps(noted, sort_keys=True),)
            )
            connection.execute("INSERT INTO staged SELECT id, embedding FROM items WHERE id <= 30")
        connection.close()
        assert len(list(gallery._store.unstaged(binding))) == 10


def test_an_exported_table_is_imported_as_before(tmp_path):
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'trine[gallery]'")
    table, path = OLD / "gallery-int8.parquet", tmp_path / "imported.db"
    with Gallery.open_for_table(table, path) as gallery:
        assert gallery.import_parquet(table).new == 40
        assert gallery.binding.dtype == "int8"
    shutil.copy(OLD / "gallery-int8.db", tmp_path)
    with Gallery.open(path) as imported, Gallery.open(tmp_path / "gallery-int8.db") as original:
        assert imported.binding == original.binding
        assert imported.identities() == original.identities()
        assert imported.get("03/0.png") == original.get("03/0.png")


def test_a_recipe_of_an_earlier_run_is_read_under_todays_names(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("encoder: {tokens: 64}\ntraining: {network_rate: 0.05}\n")
    recipe = load_run_recipe(file)
    assert (recipe.encoder.max_length, recipe.training.backbone_lr_scale) == (64, 0.05)
    with pytest.raises(SettingError, match=r"tokens"):
        load_recipe(file)
