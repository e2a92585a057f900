"""What kNN accuracy do Moindrot's batch all and batch hard reach, which his code never said?

Each recipe is trained on digits, with seeds 0 to 4, and on Fashion-MNIST, with seed 0 unless more are asked
for; the five nearest of the training part vote on every item of the test part. Raw pixels are asked the same.

    python benchmarks/moindrot.py [FASHION_SEEDS]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from results import Outcome, keep, spread, timed_run
from trine.data import Dataset, ImageArray, load, split
from trine.evaluation import KnnClassification, knn_classification
from trine.training import fit, load_recipe

SEEDS, NEIGHBOURS = 5, 5
RECIPES = ("moindrot-all", "moindrot-hard")


def asked(before: Any, tested: Dataset, gallery: Any, trained: Dataset) -> KnnClassification:
    return knn_classification(before, tested.labels, gallery, trained.labels, k=NEIGHBOURS)


def pixels(data: Dataset) -> Any:
    assert isinstance(data.items, ImageArray)
    return data.items.pixels.reshape(len(data), -1).astype("float32")


def runs(name: str, seeds: int) -> list[dict[str, Any]]:
    data, report = load(name)
    print(report, flush=True)
    rows = []
    for seed in range(seeds):
        parts = split(data, seed=seed)
        trained, tested = data.subset(parts.train), data.subset(parts.test)
        raw = asked(pixels(tested), tested, pixels(trained), trained)
        for recipe in RECIPES:
            with timed_run() as (run, took):
                settings = load_recipe(recipe, overrides={"seed": seed})
                encoder = fit(trained, settings, out=run, progress=False)
            found = asked(encoder.embed(tested), tested, encoder.embed(trained), trained)
            low, high = found.interval("accuracy").low, found.interval("accuracy").high
            row = {"data": name, "recipe": recipe, "seed": seed, "kNN accuracy": found.accuracy, "low": low}
            row |= {"high": high, "pixels": raw.accuracy, "seconds": took.seconds}
            rows.append(row | {"processor seconds": took.processor_seconds})
            print(rows[-1], flush=True)
    return rows


def outcomes(rows: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """The metrics of the page of results."""
    found = []
    for name, words in (
        ("digits", "digits, a quarter unseen"),
        ("fashion-mnist", "Fashion-MNIST, test pictures"),
    ):
        for recipe in RECIPES:
            own = [row for row in rows if (row["data"], row["recipe"]) == (name, recipe)]
            if own:
                found.append(
                    Outcome(
                        recipe=recipe,
                        data=words,
                        metric=f"kNN accuracy, k = {NEIGHBOURS}",
                        values=[row["kNN accuracy"] for row in own],
                        baselines={"pixels": mean(row["pixels"] for row in own)},
                        seconds=mean(row["seconds"] for row in own),
                        command=f"trine train {name} --recipe {recipe} --out runs/{recipe}",
                    )
                )
    return found


def main() -> None:
    fashion = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    rows = runs("digits", SEEDS) + (runs("fashion-mnist", fashion) if fashion else [])
    told = outcomes(rows)
    summary = {f"{each.data}: {each.recipe}": spread(list(each.values)) for each in told}
    summary |= {f"{each.data}: pixels": each.baselines["pixels"] for each in told}
    worse = [each for each in told if mean(each.values) <= each.baselines["pixels"]]
    failures = [
        f"`{each.recipe}` on {each.data}: {each.metric} {mean(each.values):.3f}, no better than the pixels' "
        f"{each.baselines['pixels']:.3f}."
        for each in worse
    ]
    keep(
        "moindrot",
        __doc__,
        rows=rows,
        summary=summary,
        arguments=sys.argv[1:],
        outcomes=told,
        failures=failures,
    )


if __name__ == "__main__":
    main()
