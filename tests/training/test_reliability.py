"""A run killed by SIGKILL at any moment, or stopped by a full disk, ends as one left alone."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from support import fork_server, training_kills
from support.effort import effort

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def start() -> Start:
    """Starts a run in a process of its own, forked from one that has everything imported."""
    context = fork_server.processes()

    def started(out: Path, **settings: Any) -> Any:
        target = training_kills.fill_the_disk if "filled_at" in settings else training_kills.train
        process = context.Process(target=target, args=(str(out),), kwargs=settings)
        process.start()
        return process

    return started


@pytest.fixture(scope="module")
def unbroken(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    process = start(out)
    process.join(120)
    assert process.exitcode == 0, out.with_suffix(".said").read_text()
    return out


def assert_as_unbroken(out: Path, unbroken: Path) -> None:
    for name in (
        "model/weights.safetensors",
        "checkpoints/best.safetensors",
        "metrics.csv",
        "doctor.json",
        "recipe.yaml",
    ):
        assert (out / name).read_bytes() == (unbroken / name).read_bytes(), name
    one, other = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (out, unbroken))
    for name, value in one["encoder"].items():
        assert torch.equal(value, other["encoder"][name]), name
    assert not [path for path in out.rglob(".*") if path.name.endswith((".unfinished", ".replaced"))]


def ended(process: Any) -> bool:
    """Waits for a run; says whether it came to its end."""
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return bool(process.exitcode == 0)


@pytest.mark.parametrize("seed", range(effort(1, 4)))
def test_killed_in_the_middle_of_writing(start: Start, unbroken: Path, tmp_path: Path, seed: int) -> None:
    """Each try dies at its so-many-th dealing with the disk; together they reach all kinds of moments."""
    draw = random.Random(seed)
    out, kills = tmp_path / "run", 0
    most = effort(5, 9)
    while kills < most and not ended(start(out, moment=draw.randrange(50) if kills else draw.randrange(6))):
        kills += 1
    assert kills >= 3
    assert ended(start(out))
    assert_as_unbroken(out, unbroken)


def test_killed_at_random_moments(start: Start, unbroken: Path, tmp_path: Path) -> None:
    draw, kills = random.Random(5), 0
    began = time.monotonic()
    assert ended(start(tmp_path / "timed"))
    whole = time.monotonic() - began
    runs = effort(1, 6)
    for number in range(runs):
        out, tries = tmp_path / f"run {number}", 0
        while tries < 3:
            process, tries = start(out), tries + 1
            # Whenever that is: the moment is to be anyone's guess.
            time.sleep(draw.uniform(0.0, 0.8 * whole))
            process.kill()
            kills += not ended(process)
        assert ended(start(out))
        assert_as_unbroken(out, unbroken)
    assert kills >= runs


def test_killed_in_the_middle_of_its_first_checkpoint(start: Start, unbroken: Path, tmp_path: Path) -> None:
    """The file is half written: the run goes on from what was there before, which is nothing."""
    out = tmp_path / "run"
    moment = 0
    while not (out / "checkpoints/.last.ckpt.unfinished").exists():
        assert not ended(start(out, moment=moment))
        moment += 1
        assert moment < 40
    assert not (out / "checkpoints/last.ckpt").exists()
    assert (out / "checkpoints/.last.ckpt.unfinished").stat().st_size > 1000
    assert ended(start(out))
    assert_as_unbroken(out, unbroken)


def test_a_disk_that_runs_full(start: Start, unbroken: Path, tmp_path: Path) -> None:
    """A real one, of 4 MB, that is filled up at step 9; what is left of the run goes on elsewhere."""
    out = tmp_path / "run"
    process = start(out, filled_at=9)
    process.join(120)
    if process.exitcode == 77:
        pytest.skip("this system lets nobody but its administrator mount a disk")
    assert process.exitcode == 0
    sentence = (tmp_path / "run.error").read_text()
    assert re.fullmatch(
        r"InputError: cannot write /\S+ \(No space left on device\); free disk space, then resume "
        r"the run: it continues from \S+/last\.ckpt, which is intact",
        sentence,
    )
    assert (tmp_path / "run.said").read_text() == "", "no traceback, of any thread"
    assert torch.load(out / "checkpoints/last.ckpt", weights_only=True)["step"] == 8
    assert ended(start(out))
    assert_as_unbroken(out, unbroken)


def test_a_file_that_may_not_be_that_large(start: Start, unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, most_bytes=8000)
    process.join(120)
    assert process.exitcode == 2
    sentence = (tmp_path / "run.error").read_text()
    assert re.fullmatch(
        r"InputError: cannot write \S+/last\.ckpt \(File too large\); free disk space, then resume "
        r"the run: it starts over, because it has no checkpoint yet",
        sentence,
    )
    assert (tmp_path / "run.said").read_text() == ""
    assert ended(start(out))
    assert_as_unbroken(out, unbroken)
