"""What Accelerate provides for a run: device, mixed precision, clipping, process group and trackers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from trine.errors import SettingError, require
from trine.training.distributed import DistributedContext, distributed_context
from trine.training.recipe import TrainingRecipe
from trine.training.run_dir import RunDir

PRECISIONS = {"32": "no", "bf16": "bf16", "16": "fp16"}
TRACKERS = "tensorboard"
RANKS = ("LOCAL_RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Environment variables that make Accelerate join a process group."""


def device_of(recipe: TrainingRecipe) -> torch.device:
    """Returns the kind of device that a recipe selects on this machine."""
    if recipe.device != "auto":
        return torch.device(recipe.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def check_device(recipe: TrainingRecipe) -> None:
    """Checks that this machine can train as the recipe says.

    Args:
        recipe: The device and the precision.

    Raises:
        SettingError: The device does not exist, or does not support the precision.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind = device_of(recipe).type
    if not available[kind]:
        raise SettingError(f"training.device is {kind!r}, but torch finds no such device; set it to auto")
    if recipe.devices > 1 and kind == "mps":
        raise SettingError(
            f"training.devices is {recipe.devices}, but a Mac has one GPU; set training.devices to 1, or "
            "training.device to cpu"
        )
    if kind == "cuda" and distributed_context(recipe).per_node > torch.cuda.device_count():
        raise SettingError(
            f"training.devices is {recipe.devices}, but torch finds {torch.cuda.device_count()} GPUs; lower "
            "training.devices, or set training.device to cpu"
        )
    if recipe.precision == "16" and kind == "cpu":
        raise SettingError("training.precision 16 needs a GPU; set it to bf16 or 32")


@contextmanager
def open_accelerator(
    recipe: TrainingRecipe, context: DistributedContext, *, trackers_in: RunDir | None
) -> Iterator[Any]:
    """Makes the `Accelerator` of a run.

    Args:
        recipe: Device and precision.
        context: The processes; with more than one, all of them have to call.
        trackers_in: The folder that the trackers write to; None uses none.

    Yields:
        The `Accelerator`.
    """
    accelerate = require("accelerate", extra="train")
    with _process_state, _ranks_hidden(context.size == 1):
        made = accelerate.Accelerator(
            cpu=device_of(recipe).type == "cpu",
            mixed_precision=PRECISIONS[recipe.precision],
            log_with=TRACKERS if trackers_in is not None and context.is_main else None,
            project_dir=None if trackers_in is None else str(trackers_in.path),
        )
    try:
        yield made
    finally:
        _process_state.release()


class _ProcessState:
    """Accelerate's state, one per Python process: the caller's is set aside while trine trains.

    Concurrent runs share it, and so need the same device and precision.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._aside: list[dict[str, Any]] = []

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self._runs:
            self._aside = [dict(state) for state in self._states()]
            for state in self._states():
                state.clear()
        self._runs += 1

    def __exit__(self, kind: object, *rest: object) -> None:
        self._lock.release()
        if kind is not None:
            self.release()

    def release(self) -> None:
        """Returns the caller's state once no run needs trine's."""
        with self._lock:
            self._runs -= 1
            if not self._runs:
                for state, before in zip(self._states(), self._aside, strict=True):
                    state.clear()
                    state.update(before)

    @staticmethod
    def _states() -> list[dict[str, Any]]:
        state = require("accelerate.state", extra="train")
        kinds = (state.PartialState, state.AcceleratorState, state.GradientState)
        return [kind._shared_state for kind in kinds]


_process_state = _ProcessState()


@contextmanager
def _ranks_hidden(hidden: bool) -> Iterator[None]:
    """Hides the launcher's variables from Accelerate if the run has a single process."""
    before = {name: os.environ.pop(name) for name in RANKS if hidden and name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)
