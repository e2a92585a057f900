"""The figures of clusters equal counting item by item and pair by pair, and scikit-learn's."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn import metrics
from sklearn.datasets import load_digits

from trine.errors import InputError
from trine.evaluation import clustering, clustering_from_assignment
from trine.evaluation.clustering import INTERVALS

both_labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=16)


def naive_pairs(identity, assignment):
    pairs = list(itertools.combinations(range(len(identity)), 2))
    alike = {(i, k) for i, k in pairs if identity[i] == identity[k]}
    together = {(i, k) for i, k in pairs if assignment[i] == assignment[k]}
    precision = len(alike & together) / len(together) if together else math.nan
    recall = len(alike & together) / len(alike) if alike else math.nan
    wrong = len(alike ^ together)
    doubled = 2 * len(alike & together)
    return precision, recall, doubled / (doubled + wrong) if alike or together else math.nan


def naive_bcubed(identity, assignment):
    """Amigó et al. 2009, by its definition: how correct those beside each item are, itself among them."""
    n = len(identity)
    precisions, recalls = [], []
    for i in range(n):
        beside = [k for k in range(n) if assignment[k] == assignment[i]]
        own = [k for k in range(n) if identity[k] == identity[i]]
        precisions.append(sum(identity[k] == identity[i] for k in beside) / len(beside))
        recalls.append(sum(assignment[k] == assignment[i] for k in own) / len(own))
    precision, recall = sum(precisions) / n, sum(recalls) / n
    return precision, recall, 2 * precision * recall / (precision + recall)


def figures(report, names):
    return [getattr(report, name) for name in names]


@given(both_labels)
def test_equals_the_naive_twins(rows):
    identity, assignment = map(list, zip(*rows, strict=True))
    report = clustering_from_assignment(assignment, identity, resamples=0)
    np.testing.assert_allclose(figures(report, INTERVALS[:3]), naive_pairs(identity, assignment), atol=1e-12)
    np.testing.assert_allclose(
        figures(report, INTERVALS[3:6]), naive_bcubed(identity, assignment), atol=1e-12
    )


@given(both_labels)
def test_equals_scikit_learn_on_small_sets(rows):
    identity, assignment = map(list, zip(*rows, strict=True))
    check_against_scikit_learn(
        clustering_from_assignment(assignment, identity, resamples=0), identity, assignment
    )


def check_against_scikit_learn(report, identity, assignment):
    assert report.nmi == pytest.approx(metrics.normalized_mutual_info_score(identity, assignment), abs=1e-9)
    assert report.ari == pytest.approx(metrics.adjusted_rand_score(identity, assignment), abs=1e-12)
    # With no more than singletons on both sides scikit-learn divides rounding by rounding; equal is 1.
    if not (report.table.same and report.identities == len(identity)):
        expected = metrics.adjusted_mutual_info_score(identity, assignment)
        assert report.ami == pytest.approx(expected, abs=1e-8)
    (_, apart), (split, both) = metrics.pair_confusion_matrix(identity, assignment) // 2
    if both + apart:
        assert report.pairwise_precision == both / (both + apart)
    if both + split:
        assert report.pairwise_recall == both / (both + split)


@pytest.mark.parametrize("method", ["connected", "average"])
def test_equals_others_on_digits(method):
    digits = load_digits()
    report = clustering(
        digits.data, digits.target, threshold={"connected": 19.0, "average": 33.0}[method], method=method
    )
    assert 10 <= report.clusters < 800
    assert report.identities == 10
    assert 0.3 < report.ari < 0.95
    check_against_scikit_learn(report, digits.target, report.assignment)
    theirs = AccuracyCalculator(include=("NMI", "AMI"))
    assert report.nmi == pytest.approx(theirs.calculate_NMI(digits.target, report.assignment), abs=1e-9)
    assert report.ami == pytest.approx(theirs.calculate_AMI(digits.target, report.assignment), abs=1e-8)


def test_equals_scikit_learn_with_many_identities():
    random = np.random.default_rng(0)
    identity = random.zipf(1.6, 20_000).clip(max=3000)
    assignment = np.where(random.random(20_000) < 0.7, identity, random.integers(0, 4000, 20_000))
    report = clustering_from_assignment(assignment, identity, resamples=0)
    assert 0.05 < report.ami < 0.95
    check_against_scikit_learn(report, identity, assignment)


def test_tiles_give_the_same_expected_information():
    random = np.random.default_rng(1)
    identity, assignment = random.integers(0, 40, 600) ** 2 // 40, random.integers(0, 50, 600) ** 2 // 50
    whole = clustering_from_assignment(assignment, identity)
    tiled = replace(whole, table=replace(whole.table, terms=100))
    assert tiled.ami == pytest.approx(whole.ami, abs=1e-12)


def test_names_do_not_matter():
    random = np.random.default_rng(2)
    identity, assignment = random.integers(0, 6, 80), random.integers(0, 8, 80)
    report = clustering_from_assignment(assignment, identity)
    renamed = clustering_from_assignment((7 - assignment) * 2**54 - 2**60, [f"who{i}" for i in identity])
    # Only the order of the sums may differ; the draws belong to the order of the identities.
    np.testing.assert_allclose(figures(renamed, INTERVALS), figures(report, INTERVALS), atol=1e-12)
    assert (renamed.nmi, renamed.ami) == pytest.approx((report.nmi, report.ami), abs=1e-12)
    assert renamed.interval("ari").to_json() == pytest.approx(report.interval("ari").to_json(), abs=1e-12)


def test_counts_that_overflow_32_bits():
    identity = np.repeat([0, 1], 150_000)
    report = clustering_from_assignment(np.zeros(300_000, dtype=np.int64), identity)
    pairs = 150_000 * 149_999
    assert report.pairwise_precision == 2 * (pairs // 2) / (300_000 * 299_999 // 2)
    assert report.pairwise_recall == 1
    assert (report.ari, report.nmi, report.ami) == (0, 0, 0)


def test_extremes_have_their_values():
    perfect = clustering_from_assignment([3, 3, 1, 1], ["a", "a", "b", "b"])
    assert figures(perfect, (*INTERVALS, "nmi", "ami")) == [1] * 9
    assert perfect.interval("ari").to_json() == [1, 1]
    alone = clustering_from_assignment([0, 1, 2], [0, 1, 2])
    assert (alone.ami, alone.nmi, alone.ari, alone.bcubed_f) == (1, 1, 1, 1)
    assert math.isnan(alone.pairwise_precision)
    apart = clustering_from_assignment([0, 1, 2, 3], [0, 0, 1, 1])
    assert math.isnan(apart.pairwise_precision)
    assert (apart.pairwise_recall, apart.pairwise_f, apart.ari) == (0, 0, 0)


def drawn_twin(identity, assignment, resamples, seed):
    """Every draw written out; two copies of an identity are neither one identity nor two."""
    random = np.random.default_rng(seed)
    people = sorted(set(identity))
    scale = len(people) / (len(people) - 1)

    def purity(item, items):
        mates = [other for other in items if assignment[other[1]] == assignment[item[1]]]
        own = sum(copy == item[0] for copy, _ in mates)
        return own / (own + scale * sum(identity[k] != identity[item[1]] for _, k in mates))

    found = {"pairwise_precision": [], "bcubed_precision": [], "pairwise_recall": [], "ari": []}
    for _ in range(resamples):
        drawn = random.integers(0, len(people), len(people)).tolist()
        items = [
            (copy, i)
            for copy, one in enumerate(drawn)
            for i in range(len(identity))
            if identity[i] == people[one]
        ]
        both = alike = wrong = apart = 0.0
        for (copy, i), (other, k) in itertools.permutations(items, 2):
            if copy == other:
                alike += 0.5
                both += 0.5 * (assignment[i] == assignment[k])
            elif identity[i] != identity[k]:
                apart += 0.5
                if assignment[i] == assignment[k]:
                    wrong += 0.5
        wrong, apart = wrong * scale, apart * scale
        found["pairwise_precision"].append(both / (both + wrong) if both + wrong else math.nan)
        found["pairwise_recall"].append(both / alike if alike else math.nan)
        found["bcubed_precision"].append(np.mean([purity(item, items) for item in items]))
        index, expected = both, (both + wrong) * alike / (alike + apart)
        best = (both + wrong + alike) / 2
        found["ari"].append(1.0 if both == both + wrong == alike else (index - expected) / (best - expected))
    return {name: np.nanquantile(values, [0.025, 0.975]) for name, values in found.items()}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=6, max_size=12), st.integers(0, 3))
def test_intervals_equal_the_twin_that_writes_out_every_draw(rows, seed):
    rows = [*rows, (0, 0), (0, 0), (1, 1), (1, 1)]
    identity, assignment = map(list, zip(*rows, strict=True))
    report = clustering_from_assignment(assignment, identity, resamples=20, seed=seed)
    for name, ends in drawn_twin(identity, assignment, 20, seed).items():
        np.testing.assert_allclose(report.interval(name).to_json(), ends, atol=1e-9, err_msg=name)


def merged_and_split(random, people=40):
    """Identities of which some fall into two clusters, and some pairs into one."""
    identity = np.repeat(np.arange(people), random.integers(2, 8, people))
    half = random.integers(0, 2, len(identity)) * (random.random(people) < 0.3)[identity]
    assignment = 2 * identity + half
    for into, gone in zip(*(random.integers(0, people, (2, random.poisson(6)))), strict=True):
        assignment[assignment == 2 * gone] = 2 * into
    return assignment, identity


def test_intervals_cover_the_true_figures_as_often_as_they_say():
    random = np.random.default_rng(0)
    many = [clustering_from_assignment(*merged_and_split(random), resamples=0) for _ in range(400)]
    true = {name: np.mean([getattr(one, name) for one in many]) for name in INTERVALS}
    studies, covered = 150, dict.fromkeys(INTERVALS, 0)
    for study in range(studies):
        report = clustering_from_assignment(*merged_and_split(random), resamples=100, seed=study)
        for name in INTERVALS:
            found = report.interval(name)
            covered[name] += found.low <= true[name] <= found.high
    assert all(count / studies >= 0.86 for count in covered.values()), covered


def test_json_carries_counts_intervals_and_protocol():
    report = clustering(np.array([[0.0], [0.1], [5.0], [5.1]]), [1, 1, 2, 3], threshold=0.5, resamples=50)
    plain = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert plain["protocol"] == "clustering: at a distance threshold, their number not given, over all items"
    assert (plain["method"], plain["threshold"], plain["items"]) == ("connected", 0.5, 4)
    assert (plain["clusters"], plain["identities"], plain["pairwise_precision"]) == (2, 3, 0.5)
    assert plain["intervals"]["resamples"] == 50
    assert plain["intervals"]["nmi"] is plain["intervals"]["ami"] is None
    assert plain["intervals"]["bcubed_recall"] == [1, 1]
    alone, together = plain["bcubed_f_alone"], plain["bcubed_f_all_in_one"]
    assert (alone, together) == (pytest.approx(6 / 7), pytest.approx(6 / 11))
    assert (plain["pairwise_f_alone"], plain["pairwise_f_all_in_one"]) == (0, pytest.approx(2 / 7))
    assert plain["intervals"]["bcubed_f_alone"] is None
    given_clusters = clustering_from_assignment([0, 1], [0, 1], resamples=0)
    assert given_clusters.protocol == "clustering: given clusters, over all items"
    plain = given_clusters.to_json()
    assert plain["pairwise_f"] is None
    assert plain["intervals"] is None


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_the_trivial_clusterings_are_those_of_their_assignments(labels):
    report = clustering_from_assignment([0] * len(labels), labels, resamples=0)
    alone = clustering_from_assignment(range(len(labels)), labels, resamples=0)
    assert report.bcubed_f_alone == pytest.approx(alone.bcubed_f)
    assert report.bcubed_f_all_in_one == pytest.approx(report.bcubed_f)
    assert report.pairwise_f_alone == (0 if np.isnan(alone.pairwise_f) else alone.pairwise_f)
    if not np.isnan(report.pairwise_f):
        assert report.pairwise_f_all_in_one == pytest.approx(report.pairwise_f)
    assert not report.above_both or report.bcubed_f > alone.bcubed_f


def test_the_sentence_says_where_clusters_are_not_better_than_the_trivial_ones():
    labels = ["a", "a", "b", "b", "c"]
    good = clustering_from_assignment([0, 0, 1, 1, 2], labels, resamples=0)
    assert good.sentence() == (
        "3 clusters of 3 identities: BCubed F 1.000; every item alone 0.750, all in one 0.529"
    )
    bad = clustering_from_assignment([0, 1, 0, 1, 1], labels, resamples=0)
    assert bad.sentence().endswith("; not better than both, so these embeddings cannot be clustered usefully")


def test_what_cannot_be_used_is_named():
    with pytest.raises(InputError, match="at least one item, given none"):
        clustering_from_assignment([], [])
    with pytest.raises(InputError, match="labels must hold one label for each of the 2 items"):
        clustering_from_assignment([0, 1], [0])
    with pytest.raises(InputError, match="resamples must be at least 0, given -1"):
        clustering_from_assignment([0, 1], [0, 1], resamples=-1)
    report = clustering_from_assignment([0, 1], [0, 0], resamples=0)
    with pytest.raises(InputError, match="unknown metric 'bcubed': did you mean 'bcubed_f'"):
        report.interval("bcubed")
    with pytest.raises(InputError, match="nmi has no interval: entropies grow with the number"):
        report.interval("nmi")
    with pytest.raises(InputError, match="needs resamples of at least 1, given 0"):
        report.interval("ari")
    for method in ("connected", "average"):
        with pytest.raises(InputError, match="embeddings must be finite, row 1 holds NaN"):
            clustering(np.array([[0.0], [np.nan]]), [1, 1], threshold=1.0, method=method)
