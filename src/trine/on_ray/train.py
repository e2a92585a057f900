"""Trains in Ray Train's workers: the same pipelines, with the processes and the restarts of Ray.

The command holds the data; each worker gets a copy, reads the pictures itself, and keeps the run in the same
folder, which all nodes must see under the same path. A worker that dies takes the others with it; Ray Train
starts all of them again, and they resume from the last checkpoint of the run, as `resume=True` does.
"""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from trine.errors import SettingError, TrineError, require
from trine.on_ray.connect import HEAD, connected, is_cluster
from trine.training import Recipe, RunDir, TrainingRecipe, check_run_dir
from trine.training.distributed import LAUNCHER, ProcessEndedError

RESTARTS = 3
"""How often the workers of a run are started again after one has died."""


def train_on(
    on: str,
    pipeline: Callable[..., Any],
    *data: Any,
    recipe: Recipe,
    out: str | Path,
    resume: bool = False,
    **settings: Any,
) -> Any:
    """Trains on Ray by as many workers as `training.devices` says.

    A worker has one core, or as many as `training.threads` says, and a GPU where the recipe trains on one.
    Which steps are done, and what the run folder holds, is as in processes that torchrun starts.

    Args:
        on: Where; "ray" or "ray://HOST:PORT".
        pipeline: What trains: `train_run`, `train_on_judgements` or `train_recommender`.
        data: What it takes first; copied to the workers, which read files by the same paths.
        recipe: Every setting.
        out: The run folder, which all nodes must see under the same path.
        resume: Whether to resume the run in the folder.
        settings: Further arguments of the pipeline.

    Returns:
        What the pipeline returns in the first process.

    Raises:
        SettingError: Ray cannot be used there, or has too few cores or GPUs.
        TrineError: What the pipeline raised in a worker, or workers died more than `RESTARTS` times.
    """
    check_run_dir(RunDir(Path(out)), resume=resume)
    with connected(on) as ray:
        resources = _resources(ray, recipe.training)
        settings |= {"recipe": recipe, "out": out}
        job = _Job(pipeline, ray.put(data), settings, resume, Path.cwd(), resources)
        # Ray Train works only within a cluster, and a client is outside: a task starts it there.
        task = ray.remote(_fit).options(num_cpus=0, resources=HEAD if is_cluster(on) else {})
        report, error, warnings = ray.get(task.remote(job, devices=recipe.training.devices))
    for message in warnings:
        logging.getLogger("trine.training").warning("%s", message)
    if error is not None:
        raise error
    return pickle.loads(report)


def _resources(ray: ModuleType, recipe: TrainingRecipe) -> dict[str, float]:
    """What a worker takes; a `SettingError` if Ray has less for all of them together."""
    there = ray.cluster_resources()
    on_gpu = recipe.device == "cuda" or (recipe.device == "auto" and there.get("GPU", 0) > 0)
    each = {"CPU": float(recipe.threads or 1)} | ({"GPU": 1.0} if on_gpu else {})
    for name, amount in each.items():
        wanted, found = amount * recipe.devices, there.get(name, 0)
        if wanted > found:
            what = "GPUs" if name == "GPU" else "cores"
            raise SettingError(
                f"training.devices is {recipe.devices}: that takes {wanted:g} {what}, but Ray has {found:g}; "
                "lower training.devices or training.threads, or add nodes"
            )
    return each


@dataclass(frozen=True)
class _Job:
    """What a worker needs; `data` is a reference to what Ray holds."""

    pipeline: Callable[..., Any]
    data: Any
    settings: dict[str, Any]
    resume: bool
    folder: Path
    resources: dict[str, float]


def _fit(job: _Job, *, devices: int) -> tuple[bytes, TrineError | None, list[str]]:
    """Runs Ray Train; returns what the pipeline returned, or why it did not, and its warnings."""
    train, torch_train = require("ray.train", extra="ray"), require("ray.train.torch", extra="ray")
    on_gpu = "GPU" in job.resources
    # The launcher is how `distributed_context` knows that the variables of the ranks are set.
    variables = {LAUNCHER: "Ray Train"} | ({} if on_gpu else {"CUDA_VISIBLE_DEVICES": ""})
    # Ray Train keeps a folder of its own, which stays empty: checkpoints are those of the run folder.
    with tempfile.TemporaryDirectory() as kept:
        trainer = torch_train.TorchTrainer(
            _work,
            train_loop_config={"job": job},
            scaling_config=train.ScalingConfig(
                num_workers=devices, use_gpu=on_gpu, resources_per_worker=job.resources
            ),
            run_config=train.RunConfig(
                storage_path=kept,
                failure_config=train.FailureConfig(max_failures=RESTARTS),
                callbacks=[_ends_at_errors(train)],
                worker_runtime_env={"env_vars": variables},
            ),
        )
        try:
            report, warnings = trainer.fit().return_value
        except train.TrainingFailedError as error:
            failure = getattr(error, "controller_failure", None)
            return b"", failure if isinstance(failure, TrineError) else _failed(error), []
    return report, None, warnings


def _work(config: dict[str, Any]) -> tuple[bytes, list[str]]:
    """A worker: trains as one process of the run does; returns what the pipeline does, and its warnings."""
    ray, job = require("ray", extra="ray"), config["job"]
    try:
        os.chdir(job.folder)  # paths may be relative to it
    except OSError as error:
        raise SettingError(
            f"a worker cannot enter the folder of this command, {job.folder} ({error.strerror}); all nodes "
            "need the same folders, as on a shared disk"
        ) from error
    warnings = _Warnings()
    logging.getLogger("trine").addHandler(warnings)
    # After a worker has died, the folder holds the run that all of them continue.
    resume = job.resume or RunDir(Path(job.settings["out"])).recipe.is_file()
    report = job.pipeline(*ray.get(job.data), **job.settings, resume=resume, progress=False)
    # As bytes, since Ray Train refuses whatever holds a tensor.
    return pickle.dumps(report), warnings.messages


class _Warnings(logging.Handler):
    """Keeps what is logged for the command to show."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _ends_at_errors(train: ModuleType) -> Any:
    """Lets Ray Train end at an error of trine, which the next start would raise again."""

    class EndsAtErrors(train.UserCallback):  # type: ignore[misc, name-defined]
        def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
            raised = [error_of(worker_exceptions[rank]) for rank in sorted(worker_exceptions)]
            for error in raised:
                if isinstance(error, TrineError) and not isinstance(error, ProcessEndedError):
                    raise error

    return EndsAtErrors()


def error_of(raised: BaseException) -> BaseException:
    """What a worker raised, out of what Ray Train wraps it in together with its traceback."""
    return getattr(raised, "_base_exc", raised)


def _failed(error: Exception) -> TrineError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1] if lines else type(error).__name__
    return TrineError(
        f"the workers on Ray failed ({reason[:300]}), and were started again {RESTARTS} times in vain; "
        "the files in session_latest/logs of Ray's temporary folder say more; resume the run to continue "
        "from its last checkpoint"
    )
