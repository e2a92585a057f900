"""Does a batch of 1,800 faces teach more than one of 128?

A small network learns from the people of folds 1 to 3 of Labeled Faces in the Wild who have at least two
pictures. Learning rate and threshold are chosen on the 600 pairs of fold 4, the rate at the first seed; the
600 pairs of fold 5 are looked at once for each run that is reported. Batches have 32 or 450 people with up
to 4 pictures each, the large ones by gradient caching; the curriculum goes from semi-hard to hard triplets
at half of the run. What is done is kept after each run and not done again, unless results/faces_lfw.json is
deleted.

    OMP_NUM_THREADS=1 python benchmarks/faces_lfw.py ../shared/data/faces_lfw    # under an hour
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from results import FOLDER, describe, spread, timed_run, write
from trine.data import Dataset, ImageArray, PKSampler, load, read_pairs, split_by_folds
from trine.encoders import Encoder
from trine.evaluation import Verification, verification
from trine.pipelines import listed_pairs
from trine.training import Recipe, fit, load_recipe

SEEDS = (0, 1, 2)
STEPS, CHUNK, SIDE, STAGES, POOL = 250, 128, 48, (1, 1), 3
SMALL, LARGE, EACH = 32, 450, 4
CHOSEN_ON, REPORTED = "4", "5"


@dataclass(frozen=True)
class Row:
    """One way to train.

    Attributes:
        name: Its name in the table.
        people: How many are in a batch.
        steps: How many batches.
        rates: The learning rates to choose from.
        curriculum: Whether the second half learns from hard triplets.
    """

    name: str
    people: int
    steps: int
    rates: tuple[float, ...]
    curriculum: bool = False


@dataclass(frozen=True)
class Faces:
    """Pictures of some people, and pairs of them.

    Attributes:
        data: The pictures.
        pairs: Rows of two positions.
        same: Whether each pair is of one person.
    """

    data: Dataset
    pairs: np.ndarray
    same: np.ndarray

    def judge(self, embeddings: np.ndarray) -> Verification:
        """Measures the distances of the pairs."""
        return verification(embeddings, pairs=self.pairs, same=self.same)


def read(folder: str) -> tuple[Dataset, dict[str, Faces]]:
    """Reads the training pictures and the pairs of folds 4 and 5."""
    whole, report = load(Path(folder) / "images")
    print(report)
    table = read_pairs(Path(folder) / "pairs.csv")
    parts = split_by_folds(whole, table, test=[REPORTED], validation=[CHOSEN_ON])
    counts = np.bincount(whole.labels)
    training = parts.train[counts[whole.labels[parts.train]] > 1]
    judged = {}
    for fold, part in ((CHOSEN_ON, parts.validation), (REPORTED, parts.test)):
        own = listed_pairs(table, whole, part)
        named, places = np.unique(own.pairs, return_inverse=True)
        judged[fold] = Faces(_decoded(whole, part[named]), places.reshape(-1, 2), own.same)
    return _decoded(whole, training), judged


def _decoded(whole: Dataset, positions: np.ndarray) -> Dataset:
    part = whole.subset(positions)
    pixels = np.stack([part.items[at] for at in range(len(part))])
    return Dataset(ImageArray(pixels), part.labels, part.identities, part.names)


def per_step(labels: np.ndarray, people: int) -> float:
    """Counts the pictures of an average batch."""
    sampler = PKSampler(labels, identities=people, items=EACH, last="drop")
    sizes = []
    for epoch in range(20):
        sampler.set_epoch(epoch)
        sizes += [len(batch) for batch in sampler]
    return float(np.mean(sizes))


def rows_of(small: float, large: float) -> list[Row]:
    """Lists what is compared, the cheapest first.

    Args:
        small: Pictures in an average small batch.
        large: Pictures in an average large one.
    """
    alike = round(STEPS * small / large)
    return [
        Row("128", SMALL, STEPS, (2e-3, 4e-3, 8e-3)),
        Row("1,800, equal pictures", LARGE, alike, (2e-3, 4e-3, 8e-3)),
        Row("128, curriculum", SMALL, STEPS, (1e-3, 2e-3, 4e-3), curriculum=True),
        Row("1,800, equal pictures, curriculum", LARGE, alike, (1e-3, 2e-3, 4e-3), curriculum=True),
        Row("1,800, equal updates", LARGE, STEPS, (4e-3, 8e-3)),
        Row("128, the pictures of 1,800 at equal updates", SMALL, round(STEPS * large / small), (2e-3, 4e-3)),
    ]


def recipe_of(row: Row, *, rate: float, seed: int) -> Recipe:
    """Turns a row of the table into a recipe."""
    settings = {
        "seed": seed,
        "encoder.image_size": SIDE,
        "encoder.small_resnet.blocks": STAGES,
        "encoder.small_resnet.pool": POOL,
        "augment.flip": 0.5,
        "sampler.identities": row.people,
        "sampler.items": EACH,
        "sampler.last": "drop",
        "curriculum": [{"at": 0.5, "mining": "hard"}] if row.curriculum else [],
        "training.steps": row.steps,
        "training.learning_rate": rate,
        "training.chunk": CHUNK if row.people == LARGE else None,
        "training.device": "cpu",
        "training.threads": 1,
    }
    return load_recipe("default", overrides=settings)


def train(data: Dataset, recipe: Recipe) -> tuple[Encoder, float]:
    """Trains an encoder; returns it and the seconds it took."""
    with timed_run() as (run, took):
        encoder = fit(data, recipe, out=run, progress=False)
    return encoder, took.seconds


def raw_pixels(judged: Mapping[str, Faces]) -> dict[str, float]:
    """Judges the pixels themselves."""

    def pixels(faces: Faces) -> np.ndarray:
        return np.stack([item.ravel() for item in faces.data.items]).astype(np.float32)

    chosen, reported = (judged[fold].judge(pixels(judged[fold])) for fold in (CHOSEN_ON, REPORTED))
    return rates(chosen, reported)


def rates(chosen: Verification, reported: Verification) -> dict[str, float]:
    """The metrics of fold 5 with the threshold that is best on fold 4."""
    threshold = chosen.best_threshold()
    return {
        "fold 4": chosen.accuracy_at(threshold),
        "threshold": threshold,
        "fold 5": reported.accuracy_at(threshold),
        "auc": reported.roc_auc,
    }


def report(encoder: Encoder, judged: Mapping[str, Faces]) -> dict[str, float]:
    """Looks at fold 5 with the threshold of fold 4."""
    chosen, reported = (
        judged[fold].judge(encoder.embed(judged[fold].data)) for fold in (CHOSEN_ON, REPORTED)
    )
    return rates(chosen, reported)


def candidate(row: Row, rate: float, *, seed: int) -> dict[str, object]:
    """Names a run, so that it is found again."""
    return {"row": row.name, "steps": row.steps, "rate": rate, "seed": seed}


class Measurement:
    """The runs that are done, those of a measurement that was interrupted included.

    Args:
        data: What to learn from.
        judged: The pairs of folds 4 and 5.
        summary: What the table begins with.
        folder: Where the pictures are.
    """

    def __init__(
        self, data: Dataset, judged: Mapping[str, Faces], *, summary: dict[str, object], folder: str
    ) -> None:
        self.data, self.judged, self.summary, self.folder = data, judged, summary, folder
        file = FOLDER / "faces_lfw.json"
        self.runs: list[dict[str, Any]] = (
            json.loads(file.read_text("utf-8"))["rows"] if file.is_file() else []
        )
        self._encoders: dict[tuple[object, ...], tuple[Encoder, float]] = {}

    def row(self, row: Row, *, pictures: int) -> None:
        """Chooses the learning rate on fold 4 at the first seed, and reports fold 5 for all seeds."""
        tried = {rate: self._on_chosen(candidate(row, rate, seed=SEEDS[0]), row) for rate in row.rates}
        best = max(tried, key=lambda rate: tried[rate])
        shown = ", ".join(f"{rate:g}: {value:.3f}" for rate, value in tried.items())
        self.summary[f"{row.name}: steps, pictures seen"] = f"{row.steps:,}, {pictures:,}"
        self.summary[f"{row.name}: learning rate"] = f"{best:g} (accuracy on fold 4 at {shown})"
        metrics = {
            "fold 5": "accuracy on fold 5",
            "auc": "ROC AUC on fold 5",
            "fold 4": "accuracy on fold 4, where the threshold is chosen",
            "seconds": "seconds",
        }
        done: list[dict[str, Any]] = []
        for seed in SEEDS:
            done.append(self._reported(candidate(row, best, seed=seed), row))
            for key, name in metrics.items():
                self.summary[f"{row.name}: {name}"] = spread([run[key] for run in done])
            self.write()

    def write(self) -> None:
        """Keeps what there is."""
        write(
            "faces_lfw",
            command=f"OMP_NUM_THREADS=1 python benchmarks/faces_lfw.py {self.folder}",
            question=__doc__.splitlines()[0],
            rows=self.runs,
            summary=self.summary,
        )

    def _on_chosen(self, name: dict[str, object], row: Row) -> float:
        known = self._find(name, "fold 4")
        if known is None:
            encoder, seconds = self._trained(name, row)
            own = self.judged[CHOSEN_ON]
            chosen = own.judge(encoder.embed(own.data))
            on_chosen = chosen.accuracy_at(chosen.best_threshold())
            known = self._keep({**name, "fold 4": on_chosen, "seconds": seconds})
        return float(known["fold 4"])

    def _reported(self, name: dict[str, object], row: Row) -> dict[str, Any]:
        known = self._find(name, "fold 5")
        if known is None:
            encoder, seconds = self._trained(name, row)
            known = self._keep({**name, **report(encoder, self.judged), "seconds": seconds})
        return known

    def _trained(self, name: dict[str, object], row: Row) -> tuple[Encoder, float]:
        key = tuple(name.values())
        if key not in self._encoders:
            recipe = recipe_of(row, rate=float(str(name["rate"])), seed=int(str(name["seed"])))
            self._encoders[key] = train(self.data, recipe)
        return self._encoders[key]

    def _find(self, name: dict[str, object], metric: str) -> dict[str, Any] | None:
        return next((run for run in self.runs if name.items() <= run.items() and metric in run), None)

    def _keep(self, run: dict[str, Any]) -> dict[str, Any]:
        self.runs.append(run)
        print(run, flush=True)
        self.write()
        return run


def main(folder: str) -> None:
    data, judged = read(folder)
    each = {batch: per_step(data.labels, batch) for batch in (SMALL, LARGE)}
    pixels = raw_pixels(judged)
    people = len(np.unique(data.labels))
    begin: dict[str, object] = {
        "learned from": f"{people} people, {len(data):,} pictures, {SIDE}×{SIDE} in colour",
        "pictures in a batch": ", ".join(f"{size:,.0f} of {batch} people" for batch, size in each.items()),
        "pixels alone: accuracy on fold 5 (ROC AUC)": f"{pixels['fold 5']:.3f} ({pixels['auc']:.3f})",
    }
    measurement = Measurement(data, judged, summary=begin, folder=folder)
    for row in rows_of(each[SMALL], each[LARGE]):
        measurement.row(row, pictures=round(row.steps * each[row.people]))
    print(describe(measurement.summary))


if __name__ == "__main__":
    main(*sys.argv[1:2])
