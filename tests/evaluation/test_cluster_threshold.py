"""The chosen threshold is the best of all: no other gives clusters that agree better with the identities."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trine.distances import DISTANCES
from trine.errors import CalibrationError, InputError, MissingDependencyError
from trine.evaluation import choose_cluster_threshold, clustering
from trine.evaluation.cluster_threshold import by_items, drawn

METHODS = ("connected", "average", "complete")


def people(count, each, *, spread=0.25, dimension=8, seed=0):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), each)
    return random.normal(size=(count, dimension))[labels] + spread * random.normal(
        size=(len(labels), dimension)
    ), labels


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), min_size=4, max_size=10),
    st.sampled_from(METHODS),
    st.sampled_from(["bcubed_f", "pairwise_f"]),
)
def test_no_threshold_is_better(items, method, metric):
    rows = np.array([[float(x), 1.0] for x, _ in items])
    labels = [label for _, label in items]
    if len(set(labels)) < 2 or len(set(labels)) == len(labels):
        return
    found = choose_cluster_threshold(rows, labels, metric=metric, linkages=[method], neighbours=20)
    cut = found.linkages[method]

    def value(threshold):
        report = clustering(rows, labels, threshold=threshold, method=method, resamples=0, neighbours=20)
        score = getattr(report, metric)
        return 0.0 if np.isnan(score) else score, report.clusters

    assert value(cut.threshold) == (pytest.approx(cut.score, abs=1e-9), cut.clusters)
    best = max(value(threshold)[0] for threshold in np.unique(np.abs(rows[:, 0] - rows[:, :1].T)) + 0.01)
    # A gain over a trivial clustering that may be chance is not taken.
    assert cut.score >= best - 1e-9 or best < max(found.alone, found.all_in_one) + 0.05


@pytest.mark.parametrize("distance", DISTANCES)
def test_people_apart_are_found_and_each_linkage_has_its_threshold(distance):
    rows, labels = people(12, 6)
    found = choose_cluster_threshold(rows, labels, distance=distance)
    assert set(found.linkages) == set(METHODS)
    assert found.linkage == "average"
    assert (found.items, found.identities) == (72, 12)
    assert found.score > 0.95 > 0.3 > max(found.alone, found.all_in_one)
    for method, cut in found.linkages.items():
        report = clustering(rows, labels, threshold=cut.threshold, method=method, distance=distance)
        assert report.bcubed_f == pytest.approx(cut.score)
        assert found.at(72, method) == cut.threshold


def test_another_linkage_is_chosen_only_if_it_is_better_beyond_chance():
    # Long chains, which only single linkage follows.
    steps = np.arange(12)
    rows = np.concatenate([np.stack([steps, np.full(12, 5.0 * row)], axis=1) for row in range(10)])
    labels = np.repeat(np.arange(10), 12)
    found = choose_cluster_threshold(rows, labels)
    assert found.linkage == "connected"
    assert found.score == 1
    assert found.linkages["average"].score < 0.9


def test_where_no_threshold_helps_the_better_trivial_clustering_is_made():
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 4))
    apart = choose_cluster_threshold(rows, np.repeat(np.arange(50), [2] * 10 + [1] * 40))
    others = random.normal(size=(200, 4))
    for method in METHODS:
        report = clustering(rows, np.arange(60), threshold=apart.at(60, method), method=method)
        assert report.clusters == 60
        assert apart.linkages[method].score == pytest.approx(apart.alone)
    together = choose_cluster_threshold(rows, random.permutation(np.repeat([0, 1], [50, 10])))
    for method in ("average", "complete"):
        report = clustering(rows, np.arange(60), threshold=together.at(60, method), method=method)
        assert report.clusters == 1
        assert together.at(200, method) == together.at(60, method)
        assert (
            clustering(others, np.arange(200), threshold=together.at(200, method), method=method).clusters < 9
        )


def test_more_items_get_a_smaller_threshold_that_suits_them():
    rows, labels = people(300, 4, spread=0.55)
    few = labels < 20
    found = choose_cluster_threshold(rows[few], labels[few])
    rest = ~few
    for method in METHODS:
        thresholds = [found.at(n, method) for n in (20, 80, 300, 1200, 10_000, 10**6)]
        assert sorted(thresholds, reverse=True) == thresholds
        assert thresholds[-1] > 0
    scaled, same = (
        clustering(rows[rest], labels[rest], threshold=threshold, resamples=0).bcubed_f
        for threshold in (found.at(int(rest.sum()), "connected"), found.at(80, "connected"))
    )
    assert scaled > same + 0.1


def test_the_share_of_impostor_pairs_falls_with_the_number_of_items():
    impostors = np.sort(np.random.default_rng(0).random(10_000))
    for growth in (0.5, 1.0):
        knots = dict(by_items(0.2, impostors, items=100, growth=growth))
        assert knots[100] == 0.2
        for times in (2, 4, 16):
            share = (impostors <= knots[100 * times]).mean()
            assert share == pytest.approx((impostors <= 0.2).mean() * times**-growth, rel=0.01)
        assert knots[50] > 0.2
    assert by_items(0.2, impostors, items=100, growth=0.0) == ((100, 0.2),)
    assert by_items(1e-9, impostors, items=100, growth=1.0)[-1] == (100, 1e-9)


@given(st.lists(st.integers(0, 60), min_size=10, max_size=300), st.integers(5, 100))
def test_a_draw_keeps_whole_identities_or_equally_few_of_each(labels, most):
    identity = np.unique(labels, return_inverse=True)[1]
    kept = drawn(identity, most=most, seed=0)
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= most
    assert len(kept) == most or len(set(identity[kept])) < identity.max() + 1 or len(kept) == len(labels)
    sizes, own = np.bincount(identity), np.bincount(identity[kept], minlength=identity.max() + 1)
    cut = own[(own > 0) & (own < sizes)]
    assert len(cut) == 0 or own.max() - cut.min() <= 1


def test_of_too_many_items_some_are_drawn_by_the_seed():
    rows, labels = people(40, 10)
    found = choose_cluster_threshold(rows, labels, most=100)
    assert found == choose_cluster_threshold(rows, labels, most=100)
    assert found != choose_cluster_threshold(rows, labels, most=100, seed=1)
    assert (found.items, found.identities) == (100, 40)


def test_labels_may_be_strings_and_single_items_count():
    rows, labels = people(10, 4)
    rows = np.concatenate([rows, rows[:1] + 50, rows[:1] - 50])
    found = choose_cluster_threshold(rows, [*map(str, labels), "one", "two"])
    assert (found.identities, found.linkages["average"].clusters) == (12, 12)


def test_what_cannot_be_used_is_named(monkeypatch):
    rows, labels = people(3, 2)
    with pytest.raises(CalibrationError, match="given 6 items of 6 identities; use more labelled items"):
        choose_cluster_threshold(rows, np.arange(6))
    with pytest.raises(CalibrationError, match="given 6 items of 1 identities"):
        choose_cluster_threshold(rows, np.zeros(6, dtype=int))
    with pytest.raises(InputError, match="linkages must name at least one of connected, average, complete"):
        choose_cluster_threshold(rows, labels, linkages=())
    with pytest.raises(InputError, match="most must be at least 2, given 1"):
        choose_cluster_threshold(rows, labels, most=1)
    with pytest.raises(InputError, match="neighbours must be at least 1, given 0"):
        choose_cluster_threshold(rows, labels, neighbours=0)
    with pytest.raises(InputError, match="labels must hold one label for each of the 6 items"):
        choose_cluster_threshold(rows, labels[:5])
    monkeypatch.setitem(sys.modules, "scipy.cluster.hierarchy", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trine\[gallery\]'"):
        choose_cluster_threshold(rows, labels)


def test_an_unknown_name_is_named(as_in_production):
    rows, labels = people(3, 2)
    with pytest.raises(InputError, match="unknown linkage 'averege': did you mean 'average'"):
        choose_cluster_threshold(rows, labels, linkages=["averege"])
    with pytest.raises(InputError, match="unknown metric 'bcubed': did you mean 'bcubed_f'"):
        choose_cluster_threshold(rows, labels, metric="bcubed")
