"""Two towers in training: the loss equals a loop, negatives are unseen, and a seed gives the same run."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trine.data import Features, Interactions, TripletSampler, leave_last_out
from trine.encoders import build_two_tower, load_two_tower
from trine.errors import DataError, SettingError
from trine.pipelines import examine, measure_scores, measure_towers, popularity, train_recommender
from trine.report import BaselineKind
from trine.training import InteractionsRecipe, LossRecipe, Recipe, TrainingRecipe, fit_two_tower, load_recipe
from trine.training.data_loader import Batch, InteractionLoader
from trine.training.two_tower_step import TwoTowerStep, covariance

RECIPE = Recipe(
    encoder=replace(Recipe().encoder, dimension=8, normalise=False),
    loss=LossRecipe(margin=0.5, distance="squared_euclidean"),
    interactions=InteractionsRecipe(batch=32, candidates=20),
    training=TrainingRecipe(epochs=30, learning_rate=0.02, weight_decay=0, checkpoint_every=7),
)


def two_tastes(users=24, items=40, met=14, seed=0):
    """Users of two tastes: each meets items of one half of all."""
    random = np.random.default_rng(seed)
    rows = [
        (user, item)
        for user in range(users)
        for item in (user % 2) * items // 2 + random.permutation(items // 2)[:met]
    ]
    user, item = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    liked = random.random(len(rows)) < 0.9
    names = [tuple(f"{what}{i}" for i in range(count)) for what, count in (("u", users), ("i", items))]
    return Interactions("two tastes", names[0], names[1], user, item, liked)


def a_step(recipe, *, seed=3):
    """A step on a batch, away from where all embeddings begin."""
    interactions = two_tastes()
    parts = leave_last_out(interactions)
    towers = build_two_tower(
        interactions, dimension=8, normalise=False, distance=recipe.loss.distance, seed=seed
    )
    with torch.no_grad():
        towers.users.table.mul_(8)
        towers.items.table.mul_(8)
    met = interactions.pairs[parts.train]
    liked = met[interactions.liked[parts.train]]
    step = TwoTowerStep(towers, recipe=recipe, steps=10, met=met)
    batches = InteractionLoader(liked, sampler=TripletSampler(len(liked), triplets=32), steps=10)
    return step, next(iter(batches)), {tuple(pair) for pair in met.tolist()}


def with_interactions(**changes):
    return replace(RECIPE, interactions=replace(RECIPE.interactions, **changes))


def over_all(**changes):
    interactions = replace(RECIPE.interactions, negatives="all", users="items", **changes)
    return replace(RECIPE, loss=replace(RECIPE.loss, margin=None), interactions=interactions)


@pytest.mark.parametrize("rank_weight", [False, True])
@pytest.mark.parametrize("distance", ["squared_euclidean", "euclidean"])
def test_the_loss_is_that_of_a_loop_over_users(rank_weight, distance):
    recipe = with_interactions(rank_weight=rank_weight, covariance=0.3)
    recipe = replace(recipe, loss=replace(recipe.loss, distance=distance))
    step, batch, met = a_step(recipe)
    embeddings = step.embed(batch, step=4)
    users = step.encoder.embed("users").astype(float)
    items = step.encoder.embed("items").astype(float)
    power = 1 if distance == "squared_euclidean" else 0.5
    values = []
    for user, item in batch.inputs.tolist():
        free = [c for c in step.candidates(4).tolist() if (user, c) not in met]
        liked = ((users[user] - items[item]) ** 2).sum() ** power
        apart = [((users[user] - items[c]) ** 2).sum() ** power for c in free]
        inside = sum(d < liked + 0.5 for d in apart)
        weight = math.log(1 + inside / len(free) * len(items)) if rank_weight else 1
        values.append(weight * max(0, liked - min(apart) + 0.5))
    assert np.count_nonzero(values) > 0
    penalty = 0.3 * covariance(embeddings).item()
    assert penalty > 0
    assert step.loss(embeddings, batch, step=4).item() == pytest.approx(np.mean(values) + penalty, rel=1e-5)


def test_a_sampled_negative_is_any_of_the_candidates_and_the_hard_one_the_nearest():
    losses = {}
    for negatives in ("hard", "sampled"):
        step, batch, _ = a_step(with_interactions(negatives=negatives))
        losses[negatives] = [
            step.loss(step.embed(batch, step=0), batch, step=0).item(),
            step.loss(step.embed(batch, step=1), batch, step=1).item(),
        ]
    assert all(hard > sampled for hard, sampled in zip(losses["hard"], losses["sampled"], strict=True))
    assert losses["sampled"][0] != losses["sampled"][1]


def test_the_loss_over_all_negatives_is_that_of_a_loop_and_leaves_the_liked_item_out():
    recipe = over_all(dropout=0.0, temperature=0.2)
    interactions = two_tastes()
    met = interactions.pairs[leave_last_out(interactions).train]
    towers = build_two_tower(
        interactions, dimension=8, normalise=True, distance="squared_euclidean", seed=3, liked=met
    )
    step = TwoTowerStep(towers, recipe=recipe, steps=10, met=met)
    batch = next(iter(InteractionLoader(met, sampler=TripletSampler(len(met), triplets=32), steps=10)))
    items = towers.embed("items").astype(float)
    unseen = {tuple(pair) for pair in met.tolist()}
    values = []
    for user, item in batch.inputs.tolist():
        others = [name for name in towers.liked_by(f"u{user}") if name != f"i{item}"]
        apart = ((towers.fold_in(others).astype(float) - items) ** 2).sum(1)
        free = [c for c in step.candidates(4).tolist() if (user, c) not in unseen]
        values.append(math.log1p(sum(math.exp((apart[item] - apart[c]) / 0.2) for c in free)))
    loss = step.loss(step.embed(batch, step=4), batch, step=4)
    assert loss.item() == pytest.approx(np.mean(values), rel=1e-4)


def test_users_by_their_items_train_on_from_the_closed_form(tmp_path):
    interactions = two_tastes()
    parts = leave_last_out(interactions)
    recipe = over_all(ridge=5.0)
    reports = [
        train_recommender(interactions, recipe, out=tmp_path / name, progress=False) for name in ("a", "b")
    ]
    assert reports[0].after.recommendation.hit_rate_at(10) > reports[0].before.recommendation.hit_rate_at(10)
    towers, again = (load_two_tower(tmp_path / name) for name in ("a", "b"))
    assert towers.fingerprint == again.fingerprint
    assert examine(tmp_path / "a").log[0].mining == "all"
    features = Features(("age",), np.ones((24, 1), dtype=np.float32), None, ())
    with pytest.raises(SettingError, match=r"interactions\.users items embeds users by the items they like"):
        fit_two_tower(interactions, parts, recipe, out=tmp_path / "c", users=features, progress=False)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(0, 50), st.integers(1, 60))
def test_no_negative_was_met_and_no_positive_was_not_liked(seed, at, candidates):
    recipe = replace(with_interactions(candidates=candidates), seed=seed)
    step, batch, met = a_step(recipe)
    positive, negative = step._masks(batch, step=at)
    drawn = step.candidates(at).tolist()
    assert len(set(drawn)) == len(drawn) == min(candidates, 40)
    columns = [*batch.inputs[:, 1].tolist(), *drawn]
    assert (positive.sum(1) == 1).all()
    for row, (user, item) in enumerate(batch.inputs.tolist()):
        assert columns[int(positive[row].nonzero())] == item
        negatives = {columns[c] for c in negative[row].nonzero().ravel().tolist()}
        assert negatives == {c for c in drawn if (user, c) not in met}


def test_the_covariance_penalty_is_that_of_its_formula():
    rows = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    c = np.cov(rows.numpy().T, bias=True)
    assert covariance(rows).item() == pytest.approx(((c**2).sum() - (np.diag(c) ** 2).sum()) / 20)


def test_a_run_tells_two_tastes_apart_and_the_same_seed_gives_the_same_run(tmp_path):
    interactions = two_tastes()
    parts = leave_last_out(interactions)
    report = train_recommender(interactions, RECIPE, out=tmp_path / "one", progress=False)
    popular = measure_scores(popularity(interactions, parts), interactions, parts)
    assert report.after.recommendation.hit_rate_at(10) > popular.hit_rate_at(10) + 0.2
    assert report.before.recommendation.mrr == popular.mrr
    train_recommender(interactions, RECIPE, out=tmp_path / "two", progress=False)
    first, again = (load_two_tower(tmp_path / name) for name in ("one", "two"))
    assert first.fingerprint == again.fingerprint
    assert measure_towers(first, interactions, parts).mrr == report.after.recommendation.mrr
    assert report.baseline.kind is BaselineKind.POPULARITY
    assert "before: the most popular items" in str(report)
    assert "NDCG@10" in (tmp_path / "one" / "report.html").read_text("utf-8")
    examined = examine(tmp_path / "one")
    assert examined.diagnoses == ()
    assert examined.log[0].mining == "hard"
    with pytest.raises(SettingError, match="did you mean 'test'"):
        measure_towers(first, interactions, parts, part="tset")


def test_a_run_that_was_broken_off_ends_as_one_that_was_not(tmp_path, monkeypatch):
    interactions = two_tastes()
    parts = leave_last_out(interactions)

    def metric(towers):
        return measure_towers(towers, interactions, parts, part="validation").mrr

    how = {"metric": metric, "progress": False}
    whole = fit_two_tower(interactions, parts, RECIPE, out=tmp_path / "whole", **how)
    original = TwoTowerStep.loss

    def killed(self, embeddings: torch.Tensor, batch: Batch, *, step: int) -> torch.Tensor:
        if step == 25:
            raise ZeroDivisionError
        return original(self, embeddings, batch, step=step)

    monkeypatch.setattr(TwoTowerStep, "loss", killed)
    with pytest.raises(ZeroDivisionError):
        fit_two_tower(interactions, parts, RECIPE, out=tmp_path / "broken", **how)
    monkeypatch.setattr(TwoTowerStep, "loss", original)
    resumed = fit_two_tower(interactions, parts, RECIPE, out=tmp_path / "broken", resume=True, **how)
    assert resumed.fingerprint == whole.fingerprint
    other = two_tastes(seed=1)
    with pytest.raises(DataError, match="different training items"):
        fit_two_tower(
            other, leave_last_out(other), RECIPE, out=tmp_path / "broken", resume=True, progress=False
        )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"loss.mining": "hard"}, "loss.mining does not apply to interactions"),
        ({"training.devices": 2}, "training.devices does not apply"),
        ({"data.test": 0.5}, "data.test does not apply"),
        ({"interactions.negatives": "hrad"}, "did you mean 'hard'"),
        ({"interactions.rank_weight": True, "loss.margin": None}, "rank_weight needs a margin"),
        ({"interactions.negatives": "all"}, "negatives all has no margin, and loss.margin is 0.5"),
    ],
)
def test_settings_that_do_not_apply_are_refused(overrides, message):
    with pytest.raises(SettingError, match=message):
        load_recipe("recommendation", overrides=overrides)


def test_a_recipe_without_interactions_is_refused(tmp_path):
    interactions = two_tastes()
    with pytest.raises(SettingError, match="recipe has no section interactions; use"):
        train_recommender(interactions, Recipe(), out=tmp_path / "run")
    with pytest.raises(SettingError, match="recipe has no section interactions; use"):
        fit_two_tower(interactions, leave_last_out(interactions), Recipe(), out=tmp_path / "run")


def test_patience_needs_something_to_look_at(tmp_path):
    interactions = two_tastes()
    recipe = replace(RECIPE, training=replace(RECIPE.training, patience=3))
    with pytest.raises(SettingError, match=r"training\.patience is 3, but no metric= was passed"):
        fit_two_tower(interactions, leave_last_out(interactions), recipe, out=tmp_path / "run")


def test_a_loss_that_is_not_finite_is_refused():
    step, batch, _ = a_step(RECIPE)
    embeddings = step.embed(batch, step=0).detach() * float("nan")
    with pytest.raises(SettingError, match="the loss is nan at step 0"):
        step.loss(embeddings, batch, step=0)
