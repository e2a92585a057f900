"""The score after every merge equals counting the clusters cut there, item by item and pair by pair."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.clustering import distances_of_all_pairs, merges_of_all_pairs, merges_of_neighbours
from trine.evaluation.merge_scores import best_cut, merge_scores, trivial_scores
from trine.neighbours import nearest_neighbours

METHODS = ["connected", "average", "complete"]


def counted(assignment, labels):
    """BCubed F and pairwise F by their definitions."""
    n = len(labels)
    precision = recall = 0.0
    for i in range(n):
        mates = [j for j in range(n) if assignment[j] == assignment[i]]
        same = [j for j in range(n) if labels[j] == labels[i]]
        right = sum(labels[j] == labels[i] for j in mates)
        precision, recall = precision + right / len(mates) / n, recall + right / len(same) / n
    both = together = alike = 0
    for i, j in itertools.combinations(range(n), 2):
        together += assignment[i] == assignment[j]
        alike += labels[i] == labels[j]
        both += assignment[i] == assignment[j] and labels[i] == labels[j]
    pairs = together + alike
    return 2 * precision * recall / (precision + recall), 2 * both / pairs if pairs else 0.0


items = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=2, max_size=14)


@given(items, st.sampled_from(METHODS))
def test_each_score_is_that_of_the_clusters_cut_there(drawn, method):
    rows = np.array([[float(x)] for x, _ in drawn])
    labels = np.unique([label for _, label in drawn], return_inverse=True)[1]
    merges = merges_of_all_pairs(distances_of_all_pairs(rows, distance="euclidean"), method=method)
    scores = merge_scores(merges, labels)
    assert (np.diff(scores.heights) > 0).all()
    cuts = [np.arange(len(rows)), *(merges.cut(height) for height in scores.heights[1:])]
    for at, assignment in enumerate(cuts):
        bcubed, pairwise = counted(assignment.tolist(), labels.tolist())
        assert scores.bcubed_f[at] == pytest.approx(bcubed, abs=1e-9)
        assert scores.pairwise_f[at] == pytest.approx(pairwise, abs=1e-9)
        assert scores.clusters[at] == len(set(assignment.tolist()))
    assert scores.clusters[-1] == 1
    for metric in ("bcubed_f", "pairwise_f"):
        alone, all_in_one = trivial_scores(np.bincount(labels), metric)
        assert getattr(scores, metric)[0] == pytest.approx(alone)
        assert getattr(scores, metric)[-1] == pytest.approx(all_in_one)


@given(items)
def test_merges_over_all_neighbours_are_single_linkage(drawn):
    rows = np.array([[float(x)] for x, _ in drawn])
    single = merges_of_all_pairs(distances_of_all_pairs(rows, distance="euclidean"), method="connected")
    linked = merges_of_neighbours(nearest_neighbours(rows, k=len(rows)))
    np.testing.assert_allclose(linked.heights, single.heights)
    for height in single.heights:
        np.testing.assert_array_equal(linked.cut(height), single.cut(height))


def test_merges_of_few_neighbours_may_leave_several_clusters():
    rows = np.array([[0.0], [1.0], [50.0], [51.5]])
    merges = merges_of_neighbours(nearest_neighbours(rows, k=1))
    assert merges.heights.tolist() == [1.0, 1.5]
    assert merges.cut(100).tolist() == [0, 0, 1, 1]


def test_the_best_cut_is_halfway_to_the_next_merge_and_below_none():
    heights = np.array([-1.0, 2.0, 3.0])
    assert best_cut(heights, np.array([0.9, 0.5, 0.1])) == (0, 1.0)
    assert best_cut(heights, np.array([0.1, 0.9, 0.9])) == (1, 2.5)
    assert best_cut(heights, np.array([0.1, 0.5, 0.9])) == (2, 3.0)
    # No threshold keeps two equal items apart.
    assert best_cut(np.array([-1.0, 0.0, 3.0]), np.array([0.9, 0.5, 0.1])) == (1, 1.5)
