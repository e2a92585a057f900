"""Training by several processes, however started: one run, with the weights that one process would learn."""

from __future__ import annotations

import csv
import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from support import multiprocess_fit
from support.effort import thorough
from support.paths import ROOT
from trine.data import load
from trine.errors import SettingError
from trine.pipelines import train_run
from trine.training import DistributedContext, TrainingRecipe, distributed_context, fit, load_recipe
from trine.training.accelerator import check_device

SCRIPT = Path(multiprocess_fit.__file__)
SOURCE = Path(fit.__code__.co_filename).parents[2]
pytestmark = pytest.mark.slow


def run(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs Python on these words in a process group of its own, which must be empty afterwards."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(SOURCE), str(ROOT / "tests")])}
    started = subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        out, error = started.communicate(timeout=240)
        assert started.returncode == code, error
        until = time.monotonic() + 60
        while _alive(started.pid):
            assert time.monotonic() < until, "a process of the run was left behind"
            time.sleep(0.1)
    finally:
        if _alive(started.pid):
            os.killpg(started.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(started.args, started.returncode, out, error)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@functools.cache
def unbroken() -> str:
    """The fingerprint of the run that nothing happens to, by processes that torchrun starts."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
        done = run(*launcher, SCRIPT, Path(folder) / "run")
        first, second = done.stdout.split()
        assert first == second, "both processes return the same encoder"
        return first


@thorough
def test_a_run_that_was_hit_is_resumed_to_the_same_weights(tmp_path: Path) -> None:
    out = tmp_path / "run"
    hits = [
        (["SIGKILL"], -signal.SIGKILL, 4),
        # Ctrl-C ends the step in both processes, though one alone received it.
        (["resume", "SIGINT"], 130, multiprocess_fit.HIT + 1),
    ]
    for words, code, done in hits:
        run(SCRIPT, out, *words, code=code)
        checkpoint = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)
        assert checkpoint["step"] == done
        assert not (out / "model").exists()
    assert run(SCRIPT, out, "resume").stdout.split() == [unbroken()] * 2
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [0, 10, multiprocess_fit.STEPS - 1], "written once"
    assert not list(out.rglob("*unfinished*"))


def test_two_processes_learn_what_one_learns_from_their_joined_batches(tmp_path: Path) -> None:
    """By the command line; an encoder without dropout or batch statistics, so that parts do not matter."""
    made = multiprocess_fit.items()
    data = tmp_path / "made.npz"
    np.savez(data, x=np.stack([made.items[i] for i in range(len(made))]), y=made.labels)
    overrides = {
        "encoder.mlp.hidden": "[]", "encoder.mlp.dropout": "0", "encoder.dimension": "4",
        "loss.mining": "hard", "training.steps": "12", "training.device": "cpu", "sampler.items": "3",
        "data.split": "stratified", "data.validation": "0.2", "training.evaluate_every": "5",
    }  # fmt: skip
    out = {1: tmp_path / "one", 2: tmp_path / "two"}
    done = run(
        *("-m", "trine", "train", data, "--out", out[2], "--devices", "2", "--set"),
        *(f"{key}={value}" for key, value in overrides.items()),
        *("sampler.identities=3", "training.chunk=4"),
    )
    assert done.stdout.count("recall@1") == 1, "one process speaks"
    assert done.stderr == ""
    loaded, _ = load(data)
    train_run(loaded, load_recipe(overrides=overrides | {"sampler.identities": "6"}), out=out[1])
    kept = sorted(path.relative_to(out[1]).as_posix() for path in out[1].rglob("*") if path.is_file())
    also = sorted(path.relative_to(out[2]).as_posix() for path in out[2].rglob("*") if path.is_file())
    assert [name for name in kept if "tfevents" not in name] == [n for n in also if "tfevents" not in n]
    assert sum("tfevents" in name for name in also) == 1
    one, two = (load_file(out[number] / "model" / "weights.safetensors") for number in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5, msg=name)
    logs = [list(csv.DictReader((out[n] / "metrics.csv").read_text().splitlines())) for n in (1, 2)]
    assert len(logs[0]) == len(logs[1]) == 6
    for mine, theirs in zip(*logs, strict=True):
        for name, value in mine.items():
            assert (value == "") == (theirs[name] == ""), name
            if value and name not in ("epoch", "mining"):
                each = 2 if name == "identities" else 1  # those of one process
                assert each * float(theirs[name]) == pytest.approx(float(value), rel=1e-3), name
    assert float(logs[0][0]["loss"]) > 0.01


def test_who_a_process_is_comes_from_whoever_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM", "LOCAL_", "TORCHELASTIC"))]:
        monkeypatch.delenv(name)
    recipe = TrainingRecipe(devices=4)
    assert distributed_context(recipe) == DistributedContext(0, 4)
    with monkeypatch.context() as started:
        started.setenv("LOCAL_RANK", "3")
        assert distributed_context(recipe) == DistributedContext(3, 4)
        assert distributed_context(TrainingRecipe()) == DistributedContext(), (
            "a run by one process is the first everywhere"
        )
    with monkeypatch.context() as torchrun:
        for name, value in {
            "TORCHELASTIC_RUN_ID": "x", "RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "4",
            "LOCAL_WORLD_SIZE": "2",
        }.items():  # fmt: skip
            torchrun.setenv(name, value)
        assert distributed_context(recipe) == DistributedContext(2, 4, nodes=2)
        with pytest.raises(SettingError, match=r"^torchrun started 4 processes, but training.devices is 3; "):
            distributed_context(TrainingRecipe(devices=3))
        with pytest.raises(
            SettingError, match=r"training.devices is 1; set it to 4, the number of processes on all"
        ):
            distributed_context(TrainingRecipe())
    with monkeypatch.context() as slurm:
        for name, value in {
            "SLURM_NTASKS": "4", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NNODES": "2",
            "SLURM_NODEID": "0", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "train",
        }.items():  # fmt: skip
            slurm.setenv(name, value)
        assert distributed_context(recipe) == DistributedContext(1, 4, nodes=2)


def test_there_must_be_as_many_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingError, match=r"^training.devices is 2, but torch finds 1 GPUs; lower"):
        check_device(TrainingRecipe(devices=2))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(SettingError, match=r"^training.devices is 2, but a Mac has one GPU; set"):
        check_device(TrainingRecipe(devices=2))
    check_device(TrainingRecipe(devices=2, device="cpu"))


def test_devices_is_a_setting_with_a_range() -> None:
    with pytest.raises(SettingError, match=r"training\.devices must be an integer >= 1"):
        load_recipe(overrides={"training.devices": 0})
