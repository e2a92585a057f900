"""Does a rate that folds of the training promise hold for strangers of the whole training?

Each turn sets two classes aside, trains on the others, and calibrates by folds that leave some of these out
in turn. The classes set aside are then strangers: how many of their items does a gallery of the training
items name (FPIR), and how many pairs of the two are accepted (FAR)? The theory allows twice the promise.

    python benchmarks/folds.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from results import keep
from trine.data import Dataset, load
from trine.distances import pairwise_distances
from trine.encoders import load as load_encoder
from trine.gallery import Gallery
from trine.pipelines import train_run
from trine.training import load_recipe

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS: dict[str, Callable[[], Dataset]] = {
    "digits": lambda: load("digits")[0],
    "malware_big2015": lambda: load(DATA / "malware_big2015" / "big2015.csv.gz", label="family")[0],
}
SETTINGS = {"training.steps": 200, "data.test": 0.3, "data.split": "stratified"}


def turn(data: Dataset, aside: np.ndarray, folds: int) -> dict[str, float]:
    strangers = data.subset(np.flatnonzero(np.isin(data.labels, aside)))
    known = data.subset(np.flatnonzero(~np.isin(data.labels, aside)))
    recipe = load_recipe("default", overrides={**SETTINGS, "data.calibration_folds": folds})
    with tempfile.TemporaryDirectory() as folder:
        train_run(known, recipe, out=f"{folder}/run", progress=False)
        encoder = load_encoder(f"{folder}/run")
        rows = encoder.embed(strangers)
        with Gallery.open(f"{folder}/g.db", encoder=encoder) as gallery:
            gallery.enrol_dataset(known)
            found = gallery.calibration()
            answers = gallery.identify_many(embeddings=rows)
    named = np.array([bool(answer.accepted) for answer in answers])
    calibration, labels = encoder.calibration, strangers.labels
    assert calibration is not None
    assert found.promise is not None
    both = [torch.from_numpy(rows[labels == label]) for label in np.unique(labels)]
    near = pairwise_distances(*both, distance=encoder.distance).numpy()
    return {
        "fpir promised": found.promise.rate,
        "fpir": float(np.mean([named[labels == label].mean() for label in np.unique(labels)])),
        "far promised": calibration.promise.rate,
        "far": float((near <= calibration.threshold).mean()),
    }


def main() -> None:
    rows = []
    for name, read in SETS.items():
        data = read()
        if len(data) > 3000:
            data = data.subset(np.sort(np.random.default_rng(0).permutation(len(data))[:3000]))
        classes = np.random.default_rng(0).permutation(np.unique(data.labels))
        for aside in np.array_split(classes, len(classes) // 2):
            found = turn(data, aside, folds=3 if len(classes) > 8 else 2)
            rows.append({"set": name, **{key: round(value, 4) for key, value in found.items()}})
            print(rows[-1], flush=True)
    summary: dict[str, object] = {"turns": len(rows)}
    for rate in ("fpir", "far"):
        ratios = np.array([row[rate] / row[f"{rate} promised"] for row in rows])
        summary[f"{rate}: mean ratio to the promise"] = round(float(ratios.mean()), 2)
        summary[f"{rate}: turns above twice the promise"] = int((ratios > 2).sum())
    print(summary)
    keep("folds", __doc__, rows=rows, summary=summary)


if __name__ == "__main__":
    main()
