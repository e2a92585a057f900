"""Do two dimensions keep what matters, and only that? Fours and nines, and digits that are moved sideways.

Hadsell, Chopra and LeCun's experiments of 2006, on unseen digits of scikit-learn. Fours and nines: the kNN
accuracy of which it is, with the contrastive loss by labels, and with two principal components. Digits
at five places: whether the nearest picture is the same digit, elsewhere. Among the pixels it never is, which
is why neighbours found there cannot teach it; knowing which pictures are one digit does, and so does knowing
besides which digits are neighbours while they stand still, as in the paper. The last learns through
`fit(loss=...)`, and its picture, and that of the principal components, are kept.

    python benchmarks/drlim.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from results import Outcome, keep, spread, timed_run
from trine import Relations, contrastive_loss
from trine.data import Dataset, ImageArray, load, of_identities, split
from trine.evaluation import knn_classification, retrieval
from trine.neighbours import nearest_neighbours
from trine.report import plane_picture
from trine.settings import plain
from trine.training import LossRecipe, fit, load_recipe

SEEDS, NEIGHBOURS = 3, 5
DOCS = Path(__file__).parents[1] / "docs"


def pixels(data: Dataset) -> np.ndarray:
    assert isinstance(data.items, ImageArray)
    return data.items.pixels.reshape(len(data), -1).astype(np.float32)


def read_as(data: Dataset) -> Dataset:
    """The same items with what they read, 4 or 9, as their identity."""
    nine = np.array([data.identity(at).startswith("9") for at in range(len(data))]).astype(np.int64)
    return Dataset(data.items, nine, ("4", "9"), data.names, root=data.root)


def by_neighbours(trained: Dataset) -> Callable[[Tensor, Tensor], Tensor]:
    """The paper's loss with what it knows: similar are the places of a digit and of its five neighbours."""
    still = [at for at, name in enumerate(trained.names) if name.endswith(" by 0")]
    found = nearest_neighbours(pixels(trained)[still], k=NEIGHBOURS).indices
    digit = torch.from_numpy(trained.labels[still])
    near = torch.eye(len(trained.identities), dtype=torch.bool)
    near[digit.repeat_interleave(NEIGHBOURS), digit[found.ravel()]] = True
    near |= near.T.clone()

    def loss(embeddings: Tensor, digits: Tensor) -> Tensor:
        similar = near[digits][:, digits]
        other = ~torch.eye(len(digits), dtype=torch.bool)
        relations = Relations.from_masks(similar & other, ~similar)
        return contrastive_loss(embeddings, relations, references=embeddings, reduction="active")

    return loss


def fours_and_nines(seed: int) -> dict[str, Any]:
    recipe = load_recipe("drlim", overrides={"seed": seed})
    data, _ = load("digits")
    assert recipe.data.identities is not None
    data = of_identities(data, recipe.data.identities)
    parts = split(data, seed=seed)
    trained, tested = data.subset(parts.train), data.subset(parts.test)
    with timed_run() as (run, took):
        encoder = fit(trained, recipe, out=run, progress=False)
    plane = PCA(2, random_state=0).fit(pixels(trained))

    def accuracy(of: Callable[[Dataset], np.ndarray]) -> float:
        return knn_classification(
            of(tested), tested.labels, of(trained), trained.labels, k=NEIGHBOURS
        ).accuracy

    return {
        "seed": seed,
        "seconds": took.seconds,
        "kNN accuracy": accuracy(encoder.embed),
        "kNN accuracy, PCA": accuracy(lambda part: plane.transform(pixels(part))),
        "kNN accuracy, pixels": accuracy(pixels),
    }


def moved(seed: int, *, with_neighbours: bool, pictures: bool = False) -> dict[str, Any]:
    data, _ = load("shifted-digits")
    parts = split(data, seed=seed)
    trained, tested = data.subset(parts.train), data.subset(parts.test)
    overrides: dict[str, Any] = {"seed": seed}
    loss = None
    if with_neighbours:
        overrides |= {f"loss.{key}": value for key, value in plain(LossRecipe()).items()}
        loss = by_neighbours(trained)
    recipe = load_recipe("drlim-shifts", overrides=overrides)
    with timed_run() as (run, took):
        encoder = fit(trained, recipe, out=run, loss=loss, progress=False)
    plane = PCA(2, random_state=0).fit(pixels(trained))
    row: dict[str, Any] = {"seed": seed, "neighbours": with_neighbours, "seconds": took.seconds}
    read = read_as(tested), read_as(trained)
    for name, of in (
        ("", encoder.embed),
        (", PCA", lambda part: plane.transform(pixels(part))),
        (", pixels", pixels),
    ):
        ranked = retrieval(of(tested), tested.labels, resamples=0)
        voted = knn_classification(of(tested), read[0].labels, of(trained), read[1].labels, k=NEIGHBOURS)
        row |= {f"recall@1{name}": ranked.recall_at(1), f"MAP@R{name}": ranked.map_at_r}
        row |= {f"4 or 9{name}": voted.accuracy}
    if pictures:
        says = f"{len(tested):,} unseen pictures: {len(np.unique(tested.labels))} digits at five places each"
        for name, heading, rows in (
            ("drlim", "Learned: where a digit stands does not matter", encoder.embed(tested)),
            (
                "drlim-pca",
                "Two principal components: hardly anything else does",
                plane.transform(pixels(tested)),
            ),
        ):
            plane_picture(read[0], rows, path=DOCS / f"{name}.png", heading=heading, subheading=says)
    return row


def main() -> None:
    apart = [fours_and_nines(seed) for seed in range(SEEDS)]
    print(*apart, sep="\n", flush=True)
    known = [moved(seed, with_neighbours=False) for seed in range(SEEDS)]
    print(*known, sep="\n", flush=True)
    paper = moved(0, with_neighbours=True, pictures=True)
    print(paper, flush=True)

    def values(rows: list[dict[str, Any]], metric: str) -> list[float]:
        return [row[metric] for row in rows]

    def outcome(
        recipe: str, rows: list[dict[str, Any]], metric: str, told: str, data: str, name: str
    ) -> Outcome:
        return Outcome(
            recipe=recipe,
            data=data,
            metric=told,
            values=values(rows, metric),
            baselines={
                "two principal components": float(np.mean(values(rows, f"{metric}, PCA"))),
                "pixels": float(np.mean(values(rows, f"{metric}, pixels"))),
            },
            seconds=float(np.mean(values(rows, "seconds"))),
            command=f"trine train {name} --recipe {recipe} --out runs/{recipe}",
        )

    fours, places = (
        "unseen fours and nines of digits, two dimensions",
        "unseen digits at five places, two dimensions",
    )
    told = [
        outcome("drlim", apart, "kNN accuracy", "kNN accuracy, k = 5", fours, "digits"),
        outcome(
            "drlim-shifts",
            known,
            "recall@1",
            "the nearest is the same digit, elsewhere",
            places,
            "shifted-digits",
        ),
        outcome(
            "drlim-shifts",
            known,
            "4 or 9",
            "kNN accuracy of 4 or 9, which it was never told",
            places,
            "shifted-digits",
        ),
    ]
    summary = {f"{each.recipe}: {each.metric}": spread(list(each.values)) for each in told}
    summary |= {f"with neighbours: {metric}": paper[metric] for metric in ("recall@1", "MAP@R", "4 or 9")}
    summary |= {f"{each.recipe}: {each.metric}, {k}": v for each in told for k, v in each.baselines.items()}
    failures = [
        f"Fours and nines of 8×8 pixels are no test of `drlim`: the pixels alone tell them apart with a kNN "
        f"accuracy of {np.mean(values(apart, 'kNN accuracy, pixels')):.3f}.",
        "Neighbours by the pixels of moved digits are never the same digit (recall@1 "
        f"{np.mean(values(known, 'recall@1, pixels')):.3f}): learning from them cannot join its places.",
    ]
    keep("drlim", __doc__, rows=[*apart, *known, paper], summary=summary, outcomes=told, failures=failures)


if __name__ == "__main__":
    main()
