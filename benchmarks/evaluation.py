"""What does an exact evaluation cost, beside the bare search and beside what people use?

Each contestant runs in its own process, on one core, and says its seconds (wall and processor, without
making the data) and its peak memory: the largest resident set of that process, with the interpreter, the
libraries and the embeddings themselves. On a busy machine compare processor seconds.

- `products`: 60,502 x 512 random embeddings around the centres of 11,316 classes, the size of the test set of
  Stanford Online Products. trine's retrieval (recall at 1, 10, 100, 1000, MAP@R and all its other figures)
  against nothing but FAISS's exact search for 1000 neighbours, and against AccuracyCalculator of
  pytorch-metric-learning, which searches for no more neighbours than its figures need: the largest class.
- `market`: 3,368 probes, a gallery of 15,913, 2,048-d: the size of Market-1501. trine's identification
  against a matrix product and a sort of every row, with no figure computed.

    python benchmarks/evaluation.py                   # everything, at full size
    python benchmarks/evaluation.py products 0.25     # a quarter of the items
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from results import write

LIMIT_S = 600  # a contestant that takes longer is stopped, and the result records it
AT = (1, 10, 100, 1000)


def clustered(items: int, classes: int, width: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around random centres; every class has an item."""
    random = np.random.default_rng(0)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, items - classes)])
    centres = random.standard_normal((classes, width), dtype=np.float32)
    rows = centres[labels]
    rows += noise * random.standard_normal((items, width), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, labels


def products(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings whose recall@1 is near neither 0 nor 1."""
    return clustered(round(60502 * scale), round(11316 * scale), 512, 2.4)


def market(scale: float) -> tuple[np.ndarray, ...]:
    """Probes and gallery of 750 people before six cameras, with 2,793 distractors."""
    n, m, people = round(3368 * scale), round(15913 * scale), round(750 * scale)
    rows, labels = clustered(n + m, people, 2048, 3.5)
    random = np.random.default_rng(1)
    labels, cameras = labels + 1, random.integers(1, 7, n + m)
    labels[n:][random.random(m) < 2793 / 15913] = 0
    return rows[:n], labels[:n], cameras[:n], rows[n:], labels[n:], cameras[n:]


def trine_products(scale: float) -> Callable[[], dict[str, float]]:
    from trine.evaluation import retrieval

    x, y = products(scale)

    def run() -> dict[str, float]:
        report = retrieval(x, y, at=AT)
        return {f"recall@{k}": report.recall_at(k) for k in AT} | {"MAP@R": report.map_at_r}

    return run


def trine_json(scale: float) -> Callable[[], dict[str, float]]:
    from trine.evaluation import retrieval

    x, y = products(scale)

    def run() -> dict[str, float]:
        found = retrieval(x, y, at=AT).to_json()
        assert found["intervals"] is not None
        return {"MAP@R": float(str(found["map_at_r"]))}

    return run


def faiss_search(kind: str, scale: float) -> Callable[[], dict[str, float]]:
    import faiss

    faiss.omp_set_num_threads(1)
    x, _ = products(scale)

    def run() -> dict[str, float]:
        index = getattr(faiss, kind)(x.shape[1])
        index.add(x)
        index.search(x, max(AT) + 1)
        return {}

    return run


def accuracy_calculator(scale: float) -> Callable[[], dict[str, float]]:
    import faiss
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    faiss.omp_set_num_threads(1)
    x, y = products(scale)

    def run() -> dict[str, float]:
        calculator = AccuracyCalculator(
            include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
            k="max_bin_count",
            device=torch.device("cpu"),
        )
        found = calculator.get_accuracy(torch.from_numpy(x), torch.from_numpy(y))
        return {"recall@1": found["precision_at_1"], "MAP@R": found["mean_average_precision_at_r"]}

    return run


def trine_market(scale: float) -> Callable[[], dict[str, float]]:
    from trine.evaluation import identification

    x, labels, cameras, gallery, theirs, seen = market(scale)

    def run() -> dict[str, float]:
        report = identification(x, labels, gallery, theirs, probe_cameras=cameras, gallery_cameras=seen)
        return {"rank-1": report.cmc(1), "mAP": report.mean_average_precision}

    return run


def product_and_sort(scale: float) -> Callable[[], dict[str, float]]:
    x, _, _, gallery, _, _ = (torch.from_numpy(side) for side in market(scale))

    def run() -> dict[str, float]:
        squares = gallery.square().sum(1) - 2 * (x @ gallery.T)
        squares.sort(dim=1)
        return {}

    return run


def product_and_vector_sort(scale: float) -> Callable[[], dict[str, float]]:
    x, _, _, gallery, _, _ = (torch.from_numpy(side) for side in market(scale))

    def run() -> dict[str, float]:
        squares = gallery.square().sum(1) - 2 * (x @ gallery.T)
        np.argsort(squares.numpy(), axis=1)
        return {}

    return run


CONTESTANTS: dict[str, dict[str, Callable[[float], Callable[[], dict[str, float]]]]] = {
    "products": {
        "faiss.IndexFlatL2, k = 1001": lambda scale: faiss_search("IndexFlatL2", scale),
        "faiss.IndexFlatIP, k = 1001": lambda scale: faiss_search("IndexFlatIP", scale),
        "trine.evaluation.retrieval": trine_products,
        "the same with to_json and intervals": trine_json,
        "AccuracyCalculator, k = largest class": accuracy_calculator,
    },
    "market": {
        "torch product and sort": product_and_sort,
        "torch product and numpy argsort": product_and_vector_sort,
        "trine.evaluation.identification": trine_market,
    },
}


def contest(part: str, name: str, scale: float) -> dict[str, object]:
    """Runs one contestant in its own process."""
    command = [sys.executable, __file__, "one", part, name, str(scale)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LIMIT_S + 60, check=True
        )
    except subprocess.TimeoutExpired:
        return {"part": part, "name": name, "scale": scale, "stopped_after_seconds": LIMIT_S}
    row: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return row


def one(part: str, name: str, scale: float) -> None:
    """Times a contestant, without making its data, and prints what it took."""
    torch.set_num_threads(1)
    run = CONTESTANTS[part][name](scale)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, processor = time.perf_counter(), time.process_time()
    figures = run()
    row: dict[str, object] = {
        "part": part,
        "name": name,
        "scale": scale,
        "seconds": round(time.perf_counter() - wall, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "peak_before_mib": before // 1024,
        **{figure: round(value, 4) for figure, value in figures.items()},
    }
    print(json.dumps(row))


def ratio(rows: list[dict[str, object]], name: str, limit: str, clock: str) -> float:
    """The time of one contestant over that of another."""
    times = {row["name"]: row for row in rows}
    return round(float(str(times[name][clock])) / float(str(times[limit][clock])), 2)


def main(*arguments: str) -> None:
    parts = arguments[:1] or tuple(CONTESTANTS)
    scale = float(arguments[1]) if len(arguments) > 1 else 1.0
    rows: list[dict[str, object]] = []
    for part in parts:
        for name in CONTESTANTS[part]:
            rows.append(contest(part, name, scale))
            print(rows[-1], flush=True)
    summary: dict[str, float] = {}
    for name, limits in (
        ("trine.evaluation.retrieval", ["faiss.IndexFlatL2, k = 1001", "faiss.IndexFlatIP, k = 1001"]),
        ("trine.evaluation.identification", ["torch product and sort", "torch product and numpy argsort"]),
    ):
        for limit in limits:
            if {name, limit} <= {row["name"] for row in rows}:
                summary[f"{name} over {limit}, wall time"] = ratio(rows, name, limit, "seconds")
                summary[f"{name} over {limit}, processor time"] = ratio(
                    rows, name, limit, "processor_seconds"
                )
    for row in rows:
        if "peak_mib" in row:
            summary[f"{row['name']}: seconds"] = float(str(row["seconds"]))
            summary[f"{row['name']}: processor seconds"] = float(str(row["processor_seconds"]))
            summary[f"{row['name']}: peak memory in MiB"] = int(str(row["peak_mib"]))
        else:
            summary[f"{row['name']}: stopped after seconds"] = LIMIT_S
    print(json.dumps(summary, indent=1))
    if scale == 1 and len(parts) == len(CONTESTANTS):
        command = f"python benchmarks/{Path(__file__).name}"
        write("evaluation", command=command, question=__doc__.splitlines()[0], rows=rows, summary=summary)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        main(*sys.argv[1:])
