"""Does a gallery lose anything when its process is killed or the power is cut?

Five workloads: everyday calls, the same with a log so small that every other write moves it into the file,
one endless enrolment of many, enrolling and forgetting (which rewrites the file), rebuilding with another
encoder. Each is killed (SIGKILL) at random moments of its calls and of its opening, and goes on from what it
left. And each runs once under a journal of all its writes, synchronisations and names; the power is cut at
random moments of the journal, and what was not synchronised is dropped whole, in part, or not at all. After
every death the gallery is opened, checked, and compared with what was acknowledged.
`tests/gallery/test_kills.py` and `test_power_loss.py` do the same a few times, and show that a missing
synchronisation is found out.

    python benchmarks/gallery_kills.py
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results import keep, timed

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support import fork_server, gallery_kills
from support.gallery_workloads import WORKLOADS

ROUNDS = 200
MOMENTS = 300
STEPS = 60


def main() -> None:
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    context = fork_server.processes()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve() / "work"
        work.mkdir()
        operations = gallery_kills.journal(work, steps=STEPS)
        for name in WORKLOADS:
            path = Path(folder) / name
            (path / "scratch").mkdir(parents=True)
            with timed() as took:
                report = gallery_kills.kill(name, path / "people.db", rounds=ROUNDS, context=context)
            rows.append({"workload": name, "death": "killed", **asdict(report), "seconds": took.seconds})
            summary[f"{name}, killed"] = str(report)
            print(rows[-1], flush=True)
            with timed() as took:
                report = gallery_kills.cut(
                    name, operations, work / name, steps=STEPS, scratch=path / "scratch", count=MOMENTS
                )
            rows.append({"workload": name, "death": "power cut", **asdict(report), "seconds": took.seconds})
            summary[f"{name}, power cut"] = str(report)
            print(rows[-1], flush=True)
    keep(
        "gallery_kills",
        __doc__,
        rows=rows,
        summary=summary | {"losses": sum(len(row["losses"]) for row in rows)},
    )


if __name__ == "__main__":
    main()
