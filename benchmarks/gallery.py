"""How fast is a gallery, how exact, and how large?

Up to a million rows of 128 numbers, made like embeddings: 20 rows a person, each the person's random
direction plus random noise 0.7 times as long, normalised. Queries are further rows of the same people. Bare
FAISS (IndexFlatL2) is the limit: numbers in memory, no names, nothing kept. All have one thread on one core.
FAISS and the galleries take turns query by query, in an order drawn again for each; LanceDB does so after
them, since its threads go on after an answer and would slow down the next one.

    export OMP_WAIT_POLICY=passive PYTHONPATH=peers
    nice -n -15 taskset -c 1 python benchmarks/gallery.py [ADDRESS ...]

An address is that of a further, empty gallery, such as one in a server.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from gallery_report import report
from gallery_stores import GROUPS, Contender, K, Kept, Lance, Rows, contenders
from results import FOLDER, write

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUERIES = 200
SINGLES = 200
BATCH = 256


def people(count: int, *, seed: int = 0) -> tuple[Rows, Rows]:
    """Rows and queries, as the top of this file says."""
    rng = np.random.default_rng(seed)
    directions = _unit(rng.standard_normal((count // 20, 128), dtype=np.float32))

    def of(persons: Any) -> Rows:
        noise = _unit(rng.standard_normal((len(persons), 128), dtype=np.float32))
        return _unit(directions[persons] + np.float32(0.7) * noise)

    return of(np.arange(count) // 20), of(rng.integers(len(directions), size=QUERIES))


def _unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def seconds(call: Callable[[], Any]) -> float:
    """How long a call took."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def fill(store: Contender, rows: Rows, queries: Rows) -> dict[str, Any]:
    """Adds all rows, then some one by one, closes, and opens again."""
    found: dict[str, Any] = {"bulk rows/s": len(rows) / seconds(lambda: store.add(rows, 0))}
    found["prepare s"] = seconds(store.ready)
    singles = [seconds(lambda i=i: store.add_one(queries[i] + 9, len(rows) + i)) for i in range(SINGLES)]
    found["single ms"] = 1000 * float(np.median(singles))
    store.close()
    found["bytes per row"] = store.size() / (len(rows) + SINGLES)

    def first_answer() -> None:
        store.reopen()
        store.search(queries[0])

    found["open s"] = seconds(first_answer)
    return found


def ask(stores: list[Contender], rows: Rows, queries: Rows) -> dict[str, dict[str, Any]]:
    """Asks everything of some, which take turns."""
    order = np.random.default_rng(0)
    times: dict[str, dict[str, list[float]]] = {s.name: {"one": [], "group": []} for s in stores}
    right: dict[str, dict[str, int]] = {s.name: {"one": 0, "group": 0} for s in stores}
    exact = _exact(rows, queries, None)
    groups = np.arange(len(queries)) % GROUPS
    of_group = [_exact(rows, queries[i : i + 1], group)[0] for i, group in enumerate(groups)]
    for i, (query, group) in enumerate(zip(queries, groups.tolist(), strict=True)):
        for store in order.permutation(np.array(stores, dtype=object)):
            began = time.perf_counter()
            answer = store.search(query)
            between = time.perf_counter()
            of_the_group = store.search_group(query, group)
            times[store.name]["one"].append(between - began)
            times[store.name]["group"].append(time.perf_counter() - between)
            right[store.name]["one"] += len(set(answer) & set(exact[i]))
            right[store.name]["group"] += len(set(of_the_group) & set(of_group[i]))
    batched = {
        s.name: [seconds(lambda s=s: s.search_many(queries[:BATCH])) for _ in range(3)] for s in stores
    }
    return {
        name: {
            "p50 ms": 1000 * float(np.median(kinds["one"])),
            "p99 ms": 1000 * float(np.quantile(kinds["one"], 0.99)),
            "recall@10": right[name]["one"] / (K * len(queries)),
            "batched queries/s": len(queries[:BATCH]) / float(np.median(batched[name])),
            "filtered p50 ms": 1000 * float(np.median(kinds["group"])),
            "filtered recall@10": right[name]["group"] / (K * len(queries)),
        }
        for name, kinds in times.items()
    }


def _exact(rows: Rows, queries: Rows, group: int | None) -> list[list[int]]:
    """The ten nearest by a plain product in float64 (all rows are as long as each other)."""
    first, step = (0, 1) if group is None else (group, GROUPS)
    chosen = rows[first::step]
    similarity = np.concatenate(
        [
            queries.astype(np.float64) @ chosen[at : at + (1 << 16)].T.astype(np.float64)
            for at in range(0, len(chosen), 1 << 16)
        ],
        axis=1,
    )
    best = np.argpartition(-similarity, K - 1, axis=1)[:, :K]
    return (first + step * best).tolist()


def main(addresses: list[str]) -> None:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    found: list[dict[str, Any]] = []
    for size in SIZES:
        rows, queries = people(size)
        with tempfile.TemporaryDirectory() as folder:
            stores = contenders(Path(folder), addresses)
            filled = {}
            for store in stores:
                filled[store.name] = fill(store, rows, queries)
                print(size, store.name, filled[store.name], flush=True)
            for store in stores:
                if isinstance(store, Kept):
                    store.ready()
            apart = [store for store in stores if isinstance(store, Lance)]
            asked = ask([store for store in stores if store not in apart], rows, queries)
            asked |= ask(apart, rows, queries[: QUERIES // 2])
            for store in stores:
                name = store.name
                found.append(
                    {"rows": size, "store": name, "durable": store.durable, **filled[name], **asked[name]}
                )
                print(size, name, asked[name], flush=True)
                store.close()
        keep(found)


def keep(found: list[dict[str, Any]]) -> None:
    """Writes what has been found so far."""
    times_limit = {
        f"{row['store']}, {row['rows']:,} rows, p50 as a multiple of FAISS flat": row["p50 ms"]
        / limit["p50 ms"]
        for row in found
        for limit in found
        if limit["store"] == "FAISS flat" and limit["rows"] == row["rows"] and row is not limit
    }
    write(
        "gallery",
        command="nice -n -15 taskset -c 1 python benchmarks/gallery.py",
        question=__doc__.splitlines()[0],
        rows=found,
        summary=times_limit,
    )
    record = json.loads((FOLDER / "gallery.json").read_text())
    (FOLDER / "gallery.md").write_text(report(record, __doc__))


if __name__ == "__main__":
    main(sys.argv[1:])
