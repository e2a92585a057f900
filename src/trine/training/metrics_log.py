"""metrics.csv, one row per logged step, and the line of progress in a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trine.errors import ModelError, require
from trine.io import atomic_write
from trine.training.diagnostics.rules import LoggedBatch

COLUMNS = (
    "step",
    "epoch",
    "loss",
    "learning_rate",
    "mining",
    "margin",
    "identities",
    "items",
    "active",
    "positive_distance",
    "negative_distance",
    "active_per_item",
    "norm_mean",
    "norm_max",
    "effective_rank",
    "largest_identity",
    "validation_metric",
)


class MetricsFile:
    """Appends to metrics.csv as training goes on.

    Args:
        path: The file.
        resumed_at: The step that a resumed run goes on from: rows from there on are made again; None
            starts the file anew.
    """

    def __init__(self, path: Path, *, resumed_at: int | None) -> None:
        self.path = path
        kept = []
        if resumed_at is not None and path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if _is_before(row, resumed_at)]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(kept)
        atomic_write(path, text.getvalue())

    def write(self, figures: Mapping[str, float | str], *, step: int) -> None:
        """Appends one row.

        Args:
            figures: Figures, and names of rules, by column.
            step: The step that they belong to.
        """
        row = {name: value if isinstance(value, str) else f"{value:.6g}" for name, value in figures.items()}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS).writerow({"step": step, **row})


class ProgressLine:
    """One line in the terminal: steps, time left, loss, and the last look.

    Args:
        steps: All steps of the run.
    """

    def __init__(self, steps: int) -> None:
        rich = require("rich.progress", extra="train")
        self._progress: Any = rich.Progress(
            rich.TextColumn("training"),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeRemainingColumn(),
            rich.TextColumn("{task.description}"),
            console=require("rich.console", extra="train").Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=steps)
        self._progress.start()

    def show(self, step: int, *, loss: float, look: float | None, stage: str = "") -> None:
        """Moves the line on.

        Args:
            step: How many steps are done.
            loss: The loss of the last one.
            look: The latest figure of metric of the validation items, where there is one.
            stage: What the curriculum has reached, in words.
        """
        parts = [f"loss {loss:.4f}", "" if look is None else f"validation {look:.3f}", stage]
        description = " · ".join(part for part in parts if part)
        self._progress.update(self._task, completed=step, description=description)

    def stop(self) -> None:
        """Leaves the line as it is."""
        self._progress.stop()


def read_metrics(path: Path) -> list[LoggedBatch]:
    """Reads the logged batches of a metrics.csv; rows of looks at validation items are left out.

    Args:
        path: The file; a last line that was cut short is left out.

    Returns:
        The batches in the order of steps.

    Raises:
        ModelError: The file is missing, or is no such log.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if _is_whole(row) and row.get("loss")]
        return [LoggedBatch.of(row) for row in rows]
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read as the log of a run ({error}); name the folder of a run that trine "
            "train has written"
        ) from error


def _is_before(row: Mapping[str, str | None], step: int) -> bool:
    return _is_whole(row) and int(row["step"] or "") < step


def _is_whole(row: Mapping[str, str | None]) -> bool:
    # A kill in the middle of a line leaves one that is too short.
    return (row.get("step") or "").isdigit() and None not in row.values()
