"""Evaluating a run reads its model once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch

from support.runs import rows
from trine.cli import main
from trine.pipelines import evaluate_run, open_trained_run, train_run
from trine.training import load_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    overrides = {"training.steps": 5, "data.split": "stratified", "data.test": 0.5}
    train_run(rows([8] * 6, spread=0.5), load_recipe(overrides=overrides), out=folder, progress=False)
    return folder


def test_calibrating_reads_the_model_once(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = rows([8] * 6, spread=0.5, seed=2)
    labels = np.array([other.identity(at) for at in range(len(other))])
    np.savez(tmp_path / "other.npz", x=other.items.rows, y=labels)  # type: ignore[attr-defined]
    reads, load_file = [], safetensors.torch.load_file

    def counting(path: Any, *arguments: Any, **settings: Any) -> Any:
        reads.append(path)
        return load_file(path, *arguments, **settings)

    monkeypatch.setattr("safetensors.torch.load_file", counting)
    before = json.loads((run / "model/settings.json").read_text())["calibration"]
    command = ["evaluate", run, tmp_path / "other.npz", "--calibrate", "--far", "0.3"]
    assert main([str(word) for word in [*command, "--out", tmp_path / "out"]]) == 0
    assert len(reads) == 1
    after = json.loads((run / "model/settings.json").read_text())["calibration"]
    assert after["promise"]["rate"] == 0.3
    assert before is None  # all identities were trained on
    assert open_trained_run(run).encoder.calibration.threshold == after["threshold"]


def test_a_run_that_was_read_is_taken_as_it_is(run: Path, tmp_path: Path) -> None:
    data = rows([8] * 6, spread=0.5)
    opened = open_trained_run(run)
    assert open_trained_run(opened) is opened
    assert opened.recipe is not None
    assert opened.name == "run"
    one = evaluate_run(opened, data, out=tmp_path / "one")
    two = evaluate_run(run / "model", data, out=tmp_path / "two")
    assert one.after.to_json() == two.after.to_json()
