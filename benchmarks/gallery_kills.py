"""Does a gallery lose anything when its process is killed or the power is cut?

Eleven workloads: everyday calls, the same with a log so small that every other write moves it into the file,
one endless enrolment of many, enrolling and forgetting (which rewrites the file), rebuilding with another
encoder, renaming and merging, exporting and importing, repairing, following an origin (sync), calibrating,
backing up and restoring. Each is killed (SIGKILL) at random moments of its calls and of its opening, and goes
on from what it left. And each of the first five runs once under a journal of all its
writes, synchronisations and names; the power is cut at random moments of the journal, and what was not
synchronised is dropped whole, in part, or not at all. After every death the gallery is opened, checked, and
compared with what was acknowledged.
`tests/gallery/test_kills.py` and `test_power_loss.py` do the same a few times, and show that a missing
synchronisation is found out.

    python benchmarks/gallery_kills.py [--kills 200] [--cuts 300] [--workload NAME ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results import keep, timed

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support import fork_server, gallery_kills
from support.gallery_workloads import POWER_CUTS, WORKLOADS

STEPS = 60


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200, help="how often each workload is killed")
    parser.add_argument("--cuts", type=int, default=300, help="at how many moments the power is cut")
    parser.add_argument("--workload", nargs="+", default=list(WORKLOADS), choices=list(WORKLOADS))
    settings = parser.parse_args()
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve() / "work"
        work.mkdir()
        operations = gallery_kills.journal(work, steps=STEPS) if settings.cuts else []
        for name in settings.workload:
            path = Path(folder) / name
            (path / "scratch").mkdir(parents=True)

            def killed(name: str = name, path: Path = path) -> Any:
                context = fork_server.processes()
                return gallery_kills.kill(name, path / "people.db", rounds=settings.kills, context=context)

            def cut(name: str = name, path: Path = path) -> Any:
                scratch, count = path / "scratch", settings.cuts
                return gallery_kills.cut(
                    name, operations, work / name, steps=STEPS, scratch=scratch, count=count
                )

            deaths = {"killed": killed}
            if settings.cuts and name in POWER_CUTS:
                deaths["power cut"] = cut
            for death, die in deaths.items():
                with timed() as took:
                    report = die()
                rows.append({"workload": name, "death": death, **asdict(report), "seconds": took.seconds})
                summary[f"{name}, {death}"] = str(report)
                print(rows[-1], flush=True)
    keep(
        "gallery_kills",
        __doc__,
        rows=rows,
        summary=summary | {"losses": sum(len(row["losses"]) for row in rows)},
        arguments=sys.argv[1:],
    )


if __name__ == "__main__":
    main()
