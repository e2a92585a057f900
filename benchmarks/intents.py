"""How much better does a sentence encoder tell intents apart after labelled questions, many or few?

text_banking77: 10,003 training and 3,080 test questions of 77 intents, as its authors divided them. The
recipe `intents` starts at all-MiniLM-L6-v2, which a package carries; the baseline is it without training.
Each test question asks the other test questions (recall@1, MAP@R), and the five nearest training questions
vote on its intent (kNN accuracy). Few-shot: ten questions of each intent are learned from, drawn by the seed,
and they alone vote. Settings were chosen on training questions alone.

    OMP_NUM_THREADS=1 python benchmarks/intents.py ../shared/data/text_banking77
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from results import Outcome, keep, spread, timed_run
from trine.data import load
from trine.pipelines import train_run
from trine.report import Metrics, headline
from trine.training import about_recipe, load_recipe

FULL, FEW, SHOTS = (0,), (0, 1), 10
FEW_STEPS = 100
METRICS = ("recall@1", "MAP@R", "kNN accuracy")


def metrics(of: Metrics | None) -> dict[str, float]:
    assert of is not None
    assert of.knn_classification is not None
    found = headline(of)
    return {
        "recall@1": found["recall@1"],
        "MAP@R": found["MAP@R"],
        "kNN accuracy": of.knn_classification.accuracy,
    }


def outcomes(rows: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """The metrics of the page of results."""
    about = about_recipe("intents")
    assert about is not None
    few = f" --set data.shots={SHOTS} training.steps={FEW_STEPS}"
    found = []
    for what, command in (("all", about.command), (f"{SHOTS} of each", about.command + few)):
        chosen = [row for row in rows if row["learned from"] == what]
        found += [
            Outcome(
                recipe="intents",
                data=f"Banking77, official test, learned from {what}",
                metric=metric,
                values=[row[metric] for row in chosen],
                baselines={"the encoder before training": mean(row[f"before {metric}"] for row in chosen)},
                seconds=mean(row["seconds"] for row in chosen),
                command=command,
            )
            for metric in METRICS
        ]
    return found


def main(folder: str) -> None:
    data, report = load(folder, label="category")
    print(report)
    rows: list[dict[str, Any]] = []
    ways = [(f"{SHOTS} of each", seed, {"data.shots": SHOTS, "training.steps": FEW_STEPS}) for seed in FEW]
    ways += [("all", seed, {}) for seed in FULL]
    for what, seed, changed in ways:
        recipe = load_recipe("intents", overrides={"seed": seed, "training.threads": 1, **changed})
        with timed_run() as (run, took):
            found = train_run(data, recipe, out=run, progress=False)
        before = {f"before {name}": value for name, value in metrics(found.before).items()}
        row = {"learned from": what, "seed": seed, "seconds": took.processor_seconds}
        rows.append(row | before | metrics(found.after))
        print(rows[-1], flush=True)
    summary = {
        f"learned from {what}: {name}": spread([row[name] for row in rows if row["learned from"] == what])
        for what in (f"{SHOTS} of each", "all")
        for metric in METRICS
        for name in (f"before {metric}", metric)
    }
    keep("intents", __doc__, rows=rows, summary=summary, arguments=[folder], outcomes=outcomes(rows))


if __name__ == "__main__":
    main(*sys.argv[1:2])
