"""The bootstrap of verification: a twin that lists every copied pair, and coverage."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import effort
from trine.errors import InputError
from trine.evaluation import verification
from trine.evaluation.intervals import percentile_interval
from trine.evaluation.pairs import Distances
from trine.evaluation.roc import area, equal_error_rate

FIGURES = (("roc_auc",), ("eer",), ("tar_at_far", 0.1), ("far_at", 0.7), ("tar_at", 0.7))


def people(seed, count, width=3):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), random.integers(1, 5, count))
    labels[0] = labels[-1]
    return np.round(random.standard_normal((len(labels), width)) + labels[:, None] % 3, 1), labels


def share_within(distances, threshold):
    return sum(d <= threshold for d in distances) / len(distances)


def val(genuine, impostor, far):
    best = 0.0
    for t in [*genuine, *impostor]:
        if share_within(impostor, t) <= far:
            best = max(best, share_within(genuine, t))
    return best


def twin(rows, labels, resamples, seed):
    """Draws people one by one, lists the items of every copy, and forms all pairs of copies."""
    random = np.random.default_rng(seed)
    names = sorted(set(labels))
    found = []
    for _ in range(resamples):
        drawn = random.integers(0, len(names), len(names))
        items = [
            (copy, at, row) for copy, at in enumerate(drawn) for row in np.flatnonzero(labels == names[at])
        ]
        genuine, impostor = [], []
        for (c, a, i), (d, b, j) in itertools.combinations(items, 2):
            far = np.float32(np.sqrt(((rows[i] - rows[j]) ** 2).sum()))
            if c == d:
                genuine.append(far)
            elif a != b:
                impostor.append(far)
        kinds = [Distances(np.sort(np.array(kind, np.float32))) for kind in (genuine, impostor)]
        if genuine and impostor:
            found.append(
                (
                    area(*kinds),
                    equal_error_rate(*kinds),
                    val(genuine, impostor, 0.1),
                    share_within(impostor, 0.7),
                    share_within(genuine, 0.7),
                )
            )
    return np.quantile(found, [0.025, 0.975], axis=0)


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_equals_the_twin_that_lists_every_pair(seed):
    rows, labels = people(seed, 5)
    report = verification(rows, labels, resamples=12, seed=seed)
    expected = twin(rows, labels, 12, seed)
    # A resample without a pair of a kind has no figure that needs it, for the twin no figure at all.
    weights = report._weights
    if (weights.genuine[-1] > 0).all() and (weights.impostor[-1] > 0).all():
        for (figure, *arguments), ends in zip(FIGURES, expected.T, strict=True):
            found = percentile_interval(report.resampled(figure, *arguments))
            np.testing.assert_allclose(found.to_json(), ends, atol=1e-6)


def random_effects(random, count):
    """People with a place and a spread of their own."""
    labels = np.repeat(np.arange(count), random.integers(2, 7, count))
    spread = random.gamma(4, 0.1, count)[labels, None]
    return random.standard_normal((count, 4))[labels] + spread * random.standard_normal(
        (len(labels), 4)
    ), labels


def test_covers_the_true_figures_as_often_as_it_says():
    studies, count = effort(60, 150), 60
    asked = (
        ("roc_auc",),
        ("eer",),
        ("tar_at_far", 0.01),
        ("tar_at_far", 0.1),
        ("far_at", 0.8),
        ("tar_at", 0.8),
    )
    whole = verification(*random_effects(np.random.default_rng(10**6), 3000), resamples=0)
    truth = [getattr(whole, figure)(*rest) if rest else getattr(whole, figure) for figure, *rest in asked]
    covered, squared = np.zeros(len(asked)), 0
    for study in range(studies):
        report = verification(*random_effects(np.random.default_rng(study), count), resamples=100, seed=study)
        for at, ((figure, *rest), true) in enumerate(zip(asked, truth, strict=True)):
            found = percentile_interval(report.resampled(figure, *rest))
            covered[at] += found.low <= true <= found.high
        # Weighted by the square of how often its identity was drawn, a genuine pair makes it too wide.
        genuine = report.pairs.owned[0]
        random = np.random.default_rng(study)
        times = np.array([np.bincount(random.integers(0, count, count), minlength=count) for _ in range(100)])
        weights = (times**2)[:, genuine.first]
        tars = weights[:, genuine.distances <= 0.8].sum(1) / weights.sum(1)
        low, high = np.quantile(tars, [0.025, 0.975])
        squared += low <= truth[-1] <= high
    assert (covered / studies >= 0.85).all()
    assert covered.mean() / studies < 0.99
    assert squared / studies > 0.985


def test_thresholds_between_cells_are_weighed_too():
    rows, labels = random_effects(np.random.default_rng(0), 150)
    report = verification(rows, labels)
    weights = report._weights
    assert len(weights.thresholds) < report.genuine_pairs + report.impostor_pairs
    owned = report.pairs.owned[1]
    random = np.random.default_rng(0)
    threshold = 1.2345
    exact = []
    for _ in range(report.resamples):
        times = np.bincount(random.integers(0, 150, 150), minlength=150)
        w = times[owned.first] * times[owned.second]
        exact.append(w[owned.distances <= threshold].sum() / w.sum())
    found = weights.far_at(threshold)
    assert np.abs(found - exact).max() < 0.004 * np.mean(exact)
    assert (weights.far_at(0.0) == 0).all()
    assert (weights.far_at(1e9) == 1).all()


def test_the_interval_holds_the_figure_and_repeats():
    rows, labels = random_effects(np.random.default_rng(3), 40)
    report, again = (verification(rows, labels, seed=5) for _ in range(2))
    for figure, *rest in (("roc_auc",), ("eer",), ("tar_at_far", 0.01), ("threshold_at_far", 0.01)):
        value = getattr(report, figure)
        found = report.interval(figure, *rest)
        assert found.low < (value(*rest) if rest else value) < found.high
        assert found == again.interval(figure, *rest)
    assert report.interval("roc_auc") != verification(rows, labels, seed=6).interval("roc_auc")


def test_a_resample_without_a_pair_of_each_kind_has_no_figure():
    report = verification(np.array([[0.0], [1.0], [5.0]]), [1, 1, 2], resamples=40)
    tars = report._weights.tar_at_far(0.01)
    assert np.isnan(tars).any()
    assert (tars[~np.isnan(tars)] == 1).all()
    # Two identities are no evidence for a rate of 1 %, nor one identity for a TAR of 1.
    assert report.interval("tar_at_far", 0.01).to_json() == [0.0, 1.0]


def test_what_has_no_interval_says_why():
    x = np.array([[0.0], [1.0], [5.0]])
    report = verification(x, [1, 1, 2])
    with pytest.raises(InputError, match="unknown metric 'roc_acu': did you mean 'roc_auc'"):
        report.interval("roc_acu")
    with pytest.raises(InputError, match="an interval of the accuracy needs folds and labels"):
        report.interval("accuracy")
    with pytest.raises(InputError, match="needs resamples of at least 1, given 0"):
        verification(x, [1, 1, 2], resamples=0).interval("eer")
    pairs, same = np.array([[0, 1], [0, 2]]), np.array([True, False])
    bare = verification(x, pairs=pairs, same=same)
    assert bare.to_json()["intervals"] is None
    with pytest.raises(InputError, match="an interval needs the identities of the pairs"):
        bare.interval("eer")
