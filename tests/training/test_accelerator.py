"""Accelerate keeps one state per process: a run neither meets the caller's nor changes it."""

from __future__ import annotations

import os
import threading

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState

from support.runs import rows
from trine.training import TrainingRecipe, fit, load_recipe
from trine.training.accelerator import open_accelerator
from trine.training.distributed import SINGLE_PROCESS

CPU = TrainingRecipe(device="cpu")
DATA = rows([6, 6, 6], spread=0.5)
STATES = (PartialState, AcceleratorState, GradientState)


def recipe(**settings: object):
    small = {"training.steps": 3, "sampler.batch": 8, "encoder.mlp.hidden": [8], "training.device": "cpu"}
    return load_recipe(overrides=small | {key.replace("__", "."): value for key, value in settings.items()})


@pytest.fixture(autouse=True)
def no_state():
    assert all(state._shared_state == {} for state in STATES)
    yield
    for state in STATES:
        state._shared_state.clear()


def test_the_state_of_the_caller_is_put_aside() -> None:
    mine = Accelerator(cpu=True, mixed_precision="bf16")
    before = [dict(state._shared_state) for state in STATES]
    expected = fit(DATA, recipe(), out=None).fingerprint
    assert [dict(state._shared_state) for state in STATES] == before
    with mine.autocast():
        assert torch.is_autocast_enabled("cpu")
    for state in STATES:
        state._shared_state.clear()
    assert fit(DATA, recipe(), out=None).fingerprint == expected
    with (
        pytest.raises(ZeroDivisionError),
        open_accelerator(CPU, SINGLE_PROCESS, trackers_in=None),
    ):
        raise ZeroDivisionError
    assert all(state._shared_state == {} for state in STATES)


def test_a_single_process_does_not_join_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one of four that SLURM started for four runs."""
    expected = fit(DATA, recipe(), out=None).fingerprint
    for name, value in {"LOCAL_RANK": "3", "RANK": "3", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert fit(DATA, recipe(), out=None).fingerprint == expected
    assert os.environ["WORLD_SIZE"] == "4"
    assert not torch.distributed.is_initialized()


def test_runs_at_the_same_time_share_a_state() -> None:
    expected, found = fit(DATA, recipe(), out=None).fingerprint, []
    inside = threading.Event()

    def run() -> None:
        with open_accelerator(CPU, SINGLE_PROCESS, trackers_in=None) as accelerator:
            inside.set()
            barrier.wait()
            with accelerator.autocast():
                found.append(accelerator.device.type)

    barrier = threading.Event()
    other = threading.Thread(target=run)
    other.start()
    inside.wait()
    assert fit(DATA, recipe(), out=None).fingerprint == expected
    barrier.set()
    other.join()
    assert found == ["cpu"]
