"""How well does a library of photos put the faces of each person together, at once and as it grows?

People of folds 1, 4 and 5 of Labeled Faces in the Wild, each picture found, aligned and embedded as
`trine cluster --detect` does it, and clustered by the gallery of a library with the threshold that trine
brings: all pictures at once, and in five parts in random order. DBSCAN and HDBSCAN see all at once, each
with its best settings on the people of folds 2 and 3, on whom trine's threshold was chosen as well. Once for
the people with five pictures or more, and once for all of them, most of whom have one.

    OMP_NUM_THREADS=1 python benchmarks/faces_library.py ../shared/data/faces_lfw    # three minutes
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import DBSCAN, HDBSCAN

from faces_pretrained import WEIGHTS, embedded, read
from results import keep
from trine.data.image_decoding import decode
from trine.encoders import Encoder, load
from trine.evaluation.clustering import Clustering, clustering_from_assignment
from trine.faces import FaceDetector
from trine.gallery import Entry, Gallery

CHOSEN_ON, MEASURED_ON = (2, 3), (1, 4, 5)
PARTS = 5
METHODS = {
    "DBSCAN": [DBSCAN(eps=eps, min_samples=m) for eps in np.linspace(0.2, 0.6, 33) for m in (2, 3, 5)],
    "HDBSCAN": [
        HDBSCAN(min_cluster_size=m, min_samples=s, cluster_selection_method=how, copy=True)
        for m in (2, 3, 5) for s in (1, 2, 3) for how in ("eom", "leaf")
    ],
}  # fmt: skip


def score(assigned: np.ndarray, people: np.ndarray) -> Clustering:
    """The clusters as they are judged; what a method calls noise is alone."""
    alone = np.where(assigned < 0, assigned.max() + 1 + np.arange(len(assigned)), assigned)
    return clustering_from_assignment(alone, people)


def grown(rows: np.ndarray, encoder: Encoder, parts: Sequence[np.ndarray]) -> np.ndarray:
    """The clusters of a gallery that gets its faces in parts."""
    with Gallery.open(":memory:", encoder=encoder) as gallery:
        for part in parts:
            gallery.enrol_many(Entry("?", f"{at:05}", rows[at]) for at in part)
            found = gallery.cluster(linkage="average", revise=True).of
    return np.array([found[name] for name in sorted(found)])


def main() -> None:
    folder = Path(sys.argv[1])
    pictures, encoder = read(folder), load(WEIGHTS)
    plain = embedded(
        lambda place: decode(folder / "images" / pictures.names[place]),
        len(pictures.names), FaceDetector(), encoder,
    )  # fmt: skip
    of_fold = {who: fold for pair, fold in zip(pictures.pairs, pictures.fold, strict=True)
               for who in pictures.people[pair].tolist()}  # fmt: skip
    fold = np.array([of_fold[who] for who in pictures.people.tolist()])
    fold += 1 - fold.min()
    sizes = np.bincount(pictures.people)[pictures.people]
    tables: list[dict[str, Any]] = []
    for least in (5, 1):
        there = plain.found & (sizes >= least)
        known, asked = (there & np.isin(fold, folds) for folds in (CHOSEN_ON, MEASURED_ON))
        x, y = plain.rows[known], plain.rows[asked]
        others, people = pictures.people[known], pictures.people[asked]
        order = np.random.default_rng(0).permutation(len(y))
        found = {
            "trine, at once": grown(y, encoder, [order]),
            "trine, in five parts": grown(y, encoder, np.array_split(order, PARTS)),
        }
        for name, methods in METHODS.items():
            best = max(methods, key=lambda one: score(one.fit_predict(x), others).bcubed_f)
            found[name] = best.fit_predict(y)
        for name, assigned in found.items():
            report = score(assigned, people)
            interval = report.interval("bcubed_f")
            tables.append({
                "method": name, "people": len(np.unique(people)), "pictures": len(y), "least": least,
                "clusters": len(np.unique(assigned)),
                "BCubed F": round(report.bcubed_f, 4),
                "low": round(interval.low, 4), "high": round(interval.high, 4),
                "precision": round(report.bcubed_precision, 4), "recall": round(report.bcubed_recall, 4),
            })  # fmt: skip
            print(tables[-1], flush=True)
    summary = {}
    for line in tables:
        asked = f"{line['people']} people with {line['least']} pictures or more ({line['pictures']})"
        interval = f"{line['BCubed F']:.3f} ({line['low']:.3f} to {line['high']:.3f})"
        both = f"precision {line['precision']:.3f}, recall {line['recall']:.3f}"
        summary[f"{asked}, {line['method']}"] = f"BCubed F {interval}, {both}"
    keep("faces_library", str(__doc__), rows=tables, summary=summary, arguments=sys.argv[1:])


if __name__ == "__main__":
    main()
