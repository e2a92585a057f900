"""How long does verification over every pair take, with its intervals, and how much memory?

    OMP_NUM_THREADS=1 python benchmarks/all_pairs.py

Unit rows of 128 numbers around random centres, ten or so of each identity; every unordered pair is measured,
and none is sampled (`max_pairs=None`). The peak is that of the process, which has measured the smaller sets
before.
"""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np

from results import keep
from trine.evaluation import verification

SIZES = ((1415, 200), (4473, 400), (50_000, 5000))


def rows(items: int, identities: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows, and whose they are."""
    random = np.random.default_rng(0)
    labels = np.arange(items) % identities
    x = random.normal(size=(identities, 128))[labels] + 2 * random.normal(size=(items, 128))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), labels


def main() -> None:
    found: list[dict[str, Any]] = []
    for items, identities in SIZES:
        x, labels = rows(items, identities)
        begun = time.perf_counter()
        report = verification(x, labels, max_pairs=None)
        metrics = {"roc_auc": report.roc_auc, "tar_at_far 0.001": report.tar_at_far(0.001)}
        measured = time.perf_counter()
        report.interval("tar_at_far", 0.001)
        found.append(
            {
                "items": items,
                "pairs": report.pairs_total,
                "seconds": round(measured - begun, 2),
                "seconds of the intervals": round(time.perf_counter() - measured, 2),
                "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
                **metrics,
            }
        )
        print(found[-1], flush=True)
    summary = {
        f"{row['pairs']:,} pairs: {name}": row[name]
        for row in found
        for name in ("seconds", "seconds of the intervals", "peak MiB")
    }
    keep("all_pairs", __doc__, rows=found, summary=summary)


if __name__ == "__main__":
    main()
