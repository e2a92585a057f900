"""Of how many among 20 characters is a drawing recognised, when each was seen once and never in training?

The recipe `characters`: 100 of the 136 characters of Omniglot's small part to learn from, 36 to report on,
three seeds of the training. An episode takes 20 characters, one drawer whose drawings are known and another
whose drawings are asked about; 400 episodes, the same for all. Beside it the pixels, and the recipe without
turned characters. With `--choose` settings are tried on the 100 alone: 80 to learn from, 20 to look at.

    python benchmarks/characters.py ../shared/data/glyphs_omniglot/omniglot_dev.npz
"""

from __future__ import annotations

import sys
from statistics import mean
from typing import Any

import numpy as np

from past_and_confusable import characters
from results import Outcome, keep, spread, timed_run
from trine.data import Dataset
from trine.training import fit, load_recipe

SEEDS = range(3)
LEARNED, AMONG, EPISODES = 100, 20, 400
UNTURNED = {"augment.turn_identities": 0.0}


def main(path: str, *options: str) -> None:
    data = characters(path)
    order = np.random.default_rng(0).permutation(len(data.identities))
    learned, reported = order[:LEARNED], order[LEARNED:]
    if options[:1] == ("--choose",):
        choose(data, learned, dict(option.split("=", 1) for option in options[1:]))
        return
    known, unknown = of(data, learned), of(data, reported)
    pixels = np.stack([unknown.items[at] for at in range(len(unknown))]).reshape(len(unknown), -1)
    baseline = one_shot(pixels.astype(np.float64), unknown.labels)
    rows: list[dict[str, Any]] = [{"way": "pixels", "accuracy": baseline}]
    for way, settings, seeds in (("recipe", {}, SEEDS), ("not turned", UNTURNED, SEEDS[:1])):
        for seed in seeds:
            rows.append({"way": way, **trained(known, unknown, seed, settings)})
            print(rows[-1], flush=True)
    chosen = [row for row in rows if row["way"] == "recipe"]
    (plain,) = (row["accuracy"] for row in rows if row["way"] == "not turned")
    values = [row["accuracy"] for row in chosen]
    keep(
        "characters",
        __doc__,
        rows=rows,
        summary={
            "recipe: accuracy": spread(values),
            "recipe: seconds": spread([row["seconds"] for row in chosen]),
            "not turned, seed 0: accuracy": plain,
            "pixels: accuracy": baseline,
        },
        arguments=[path],
        outcomes=[
            Outcome(
                recipe="characters",
                data="Omniglot, 36 characters never seen, 20-way from one drawing",
                metric="accuracy",
                values=values,
                baselines={"pixels": baseline, "not turned, seed 0": plain},
                seconds=mean(row["seconds"] for row in chosen),
                command="trine train characters/ --recipe characters --out runs/characters",
            )
        ],
    )


def choose(data: Dataset, learned: np.ndarray, settings: dict[str, str]) -> None:
    """Tries settings on the characters to learn from alone."""
    print(settings, trained(of(data, learned[:80]), of(data, learned[80:]), 0, settings), flush=True)


def of(data: Dataset, identities: np.ndarray) -> Dataset:
    """The drawings of some characters."""
    return data.subset(np.flatnonzero(np.isin(data.labels, identities)))


def trained(known: Dataset, unknown: Dataset, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """What one training reaches."""
    recipe = load_recipe("characters", overrides={"seed": seed, **settings})
    with timed_run() as (run, took):
        encoder = fit(known, recipe, out=run, progress=False)
    accuracy = one_shot(encoder.embed(unknown), unknown.labels)
    return {"seed": seed, "accuracy": accuracy, "seconds": took.processor_seconds}


def one_shot(rows: np.ndarray, labels: np.ndarray) -> float:
    """The share of drawings whose nearest known drawing is of the same character.

    Args:
        rows: An embedding of each drawing; those of a character are in the order of their drawers.
        labels: The character of each.
    """
    random = np.random.default_rng(0)
    drawings = np.stack([np.flatnonzero(labels == label) for label in np.unique(labels)])
    right = 0
    for _ in range(EPISODES):
        chosen = random.choice(len(drawings), AMONG, replace=False)
        known, asked = random.choice(drawings.shape[1], 2, replace=False)
        known_rows, asked_rows = rows[drawings[chosen, known]], rows[drawings[chosen, asked]]
        distances = np.linalg.norm(asked_rows[:, None] - known_rows[None], axis=2)
        right += int((distances.argmin(1) == np.arange(AMONG)).sum())
    return right / (EPISODES * AMONG)


if __name__ == "__main__":
    main(*sys.argv[1:])
