"""Of Fashion-MNIST's labels 2 % are wrong: how many of as many first suspects carry one?

Of the 60,000 training labels, 1,200 are changed to another one at random. The audit sees the raw pixels,
and the embeddings of an encoder that the default recipe trained on nine tenths of the changed labels: all
of them, and those of the tenth held out. Beside it stands the plain share of neighbours that carry another
label. Fashion-MNIST has its own wrong labels, which count against both.

    python benchmarks/audit.py
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from results import describe, keep, timed
from trine.data import Dataset, load
from trine.encoders import load as load_encoder
from trine.evaluation import LabelErrors, find_label_errors
from trine.pipelines import part_of, train_run
from trine.training import load_recipe

WRONG = 0.02


def main() -> None:
    data, report = load("fashion-mnist")
    print(report, flush=True)
    noisy, wrong = flipped(data, seed=0)
    chosen = np.flatnonzero(data.columns["split"] == "train")
    labels, wrong = noisy.labels[chosen], wrong[chosen]
    summary: dict[str, object] = {"items": len(labels), "wrong labels": int(wrong.sum())}
    summary |= of_pixels(noisy, chosen, wrong)
    print(describe(summary), flush=True)
    summary |= of_embeddings(noisy, chosen, wrong)
    keep("audit", __doc__, rows=[{"seed": 0} | summary], summary=summary)


def of_pixels(data: Dataset, chosen: np.ndarray, wrong: np.ndarray) -> dict[str, object]:
    """What the raw pixels tell."""
    pixels = np.stack([data.items[at].ravel() for at in chosen]).astype(np.float32)
    with timed() as took:
        found = find_label_errors(pixels, data.labels[chosen])
    return metrics("raw pixels", found, wrong) | {"raw pixels: seconds": took.seconds}


def of_embeddings(data: Dataset, chosen: np.ndarray, wrong: np.ndarray) -> dict[str, object]:
    """What an encoder tells that was trained on most of these labels."""
    with tempfile.TemporaryDirectory() as out:
        run = Path(out) / "run"
        train_run(data, load_recipe("default", overrides={"data.validation": "0.1"}), out=run)
        encoder = load_encoder(run)
        held_out, _ = part_of(run, data, "validation")
        embeddings = encoder.embed(data.subset(chosen))
    with timed() as took:
        found = find_label_errors(embeddings, data.labels[chosen], distance=encoder.distance)
    unseen = np.isin(chosen, held_out)
    return (
        metrics("embeddings", found, wrong)
        | {"embeddings: seconds": took.seconds}
        | metrics("embeddings of items held out", found, wrong, among=unseen)
    )


def flipped(data: Dataset, *, seed: int) -> tuple[Dataset, np.ndarray]:
    """The data with wrong labels among those it is trained on, and which these are."""
    random = np.random.default_rng(seed)
    train = np.flatnonzero(data.columns["split"] == "train")
    chosen = np.sort(random.choice(train, int(WRONG * len(train)), replace=False))
    labels, classes = data.labels.copy(), len(data.identities)
    labels[chosen] = (labels[chosen] + random.integers(1, classes, len(chosen))) % classes
    return replace(data, labels=labels), np.isin(np.arange(len(labels)), chosen)


def metrics(
    name: str, found: LabelErrors, wrong: np.ndarray, *, among: np.ndarray | None = None
) -> dict[str, object]:
    """The share of wrong labels among the first suspects, as many as there are and half as many."""
    among = np.ones(len(wrong), dtype=bool) if among is None else among
    plain = np.argsort(found.votes.for_own / found.votes.asked, kind="stable")
    many = int(wrong[among].sum())
    listed, shares = found.ranking, {}
    for how, order in (("", listed), (", by the plain share of neighbours", plain)):
        hits = wrong[order[among[order]]]
        shares[f"{name}: precision at {many:,}{how}"] = float(hits[:many].mean())
        shares[f"{name}: precision at {many // 2:,}{how}"] = float(hits[: many // 2].mean())
    likely = among & (found.scores >= 0.5)
    return shares | {
        f"{name}: labels called likelier wrong": int(likely.sum()),
        f"{name}: of these wrong": int((likely & wrong).sum()),
    }


if __name__ == "__main__":
    main()
