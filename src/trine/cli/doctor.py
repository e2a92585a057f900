"""`trine doctor`: what is wrong with a run."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import echo
from trine.cli.parser import Verb


def _arguments(parser: Any) -> None:
    parser.add_argument("run", help="the run folder")


def _run(settings: Any) -> None:
    from trine.pipelines import examine

    found = examine(settings.run)
    echo(f"{found}\n\n{found.folder} holds the training curves: doctor.png")


DOCTOR = Verb(
    _run,
    _arguments,
    "Diagnose a training run, finished or still running, and plot its curves.",
    "trine doctor runs/faces",
)
