"""How fast is a gallery on a PostgreSQL server, and how exact, beside one in a file?

100,000 rows as in `gallery.py`, with the same questions. The server (PostgreSQL 18, pgvector 0.8) runs on the
same machine with its default settings, and is reached through a socket; a network adds three ways there and
back to each call. "Approximate" has the HNSW index, which the enrolment builds at 50,000 rows and keeps up to
date from there on; "indexed afterwards" was enrolled with `?search=exact` and its index built by `repair()`.

    python benchmarks/gallery_server.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import torch

from gallery import ask, fill, people
from gallery_report import report
from gallery_stores import Contender, Flat, Kept
from results import FOLDER, write

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support import postgres_server

SIZE = 100_000


@dataclass
class Afterwards(Kept):
    """A gallery on a server that is enrolled without an index and then gets one."""

    def ready(self) -> None:
        self._gallery.close()
        self.address = self.address.replace("search=exact", "search=approximate")
        self.reopen()
        self._gallery._store.repair()
        super().ready()


def main() -> None:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    found: list[dict[str, Any]] = []
    rows, queries = people(SIZE)
    postgres_server.FOLDER = None  # on the disk, so that what is durable is
    with tempfile.TemporaryDirectory() as folder:
        stores: list[Contender] = [
            Flat(),
            Kept("trine in a file", str(Path(folder) / "g.db")),
            Kept("PostgreSQL, exact", postgres_server.a_gallery("exact")),
            Kept("PostgreSQL, approximate", postgres_server.a_gallery("approximate")),
            Afterwards("PostgreSQL, indexed afterwards", postgres_server.a_gallery("exact")),
        ]
        filled = {}
        for store in stores:
            filled[store.name] = fill(store, rows, queries)
            print(store.name, filled[store.name], flush=True)
        asked = ask(stores, rows, queries)
        for store in stores:
            about = {"rows": SIZE, "store": store.name, "durable": store.durable}
            found.append({**about, **filled[store.name], **asked[store.name]})
            print(store.name, asked[store.name], flush=True)
            store.close()
    write(
        "gallery_server",
        command="python benchmarks/gallery_server.py",
        question=__doc__.splitlines()[0],
        rows=found,
        summary={f"{row['store']}, recall@10": row["recall@10"] for row in found},
    )
    record = json.loads((FOLDER / "gallery_server.json").read_text())
    (FOLDER / "gallery_server.md").write_text(report(record, __doc__))


if __name__ == "__main__":
    main()
