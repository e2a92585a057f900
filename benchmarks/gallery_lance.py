"""How fast, how exact and how large is a gallery that machines share, and what do six killed writers lose?

A million rows of 128 numbers, made like embeddings, and queries of people who are enrolled, as in
benchmarks/gallery.py. A gallery in a folder (LanceDB) stands beside bare FAISS (IndexFlatL2, what is true), a
gallery in PostgreSQL without an index, and bare LanceDB with its inverted lists. All in one run; one query
after another. Galleries are enrolled in chunks of 16,384.

Before that six processes enrol into one gallery in a folder. One is killed (SIGKILL), another takes its
place, and when that has written, too, the next one is killed. All that was acknowledged must be there, once.

    nice python benchmarks/gallery_lance.py [--rows 1000000] [--kills 12]
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gallery import people, seconds
from gallery_stores import Flat, K, Kept, Lance, Rows
from results import keep

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support import fork_server, lance_processes, postgres_server
from trine.gallery import Gallery

WRITERS = 6
AT_ONCE = lance_processes.AT_ONCE
SINGLES = 20


class Bulk(Kept):
    """A gallery that is filled in large chunks."""

    def add(self, rows: Rows, first: int) -> None:
        if self.address.startswith("lance"):  # first without an index
            self._gallery = Gallery.open(f"{self.address}?search=exact")
        self._gallery.enrol_many(self._entries(rows, first), chunk=16_384)

    def ready(self) -> None:
        self.reopen()
        self._gallery.repair()


def measure(store: Any, rows: Rows, queries: Rows, truth: list[set[int]]) -> dict[str, Any]:
    """Fills a store, opens it again, and asks."""
    found: dict[str, Any] = {"store": store.name, "rows": len(rows)}
    found["enrolment, s"] = seconds(lambda: store.add(rows, 0))
    found["index, s"] = seconds(store.ready)
    store.close()
    found["bytes a row"] = store.size() / len(rows)
    found["opening and first answer, ms"] = 1000 * seconds(lambda: (store.reopen(), store.search(queries[0])))
    times, hits = [], 0
    for query, wanted in zip(queries, truth, strict=True):
        began = time.perf_counter()
        answer = store.search(query)
        times.append(1000 * (time.perf_counter() - began))
        hits += len(wanted & set(answer))
    found["recall@10"] = hits / (K * len(queries))
    found["search p50, ms"], found["search p99, ms"] = (float(np.percentile(times, p)) for p in (50, 99))
    return found


def probing(store: Bulk, queries: Rows, truth: list[set[int]]) -> dict[str, Any]:
    """What a larger and a smaller share of the lists gives."""
    kept, found = store._gallery._store._settings, {}
    for share in (0.03, 0.08, 0.3):
        store._gallery._store._settings = replace(kept, probed=share)
        began, hits = time.perf_counter(), 0
        for query, wanted in zip(queries, truth, strict=True):
            hits += len(wanted & set(store.search(query)))
        took = 1000 * (time.perf_counter() - began) / len(queries)
        found |= {
            f"recall@10 in {share:.0%} of the lists": hits / (K * len(queries)),
            f"ms in {share:.0%}": took,
        }
    store._gallery._store._settings = kept
    return found


def changes(store: Bulk, rows: Rows) -> dict[str, Any]:
    """What single writes, compaction and forgetting cost at the full size."""
    gallery, times = store._gallery, []
    for i in range(SINGLES):
        began = time.perf_counter()
        store.add_one(rows[i], len(rows) + i)
        times.append(1000 * (time.perf_counter() - began))
    found: dict[str, Any] = {"one enrolment p50, ms": float(np.percentile(times, 50))}
    found["compaction after these, s"] = seconds(gallery._store._database.compact)
    found["forget, s"] = seconds(lambda: gallery.forget("person new"))
    found["items after forget"] = len(gallery)
    return found


def killed_writers(address: str, *, rounds: int) -> dict[str, Any]:
    """Kills one of six writers again and again, and counts what was acknowledged and what is there."""
    context, rng, number = fork_server.processes(), random.Random(0), 0
    living: list[tuple[Any, Any, int]] = []
    acknowledged: set[str] = set()
    wrote: set[int] = set()

    def started() -> tuple[Any, Any, int]:
        nonlocal number
        number += 1
        ours, theirs = context.Pipe()
        process = context.Process(target=lance_processes.enrol_until_told, args=(address, number, theirs))
        process.start()
        theirs.close()
        return process, ours, number

    def heard(pipe: Any, worker: int) -> None:
        with contextlib.suppress(EOFError, ConnectionResetError):
            while pipe.poll():
                done = pipe.recv()
                wrote.add(worker)
                acknowledged.update(f"{worker}/{done}/{i}" for i in range(AT_ONCE))

    living = [started() for _ in range(WRITERS)]
    began = time.monotonic()
    for _ in range(rounds):
        while not wrote >= {worker for *_, worker in living}:
            time.sleep(0.05)
            for _, pipe, worker in living:
                heard(pipe, worker)
        time.sleep(rng.uniform(0, 1))
        process, pipe, worker = living.pop(rng.randrange(len(living)))
        process.kill()
        process.join()
        heard(pipe, worker)
        living.append(started())
    for process, pipe, worker in living:
        pipe.send("stop")
        process.join()
        assert process.exitcode == 0, process.exitcode
        heard(pipe, worker)
    took = time.monotonic() - began
    with Gallery.open(address) as gallery:
        items = [record.item for record in gallery._store.scan()]
        problems = gallery.check()
    return {
        "store": "six writers, killed",
        "kills": rounds,
        "acknowledged items a second": len(acknowledged) / took,
        "acknowledged": len(acknowledged),
        "found": len(items),
        "lost": len(acknowledged - set(items)),
        "twice": len(items) - len(set(items)),
        "problems": problems,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=12, help="how many of six writers are killed")
    settings = parser.parse_args()
    rows, queries = people(settings.rows or 20)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        found.append(killed_writers(f"lance://{folder}/writers", rounds=settings.kills))
        save(found, settings)
        if not settings.rows:
            return
        flat = Flat()
        flat.add(rows, 0)
        truth = [set(flat.search(query)) for query in queries]
        contenders = [
            Flat(),
            Bulk("trine, a folder", f"lance://{folder}/people"),
            Lance(Path(folder) / "lists", lists=True),
            Bulk("trine, PostgreSQL without an index", postgres_server.a_gallery("exact")),
        ]
        for store in contenders:
            some = slice(25 if "PostgreSQL" in store.name else None)  # each compares a million rows
            found.append(measure(store, rows, queries[some], truth[some]))
            if store.name == "trine, a folder":
                found[-1] |= probing(store, queries[:60], truth[:60]) | changes(store, rows)
            save(found, settings)
            store.close()
    sys.exit(bool(found[0]["lost"] or found[0]["twice"] or found[0]["problems"]))


def save(found: list[dict[str, Any]], settings: argparse.Namespace) -> None:
    """Keeps what was measured so far."""
    killed, *others = found
    summary: dict[str, Any] = {
        "six writers": (
            f"{killed['kills']} kills, {killed['acknowledged']:,} items acknowledged, {killed['lost']} lost, "
            f"{killed['twice']} there twice, problems: {killed['problems'] or 'none'}"
        )
    }
    for row in others:
        measured = {name: value for name, value in row.items() if isinstance(value, float)}
        summary |= {f"{row['store']}: {name}": round(value, 3) for name, value in measured.items()}
    given = ["--rows", settings.rows, "--kills", settings.kills]
    keep("gallery_lance", str(__doc__), rows=found, summary=summary, arguments=given)


if __name__ == "__main__":
    main()
