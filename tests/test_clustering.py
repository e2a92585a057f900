"""Clusters equal the components of the threshold graph, found by flooding it."""

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN, AgglomerativeClustering
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from support.reference import distance
from trine.clustering import cluster, extend_clusters
from trine.distances import DISTANCES
from trine.errors import InputError, MissingDependencyError


def flooded(rows, threshold, name):
    """Components by flooding, the largest first and equal sizes by their first item."""
    n = len(rows)
    component = [-1] * n
    count = 0
    for start in range(n):
        if component[start] >= 0:
            continue
        todo = [start]
        while todo:
            i = todo.pop()
            component[i] = count
            todo += [
                j for j in range(n) if component[j] < 0 and distance(rows[i], rows[j], name) <= threshold
            ]
        count += 1
    order = sorted(range(count), key=lambda c: (-component.count(c), c))
    return [order.index(c) for c in component]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25),
    st.sampled_from(DISTANCES),
    st.sampled_from([0.0, 0.11, 1.0, 2.0]),
)
def test_equal_to_flooding(points, name, threshold):
    rows = np.array(points, dtype=np.float64)
    found = cluster(rows, threshold=threshold, distance=name, neighbours=30)
    assert found.tolist() == flooded(points, threshold, name)


def test_digits_fall_into_groups_as_scikit_learn_finds_them():
    digits = load_digits()
    found = cluster(digits.data, threshold=19.0)
    assert adjusted_rand_score(DBSCAN(eps=19.0, min_samples=1).fit_predict(digits.data), found) == 1
    assert adjusted_rand_score(digits.target, found) > 0.4
    sizes = np.bincount(found)
    assert (np.diff(sizes) <= 0).all()
    assert len(sizes) > 10


def test_few_neighbours_still_join_a_tight_group():
    rows = np.concatenate([np.full((50, 2), 0.0), np.full((60, 2), 5.0)]) + np.arange(110)[:, None] * 1e-4
    assert cluster(rows, threshold=1.0, neighbours=2).tolist() == [1] * 50 + [0] * 60


def averaged(rows, threshold, name):
    """Average linkage by its definition: the two clusters that are nearest on average join."""
    apart = np.array([[distance(a, b, name) for b in rows] for a in rows])
    clusters = [[i] for i in range(len(rows))]
    while len(clusters) > 1:
        pairs = list(itertools.combinations(range(len(clusters)), 2))
        means = [apart[np.ix_(clusters[i], clusters[k])].mean() for i, k in pairs]
        if min(means) > threshold:
            break
        i, k = pairs[int(np.argmin(means))]
        clusters[i] += clusters.pop(k)
    found = np.empty(len(rows), dtype=int)
    for number, members in enumerate(sorted(clusters, key=lambda members: (-len(members), min(members)))):
        found[members] = number
    return found.tolist()


@given(
    st.integers(0, 10**6), st.integers(2, 14), st.sampled_from(DISTANCES), st.sampled_from([0.3, 0.8, 1.6])
)
def test_average_linkage_equals_joining_step_by_step(seed, n, name, threshold):
    rows = np.random.default_rng(seed).normal(size=(n, 2))  # no ties
    found = cluster(rows, threshold=threshold, distance=name, method="average")
    assert found.tolist() == averaged(rows.tolist(), threshold, name)


def test_average_linkage_equals_scikit_learn_on_digits():
    digits = load_digits()
    found = cluster(digits.data, threshold=33.0, method="average")
    peer = AgglomerativeClustering(n_clusters=None, distance_threshold=33.0, linkage="average")
    assert adjusted_rand_score(peer.fit_predict(digits.data), found) == 1
    assert 10 <= found.max() < 150
    assert adjusted_rand_score(digits.target, found) > 0.4


def test_a_chain_does_not_mislead_average_linkage():
    groups = np.concatenate([np.linspace(0, 1, 30), [1.5, 2.0, 2.5], np.linspace(3, 4, 30)])[:, None]
    assert cluster(groups, threshold=0.6).max() == 0
    found = cluster(groups, threshold=0.9, method="average")
    assert found[0] != found[-1]
    assert (found[:25] == found[0]).all()
    assert (found[-25:] == found[-1]).all()


@pytest.mark.parametrize("method", ["connected", "average"])
@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_join(n, method):
    assert cluster(np.zeros((n, 2)), threshold=1.0, method=method).tolist() == [0] * n


def test_what_cannot_be_used_is_named(monkeypatch):
    rows = np.zeros((3, 2))
    with pytest.raises(InputError, match="threshold must be a number >= 0, given -1"):
        cluster(rows, threshold=-1.0)
    with pytest.raises(InputError, match="threshold must be a number >= 0, given nan"):
        cluster(rows, threshold=float("nan"))
    with pytest.raises(InputError, match="neighbours must be at least 1, given 0"):
        cluster(rows, threshold=1.0, neighbours=0)
    with pytest.raises(
        InputError, match="average and complete linkage hold the distances of all pairs, at most of 20,000"
    ):
        cluster(np.zeros((20_001, 1)), threshold=1.0, method="average")
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    monkeypatch.setitem(sys.modules, "scipy.cluster.hierarchy", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trine\[gallery\]'"):
        cluster(rows, threshold=1.0)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trine\[gallery\]'"):
        cluster(rows, threshold=1.0, method="average")


def test_an_unknown_method_is_named(as_in_production):
    with pytest.raises(InputError, match="unknown method 'averege': did you mean 'average'"):
        cluster(np.zeros((3, 2)), threshold=1.0, method="averege")


@given(
    st.integers(0, 10**6), st.integers(0, 14), st.sampled_from(DISTANCES), st.sampled_from([0.3, 0.8, 1.6])
)
def test_extending_nothing_is_average_linkage(seed, n, name, threshold):
    rows = np.random.default_rng(seed).normal(size=(n, 2))
    found = extend_clusters(rows, np.full(n, -1), threshold=threshold, distance=name)
    assert found.tolist() == cluster(rows, threshold=threshold, distance=name, method="average").tolist()
    sparing = extend_clusters(rows, np.full(n, -1), threshold=threshold, distance=name, kept=0)
    assert sparing.tolist() == found.tolist()


def joined_step_by_step(rows, start, threshold, names, fixed):
    """The two clusters that are nearest on average join, if they may; then the next two."""
    apart = np.abs(rows[:, None] - rows[None]).squeeze(2)
    groups = [(set(np.flatnonzero(start == g)), {int(g)}) for g in np.unique(start[start >= 0])]
    groups += [({int(i)}, set()) for i in np.flatnonzero(start < 0)]

    def may(one, other):
        called = {names[g] for g in one[1] | other[1] if g in names}
        old = one[1] and other[1]
        return len(called) < 2 and not (old and (one[1] | other[1]) & fixed)

    while True:
        pairs = [
            (apart[np.ix_(sorted(a[0]), sorted(b[0]))].mean(), i, k)
            for (i, a), (k, b) in itertools.combinations(enumerate(groups), 2)
            if may(a, b)
        ]
        if not pairs or min(pairs)[0] > threshold:
            break
        _, i, k = min(pairs)
        gone = groups.pop(k)
        groups[i] = (groups[i][0] | gone[0], groups[i][1] | gone[1])
    return sorted(sorted(map(int, members)) for members, _ in groups)


@given(st.data(), st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([0.2, 0.5, 1.0]))
def test_extending_joins_the_nearest_that_may_be_joined(data, seed, n, threshold):
    random = np.random.default_rng(seed)
    old = np.sort(random.normal(size=n))
    start = np.cumsum(np.append(0, np.diff(old) > 2 * threshold))  # as no run would have left them nearer
    rows = np.append(old, random.normal(size=6))[:, None]
    clusters = np.append(start, np.full(6, -1))
    numbers = st.integers(0, int(start.max()))
    names = data.draw(st.dictionaries(numbers, st.sampled_from("ab"), max_size=3))
    fixed = data.draw(st.sets(numbers, max_size=2))
    found = extend_clusters(rows, clusters, threshold=threshold, names=names, fixed=fixed)
    groups = {}
    for i, number in enumerate(found.tolist()):
        groups.setdefault(number, []).append(i)
    assert sorted(groups.values()) == joined_step_by_step(rows, clusters, threshold, names, fixed)
    for i in range(n):  # a cluster keeps its number, or gets that of an older one
        assert found[i] <= start[i]
    assert extend_clusters(rows, found, threshold=threshold, names=names, fixed=fixed).tolist() == (
        found.tolist()
    )


def test_extending_digits_keeps_the_clusters_of_all_that_were_there():
    digits = load_digits().data
    first = extend_clusters(digits[:900], np.full(900, -1), threshold=33.0)
    both = extend_clusters(digits, np.append(first, np.full(len(digits) - 900, -1)), threshold=33.0)
    moved = {(int(a), int(b)) for a, b in zip(first, both, strict=False)}
    assert len(moved) == first.max() + 1, "none was split"
    assert adjusted_rand_score(cluster(digits, threshold=33.0, method="average"), both) > 0.7


@given(seed=st.integers(0, 99), n=st.integers(2, 24), data=st.data())
def test_loose_clusters_are_put_together_anew_and_keep_numbers(seed, n, data):
    rows = np.random.default_rng(seed).normal(size=(n, 2))
    start = np.array(data.draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n)))
    numbers = set(start[start >= 0].tolist())
    anew = extend_clusters(rows, start, threshold=1.0, loose=numbers)
    same = anew[:, None] == anew
    at_once = cluster(rows, threshold=1.0, method="average")
    assert (same == (at_once[:, None] == at_once)).all()
    # Each number goes on with a cluster that has some of its items, and is there once.
    for number in numbers & set(anew.tolist()):
        assert (start[anew == number] == number).any()
    assert set(anew.tolist()) - numbers <= set(range(start.max() + 1, start.max() + 1 + n))
    # What is complete stays as it is.
    assert extend_clusters(rows, anew, threshold=1.0, loose=set(anew.tolist())).tolist() == anew.tolist()


def test_a_fixed_cluster_takes_new_items_and_none_of_a_loose_one():
    rows = np.array([[0.0], [0.2], [0.1], [5.0]])
    start = np.array([1, 2, -1, 2])
    found = extend_clusters(rows, start, threshold=0.5, fixed={1}, loose={2})
    assert found[0] == 1
    assert found[1] != 1
    assert found[2] in (1, found[1])
    assert sorted(found[[1, 3]].tolist()) == [2, 3]


def test_what_cannot_be_extended_is_named():
    with pytest.raises(InputError, match=r"loose clusters must be neither named nor fixed, given \[1, 2\]"):
        extend_clusters(
            np.zeros((2, 2)), np.array([1, 2]), threshold=1.0, names={1: "a"}, fixed={2}, loose={1, 2}
        )
    with pytest.raises(InputError, match=r"clusters must name one cluster for each of 3 rows, given \(2,\)"):
        extend_clusters(np.zeros((3, 2)), np.zeros(2, dtype=np.int64), threshold=1.0)
    with pytest.raises(InputError, match="threshold must be a number >= 0, given -1"):
        extend_clusters(np.zeros((3, 2)), np.full(3, -1), threshold=-1.0)
