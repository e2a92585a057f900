"""The doctor after the fact: what it says of a run's folder, in words, as a table and as curves."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from support.runs import rows
from trine.cli import main
from trine.errors import ModelError
from trine.pipelines import examine, train_run
from trine.training import load_recipe

PIL = pytest.importorskip("PIL.Image")
SICK = {
    "training.steps": 150, "training.learning_rate": 0.03, "loss.mining": "hard",
    "loss.distance": "squared_euclidean", "data.split": "stratified",
}  # fmt: skip


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that collapsed, and what its report says."""
    out = tmp_path_factory.mktemp("runs") / "sick"
    report = train_run(rows([20] * 12, spread=50.0), load_recipe(overrides=SICK), out=out, progress=False)
    return out, str(report)


@pytest.fixture
def run(sick: tuple[Path, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(sick[0], tmp_path / "sick"))


def test_the_report_of_a_run_says_what_is_wrong(sick: tuple[Path, str]) -> None:
    out, report = sick
    (found,) = json.loads((out / "metrics.json").read_text())["doctor"]
    assert found["name"] == "collapsed"
    assert f"doctor: collapsed (step {found['step']}): {found['sentence']}" in report.splitlines()


def test_the_verb_shows_a_table_a_diagnosis_and_where_the_curves_are(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(run)]) == 0
    head, columns, *table, diagnosis, verdict, _, curves = capsys.readouterr().out.splitlines()
    assert head == f"{run}: 150 of 150 steps"
    assert columns.split() == ["step", "rule", "loss", "active", "d_ap", "d_an", "gap", "norm", "rank"]
    assert [line.split()[0] for line in table] == ["0", "20", "40", "60", "80", "90", "110", "130", "149"]
    assert all(len(line) == len(columns) for line in table)
    assert table[0].split()[1] == "hard"
    assert diagnosis.startswith("collapsed (step ")
    assert verdict == f"verdict: {json.loads((run / 'metrics.json').read_text())['verdict']['sentence']}"
    assert "not usable for" in verdict
    assert curves == f"{run} holds the training curves: doctor.png"


def test_the_curves_are_drawn_and_marked(run: Path) -> None:
    examine(run)
    drawn = np.asarray(PIL.open(run / "doctor.png").convert("RGB")).astype(int)
    red = np.array([0xD2, 0x3C, 0x32])
    assert (np.abs(drawn - red).sum(axis=2) < 30).sum() > 500, "the mark of the diagnosis, its words"
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 20
    log = (run / "metrics.csv").read_text().splitlines()
    (run / "metrics.csv").write_text("\n".join(log[:4]) + "\n")
    (run / "doctor.json").write_text(
        json.dumps({**json.loads((run / "doctor.json").read_text()), "diagnoses": []})
    )
    assert examine(run).diagnoses == ()
    shorter = np.asarray(PIL.open(run / "doctor.png").convert("RGB")).astype(int)
    assert (np.abs(shorter - red).sum(axis=2) < 30).sum() < 1000, "nothing is marked; d_an alone is red"


def test_a_run_that_was_broken_off_is_examined(run: Path) -> None:
    lines = (run / "metrics.csv").read_text().splitlines()
    (run / "metrics.csv").write_text("\n".join(lines[:9]) + "\n80,3,0.2")  # a kill cut the last line short
    assert examine(run / "model").folder == run
    shutil.rmtree(run / "model")
    assert str(examine(run)).splitlines()[0].endswith("71 of 150 steps")
    (run / "metrics.csv").write_text(lines[0] + "\n")
    assert "no step logged yet" in str(examine(run))


def test_suspicions_are_told_even_where_they_are_few(run: Path) -> None:
    content = json.loads((run / "doctor.json").read_text())
    suspect = {"item": "row 4", "identity": "id 1", "looks_like": "id 2", "suspicion": 0.8}
    noise = {"name": "label noise", "step": 40, "sentence": "look at row 4"}
    (run / "doctor.json").write_text(json.dumps({**content, "suspects": [suspect]}))
    assert "suspicious labels: row 4 (id 1, looks like id 2)" in str(examine(run)).splitlines()
    (run / "doctor.json").write_text(json.dumps({**content, "diagnoses": [noise], "suspects": [suspect]}))
    assert [found.name for found in examine(run).diagnoses] == ["label noise", "collapsed"]


def test_a_folder_that_is_no_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match=r"has no doctor.json; name a run folder"):
        examine(tmp_path)
    assert main(["doctor", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.startswith("trine: ")


@pytest.mark.parametrize(
    ("name", "said"), [("metrics.csv", "a named pipe, not a file"), ("metrics.json", "")]
)
def test_a_pipe_in_a_run_folder_is_not_waited_for(name: str, said: str, run: Path) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    if said:
        with pytest.raises(ModelError, match=said):
            examine(run)
    else:
        assert examine(run).verdict == ""
