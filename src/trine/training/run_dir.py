"""The folder of a run: which file is what, how a run starts or resumes in it, and its checkpoint."""

from __future__ import annotations

import errno
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trine.errors import DataError, InputError, ModelError, SettingError
from trine.io import atomic_write, is_leftover, open_regular, readable, remove_leftovers
from trine.settings import differences
from trine.training.distributed import DistributedContext
from trine.training.recipe import Recipe
from trine.training.recipe_io import load_recipe, recipe_text
from trine.training.run_data import RunData

MAY_CHANGE = ("training.device", "training.threads", "training.cache", "training.checkpoint_every")
"""Settings that a resumed run may change: none of them changes the weights beyond rounding."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class RunDir:
    """The files of a run.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """Every setting, as YAML."""
        return self.path / "recipe.yaml"

    @property
    def lock(self) -> Path:
        """The lock of the run that uses the folder."""
        return self.path / ".lock"

    @property
    def dataset(self) -> Path:
        """What the run learns from: names, identities and digests; see `RunData`."""
        return self.path / "dataset.safetensors"

    @property
    def metrics(self) -> Path:
        """The training log: one row for each logged step."""
        return self.path / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        """The same for TensorBoard."""
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
        """The checkpoint that a resumed run continues from."""
        return self.checkpoints / "last.ckpt"

    @property
    def best(self) -> Path:
        """The weights of the best validation round."""
        return self.checkpoints / "best.safetensors"

    @property
    def model(self) -> Path:
        """The trained encoder."""
        return self.path / "model"

    @contextmanager
    def writing(self, path: Path) -> Iterator[None]:
        """Explains why a file could not be written, and where the run resumes.

        Args:
            path: The file.

        Raises:
            InputError: The disk is full, or the write fails otherwise.
        """
        try:
            yield
        except OSError as error:
            raise self.write_error(error, path) from error

    def write_error(self, error: OSError, path: Path) -> InputError:
        """Returns the error for a file that could not be written."""
        then = f"it continues from {self.last}, which is intact"
        if not self.last.is_file():
            then = "it starts over, because it has no checkpoint yet"
        reason = error.strerror or error
        return InputError(f"cannot write {path} ({reason}); free disk space, then resume the run: {then}")


@dataclass(frozen=True)
class OpenRun:
    """A run that was started or resumed.

    Attributes:
        dir: Its folder; None for a run that keeps nothing.
        digest: The hash of what it learns from.
        checkpoint: What it resumes from; None starts from the beginning.
    """

    dir: RunDir | None = None
    digest: str = ""
    checkpoint: Mapping[str, Any] | None = None

    @property
    def resumed_at(self) -> int | None:
        """The number of steps that are done already; None without a checkpoint."""
        return None if self.checkpoint is None else int(self.checkpoint["step"])

    def save(self, state: Mapping[str, Any]) -> None:
        """Writes the checkpoint, atomically.

        Args:
            state: Tensors, numbers, strings and containers of them.
        """
        assert self.dir is not None
        content = io.BytesIO()
        torch.save({**state, "dataset": self.digest}, content)
        with self.dir.writing(self.dir.last):
            atomic_write(self.dir.last, content.getbuffer())


def check_run_dir(run: RunDir, *, resume: bool) -> None:
    """Checks that a run can start or resume in a folder, without changing anything.

    Args:
        run: The folder.
        resume: Whether to resume the run in it.

    Raises:
        InputError: The folder is not empty, or holds no run to resume.
    """
    with readable(run.path, InputError):
        started, empty = run.recipe.is_file(), _is_empty(run)
    if resume and not started:
        raise InputError(
            f"there is no run to resume in {run.path}: it has no recipe.yaml; name the folder of an "
            "interrupted run, or start without resume"
        )
    if not resume and not empty:
        raise InputError(f"{run.path} is not empty; name a new folder for the run, or resume the one in it")


def _is_empty(run: RunDir) -> bool:
    if not run.path.exists():
        return True
    return run.path.is_dir() and all(path == run.lock or is_leftover(path) for path in run.path.iterdir())


def open_run(
    run: RunDir, recipe: Recipe, *, data: RunData, resume: bool, context: DistributedContext
) -> OpenRun:
    """Starts a run in a new folder, or resumes the one in it.

    Args:
        run: The folder.
        recipe: The run's settings; written to a new folder, compared with those in an old one.
        data: What it learns from; the same.
        resume: Whether to resume.
        context: The processes; the first one alone writes.

    Raises:
        InputError: The folder is not empty, or holds no run to resume, or cannot be written.
        SettingError: The run in it was started with different settings.
        DataError: It was started on different items.
        ModelError: Its checkpoint is damaged.
    """
    if context.is_main:
        check_run_dir(run, resume=resume)
        if resume:
            _check_same_run(run, recipe, data)
        try:
            _prepare(run, recipe, data, new=not resume)
        except OSError as error:
            raise InputError(
                f"cannot write to the run folder {run.path} ({error.strerror}); name another one"
            ) from error
    return OpenRun(run, data.digest, _read_checkpoint(run, data.digest))


def _check_same_run(run: RunDir, recipe: Recipe, data: RunData) -> None:
    changed = [key for key in differences(load_recipe(run.recipe), recipe) if key not in MAY_CHANGE]
    if changed:
        raise SettingError(
            f"the run in {run.path} was started with different settings ({', '.join(changed)}); resume it "
            "with its own recipe.yaml, or start in a new folder"
        )
    with readable(run.path, InputError):
        known, begun = run.dataset.is_file(), run.last.is_file()
    if known:
        changes = RunData.read(run.dataset).changes(data)
        if changes:
            raise _different_items(run, "; ".join(changes))
    elif begun:
        raise InputError(
            f"{run.path} has no {run.dataset.name}, so it is unknown what the run in it was started on; "
            "start the run again in a new folder"
        )


def _prepare(run: RunDir, recipe: Recipe, data: RunData, *, new: bool) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    for folder in (run.path, run.checkpoints):
        remove_leftovers(folder)
    # Write the recipe first: with it, the folder can be resumed whatever happens next.
    if new:
        atomic_write(run.recipe, recipe_text(recipe))
    if not run.dataset.is_file():
        data.write(run.dataset)
    run.checkpoints.mkdir(exist_ok=True)


def _read_checkpoint(run: RunDir, digest: str) -> Mapping[str, Any] | None:
    with readable(run.last, InputError):
        if not run.last.is_file():
            return None
        open_regular(run.last).close()
    try:
        with zipfile.ZipFile(run.last) as archive:  # torch does not compare the checksums in it
            if archive.testzip() is not None:
                raise ValueError("a checksum does not match")
        checkpoint: Mapping[str, Any] = torch.load(run.last, map_location="cpu", weights_only=True)
        int(checkpoint["step"])
        trained_on = checkpoint["dataset"]
    except Exception as error:  # torch raises many kinds of errors for a damaged file
        raise ModelError(
            f"the checkpoint {run.last} is damaged ({type(error).__name__}); delete it to start the run over"
        ) from error
    if trained_on != digest:
        raise _different_items(run, "its checkpoint is of other items")
    return checkpoint


def _different_items(run: RunDir, changes: str) -> DataError:
    return DataError(
        f"the run in {run.path} was started on different training items: {changes}; resume it with the same "
        "data and the same split"
    )
