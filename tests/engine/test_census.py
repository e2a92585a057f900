"""The census in tiles: the numbers of the naive twin and of the exact census, to the last triplet."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import reference
from support.backends import SHAPES, WAYS, in_proportion, made, through_tiles, without_tiles
from support.batches import batches
from trine import census, triplet_loss
from trine.distances import DISTANCES
from trine.engine import census_tiles, dispatch


def numbers(counted):
    return counted.easy, counted.semihard, counted.hard, counted.active


@pytest.mark.parametrize("way", WAYS)
@given(
    batch=batches(max_rows=14, dtype=torch.float32),
    distance=st.sampled_from(["euclidean", "squared_euclidean"]),
    margin=st.sampled_from([0.0, 0.0137, 0.2173, 1.3131]),
)
def test_tiles_count_what_the_twin_counts(way, batch, distance, margin):
    embeddings, labels = batch
    embeddings, margin = in_proportion(embeddings, margin, distance)
    with through_tiles(way):
        counted = census(embeddings, labels, margin=margin, distance=distance)
    d = reference.distance_matrix(embeddings.double().tolist(), distance)
    *twin, d_ap, d_an = reference.census(d, labels.tolist(), margin)
    assert numbers(counted) == tuple(twin)
    assert counted.mean_positive_distance == pytest.approx(d_ap, rel=1e-6, nan_ok=True)
    assert counted.mean_negative_distance == pytest.approx(d_an, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["random", "collapsed", "tight 1e-4", "duplicated", "with zero rows"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_tiles_count_what_the_exact_census_counts(way, shape, kind, distance):
    labels = SHAPES[shape](230)[torch.randperm(230, generator=torch.Generator().manual_seed(3))]
    embeddings = made(kind, labels)
    margin = 0.2
    if kind == "collapsed":
        margin = 1e-4 if distance == "euclidean" else 1e-7
    with without_tiles():
        expected = census(embeddings, labels, margin=margin, distance=distance)
    assert expected.easy > 0
    with through_tiles(way, height=64):
        counted = census(embeddings, labels, margin=margin, distance=distance)
    assert numbers(counted) == numbers(expected)
    assert counted.mean_positive_distance == pytest.approx(expected.mean_positive_distance, rel=1e-6)
    assert counted.mean_negative_distance == pytest.approx(expected.mean_negative_distance, rel=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_threads_share_the_tiles(way, monkeypatch):
    labels = SHAPES["uneven"](500)
    embeddings = made("random", labels)
    with through_tiles(way, height=64):
        alone = census(embeddings, labels)
        monkeypatch.setattr(dispatch, "workers", lambda x: 3)
        monkeypatch.setattr("trine.engine.census.workers", lambda x: 3)
        shared = census(embeddings, labels)
    assert alone.semihard > 0
    assert numbers(shared) == numbers(alone)


def test_a_large_class_is_sorted_and_not_compared_pair_by_pair(monkeypatch):
    labels = SHAPES["skewed"](1200)
    monkeypatch.setattr(census_tiles, "run_tiles", lambda *a: pytest.fail("tiles"))
    counted = census(made("random", labels), labels)
    assert counted.triplets == 600 * 599 * 600 + 600 * 1198


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", ["uneven", "skewed", "fours"])
@pytest.mark.parametrize(
    "settings",
    [{"mining": "all"}, {"mining": "all", "margin": None, "mining_margin": 0.2}, {"mining": "hard"}],
)
def test_the_census_of_a_loss_is_the_census(way, shape, settings):
    labels = SHAPES[shape](230)[torch.randperm(230, generator=torch.Generator().manual_seed(3))]
    embeddings = made("random", labels).requires_grad_()
    with through_tiles(way, height=64):
        alone = triplet_loss(embeddings, labels, **settings)
        loss, counted = triplet_loss(embeddings, labels, return_census=True, **settings)
    with without_tiles():
        expected = census(embeddings, labels)
    assert loss == alone
    assert numbers(counted) == numbers(expected)
    assert counted.mean_negative_distance == pytest.approx(expected.mean_negative_distance, rel=1e-6)


def test_the_tiles_of_the_loss_count_its_census(monkeypatch):
    labels = torch.arange(300) // 3
    monkeypatch.setattr("trine.losses.triplet.census", lambda *a, **k: pytest.fail("a pass of its own"))
    _, counted = triplet_loss(made("random", labels), labels, mining="all", return_census=True)
    assert counted.triplets == 300 * 2 * 297
