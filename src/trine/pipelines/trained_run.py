"""A trained run, loaded once: its model, its recipe and its folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from trine.calibration import Calibration
from trine.cluster_threshold import ClusterThreshold
from trine.encoders import Encoder
from trine.encoders.serialization import encoder_of
from trine.errors import ModelError
from trine.model import PACKAGED, SavedModel, read_model, write_model
from trine.strangers import Strangers
from trine.training import Recipe, RunDir, load_run_recipe

SPLIT = "split.json"
"""The file of a run that records the part of each item."""


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run, or a model folder, with its encoder loaded.

    Attributes:
        path: The folder as passed.
        model: The content of the model folder.
        encoder: The encoder, on the CPU and in evaluation mode.
    """

    path: Path
    model: SavedModel
    encoder: Encoder

    @property
    def folder(self) -> Path:
        """The run folder; for a model folder outside a run, that folder itself."""
        return run_folder(self.path)

    @property
    def name(self) -> str:
        """The name of the run folder."""
        return self.folder.resolve().name

    @cached_property
    def recipe(self) -> Recipe | None:
        """The recipe of the run; None for a model folder outside a run."""
        recipe = RunDir(self.folder).recipe
        return load_run_recipe(recipe) if recipe.is_file() else None

    def store(
        self,
        calibration: Calibration,
        cluster_threshold: ClusterThreshold | None,
        strangers: Strangers | None,
    ) -> None:
        """Sets both thresholds of the encoder, and stores them in the model folder.

        Args:
            calibration: The threshold of "the same", and its basis.
            cluster_threshold: How to cluster; None for no clusters.
            strangers: The identities that they were chosen on, to keep with the model; None keeps none.

        Raises:
            ModelError: The folder cannot be written.
        """
        self.encoder.calibration, self.encoder.cluster_threshold = calibration, cluster_threshold
        self.encoder.strangers, self.encoder.left_out = strangers, None
        inner = RunDir(self.path).model
        stored = replace(
            self.model,
            calibration=calibration,
            cluster_threshold=cluster_threshold,
            strangers=strangers,
            left_out=None,
        )
        write_model(stored, folder=inner if inner.is_dir() else self.path)


def open_trained_run(run: str | Path | TrainedRun) -> TrainedRun:
    """Loads the model of a run; returns an already loaded run unchanged.

    Args:
        run: The run folder, a model folder, or what this function returned for one.

    Raises:
        ModelError: The model is missing or damaged, or is not an encoder of single items; or it is a network
            of a package, which has no folder for what is measured.
    """
    if isinstance(run, TrainedRun):
        return run
    if isinstance(run, str) and run.startswith(PACKAGED):
        raise ModelError(
            f"{run} has no run folder, in which thresholds and reports are kept; make one with `trine train "
            "DATA --out RUN`, for faces with --recipe faces, which keeps the network as it is unless "
            "training helps"
        )
    path = Path(run)
    model = read_model(path)
    return TrainedRun(path, model, encoder_of(model, path))


def run_folder(folder: Path) -> Path:
    """The run folder of a model folder; any other folder itself."""
    return folder.parent if folder.name == "model" and (folder.parent / SPLIT).is_file() else folder
