"""`trine doctor`: diagnoses a run."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import echo
from trine.cli.parser import argument, verb


@verb(argument("run", help="the run folder"))
def doctor(settings: Any) -> None:
    """Diagnose a training run, finished or still running, and plot its curves.

    trine doctor runs/faces
    """
    from trine.pipelines import examine

    found = examine(settings.run)
    echo(found, "", f"{found.folder} holds the training curves: doctor.png")
