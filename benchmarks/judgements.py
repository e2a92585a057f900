"""How many of people's judgements of shoes does an encoder agree with that learned from others of them?

`triplets_zappos`: 283,770 judgements "a is more like b than like c" about 85 photos, each question asked
once, with AlexNet features of the photos. Five divisions: of the judgements (known photos), and of the photos
(those of the test never seen). Beside the recipe: the features alone, compared in the best of four ways on
the very judgements of the test; an embedding that is free for each photo and sees no feature, for known
photos what there is to reach; and a small network from the pictures.

    python benchmarks/judgements.py --data ../shared/data/triplets_zappos
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from results import Outcome, keep, spread
from trine.data import Dataset, TripletTable, Vectors, load, read_triplets
from trine.pipelines import train_on_judgements
from trine.training import load_recipe

SEEDS, PICTURE_SEEDS = 5, 2
NAMES = {"triplets": "known photos", "items": "photos never seen"}
PICTURES = {"training.learning_rate": "1e-3"}


def measured(
    data: Dataset, judged: TripletTable, split: str, seed: int, what: str, **settings: str
) -> dict[str, Any]:
    """Trains once, and takes the agreement with the test judgements, before and after."""
    recipe = load_recipe(
        "judgements",
        overrides={"seed": seed, "data.split": split, "training.threads": 1, **settings},
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        report = train_on_judgements(data, judged, recipe, out=Path(folder) / "run", progress=False)
        seconds = time.perf_counter() - began
    before, after = report.before.triplet_accuracy, report.after.triplet_accuracy
    row = {
        "from": what,
        "split": split,
        "seed": seed,
        "judgements": len(after.margins),
        "before": before.accuracy,
        "how": report.baseline.description,
        "after": after.accuracy,
        "seconds": round(seconds, 1),
    }
    print(row, file=sys.stderr, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True, help="the folder triplets_zappos")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    judged = read_triplets(arguments.data / "triplets.csv.gz")
    features, _ = load(arguments.data / "alexnet_feats.npz", labelled=False)
    pictures, _ = load(arguments.data / "images", labelled=False)
    free = replace(features, items=Vectors(np.eye(len(features), dtype=np.float32)))

    rows = []
    for seed in range(arguments.seeds):
        for split in NAMES:
            rows.append(measured(features, judged, split, seed, "features"))
            if seed < PICTURE_SEEDS:
                rows.append(measured(pictures, judged, split, seed, "pictures", **PICTURES))
        rows.append(measured(free, judged, "triplets", seed, "nothing (free embedding)"))

    def of(what: str, split: str, key: str = "after") -> list[float]:
        return [row[key] for row in rows if row["from"] == what and row["split"] == split]

    summary: dict[str, Any] = {}
    for split, name in NAMES.items():
        for key, words in (("before", "features alone"), ("after", "learned from features")):
            summary[f"{name}: {words}"] = spread(of("features", split, key))
        summary[f"{name}: learned from pictures"] = spread(of("pictures", split))
    free_found = spread(of("nothing (free embedding)", "triplets"))
    summary["known photos: free embedding, no features"] = free_found

    base = "trine train triplets_zappos/alexnet_feats.npz --triplets triplets_zappos/triplets.csv.gz"
    outcomes = []
    for split, name in NAMES.items():
        baselines = {"features alone": statistics.mean(of("features", split, "before"))}
        if split == "triplets":
            baselines["free embedding, no features"] = free_found["mean"]
        more = "" if split == "triplets" else " --set data.split=items"
        outcomes.append(
            Outcome(
                recipe="judgements",
                data=f"triplets_zappos, {name}",
                metric="triplet agreement",
                values=of("features", split),
                baselines=baselines,
                seconds=statistics.mean(of("features", split, "seconds")),
                command=f"{base} --recipe judgements --out runs/shoes{more}",
            )
        )
    seen, unseen = (statistics.mean(of("pictures", split)) for split in NAMES)
    pixels = statistics.mean(of("pictures", "items", "before"))
    failures = [
        f"From 85 pictures a network that starts at nothing learns the known ones (agreement {seen:.3f}) and "
        f"little about others: {unseen:.3f} on photos never seen, where raw pixels come to {pixels:.3f}."
    ]
    keep(
        "judgements",
        __doc__ or "",
        rows=rows,
        summary=summary,
        arguments=["--data", "triplets_zappos"],
        outcomes=outcomes,
        failures=failures,
    )


if __name__ == "__main__":
    main()
