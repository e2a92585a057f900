"""A run's log read after the fact: what is wrong with it, in words, as a table and as curves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from trine.io import output_file
from trine.pipelines.split_record import run_of
from trine.report.training_curves import draw_curves
from trine.training import (
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
    """What the doctor finds in a run's folder.

    Attributes:
        folder: The run.
        patient: What the run is.
        looks: Its log.
        diagnoses: What is wrong with it, in the order of steps.
        suspects: Items whose labels may be wrong, the steadiest first; also where they are too few to speak
            of noise.
    """

    folder: Path
    patient: RunFacts
    looks: tuple[LoggedBatch, ...]
    diagnoses: tuple[Diagnosis, ...]
    suspects: tuple[Suspect, ...]

    def __str__(self) -> str:
        done = self.looks[-1].step + 1 if self.looks else 0
        lines = [f"{self.folder}: {done:,} of {self.patient.steps:,} steps", *_table(self.looks)]
        lines += [str(found) for found in self.diagnoses] or ["nothing is wrong that the doctor knows of"]
        if self.suspects:
            named = ", ".join(map(str, self.suspects[:SHOWN_SUSPECTS]))
            more = ", ..." if len(self.suspects) > SHOWN_SUSPECTS else ""
            lines.append(f"labels worth a look: {named}{more}")
        return "\n".join(lines)


def examine(run: str | Path) -> Examination:
    """Looks at the log of a run: one that goes on, was broken off, or has ended.

    Args:
        run: The run folder.

    Returns:
        What is wrong with it; the folder holds the curves besides, as doctor.png.

    Raises:
        ModelError: It is no folder of a run, or a file in it is damaged.
        InputError: The curves cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    folder = RunDir(run_of(Path(run)))
    patient, said, suspects = read_findings(folder)
    looks = tuple(read_metrics(folder.metrics))
    found = {diagnosis.name: diagnosis for diagnosis in diagnose(looks, patient)}
    # What is told by single items stands in no column of the log.
    found.update({diagnosis.name: diagnosis for diagnosis in said if diagnosis.name not in found})
    diagnoses = tuple(sorted(found.values(), key=lambda diagnosis: diagnosis.step))
    examination = Examination(folder.path, patient, looks, diagnoses, suspects)
    with output_file(folder.path / CURVES) as partial:
        draw_curves(looks, diagnoses, steps=patient.steps, name=folder.path.name, path=partial)
    return examination


def _table(looks: tuple[LoggedBatch, ...]) -> list[str]:
    """Some rows of the log, from the first to the last."""
    if not looks:
        return ["no step is logged yet"]
    last = len(looks) - 1
    shown = [looks[at] for at in sorted({round(last * i / (ROWS - 1)) for i in range(ROWS)})]
    head = ("step", "rule", "loss", "active", "d_ap", "d_an", "gap", "norm", "rank")
    rows = [
        (
            f"{look.step:,}",
            look.mining,
            _figure(look.loss),
            "" if math.isnan(look.active) else f"{look.active:.2%}",
            *map(_figure, (look.positive_distance, look.negative_distance, look.gap, look.norm_mean)),
            "" if math.isnan(look.effective_rank) else f"{look.effective_rank:.1f}",
        )
        for look in shown
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for row in (head, *rows)
    ]


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"
