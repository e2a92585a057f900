"""Does a gallery on a PostgreSQL server lose anything when its client or the server is killed?

The workloads of `benchmarks/gallery_kills.py`, against a server. At a random moment the client is killed
(SIGKILL), or the server: the postmaster and all its children at once, which is then started again and
recovers from its log. Then the gallery is opened, checked, read in several ways and compared with what was
acknowledged. `tests/gallery/postgres/test_server_kill.py` does the same a few times, and shows that a loss is
found out.

    python benchmarks/gallery_server_kills.py [--kills 20] [--workload NAME ...]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results import keep, timed

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support import fork_server, gallery_kills, postgres_server
from support.gallery_workloads import WORKLOADS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20, help="how often each one is killed, either way")
    parser.add_argument("--workload", nargs="+", default=list(WORKLOADS), choices=list(WORKLOADS))
    settings = parser.parse_args()
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    server = postgres_server.server()
    for name in settings.workload:
        for who in ("client", "server"):
            address = f"{server.get_uri()}&gallery={name}_{who}&search=exact"
            with timed() as took:
                report = gallery_kills.kill(
                    name,
                    address,
                    rounds=settings.kills,
                    context=fork_server.processes(),
                    server=server if who == "server" else None,
                )
            rows.append({"workload": name, "killed": who, **asdict(report), "seconds": took.seconds})
            print(rows[-1], flush=True)
            summary[f"{name}, {who} killed"] = str(report)
    keep(
        "gallery_server_kills",
        __doc__,
        rows=rows,
        summary=summary | {"losses": sum(len(row["losses"]) for row in rows)},
        arguments=sys.argv[1:],
    )


if __name__ == "__main__":
    main()
