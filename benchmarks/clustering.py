"""How long do 20,000 embeddings take to cluster, and how well do both methods find 2,000 identities?

The embeddings have 128 numbers and lie on the unit sphere, their identities are of unequal size, and the
threshold is chosen on 4,000 items of 200 others, and moved to 20,000 items. The peer is scikit-learn's
average linkage at the same threshold.

    python benchmarks/clustering.py
"""

from __future__ import annotations

import time

import numpy as np
from sklearn.cluster import AgglomerativeClustering

from results import keep
from trine.clustering import cluster
from trine.evaluation import choose_cluster_threshold, clustering_from_assignment

ITEMS, WIDTH, IDENTITIES = 20_000, 128, 2_000
METHODS = ("connected", "average")


def drawn(random: np.random.Generator, identities: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.sort(random.choice(identities, items, p=random.dirichlet(np.ones(identities))))
    rows = random.normal(size=(identities, WIDTH))[labels] + 0.8 * random.normal(size=(items, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def main() -> None:
    random = np.random.default_rng(0)
    rows, labels = drawn(random, IDENTITIES, ITEMS)
    others = drawn(random, 200, 4_000)
    summary: dict[str, object] = {"items": ITEMS, "width": WIDTH, "identities": len(np.unique(labels))}
    start = time.perf_counter()
    chosen = choose_cluster_threshold(*others)
    summary["seconds to choose the thresholds"] = round(time.perf_counter() - start, 1)
    for method in METHODS:
        threshold = chosen.at(ITEMS, method)
        summary[f"{method}: threshold for 4,000 items"] = chosen.linkages[method].threshold
        summary[f"{method}: threshold for 20,000 items"] = threshold
        unmoved = cluster(rows, threshold=chosen.linkages[method].threshold, method=method)
        scored = clustering_from_assignment(unmoved, labels, resamples=0)
        summary[f"{method}: bcubed_f at the threshold for 4,000 items"] = scored.bcubed_f
        start = time.perf_counter()
        found = cluster(rows, threshold=threshold, method=method)
        summary[f"{method}: seconds"] = round(time.perf_counter() - start, 1)
        start = time.perf_counter()
        report = clustering_from_assignment(found, labels)
        metrics = report.to_json()
        took = time.perf_counter() - start
        summary[f"{method}: seconds of the metrics and their intervals"] = round(took, 2)
        for name in ("clusters", "pairwise_f", "bcubed_f", "nmi", "ami", "ari"):
            summary[f"{method}: {name}"] = metrics[name]
    report = clustering_from_assignment(np.zeros(ITEMS, dtype=np.int64), labels, resamples=0)
    summary["every item alone: bcubed_f"] = report.bcubed_f_alone
    summary["all in one: bcubed_f"] = report.bcubed_f_all_in_one
    peer = AgglomerativeClustering(n_clusters=None, distance_threshold=threshold, linkage="average")
    start = time.perf_counter()
    peer.fit(rows)
    summary["scikit-learn, average linkage: seconds"] = round(time.perf_counter() - start, 1)
    keep("clustering", __doc__, rows=[summary], summary=summary)


if __name__ == "__main__":
    main()
