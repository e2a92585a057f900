"""Does a gallery on a PostgreSQL server lose anything when its client or the server is killed?

An enrolment of many, 16 records of one identity at a time, acknowledges them when they are on the server's
disk.
At a random moment the client is killed (SIGKILL), or the server: the postmaster and all its children at once,
which is then started again and recovers from its log. Then the gallery is opened, checked, read in several
ways and compared with what was acknowledged; no identity may have some of its records only.
`tests/gallery/postgres/test_server_kill.py` does the same a few times, and shows that a loss is found out.

    python benchmarks/gallery_server_kills.py
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from results import keep, timed

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support import fork_server, postgres_kills, postgres_server

ROUNDS = 20


def main() -> None:
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    server = postgres_server.server()
    for who in ("client", "server"):
        address = f"{server.get_uri()}&gallery={who}&search=exact"
        with timed() as took:
            report = postgres_kills.kill(
                address,
                rounds=ROUNDS,
                context=fork_server.processes(),
                server=server if who == "server" else None,
            )
        rows.append({"killed": who, **asdict(report), "seconds": took.seconds})
        print(rows[-1], flush=True)
        summary[f"{who} killed"] = str(report)
    keep(
        "gallery_server_kills",
        __doc__,
        rows=rows,
        summary=summary | {"losses": sum(len(row["losses"]) for row in rows)},
    )


if __name__ == "__main__":
    main()
