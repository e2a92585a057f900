"""What may not be read or written is said to be that, and not to be damaged, missing or empty."""

import shutil

import numpy as np
import pytest

from support.commands import answered, refused
from support.permissions import permissions_hold
from trine.cli import main


@pytest.fixture(scope="module")
def place(bars, run, tmp_path_factory):
    """A run, pictures, tables of them and a gallery, which each test copies."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(bars, folder / "bars")
    shutil.copytree(run, folder / "run")
    rows = np.random.default_rng(0).normal(size=(12, 4)).astype("f4")
    np.savez(folder / "rows.npz", x=rows, y=np.arange(12) % 3)
    names = [f"bar{i},bars/bar{i}/{j}.png" for i in range(3) for j in range(3)]
    (folder / "table.csv").write_text("\n".join(["label,path", *names]) + "\n")
    assert main(["enrol", str(folder / "run"), str(folder / "bars"), "--gallery", str(folder / "g.db")]) == 0
    assert main(["gallery", "export", str(folder / "g.db"), str(folder / "g.parquet")]) == 0
    assert main(["mine", str(folder / "run"), str(folder / "bars"), "--out", str(folder / "m.parquet")]) == 0
    (folder / "recipe.yaml").write_text("seed: 0\n")
    (folder / "pairs.txt").write_text("1\t1\n")
    return folder


EMBED, EVALUATE = "embed {run} {bars} --out {out}.parquet", "evaluate {run} {bars} --out {out}"
RESUME = "train {bars} --out {run} --resume"
IDENTIFY = "identify {bars}/bar0/0.png --gallery {g} --encoder {run}"

UNREADABLE = [
    # models
    *((f"run/model/{name}", EMBED) for name in ("settings.json", "weights.safetensors", "")),
    ("run/model/trained_on.safetensors", EVALUATE),
    ("run", EMBED),
    ("run/model/settings.json", IDENTIFY),
    ("run/model", "verify {run} {bars}/bar0/0.png {bars}/bar0/1.png"),
    # runs
    *((f"run/{name}", RESUME) for name in ("recipe.yaml", "dataset.safetensors", "checkpoints/last.ckpt")),
    ("run", RESUME),
    ("run/checkpoints", RESUME),
    ("run/split.json", EVALUATE),
    ("run/metrics.csv", "doctor {run}"),
    ("run/doctor.json", "doctor {run}"),
    ("run", "doctor {run}"),
    ("recipe.yaml", "train {bars} --recipe {recipe} --out {out}"),
    ("recipe.yaml", "recipe {recipe}"),
    # data
    ("bars/bar2/3.png", EMBED),
    ("bars/bar2", EMBED),
    ("bars", EMBED),
    ("rows.npz", "train {rows} --out {out}"),
    ("table.csv", "embed {run} {table} --out {out}.parquet"),
    ("m.parquet", "train {bars} --triplets {m} --out {out}"),
    ("pairs.txt", "evaluate {run} {bars} --pairs {pairs}"),
    ("bars/bar0/0.png", IDENTIFY),
    ("g.parquet", "train {parquet} --out {out}"),
    # galleries
    ("g.db", IDENTIFY),
    ("g.db", "gallery stats {g}"),
    ("g.db", "gallery check {g}"),
    ("g.db", "gallery list {g}"),
    ("g.db", "enrol {run} {bars} --gallery {g}"),
    ("g.parquet", "gallery import {out}.db {parquet}"),
]


def words(command, place):
    names = {"run": "run", "bars": "bars", "g": "g.db", "rows": "rows.npz", "table": "table.csv"}
    names |= {"m": "m.parquet", "parquet": "g.parquet", "pairs": "pairs.txt", "recipe": "recipe.yaml"}
    names |= {"out": "out/x", "closed": "closed/x"}
    return command.format(**{name: place / path for name, path in names.items()}).split()


@pytest.mark.parametrize(("what", "command"), UNREADABLE)
def test_what_may_not_be_read(what, command, place, tmp_path, capsys):
    here = shutil.copytree(place, tmp_path / "here")
    if what.startswith("run/checkpoints") or command == RESUME:
        shutil.rmtree(here / "run/model")
    if "pairs" in command:
        (here / "pairs.txt").write_text("1\t1\n")
    target = here / what
    target.chmod(0)
    try:
        with permissions_hold():
            line = refused(capsys, *words(command, here))
    finally:
        target.chmod(0o700)
    assert "permission" in line.lower(), line
    assert "damaged" not in line


UNWRITABLE = [
    "train {bars} --out {closed}",
    "embed {run} {bars} --out {closed}.parquet",
    "evaluate {run} {bars} --out {closed}",
    "mine {run} {bars} --out {closed}.parquet",
    "cluster {run} {bars} --out {closed}.csv --threshold 1",
    "enrol {run} {bars} --gallery {closed}.db",
    "gallery export {g} {closed}.parquet",
    "gallery create {closed}.db --encoder {run}",
    "gallery copy {g} {closed}.db",
    "gallery import {closed}.db {parquet}",
]


@pytest.mark.parametrize("command", UNWRITABLE)
def test_where_nothing_may_be_written(command, place, tmp_path, capsys):
    here = shutil.copytree(place, tmp_path / "here")
    closed = here / "closed"
    closed.mkdir(mode=0o500)
    with permissions_hold():
        line = refused(capsys, *words(command, here))
    assert "permission" in line.lower(), line
    assert "damaged" not in line
    assert list(closed.iterdir()) == []


def test_a_run_folder_that_may_not_be_written_is_not_resumed(place, tmp_path, capsys):
    here = shutil.copytree(place, tmp_path / "here")
    shutil.rmtree(here / "run/model")
    (here / "run").chmod(0o500)
    with permissions_hold():
        line = refused(capsys, *words(RESUME, here))
    (here / "run").chmod(0o700)
    assert "cannot write to the run folder" in line
    assert "Permission denied" in line
    answered(capsys, *words(RESUME, here))
