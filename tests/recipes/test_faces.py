"""The recipe for faces on raw photos: faces are found, and a head that does not surely help is undone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.commands import answered
from support.paths import SHARED_DATA
from support.photos import hopper, need_faces, scene
from trine.data import Dataset, ImageArray, load
from trine.encoders import EncoderRecipe
from trine.encoders import load as load_encoder
from trine.errors import DataError
from trine.faces import FaceCrops
from trine.pipelines import compare_runs, evaluate_run
from trine.pipelines.faces_for import needs_faces, training_faces
from trine.training import DataRecipe, Recipe, load_recipe

need_faces()

FACES = load_recipe("faces", overrides={"training.steps": 6, "training.evaluate_every": 3})


@pytest.fixture(scope="module")
def people() -> Dataset:
    """Three photos of each of twelve people."""
    folder = SHARED_DATA / "faces_orl"
    if not folder.is_dir():
        pytest.skip("the ORL faces are not there")
    data, _ = load(folder)
    chosen = [np.flatnonzero(data.labels == label)[:3] for label in range(12)]
    return data.subset(np.concatenate(chosen))


def test_raw_photos_become_faces_and_a_head_that_does_not_help_is_undone(
    people: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")
    for at, name in enumerate(people.names):
        path = tmp_path / "photos" / people.identity(at) / f"{Path(name).stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(people.items[at][..., 0]).save(path)
    words = ("--out", tmp_path / "run", "--set", "training.steps=6", "training.evaluate_every=3")
    said = answered(capsys, "train", tmp_path / "photos", "--recipe", "faces", *words)
    weights = "package:face-recognition-models (licence CC0-1.0; trained on about 3 million"
    assert f"pretrained weights: {weights}" in said
    assert "36 faces on 36 photos, 36 taken" in said
    assert "doctor: no gain (step 6): on the validation items training changed MAP@R by" in said
    assert "which is no sure gain: the weights before training are kept" in said
    assert "try a lower training.learning_rate" not in said  # nothing is left of training
    encoder = load_encoder(tmp_path / "run")
    assert np.array_equal(encoder.head.weight.detach().numpy(), np.eye(128))
    card = (tmp_path / "run/model/README.md").read_text()
    assert "the weights before training are kept, since training did not" in card
    assert f"Pretrained weights: {weights}" in card
    for kept in (encoder.calibration, encoder.strangers):
        assert kept is not None  # of people that were not trained on
    # Photos are evaluated as they were trained on, and the run knows which they were.
    again = evaluate_run(tmp_path / "run", load(tmp_path / "photos")[0], out=tmp_path / "again")
    assert again.part.trained_on == 0
    assert "9 items of 3 identities" in str(again)
    assert (
        json.loads((tmp_path / "run/metrics.json").read_text())["after_training"]["retrieval"]
        == (again.after.to_json()["retrieval"])
    )
    shutil.copytree(tmp_path / "run/model", tmp_path / "copy")
    runs = (tmp_path / "run", tmp_path / "copy")
    both = compare_runs(runs, load(tmp_path / "photos")[0], part="all", out=tmp_path / "both")
    first, second = (report.after.to_json()["retrieval"] for report in both.reports.values())
    assert first == second
    faces, _ = training_faces(people, FACES)
    whole = evaluate_run(tmp_path / "copy", faces, part="all", out=tmp_path / "whole")
    assert first == whole.after.to_json()["retrieval"]


def test_faces_are_found_once_and_only_for_recipes_of_faces(people: Dataset) -> None:
    few = people.subset(np.arange(3))
    assert not needs_faces(few, Recipe())
    assert needs_faces(few, Recipe(data=DataRecipe(detect=True)))
    assert needs_faces(few, Recipe(encoder=EncoderRecipe(faces="arcface")))
    assert not needs_faces(few, replace(FACES, data=replace(FACES.data, detect=False)))
    faces, report = training_faces(few, FACES)
    assert report is not None
    assert isinstance(faces.items, FaceCrops)
    assert faces.names == few.names
    assert training_faces(faces, FACES) == (faces, None)
    arcface, _ = training_faces(few, Recipe(encoder=EncoderRecipe(faces="arcface")))
    assert arcface.items[0].shape == (112, 112, 3)


def test_the_largest_face_of_a_photo_counts_and_aligned_ones_are_left_as_they_are() -> None:
    two = scene((0, 0, 250), (270, 30, 420))
    data, _ = load([two, hopper()], labelled=False)
    faces, _ = training_faces(data, FACES)
    assert len(faces) == 2
    aligned = replace(data, items=ImageArray(np.full((2, 150, 150, 3), 7, dtype=np.uint8)))
    assert training_faces(aligned, FACES)[0] is aligned
    empty = replace(data, items=ImageArray(np.full((2, 160, 160, 3), 7, dtype=np.uint8)))
    with pytest.raises(
        DataError, match=r"none of 2 photos shows a face .*no face was found.* data.detect to f"
    ):
        training_faces(empty, FACES)
