"""Training runs that are killed at a chosen operation on the disk, or from outside.

A separate module, so that the fork server can import it once for all processes.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import accelerate  # noqa: F401
import faiss  # noqa: F401  # what training imports when it begins, so that a forked process need not
import numpy as np
import safetensors.torch  # noqa: F401
import tensorboard.summary.writer.event_file_writer  # noqa: F401
import torch
import torch.utils.tensorboard
import yaml  # noqa: F401

from support.runs import rows
from support.small_disk import fill, mounted
from trine.data import Dataset
from trine.encoders import EncoderRecipe, MlpSettings
from trine.errors import TrineError
from trine.training import LossRecipe, Recipe, SamplerRecipe, Stage, TrainingRecipe, fit, metric_step

STEPS = 23
RECIPE = Recipe(
    encoder=EncoderRecipe(dimension=5, mlp=MlpSettings((12,), dropout=0.2)),
    sampler=SamplerRecipe(identities=4, items=3, confusable=0.5),
    loss=LossRecipe(memory=30, memory_warmup=0.3),
    curriculum=(
        Stage(at=0.2, until=0.6, mining="random", margin=0.4, identities=7),
        Stage(at=0.7, mining="hard"),
    ),
    training=TrainingRecipe(steps=STEPS, checkpoint_every=2, evaluate_every=5, device="cpu"),
)


def recall(embeddings: np.ndarray, labels: np.ndarray) -> float:
    distances = ((embeddings[:, None] - embeddings[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((labels[distances.argmin(axis=1)] == labels).mean())


def arguments_of_the_run() -> tuple[Dataset, Recipe]:
    return rows([12] * 9, spread=0.7), RECIPE


def held_out() -> dict[str, Any]:
    data, _ = arguments_of_the_run()
    return {"validation": data.subset(np.arange(0, 108, 3)), "metric": recall}


def train(out: str, *, moment: int | None = None, most_bytes: int | None = None) -> None:
    """Trains or resumes; the main function of a separate process.

    With `moment`, the process kills itself at that operation on the disk: in the middle of writing a file,
    before it is synchronised, before it gets its name, or after. With `most_bytes`, no file may be larger. A
    TrineError goes to the file `out`.error, and all output to `out`.said.
    """
    torch.set_num_threads(1)
    if moment is not None:
        _deal_with_the_disk(moment)
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    sys.stderr = sys.stdout = open(f"{out}.said", "w")  # noqa: SIM115, PTH123
    try:
        fit(*arguments_of_the_run(), out=out, resume=(Path(out) / "recipe.yaml").is_file(), **held_out())
    except TrineError as error:
        Path(f"{out}.error").write_text(f"{type(error).__name__}: {error}")
        sys.stderr.close()
        os._exit(2)
    except BaseException:
        traceback.print_exc()
        sys.stderr.close()
        os._exit(1)


def _deal_with_the_disk(moment: int) -> None:
    left = [moment]
    write_bytes, replace, fsync = Path.write_bytes, Path.replace, os.fsync

    def counted() -> bool:
        left[0] -= 1
        return left[0] < 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def half(self: Path, data: Any) -> int:
        if counted():
            write_bytes(self, bytes(data)[: len(data) // 2])
            die()
        return write_bytes(self, data)

    def renamed(self: Path, target: Any) -> Path:
        if counted():
            die()
        done = replace(self, target)
        if counted():
            die()
        return done

    def synchronised(descriptor: int) -> None:
        if counted():
            die()
        fsync(descriptor)

    Path.write_bytes, Path.replace, os.fsync = half, renamed, synchronised  # type: ignore[method-assign]


def fill_the_disk(out: str, *, filled_at: int) -> None:
    """Trains on a private disk of 4 MB that is full from some step on; runs in a separate process.

    What is left of the run goes to `out`, and a TrineError to the file `out`.error.
    """
    torch.set_num_threads(1)
    small = Path(f"{out}.small")
    small.mkdir()
    if not mounted(small, size="4m"):
        os._exit(77)
    original = metric_step.MetricStep.loss

    def loss(self: Any, *arguments: Any, **settings: Any) -> torch.Tensor:
        if settings["step"] == filled_at:
            fill(small)
        return original(self, *arguments, **settings)

    metric_step.MetricStep.loss = loss  # type: ignore[method-assign]
    sys.stderr = sys.stdout = open(f"{out}.said", "w")  # noqa: SIM115, PTH123
    try:
        fit(*arguments_of_the_run(), out=small / "run", **held_out())
    except TrineError as error:
        shutil.copytree(small / "run", out)
        Path(f"{out}.error").write_text(f"{type(error).__name__}: {error}")
    sys.stderr.close()
    os._exit(0)
