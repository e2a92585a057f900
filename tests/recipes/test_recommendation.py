"""The recipe for recommendation, in a small form, beats popularity on MovieLens."""

import numpy as np
import pytest

from support.paths import SHARED_DATA
from trine.encoders import load_two_tower
from trine.pipelines import train_recommender
from trine.training import load_recipe

MOVIELENS = SHARED_DATA / "rec_movielens_small"


def test_the_recipe_beats_popularity_on_a_part_of_movielens(tmp_path):
    if not (MOVIELENS / "ratings.csv").is_file():
        pytest.skip(f"{MOVIELENS} is not here: MovieLens small, as GroupLens gives it")
    lines = (MOVIELENS / "ratings.csv").read_text("utf-8").splitlines()
    ratings = [line.split(",") for line in lines[1:]]
    items, counts = np.unique([item for _, item, _, _ in ratings], return_counts=True)
    popular = set(items[np.argsort(-counts)[:300]].tolist())
    kept = [",".join(row) for row in ratings if row[1] in popular and int(row[0]) <= 250]
    table = tmp_path / "ratings.csv"
    table.write_text("\n".join([lines[0], *kept]), "utf-8")
    overrides = {"training.epochs": 8, "interactions.candidates": 64, "interactions.batch": 128}
    recipe = load_recipe("recommendation", overrides=overrides)
    report = train_recommender(
        table, recipe, out=tmp_path / "run", items=MOVIELENS / "movies.csv", progress=False
    )
    assert len(report.after.recommendation.users) > 200
    assert report.before.recommendation.hit_rate_at(10) > 0.02  # the baseline is not trivially zero
    assert report.after.recommendation.hit_rate_at(10) > report.before.recommendation.hit_rate_at(10)
    assert report.after.recommendation.ndcg_at(10) > report.before.recommendation.ndcg_at(10)
    titles = [each.title for each in load_two_tower(tmp_path / "run").similar_items("260", k=10)]
    assert any("Star Wars: Episode V" in title for title in titles), titles
