"""The folder of a run: what lies where, how it is opened, and how a file in it is written whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from trine.errors import DataError, InputError, ModelError, SettingError, require
from trine.io import atomic_write, is_leftover, remove_leftovers
from trine.settings import differences
from trine.training.recipe import Recipe
from trine.training.recipe_io import load_recipe, recipe_text

# What a resumed run may have otherwise than the run that was interrupted: none of it changes the weights
# beyond rounding.
FREE = ("training.device", "training.threads", "training.cache", "training.checkpoint_every")


@dataclass(frozen=True)
class RunDir:
    """What lies where in the folder of a run.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """Every setting, as YAML."""
        return self.path / "recipe.yaml"

    @property
    def dataset(self) -> Path:
        """What the training items hash to."""
        return self.path / "dataset.sha256"

    @property
    def metrics(self) -> Path:
        """The log of training: one row per logged step."""
        return self.path / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        """The same, for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def doctor(self) -> Path:
        """What the doctor found."""
        return self.path / "doctor.json"

    @property
    def checkpoints(self) -> Path:
        """The last checkpoint and the best weights."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The checkpoint that resuming goes on from."""
        return self.checkpoints / "last.ckpt"

    @property
    def best(self) -> Path:
        """The weights of the best look at the validation items."""
        return self.checkpoints / "best.safetensors"

    @property
    def model(self) -> Path:
        """The trained encoder."""
        return self.path / "model"


def check_run_dir(run: RunDir, *, resume: bool) -> None:
    """Checks whether a run can begin, or go on, in a folder, before anything else is done.

    Args:
        run: The folder.
        resume: Whether to go on with the run that is in it.

    Raises:
        InputError: The folder holds something already, or no run to resume.
    """
    if resume and not run.recipe.is_file():
        raise InputError(
            f"there is no run to resume in {run.path}: it has no recipe.yaml; "
            "name the folder of an interrupted run, or start without resume"
        )
    if not resume and run.path.exists() and not (run.path.is_dir() and _is_empty(run.path)):
        raise InputError(f"{run.path} is not empty; name a new folder for the run, or resume the one in it")


def _is_empty(folder: Path) -> bool:
    return all(is_leftover(path) for path in folder.iterdir())


def open_run_dir(run: RunDir, recipe: Recipe, *, dataset_digest: str, resume: bool) -> None:
    """Makes the folder of a new run, or looks whether the run in it can be resumed.

    Args:
        run: The folder.
        recipe: The run's settings; written to a new folder, compared with those in an old one.
        dataset_digest: What the training items hash to; the same.
        resume: Whether to go on with the run that is in the folder.

    Raises:
        InputError: The folder holds something already, or no run to resume, or cannot be written.
        SettingError: The run to resume was started with other settings.
        DataError: It was started on other items.
    """
    check_run_dir(run, resume=resume)
    if resume:
        changed = [key for key in differences(load_recipe(run.recipe), recipe) if key not in FREE]
        if changed:
            raise SettingError(
                f"the run in {run.path} was started with other settings ({', '.join(changed)}); "
                "resume it with its own recipe.yaml, or start a new folder"
            )
        if run.dataset.is_file() and run.dataset.read_text(encoding="utf-8").strip() != dataset_digest:
            raise _other_items(run)
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        for folder in (run.path, run.checkpoints):
            remove_leftovers(folder)
        # First the recipe, which makes the folder one that can be resumed, whatever comes next.
        if not resume:
            atomic_write(run.recipe, recipe_text(recipe))
        if not run.dataset.is_file():
            atomic_write(run.dataset, dataset_digest + "\n")
        run.checkpoints.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the run folder {run.path} cannot be written ({error.strerror}); name another one"
        ) from error


def checkpointed_step(run: RunDir, *, dataset_digest: str) -> int | None:
    """Says how far the last checkpoint is.

    Args:
        run: The folder.
        dataset_digest: What the training items must hash to.

    Returns:
        The number of steps done; None where there is no checkpoint yet.

    Raises:
        ModelError: The checkpoint is damaged.
        DataError: It was made on other training items.
    """
    if not run.last.is_file():
        return None
    try:
        checkpoint = torch.load(run.last, map_location="cpu", weights_only=True)
        step, made_on = int(checkpoint["global_step"]), checkpoint["trine"]["dataset"]
    except Exception as error:  # torch raises classes of many kinds for a damaged file
        raise ModelError(
            f"the checkpoint {run.last} is damaged ({type(error).__name__}); delete it to start the run over"
        ) from error
    if made_on != dataset_digest:
        raise _other_items(run)
    return step


def _other_items(run: RunDir) -> DataError:
    return DataError(
        f"the run in {run.path} was started on other training items than these; "
        "resume it with the same data and the same split"
    )


def write_weights(encoder: nn.Module, path: Path) -> None:
    """Writes an encoder's weights as safetensors, whole or not at all.

    Args:
        encoder: The encoder.
        path: The file.
    """
    safetensors = require("safetensors.torch", extra="train")
    weights = {name: value.cpu().contiguous() for name, value in encoder.state_dict().items()}
    atomic_write(path, safetensors.save(weights))


def read_weights(encoder: nn.Module, path: Path) -> None:
    """Fills an encoder with weights that `write_weights` wrote.

    Args:
        encoder: The encoder.
        path: The file.
    """
    encoder.load_state_dict(require("safetensors.torch", extra="train").load_file(path))


@contextmanager
def writing(path: Path, *, checkpoint: Path) -> Iterator[None]:
    """Explains a failed write, and where the run resumes.

    Args:
        path: What is written.
        checkpoint: The run's checkpoint.

    Raises:
        InputError: The disk is full, or the write fails otherwise.
    """
    try:
        yield
    except OSError as error:
        raise refusal(error, path=path, checkpoint=checkpoint) from error


def refusal(error: OSError, *, path: Path, checkpoint: Path) -> InputError:
    """Returns the error that explains a failed write.

    Args:
        error: What the system reported.
        path: What was written.
        checkpoint: The run's checkpoint.
    """
    then = f"it continues from {checkpoint}, which is intact"
    if not checkpoint.is_file():
        then = "it starts from the beginning, as it has no checkpoint yet"
    reason = error.strerror or error
    return InputError(f"cannot write {path} ({reason}); free disk space, then resume the run: {then}")
