"""Does a batch of 1,800 faces teach more than one of 128?

A small network learns from the people of folds 1 to 3 of Labeled Faces in the Wild who have at least two
pictures. Learning rate and threshold are chosen on the 600 pairs of fold 4, the rate at the first seed; the
600 pairs of fold 5 are looked at once for each run that is reported. Batches have 32 or 450 people with up
to 4 pictures each, the large ones by gradient caching; the curriculum goes from semi-hard to hard triplets
at half of the run. What is done is kept after each run.

    OMP_NUM_THREADS=1 python benchmarks/faces_lfw.py ../shared/data/faces_lfw    # under an hour
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from results import describe, machine, spread, write
from trine.data import Dataset, ImageArray, PKSampler, load
from trine.encoders import Encoder
from trine.evaluation import Verification, verification
from trine.training import Recipe, fit, load_recipe

SEEDS = (0, 1, 2)
STEPS, CHUNK, SIDE, STAGES, POOL = 250, 128, 48, (1, 1), 3
SMALL, LARGE, EACH = 32, 450, 4
TRAINED, CHOSEN_ON, REPORTED = ("1", "2", "3"), "4", "5"


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
    with (Path(folder) / "pairs.csv").open(newline="", encoding="utf-8") as file:
        pairs = [(line["fold"], line["a"], line["b"], line["same"] == "1") for line in csv.DictReader(file)]
    people = {
        fold: {Path(at).parent.name for f, a, b, _ in pairs if f == fold for at in (a, b)} for fold in "12345"
    }
    learned = set.union(*(people[fold] for fold in TRAINED))
    assert not learned & (people[CHOSEN_ON] | people[REPORTED])
    counts = np.bincount(whole.labels)
    training = [
        at
        for at, label in enumerate(whole.labels)
        if counts[label] > 1 and whole.identities[label] in learned
    ]
    judged = {}
    for fold in (CHOSEN_ON, REPORTED):
        own = [pair[1:] for pair in pairs if pair[0] == fold]
        names = sorted({at for a, b, _ in own for at in (a, b)})
        where = {name: at for at, name in enumerate(names)}
        judged[fold] = Faces(
            _decoded(whole, [whole.names.index(name) for name in names]),
            np.array([(where[a], where[b]) for a, b, _ in own]),
            np.array([same for _, _, same in own]),
        )
    return _decoded(whole, training), judged


def _decoded(whole: Dataset, positions: Sequence[int]) -> Dataset:
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
        "loss.curriculum": [{"at": 0.5, "mining": "hard"}] if row.curriculum else [],
        "training.steps": row.steps,
        "training.learning_rate": rate,
        "training.chunk": CHUNK if row.people == LARGE else None,
        "training.device": "cpu",
        "training.threads": 1,
    }
    return load_recipe("default", overrides=settings)


def train(data: Dataset, recipe: Recipe) -> tuple[Encoder, float]:
    """Trains an encoder; returns it and the seconds it took."""
    with tempfile.TemporaryDirectory() as out, machine() as took:
        encoder = fit(data, recipe, out=Path(out) / "run", progress=False)
    return encoder, took.seconds


def best_threshold(of: Verification) -> tuple[float, float]:
    """Finds the threshold of the highest accuracy, and that accuracy."""
    distances = np.unique(np.concatenate([of.genuine, of.impostor]))
    thresholds = (distances[:-1] + distances[1:]) / 2
    accuracies = [accuracy(of, threshold) for threshold in thresholds]
    best = int(np.argmax(accuracies))
    return float(thresholds[best]), accuracies[best]


def accuracy(of: Verification, threshold: float) -> float:
    """Counts the pairs that are told rightly."""
    right = int((of.genuine <= threshold).sum()) + int((of.impostor > threshold).sum())
    return right / (len(of.genuine) + len(of.impostor))


def raw_pixels(judged: Mapping[str, Faces]) -> dict[str, float]:
    """Judges the pixels themselves."""

    def pixels(faces: Faces) -> np.ndarray:
        return np.stack([item.ravel() for item in faces.data.items]).astype(np.float32)

    chosen, reported = (judged[fold].judge(pixels(judged[fold])) for fold in (CHOSEN_ON, REPORTED))
    threshold, on_chosen = best_threshold(chosen)
    return {"fold 4": on_chosen, "fold 5": accuracy(reported, threshold), "auc": reported.roc_auc}


def report(encoder: Encoder, judged: Mapping[str, Faces]) -> dict[str, float]:
    """Looks at fold 5 with the threshold of fold 4."""
    threshold, on_chosen = best_threshold(judged[CHOSEN_ON].judge(encoder.embed(judged[CHOSEN_ON].data)))
    reported = judged[REPORTED].judge(encoder.embed(judged[REPORTED].data))
    return {
        "fold 4": on_chosen,
        "threshold": threshold,
        "fold 5": accuracy(reported, threshold),
        "auc": reported.roc_auc,
    }


def measure(folder: str) -> None:
    """Runs everything and keeps what there is after each run."""
    data, judged = read(folder)
    people = len(np.unique(data.labels))
    each = {batch: per_step(data.labels, batch) for batch in (SMALL, LARGE)}
    pixels = raw_pixels(judged)
    summary: dict[str, object] = {
        "learned from": f"{people} people, {len(data):,} pictures, {SIDE}×{SIDE} in colour",
        "pictures in a batch": ", ".join(f"{each[batch]:.0f} of {batch} people" for batch in each),
        "pixels alone: accuracy on fold 5 (ROC AUC)": f"{pixels['fold 5']:.3f} ({pixels['auc']:.3f})",
    }
    kept: list[dict[str, object]] = []

    def keep(run: dict[str, object]) -> None:
        kept.append(run)
        print(run, flush=True)
        write(
            "faces_lfw",
            command=f"OMP_NUM_THREADS=1 python benchmarks/faces_lfw.py {folder}",
            question=__doc__.splitlines()[0],
            rows=kept,
            summary=summary,
        )

    for row in rows_of(each[SMALL], each[LARGE]):
        about = {"row": row.name, "steps": row.steps, "pictures": round(row.steps * each[row.people])}
        first: tuple[Encoder, float] | None = None
        rate, tried = 0.0, {}
        for candidate in row.rates:
            encoder, seconds = train(data, recipe_of(row, rate=candidate, seed=SEEDS[0]))
            chosen = judged[CHOSEN_ON]
            tried[candidate] = best_threshold(chosen.judge(encoder.embed(chosen.data)))[1]
            keep(
                {**about, "rate": candidate, "seed": SEEDS[0], "fold 4": tried[candidate], "seconds": seconds}
            )
            if first is None or tried[candidate] > tried[rate]:
                first, rate = (encoder, seconds), candidate
        done: list[dict[str, float]] = []
        for seed in SEEDS:
            if first is not None and seed == SEEDS[0]:
                encoder, seconds = first  # the run that the rate was chosen by
            else:
                encoder, seconds = train(data, recipe_of(row, rate=rate, seed=seed))
            done.append({**report(encoder, judged), "seconds": seconds})
            shown = ", ".join(f"{tried_rate:g}: {value:.3f}" for tried_rate, value in tried.items())
            summary[f"{row.name}: steps, pictures seen"] = f"{row.steps}, {about['pictures']:,}"
            summary[f"{row.name}: learning rate"] = f"{rate:g} (accuracy on fold 4 at {shown})"
            summary[f"{row.name}: accuracy on fold 5"] = spread([run["fold 5"] for run in done])
            summary[f"{row.name}: ROC AUC on fold 5"] = spread([run["auc"] for run in done])
            summary[f"{row.name}: accuracy on fold 4, where the threshold is chosen"] = spread(
                [run["fold 4"] for run in done]
            )
            summary[f"{row.name}: seconds"] = spread([run["seconds"] for run in done])
            keep({**about, "rate": rate, "seed": seed, **done[-1]})
    print(describe(summary))


if __name__ == "__main__":
    measure(*sys.argv[1:2])
