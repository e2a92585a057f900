"""Do two towers, trained with triplets, recommend better than popularity, item-kNN and BPR?

MovieLens small: a rating of 4 or more is liked; the last liked film of each user is the test, the one before
it chooses hyperparameters and weights, and all films that the user has not met are ranked, by one code.
Item-kNN (cosine) and BPR matrix factorisation are those of `implicit`, their hyperparameters from a grid on
the validation films; those of the recipe were chosen on the validation films, too.

    python benchmarks/recommendation.py ../shared/data/rec_movielens_small
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.sparse
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import CosineRecommender

from results import Outcome, keep, spread, timed, timed_run
from trine.data import HeldOut, Interactions, leave_last_out, read_interactions
from trine.evaluation import Recommendation
from trine.pipelines import measure_scores, popularity, train_recommender
from trine.training import load_recipe

SEEDS = range(3)
NEIGHBOURS = (20, 50, 100, 200, 500)
BPR = tuple(itertools.product((32, 64), (0.02, 0.05), (0.01, 0.05)))
ITERATIONS = 300
FORMS: Mapping[str, tuple[dict[str, Any], bool]] = {
    "recommendation": ({}, False),
    "recommendation, with genres": ({}, True),
    "recommendation, rank weights": ({"interactions.rank_weight": True}, False),
    "recommendation, sampled negatives": ({"interactions.negatives": "sampled"}, False),
}


def main(folder: str, seeds: range = SEEDS) -> None:
    at_least = load_recipe("recommendation").interactions.at_least
    interactions = read_interactions(f"{folder}/ratings.csv", at_least=at_least)
    parts = leave_last_out(interactions)
    print(interactions, flush=True)
    popular = measure_scores(popularity(interactions, parts), interactions, parts)
    rows = [line("popularity", 0, popular, 0.0), *peers(interactions, parts, seeds)]
    for name, (overrides, genres) in FORMS.items():
        for seed in seeds:
            recipe = load_recipe("recommendation", overrides={"seed": seed, **overrides})
            items = f"{folder}/movies.csv" if genres else None
            with timed_run() as (run, took):
                report = train_recommender(interactions, recipe, out=run, items=items)
            rows.append(line(name, seed, report.after.recommendation, took.processor_seconds))
            print(rows[-1], flush=True)
    summary = {
        f"{name}: {metric}": spread([row[metric] for row in rows if row["method"] == name])
        for name in dict.fromkeys(row["method"] for row in rows)
        for metric in ("HR@10", "NDCG@10")
    }
    record(rows, summary, folder)


def record(rows: list[dict[str, Any]], summary: Mapping[str, Any], folder: str) -> None:
    """Keeps what was measured."""
    command = "trine train ratings.csv --recipe recommendation --out runs/films"
    with_genres = command.replace("ratings.csv", "ratings.csv --item-table movies.csv")
    keep(
        "recommendation",
        __doc__,
        rows=rows,
        summary=summary,
        arguments=[folder],
        outcomes=[
            outcome(rows, metric, form, words)
            for form, words in (("recommendation", command), ("recommendation, with genres", with_genres))
            for metric in ("HR@10", "NDCG@10")
        ],
        failures=failures(summary),
    )


def peers(interactions: Interactions, parts: HeldOut, seeds: range) -> list[dict[str, Any]]:
    """Item-kNN and BPR, each with the settings that are best on the validation films."""
    train = parts.train[interactions.liked[parts.train]]
    shape = (len(interactions.users), len(interactions.items))
    liked = scipy.sparse.csr_matrix(
        (np.ones(len(train), np.float32), (interactions.user[train], interactions.item[train])), shape
    )

    def knn(neighbours: int, seed: int) -> np.ndarray:
        model = CosineRecommender(K=neighbours, num_threads=1)
        model.fit(liked, show_progress=False)
        return np.asarray((liked @ model.similarity.tocsr()).todense())

    def bpr(settings: tuple[int, float, float], seed: int) -> np.ndarray:
        factors, rate, regularisation = settings
        model = BayesianPersonalizedRanking(
            factors=factors,
            learning_rate=rate,
            regularization=regularisation,
            iterations=ITERATIONS,
            random_state=seed,
            num_threads=1,
        )
        model.fit(liked, show_progress=False)
        return model.user_factors @ model.item_factors.T

    found: list[dict[str, Any]] = []
    methods: tuple[tuple[str, Callable[[Any, int], np.ndarray], tuple[Any, ...], range], ...] = (
        ("item-kNN", knn, NEIGHBOURS, range(1)),
        ("BPR", bpr, BPR, seeds),
    )
    for name, scores, grid, drawn in methods:
        tried = [
            measure_scores(scores(each, 0), interactions, parts, part="validation").ndcg_at(10)
            for each in grid
        ]
        best = grid[int(np.argmax(tried))]
        for seed in drawn:
            with timed() as took:
                made = scores(best, seed)
            report = measure_scores(made, interactions, parts)
            found.append(line(name, seed, report, took.processor_seconds) | {"settings": str(best)})
            print(found[-1], flush=True)
    return found


def line(method: str, seed: int, report: Recommendation, seconds: float) -> dict[str, Any]:
    """The metrics of one method with one seed."""
    return {
        "method": method,
        "seed": seed,
        "HR@10": report.hit_rate_at(10),
        "NDCG@10": report.ndcg_at(10),
        "HR@50": report.hit_rate_at(50),
        "MRR": report.mrr,
        "processor seconds": seconds,
    }


def outcome(rows: list[dict[str, Any]], metric: str, form: str, command: str) -> Outcome:
    """The line of the page of results for a metric."""
    of = {
        name: [row[metric] for row in rows if row["method"] == name]
        for name in dict.fromkeys(row["method"] for row in rows)
    }
    own = [row for row in rows if row["method"] == form]
    asked = "the last liked film of 608 users among all not met"
    return Outcome(
        recipe="recommendation",
        data=f"MovieLens small{form.partition(',')[2]}, {asked}",
        metric=metric,
        values=of[form],
        baselines={name: float(np.mean(of[name])) for name in ("popularity", "item-kNN", "BPR")},
        seconds=float(np.mean([row["processor seconds"] for row in own])),
        command=command,
    )


def failures(summary: Mapping[str, Any]) -> list[str]:
    """Which forms of the recipe did not help, with their metrics."""
    own = summary["recommendation: NDCG@10"]["mean"]
    found = []
    for metric in ("HR@10", "NDCG@10"):
        towers, knn = summary[f"recommendation: {metric}"], summary[f"item-kNN: {metric}"]["mean"]
        if towers["mean"] - towers["sd"] < knn:
            found.append(
                f"From ids alone the towers are not clearly better than item-kNN: {metric} "
                f"{towers['mean']:.3f} ± {towers['sd']:.3f} against {knn:.3f}."
            )
    return found + [
        f"{name.partition(', ')[2].capitalize()} did not help: NDCG@10 "
        f"{summary[f'{name}: NDCG@10']['mean']:.3f} in place of {own:.3f}."
        for name in FORMS
        if name != "recommendation" and summary[f"{name}: NDCG@10"]["mean"] < own
    ]


if __name__ == "__main__":
    main(*sys.argv[1:2])
