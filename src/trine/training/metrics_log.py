"""The log of a run: metrics.csv, trackers such as TensorBoard, and the progress line in a terminal."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trine.errors import ModelError, require
from trine.io import atomic_write, open_regular
from trine.training.diagnostics.rules import LoggedBatch
from trine.training.run_dir import DISK_FULL, OpenRun

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


class RunLog:
    """Writes what is logged to metrics.csv and to the trackers of an `Accelerator`.

    Args:
        run: The run. A resumed one keeps the rows of the steps that are done.
        accelerator: The `Accelerator`, whose trackers are started.
    """

    def __init__(self, run: OpenRun, accelerator: Any) -> None:
        self._run, self._accelerator = run, accelerator
        assert run.dir is not None
        kept = []
        if run.resumed_at is not None and run.dir.metrics.is_file():
            kept = [row for row in _rows(run.dir.metrics) if int(row["step"]) < run.resumed_at]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(kept)
        atomic_write(run.dir.metrics, text.getvalue())
        accelerator.init_trackers(
            run.dir.tensorboard.name, init_kwargs={"tensorboard": {"purge_step": run.resumed_at}}
        )

    def write(self, values: Mapping[str, float | str], *, step: int) -> None:
        """Logs one row.

        Args:
            values: Numbers, and names of rules, by column.
            step: The step they belong to.
        """
        assert self._run.dir is not None
        row = {name: value if isinstance(value, str) else f"{value:.6g}" for name, value in values.items()}
        metrics = self._run.dir.metrics
        with self._run.dir.writing(metrics), metrics.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS).writerow({"step": step, **row})
        numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
        with self._run.dir.writing(self._run.dir.tensorboard):
            self._accelerator.log(numbers, step=step)

    def close(self) -> None:
        """Ends the trackers."""
        for tracker in self._accelerator.trackers:
            tracker.finish()


@contextmanager
def open_log(run: OpenRun, accelerator: Any) -> Iterator[RunLog | None]:
    """Opens and closes the log of a run; None if the run keeps nothing or another process writes.

    Args:
        run: The run.
        accelerator: Its `Accelerator`.
    """
    if run.dir is None or not accelerator.is_main_process:
        yield None
        return
    log = RunLog(run, accelerator)
    with _quiet_threads():
        try:
            yield log
        except BaseException:
            with suppress(OSError):  # closing raises the disk-full error again that ended the run
                log.close()
            raise
        with run.dir.writing(run.dir.tensorboard):
            log.close()


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """Suppresses the traceback of TensorBoard's thread on a full disk: its caller raises the error."""
    before = threading.excepthook

    def hook(met: threading.ExceptHookArgs) -> None:
        if not (isinstance(met.exc_value, OSError) and met.exc_value.errno in DISK_FULL):
            before(met)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


class ProgressLine:
    """One line in the terminal: steps, time left, loss, and the latest validation metric.

    Args:
        steps: The number of steps in the run.
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

    def __enter__(self) -> ProgressLine:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def show(self, step: int, *, loss: float, metric: float | None, stage: str = "") -> None:
        """Updates the line.

        Args:
            step: How many steps are done.
            loss: The loss of the last one.
            metric: The latest validation metric, if there is one.
            stage: The current stage of the curriculum.
        """
        parts = [f"loss {loss:.4f}", "" if metric is None else f"validation {metric:.3f}", stage]
        description = " · ".join(part for part in parts if part)
        self._progress.update(self._task, completed=step, description=description)


def read_metrics(path: Path) -> list[LoggedBatch]:
    """Reads the logged batches of a metrics.csv, without the rows of validation rounds.

    Args:
        path: The file; a truncated last line is ignored.

    Returns:
        The batches in the order of steps.

    Raises:
        ModelError: The file is missing or is not such a log.
    """
    rows = [row for row in _rows(path) if row.get("loss")]
    try:
        return [LoggedBatch.of(row) for row in rows]
    except ValueError as error:
        raise _damaged(path, error) from error


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a log that are whole; a kill can truncate the last one."""
    try:
        with io.TextIOWrapper(open_regular(path), "utf-8", newline="") as file:
            table = csv.DictReader(file)
            unknown = set(table.fieldnames or ()) - set(COLUMNS)
            if unknown:
                raise ValueError(f"unknown column {min(unknown)!r}")
            whole = (row for row in table if None not in row and None not in row.values())
            return [row for row in whole if row.get("step", "").isdecimal()]
    except PermissionError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except (OSError, ValueError, csv.Error) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"cannot read {path} as the log of a run ({error}); name a run folder that trine train created, or "
        "move the file away"
    )
