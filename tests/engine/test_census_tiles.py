"""The census in tiles: the numbers of the naive twin and of the float64 census, to the last triplet."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import reference
from support.backends import (
    BACKENDS,
    FLOAT64,
    SHAPES,
    Problem,
    computed,
    in_proportion,
    made,
    problem_of,
    problems,
    tiles,
)
from trine import triplet_loss
from trine.distances import DISTANCES
from trine.engine.census_tiles import counts_in_tiles
from trine.engine.dispatch import count_triplets
from trine.engine.layout import Layout
from trine.engine.objective import CensusRequest
from trine.engine.plan import DEFAULT_PLAN
from trine.engine.sorted_batch import SortedBatch


def census(problem, plan=DEFAULT_PLAN, margin=0.2, distance="euclidean"):
    return count_triplets(problem.x, None, problem.batch().relations, margin, distance, plan)


def numbers(counted):
    return counted.easy, counted.semihard, counted.hard, counted.active


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    problem=problems("square"),
    distance=st.sampled_from(["euclidean", "squared_euclidean"]),
    margin=st.sampled_from([0.0, 0.0137, 0.2173, 1.3131]),
)
def test_tiles_count_what_the_twin_counts(backend, problem, distance, margin):
    problem, margin = in_proportion(problem, margin, distance)
    counted = census(problem, tiles(backend), margin, distance)
    d = reference.distance_matrix(problem.x.double().tolist(), distance)
    *twin, d_ap, d_an = reference.census(d, problem.labels.tolist(), margin)
    assert numbers(counted) == tuple(twin)
    assert counted.mean_positive_distance == pytest.approx(d_ap, rel=1e-6, nan_ok=True)
    assert counted.mean_negative_distance == pytest.approx(d_an, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["random", "collapsed", "tight 1e-4", "duplicated", "with zero rows"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_tiles_count_what_float64_counts(backend, shape, kind, distance):
    problem, margin = problem_of("square", kind, shape, rows=230), 0.2
    if kind == "collapsed":
        margin = 1e-4 if distance == "euclidean" else 1e-7
    expected = census(problem, FLOAT64["blocks"], margin, distance)
    assert expected.easy > 0
    counted = census(problem, tiles(backend, 64), margin, distance)
    assert numbers(counted) == numbers(expected)
    assert counted.mean_positive_distance == pytest.approx(expected.mean_positive_distance, rel=1e-6)
    assert counted.mean_negative_distance == pytest.approx(expected.mean_negative_distance, rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_share_the_tiles(backend):
    problem = problem_of("square", rows=500)
    alone, shared = (census(problem, tiles(backend, 64, workers=n)) for n in (1, 3))
    assert alone.semihard > 0
    assert numbers(shared) == numbers(alone)


def test_a_large_class_is_sorted_and_not_compared_pair_by_pair():
    labels = SHAPES["skewed"](1200)
    embeddings = made("random", labels)
    assert not counts_in_tiles(SortedBatch(embeddings, None, Layout(labels), "euclidean"))
    counted = census(Problem(embeddings, labels))
    assert counted.triplets == 600 * 599 * 600 + 600 * 1198


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", ["uneven", "skewed", "fours"])
@pytest.mark.parametrize("settings", [{"margin": 0.2}, {"margin": None, "mining_margin": 0.2}])
def test_the_tiles_of_the_loss_count_its_census(backend, shape, settings):
    problem, request = problem_of("square", shape=shape, rows=230), CensusRequest(0.2)
    plan = tiles(backend, 64)
    alone = computed(problem, plan, mining="all", **settings)
    counted = computed(problem, plan, mining="all", census=request, **settings)
    expected = census(problem, FLOAT64["blocks"])
    assert counted[0] == alone[0]
    if shape == "skewed" and backend == "torch":
        assert request.census is None, "its rows are sorted, in a pass of its own"
        return
    assert numbers(request.census) == numbers(expected)
    assert request.census.mean_negative_distance == pytest.approx(expected.mean_negative_distance, rel=1e-6)


@pytest.mark.parametrize("rule", ["all", "hard"])
def test_the_census_of_a_loss_is_the_census(rule):
    labels = torch.arange(300) // 3
    embeddings = made("random", labels).requires_grad_()
    loss, counted = triplet_loss(embeddings, labels, mining=rule, return_census=True)
    assert loss == triplet_loss(embeddings, labels, mining=rule)
    assert numbers(counted) == numbers(census(Problem(embeddings, labels), FLOAT64["blocks"]))
    assert counted.triplets == 300 * 2 * 297
