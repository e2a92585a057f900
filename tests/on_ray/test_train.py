"""`trine train --on ray`: the run that processes started by torchrun do, also when a worker is killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import trine
from support import multiprocess_fit, ray_training
from support.commands import refused
from support.effort import THOROUGH
from support.paths import ROOT
from support.ray_jobs import needs_ray, run_isolated
from trine.errors import DataError, SettingError
from trine.on_ray import train as on_ray
from trine.training import DistributedContext, TrainingRecipe, distributed_context
from trine.training.accelerator import check_device
from trine.training.distributed import LAUNCHER, ProcessEndedError

SCRIPT = Path(ray_training.__file__)
PATH = os.pathsep.join([str(Path(trine.__file__).parents[1]), str(ROOT / "tests")])


class Ray:
    """What `_resources` asks Ray."""

    def __init__(self, **resources):
        self.resources = resources

    def cluster_resources(self):
        return self.resources


class Train:
    """What `_ends_at_errors` takes from Ray Train."""

    class UserCallback:
        pass


class WrappedError(Exception):
    """As Ray Train wraps what a worker raised."""

    def __init__(self, error):
        self._base_exc = error


def test_a_worker_takes_a_core_or_its_threads_and_a_gpu_where_there_are_some():
    four = Ray(CPU=4.0)
    assert on_ray._resources(four, TrainingRecipe(devices=4)) == {"CPU": 1.0}
    assert on_ray._resources(four, TrainingRecipe(devices=2, threads=2)) == {"CPU": 2.0}
    gpus = Ray(CPU=4.0, GPU=2.0)
    assert on_ray._resources(gpus, TrainingRecipe(devices=2)) == {"CPU": 1.0, "GPU": 1.0}
    assert on_ray._resources(gpus, TrainingRecipe(devices=4, device="cpu")) == {"CPU": 1.0}
    with pytest.raises(SettingError, match=r"^training.devices is 3: that takes 6 cores, but Ray has 4; low"):
        on_ray._resources(four, TrainingRecipe(devices=3, threads=2))
    with pytest.raises(
        SettingError, match=r"^training.devices is 4: that takes 4 GPUs, but Ray has 2; lower"
    ):
        on_ray._resources(gpus, TrainingRecipe(devices=4))
    with pytest.raises(SettingError, match="takes 1 GPUs, but Ray has 0"):
        on_ray._resources(four, TrainingRecipe(device="cuda"))


def test_an_error_of_trine_ends_the_run_and_a_lost_worker_starts_it_again():
    ends = on_ray._ends_at_errors(Train).after_exception
    wrong = DataError("row 3 is empty; fill it")
    with pytest.raises(DataError, match="row 3"):
        ends(
            None,
            {
                1: WrappedError(wrong),
                0: WrappedError(ProcessEndedError("another process of the run ended early")),
            },
        )
    ends(
        None,
        {0: WrappedError(ProcessEndedError("another process ended early")), 1: RuntimeError("actor died")},
    )
    ends(None, {0: WrappedError(ZeroDivisionError())})
    told = str(on_ray._failed(RuntimeError("Training failed\n\n  the actor died\n")))
    assert "(the actor died)" in told
    assert "again 3 times" in told


def test_workers_of_ray_know_who_they_are_from_its_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("SLURM", "LOCAL_", "TORCHELASTIC"))]:
        monkeypatch.delenv(name)
    # Three workers on two nodes: Ray need not place as many on each.
    for name, value in {
        LAUNCHER: "Ray Train",
        "RANK": "1",
        "WORLD_SIZE": "3",
        "LOCAL_WORLD_SIZE": "2",
    }.items():
        monkeypatch.setenv(name, value)
    recipe = TrainingRecipe(devices=3)
    assert distributed_context(recipe) == DistributedContext(1, 3, nodes=2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SettingError, match=r"^Ray Train started 3 processes, but training.devices is 2"):
        distributed_context(TrainingRecipe(devices=2))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    check_device(recipe)


def test_a_folder_that_cannot_be_used_is_refused_before_ray_is_started(capsys, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    words = ("train", "digits", "--out", tmp_path, "--on")
    assert "is not empty; name a new folder" in refused(capsys, *words, "ray")
    assert "there is no run to resume" in refused(capsys, *words, "ray", "--resume")
    assert "--on must be ray for this machine, or ray://" in refused(capsys, *words, "head")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What `ray_training` finds on Ray, and by two processes and one without it."""
    if not THOROUGH:
        pytest.skip("a minute or two: set TRINE_THOROUGH=1, as make release-check does")
    needs_ray()
    root = tmp_path_factory.mktemp("ray")
    run_isolated([SCRIPT, "ray", root / "ray.pt"], cwd=root, PYTHONPATH=PATH, RAY_worker_niceness="0")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run_here(*torchrun, SCRIPT, 2, root / "two.pt")
    run_here(SCRIPT, 1, root / "one.pt")
    run_here(*torchrun, multiprocess_fit.__file__, root / "unbroken", said=root / "unbroken.txt")
    return root, {name: torch.load(root / f"{name}.pt", weights_only=True) for name in ("ray", "two", "one")}


def run_here(*words, said=None):
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK")}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    if said is not None:
        said.write_text(done.stdout)


def test_the_gradient_is_that_of_torchrun_and_of_one_process_on_the_joined_batch(found):
    _, by = found
    ray, two, one = (by[name]["gradients"] for name in ("ray", "two", "one"))
    assert ray.shape == two.shape == one.shape == (ray_training.STEPS, ray.shape[1])
    assert one[0].abs().max() > 1e-3, "there is something to learn"
    torch.testing.assert_close(ray[0], two[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ray[0], one[0], rtol=1e-5, atol=1e-5)
    later = [f"{float((ray[step] - one[step]).abs().max()):.1e}" for step in range(ray_training.STEPS)]
    print("largest difference of the gradient from one process at each step:", *later)
    torch.testing.assert_close(ray, two, rtol=1e-4, atol=1e-5)


def test_a_killed_worker_is_replaced_and_the_run_ends_as_if_nothing_had_happened(found):
    root, by = found
    fingerprint, resumed = by["ray"]["killed"]
    assert resumed, "the run was resumed after the kill"
    assert (root / "unbroken.txt").read_text().split() == [fingerprint] * 2
    plain = (path.relative_to(root / "unbroken") for path in (root / "unbroken").rglob("*") if path.is_file())
    kept = {path.as_posix() for path in plain}
    assert {name for name in by["ray"]["files"] if "tfevents" not in name} == {
        name for name in kept if "tfevents" not in name
    }


def test_an_error_in_a_worker_is_the_message_of_one_process(found):
    _, by = found
    assert by["ray"]["error"].startswith("SettingError: items=1000 is larger than any identity") or by["ray"][
        "error"
    ].startswith("DataError: items=1000 is larger than any identity")
    assert "Traceback" not in by["ray"]["error"]
