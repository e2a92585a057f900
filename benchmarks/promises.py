"""Is the error rate of an answer true? Promises of galleries, measured on real strangers.

Each set is split by identity: an encoder is trained on some, the others are enrolled in random galleries or
are strangers to them. A gallery is calibrated by its own identities alone, for a false-positive
identification rate of 1, 5 and 10 %; then all strangers are asked about. "exceeded" is the share of
galleries whose strangers were named more often than promised; "surely" counts those where the 95 % lower
bound over the strangers' identities is above the promise. "shortfall" is how much of the
detection-and-identification rate is lost against the threshold whose rate among these very strangers is the
one asked for. "ratio" is the median of the upper end of the interval over its lower end.

    python benchmarks/promises.py                    all sets
    python benchmarks/promises.py lions --galleries 20
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from results import keep
from trine.data import Dataset, load
from trine.distances import pairwise_distances
from trine.gallery import Entry, Gallery
from trine.rates import RateCurve, stranger_rates
from trine.training import fit, load_recipe

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CACHE = Path("runs/promises")
RATES = (0.01, 0.05, 0.1)
CHECKED = 2
"""The first galleries of a cell are real ones, whose thresholds must be those computed from distances."""


@dataclass(frozen=True)
class Source:
    """A set: how it is loaded, how many identities are trained on, and by which recipe."""

    load: Callable[[], Dataset]
    trained: int
    recipe: str
    settings: dict[str, object]
    galleries: tuple[int, ...] = (20,)


def images(folder: str, trained: int, *, size: tuple[int, int] = (128, 128), **known: object) -> Source:
    galleries = known.pop("galleries", (20,))
    settings = {"encoder.image_size": list(size)}
    return Source(lambda: load(DATA / folder, **known)[0], trained, "products", settings, galleries)


def omniglot() -> Dataset:
    with np.load(DATA / "glyphs_omniglot" / "omniglot_dev.npz") as file:
        pixels = np.unpackbits(file["x"], axis=1)[:, :11025].reshape(-1, 105, 105) * 255
        return load((pixels.astype(np.uint8), file["y"].astype(str)))[0]


SOURCES = {
    "faces_orl": images("faces_orl", 10),
    "faces_lfw": images("faces_lfw/images", 900, galleries=(20, 100)),
    "reid_cuhk01": images(
        "reid_cuhk01", 200, size=(128, 64), pattern="{identity}_c{camera}_{*}", galleries=(20, 100)
    ),
    "wildlife_lion": images("wildlife_lion", 30),
    "products_grocery": images("products_grocery", 14),
    "glyphs_omniglot": Source(omniglot, 36, "products", {"encoder.image_size": [96, 96]}),
    "text_banking77": Source(
        lambda: load(DATA / "text_banking77", label="category")[0],
        20,
        "intents",
        {"encoder.frozen": True, "training.backbone_lr_scale": 1.0},
    ),
    # Of six families two are trained on; each of the others is once a stranger to the rest with them.
    "malware_big2015": Source(
        lambda: load(DATA / "malware_big2015" / "big2015.csv.gz", label="family")[0],
        2,
        "default",
        {"encoder.dimension": 32, "encoder.scaling": "standard"},
        (3,),
    ),
}


@dataclass(frozen=True)
class Embedded:
    """The embeddings of identities that were not trained on, and their distances."""

    rows: np.ndarray
    labels: np.ndarray
    distances: np.ndarray
    distance: str


def embedded(name: str) -> Embedded:
    """Trains on some identities and embeds the others; kept in runs/promises."""
    path = CACHE / f"{name}.npz"
    if not path.is_file():
        source = SOURCES[name]
        data = source.load()
        identities = np.random.default_rng(0).permutation(np.unique(data.labels))[: source.trained]
        trained = np.isin(data.labels, identities)
        head = {"encoder.head": "principal"} if source.recipe != "default" else {}
        recipe = load_recipe(source.recipe, overrides={"training.steps": 100, **head, **source.settings})
        encoder = fit(data.subset(np.flatnonzero(trained)), recipe, out=None, progress=False)
        others = data.subset(np.flatnonzero(~trained))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, rows=encoder.embed(others), labels=others.labels, distance=encoder.distance)
    with np.load(path) as file:
        rows, labels, distance = file["rows"], file["labels"], str(file["distance"])
    if len(rows) > 6000:  # the distances of all pairs must fit into memory
        chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:6000])
        rows, labels = rows[chosen], labels[chosen]
    x = torch.from_numpy(rows).double()
    return Embedded(rows, labels, pairwise_distances(x, x, distance=distance).float().numpy(), distance)


@dataclass(frozen=True)
class Trial:
    """A random gallery: rows that are enrolled, known probes, and probes of strangers."""

    enrolled: np.ndarray
    known: np.ndarray
    strangers: np.ndarray


def trials(labels: np.ndarray, size: int, count: int) -> Iterator[Trial]:
    random = np.random.default_rng(1)
    identities = np.unique(labels)
    for _ in range(count):
        inside = np.isin(labels, random.permutation(identities)[:size])
        # Of each identity half of the items are enrolled, at least one.
        order = random.permutation(len(labels))
        rank = np.empty(len(labels), int)
        for identity in identities:
            own = order[labels[order] == identity]
            rank[own] = np.arange(len(own))
        half = np.maximum(np.bincount(labels)[labels] // 2, 1)
        enrolled = inside & (rank < half)
        yield Trial(*map(np.flatnonzero, (enrolled, inside & ~enrolled, ~inside)))


def own_rates(found: Embedded, trial: Trial) -> RateCurve:
    """The rates of a gallery by its own identities, from the distances."""
    labels = found.labels[trial.enrolled]
    near = found.distances[np.ix_(trial.enrolled, trial.enrolled)].copy()
    near[labels[:, None] == labels] = np.inf
    count = len(np.unique(labels))
    place = near.argmin(1)
    return stranger_rates(
        near.min(1).astype(np.float64), labels, nearest=labels[place], scale=count / (count - 1)
    )


def check(found: Embedded, trial: Trial) -> None:
    """A gallery chooses the same thresholds as the distances (it looks at 5 items of an identity)."""
    labels = found.labels[trial.enrolled]
    if np.bincount(labels).max() > 5:
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        Gallery.open(
            f"{folder}/g.db", dimension=found.rows.shape[1], fingerprint="by hand", distance=found.distance
        ) as gallery,
    ):
        rows = zip(labels.tolist(), trial.enrolled.tolist(), strict=True)
        gallery.enrol_many(Entry(str(label), str(row), found.rows[row]) for label, row in rows)
        for rate in RATES:
            ours, theirs = own_rates(found, trial).smallest(rate), gallery.calibrate(rate)
            assert (ours is None) == (theirs.threshold is None)
            if ours is not None:
                assert abs(ours[0] - theirs.threshold) < 1e-4
                assert ours[1].state == theirs.state


def measured(found: Embedded, trial: Trial) -> Iterator[dict[str, object]]:
    """What each promised rate is worth."""
    labels = found.labels
    strangers = found.distances[np.ix_(trial.strangers, trial.enrolled)].min(1).astype(np.float64)
    truth = stranger_rates(strangers, labels[trial.strangers])
    near = found.distances[np.ix_(trial.known, trial.enrolled)]
    right = labels[trial.enrolled][near.argmin(1)] == labels[trial.known] if len(trial.known) else near
    nearest = near.min(1) if len(trial.known) else np.zeros(0)
    rates = own_rates(found, trial)
    for rate in RATES:
        chosen = rates.threshold(rate)
        row: dict[str, object] = {"rate": rate, "state": "uncalibrated"}
        if chosen is not None:
            threshold, promise = chosen
            share, (low, _) = truth.at(threshold)
            best = truth.limits[np.searchsorted(truth.estimate, rate, side="right") - 1]
            found_, best_ = (float((right & (nearest <= t)).mean()) for t in (threshold, best))
            row |= {
                "state": str(promise.state), "realised": share, "exceeded": share > rate,
                "surely": low > rate, "shortfall": best_ - found_, "dir": found_, "bound": promise.bound,
                "ratio": promise.bound / promise.interval[0] if promise.interval[0] > 0 else np.inf,
            }  # fmt: skip
        yield row


def summarised(rows: list[dict[str, object]], name: str, size: int) -> Iterator[dict[str, object]]:
    for rate in RATES:
        cell = [row for row in rows if row["rate"] == rate]
        for state in ("firm", "provisional", "uncalibrated"):
            some = [row for row in cell if row["state"] == state]
            if not some:
                continue
            line: dict[str, object] = {
                "set": name, "people": size, "rate": rate, "state": state,
                "share": round(len(some) / len(cell), 3), "galleries": len(some),
            }  # fmt: skip
            if state != "uncalibrated":
                for key in ("realised", "exceeded", "surely", "shortfall", "dir", "bound"):
                    line[key] = round(float(np.mean([row[key] for row in some])), 3)
                ratio = float(np.median([row["ratio"] for row in some]))
                line["ratio"] = round(ratio, 1) if np.isfinite(ratio) else "-"
            yield line


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("sets", nargs="*", default=list(SOURCES))
    arguments.add_argument("--galleries", type=int, default=200)
    asked = arguments.parse_args()
    lines, everything = [], []
    for name in asked.sets:
        found = embedded(name)
        for size in SOURCES[name].galleries:
            rows = []
            for place, trial in enumerate(trials(found.labels, size, asked.galleries)):
                if place < CHECKED:
                    check(found, trial)
                rows += measured(found, trial)
            everything += rows
            for line in summarised(rows, name, size):
                print(line, flush=True)
                lines.append(line)
    summary: dict[str, object] = {"galleries": len(everything) // len(RATES)}
    for state in ("firm", "provisional", "uncalibrated"):
        some = [row for row in everything if row["state"] == state]
        summary[f"share {state}"] = round(len(some) / len(everything), 3)
        if some and state != "uncalibrated":
            for key in ("exceeded", "surely", "shortfall"):
                summary[f"{state}: {key}"] = round(float(np.mean([row[key] for row in some])), 3)
    print(summary)
    if asked.sets == list(SOURCES):
        keep("promises", __doc__, rows=lines, summary=summary)


if __name__ == "__main__":
    main()
