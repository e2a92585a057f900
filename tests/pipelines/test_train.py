"""Whole runs: how often a picture is decoded, what a run leaves, and people seen by two cameras."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from PIL import Image

from support.commands import answered, refused
from trine.cli import main
from trine.data import image_decoding, load, validation
from trine.evaluation import identification
from trine.pipelines import evaluate_run, train_run
from trine.training import load_recipe

WANTED = (
    "recipe.yaml",
    "split.json",
    "metrics.csv",
    "doctor.json",
    "metrics.json",
    "report.html",
    "picture.png",
)


def test_a_run_decodes_each_picture_at_most_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for identity in range(5):
        (tmp_path / "data" / f"id {identity}").mkdir(parents=True)
        for number in range(8):
            pixels = (40 * identity + random.normal(20, 15, (12, 10, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / f"id {identity}" / f"{number}.png")
    decoded: Counter[str] = Counter()
    decode = image_decoding.decode_stream

    def counting(file: BinaryIO, **settings: Any) -> Any:
        decoded[str(file.name)] += 1
        return decode(file, **settings)

    for module in (image_decoding, validation):
        monkeypatch.setattr(module, "decode_stream", counting)
    run = tmp_path / "run"
    settings = ["training.steps=4", "data.split=stratified", "data.test=0.4", "data.validation=0.2"]
    assert main(["train", str(tmp_path / "data"), "--out", str(run), "--set", *settings]) == 0
    pictures = {str(path) for path in (tmp_path / "data").rglob("*.png")}
    assert {path for path in decoded if path in pictures} == pictures
    assert max(decoded[path] for path in pictures) <= 2
    assert all((run / name).is_file() for name in WANTED)


PATTERN = "{identity}_c{camera}_{*}"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people in a colour each, on two cameras that see it differently; the last on one alone."""
    folder = tmp_path_factory.mktemp("data") / "people"
    folder.mkdir()
    random = np.random.default_rng(0)
    for who in range(1, 13):
        colour = random.uniform(40, 200, 3)
        for camera in (1, 2) if who < 12 else (1,):
            for number in range(3):
                light = colour * (0.8 if camera == 1 else 1.2) + random.normal(0, 12, (16, 8, 3))
                picture = Image.fromarray(light.clip(0, 255).astype(np.uint8))
                picture.save(folder / f"{who:04}_c{camera}_{number}.png")
    return folder


SETTINGS = [
    *("data.split=named", "data.train_identities=[1-5, '0006']", "data.test_identities=[8-12]"),
    *("training.steps=20", "sampler.identities=6", "sampler.items=3", "encoder.views=ten"),
    *("augment.crop=1.125", "augment.flip=0.5", "training.schedule=exponential", "training.decay_from=0.5"),
    *("training.late_beta1=0.5", "encoder.small_resnet.width=8", "encoder.normalise=false"),
]


@pytest.fixture(scope="module")
def run(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = load_recipe(overrides=dict(setting.split("=", 1) for setting in SETTINGS))
    out = tmp_path_factory.mktemp("runs") / "run"
    train_run(load(people, pattern=PATTERN)[0], recipe, out=out, progress=False)
    return out


def test_a_run_measures_across_cameras_pixels_beside(run: Path, people: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["part"] == "test part (27 items of 5 identities; unseen identities)"
    assert figures["notes"] == ["left out 6 items of 1 identity that no part names"]
    for when in ("before_training", "after_training"):
        told = figures[when]["identification"]
        assert told["probes"] == 24
        assert told["probes_without_match"] == 3  # the one whom one camera alone has seen
        assert told["gallery"] == 27
    parts = json.loads((run / "split.json").read_text())["parts"]
    assert {who for _, who in parts["train"]} == {f"{i:04}" for i in range(1, 7)}
    assert {who for _, who in parts["test"]} == {f"{i:04}" for i in range(8, 13)}
    again = evaluate_run(run, load(people, pattern=PATTERN)[0])
    assert str(again.part).startswith("test part (27 items")
    assert again.after.to_json()["identification"] == figures["after_training"]["identification"]


def test_the_figures_are_those_of_several_views(run: Path, people: Path) -> None:
    from trine import load as load_encoder

    encoder, (data, _) = load_encoder(run), load(people, pattern=PATTERN)
    assert encoder.settings.views == "ten"
    tested = data.subset(np.flatnonzero(data.labels >= 7))
    rows, cameras = encoder.embed(tested), tested.columns["camera"]
    expected = identification(
        rows,
        tested.labels,
        rows,
        tested.labels,
        probe_cameras=cameras,
        gallery_cameras=cameras,
        junk=None,
        distractor=None,
        distance=encoder.distance,
    )
    told = json.loads((run / "metrics.json").read_text())["after_training"]["identification"]
    assert told == expected.to_json()


def test_the_command_line_knows_patterns(
    run: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = answered(capsys, "evaluate", run, people, "--pattern", PATTERN)
    assert re.search(r"across cameras: CMC rank 1 +0\.\d+ +[01]\.\d+ ", said)
    gallery = tmp_path / "people.db"
    answered(capsys, "enrol", run, people, "--pattern", PATTERN, "--gallery", gallery)
    assert "0001_c1_0.png" in answered(capsys, "gallery", "list", gallery, "0001")
    said = answered(capsys, "mine", run, people, "--pattern", PATTERN, "--out", tmp_path / "mined.csv")
    assert f"--pattern '{PATTERN}' --triplets" in said
    assert "unknown field {who}" in refused(capsys, "evaluate", run, people, "--pattern", "{who}")
    said = refused(
        capsys, "enrol", run, people, "--pattern", PATTERN, "--identity", "x", "--gallery", gallery
    )
    assert "leave --pattern out" in said
