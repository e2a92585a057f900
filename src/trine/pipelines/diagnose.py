"""Diagnose a run from its log: a table, curves, and the problems that the doctor detects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from trine.display import printable
from trine.io import output_file, read_small
from trine.pipelines.trained_run import run_folder
from trine.plain_json import parse_json
from trine.report.training_curves import draw_curves
from trine.report.write import METRICS
from trine.training import (
    NO_PROBLEMS,
    Diagnosis,
    LoggedBatch,
    RunDir,
    RunFacts,
    Suspect,
    diagnose,
    read_findings,
    read_metrics,
)

CURVES = "doctor.png"
ROWS = 9
SHOWN_SUSPECTS = 10


@dataclass(frozen=True)
class Examination:
    """What the doctor finds in a run folder.

    Attributes:
        folder: The run.
        facts: The facts about the run that the doctor needs.
        log: Its log.
        diagnoses: The problems, in the order of steps.
        suspects: Items whose labels may be wrong, the most consistent first, even if there are too few for
            a diagnosis.
        verdict: What the evaluation of the finished run says the model is fit for; empty if there is none.
    """

    folder: Path
    facts: RunFacts
    log: tuple[LoggedBatch, ...]
    diagnoses: tuple[Diagnosis, ...]
    suspects: tuple[Suspect, ...]
    verdict: str = ""

    def __str__(self) -> str:
        done = self.log[-1].step + 1 if self.log else 0
        lines = [f"{self.folder}: {done:,} of {self.facts.steps:,} steps", *_table(self.log)]
        lines += [str(diagnosis) for diagnosis in self.diagnoses] or [NO_PROBLEMS]
        if self.suspects:
            named = ", ".join(map(str, self.suspects[:SHOWN_SUSPECTS]))
            more = ", ..." if len(self.suspects) > SHOWN_SUSPECTS else ""
            lines.append(f"suspicious labels: {named}{more}")
        if self.verdict:
            lines.append(f"verdict: {self.verdict}")
        return "\n".join(map(printable, lines))


def examine(run: str | Path) -> Examination:
    """Reads the log of a run, which may be running, interrupted or finished.

    Args:
        run: The run folder.

    Returns:
        The problems; also draws the curves into doctor.png in the run folder.

    Raises:
        ModelError: It is not a run folder, or a file in it is damaged.
        InputError: The curves cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    folder = RunDir(run_folder(Path(run)))
    facts, said, suspects = read_findings(folder)
    log = tuple(read_metrics(folder.metrics))
    by_name = {diagnosis.name: diagnosis for diagnosis in diagnose(log, facts)}
    # Diagnoses of single items are not in the log.
    by_name.update({diagnosis.name: diagnosis for diagnosis in said if diagnosis.name not in by_name})
    diagnoses = tuple(sorted(by_name.values(), key=lambda diagnosis: diagnosis.step))
    examination = Examination(folder.path, facts, log, diagnoses, suspects, _verdict(folder.path / METRICS))
    with output_file(folder.path / CURVES) as partial:
        draw_curves(log, diagnoses, steps=facts.steps, name=folder.path.name, path=partial)
    return examination


def _verdict(path: Path) -> str:
    """The verdict in the metrics of a finished run; empty if they have none."""
    try:
        return str(parse_json(read_small(path))["verdict"]["sentence"])
    except (OSError, ValueError, KeyError, TypeError):  # the run is not finished, or has other metrics
        return ""


def _table(log: tuple[LoggedBatch, ...]) -> list[str]:
    """Some rows of the log, from the first to the last."""
    if not log:
        return ["no step logged yet"]
    last = len(log) - 1
    shown = [log[at] for at in sorted({round(last * i / (ROWS - 1)) for i in range(ROWS)})]
    head = ("step", "rule", "loss", "active", "d_ap", "d_an", "gap", "norm", "rank")
    rows = [
        (
            f"{batch.step:,}",
            batch.mining,
            _number(batch.loss),
            "" if math.isnan(batch.active) else f"{batch.active:.2%}",
            *map(_number, (batch.positive_distance, batch.negative_distance, batch.gap, batch.norm_mean)),
            "" if math.isnan(batch.effective_rank) else f"{batch.effective_rank:.1f}",
        )
        for batch in shown
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for row in (head, *rows)
    ]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"
