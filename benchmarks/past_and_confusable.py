"""Does a small batch learn more by remembering past ones, or by bringing confusable identities together?

Batches of 8 × 4 handwritten characters, a small network from scratch, 400 steps: 95 characters to learn from,
and 41 never seen to look at, over five random splits. Everything but the way batches are made stays the same.

    python benchmarks/past_and_confusable.py ../shared/data/glyphs_omniglot/omniglot_dev.npz
"""

from __future__ import annotations

import sys

import numpy as np

from results import keep, spread, timed_run
from trine.data import Dataset, ImageArray, split
from trine.evaluation import retrieval
from trine.training import fit, load_recipe

SEEDS = range(5)
SETTINGS = {
    "encoder.small_resnet.width": 16,
    "sampler.identities": 8,
    "sampler.items": 4,
    "training.steps": 400,
}
VARIANTS = {
    "plain": {},
    "memory 1024, warm-up 0.1": {"loss.memory": 1024, "loss.memory_warmup": 0.1},
    "memory 1024, warm-up 0.5": {"loss.memory": 1024, "loss.memory_warmup": 0.5},
    "confusable 0.5": {"sampler.confusable": 0.5},
    "hard": {"loss.mining": "hard"},
    "hard, confusable 0.5": {"loss.mining": "hard", "sampler.confusable": 0.5},
}


def characters(path: str) -> Dataset:
    """The pictures, 35 × 35, in grey."""
    file = np.load(path, allow_pickle=False)
    pixels = np.unpackbits(file["x"], axis=1)[:, :11025].reshape(-1, 35, 3, 35, 3).mean(axis=(2, 4)) * 255
    names = tuple(f"item {i}" for i in range(len(pixels)))
    return Dataset(
        ImageArray(pixels.astype(np.uint8)), file["y"].astype(np.int64), tuple(file["names"]), names
    )


def main(path: str, seeds: range = SEEDS) -> None:
    data, rows = characters(path), []
    for seed in seeds:
        parts = split(data, method="identity", test=0.3, seed=seed)
        test = data.subset(parts.test)
        for way, settings in VARIANTS.items():
            recipe = load_recipe(overrides={"seed": seed, **SETTINGS, **settings})
            with timed_run() as (run, took):
                encoder = fit(data.subset(parts.train), recipe, out=run, progress=False)
            found = retrieval(encoder.embed(test), test.labels, distance=encoder.distance)
            metrics = {"recall@1": found.recall_at(1), "MAP@R": found.map_at_r}
            rows.append({"seed": seed, "way": way, "seconds": took.seconds, **metrics})
            print(rows[-1], flush=True)
    summary = {
        f"{way}: {name}": spread([row[name] for row in rows if row["way"] == way])
        for way in VARIANTS
        for name in ("recall@1", "MAP@R")
    }
    keep("past_and_confusable", __doc__, rows=rows, summary=summary, arguments=[path])


if __name__ == "__main__":
    main(*sys.argv[1:2])
