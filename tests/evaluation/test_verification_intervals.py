"""Intervals of FAR, TAR and thresholds: twins that leave identities out and try every threshold; coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trine.evaluation import verification
from trine.evaluation.rate_intervals import ObservedRate, combined, correlation, reach


def people(seed, count, *, width=3, spread=0.5):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), random.integers(1, 6, count))
    labels[0] = labels[-1] = 0
    rows = random.standard_normal((count, width))[labels] + spread * random.standard_normal(
        (len(labels), width)
    )
    return np.round(rows, 1), labels


def counted(rows, labels, threshold):
    """Accepted and all pairs of both kinds, one pair at a time, for each identity."""
    found = np.zeros((4, labels.max() + 1))
    for i in range(len(rows)):
        for j in range(i):
            accepted = np.float32(np.sqrt(((rows[i] - rows[j]) ** 2).sum())) <= threshold
            if labels[i] == labels[j]:
                found[:2, labels[i]] += accepted, 1
            else:
                found[2:, labels[i]] += accepted, 1
                found[2:, labels[j]] += accepted, 1
    return ObservedRate.of_identities(*found[:2]), ObservedRate.of_pairs(*found[2:])


@given(st.integers(0, 1000), st.floats(0, 4))
@settings(max_examples=15)
def test_rates_of_a_threshold_equal_the_twin(seed, threshold):
    rows, labels = people(seed, 6)
    report = verification(rows, labels)
    tar, far = counted(rows, labels, threshold)
    assert report.interval("tar_at", threshold).to_json() == pytest.approx(tar.interval().to_json())
    assert report.interval("far_at", threshold).to_json() == pytest.approx(far.interval().to_json())
    share = report.genuine_pairs / (report.genuine_pairs + report.impostor_pairs)
    below, above = reach(far.rate, far.interval())
    both = [
        (share * a, share * b) if kind is tar else (a * (1 - share), b * (1 - share))
        for kind, (a, b) in ((tar, reach(tar.rate, tar.interval())), (far, (above, below)))
    ]
    expected = combined(report.accuracy_at(threshold), *both, -correlation(tar, far))
    assert report.interval("accuracy_at", threshold).to_json() == pytest.approx(expected.to_json())


@pytest.mark.parametrize("far", [0.05, 0.3])
def test_thresholds_of_a_rate_are_those_whose_interval_holds_it(far):
    rows, labels = people(1, 25)
    report = verification(rows, labels)
    found = report.interval("threshold_at_far", far)
    distances = report.impostor.astype(float)
    holds = [
        interval.low <= far <= interval.high
        for interval in (report.interval("far_at", threshold) for threshold in np.unique(distances))
    ]
    kept = np.unique(distances)[holds]
    assert found.low == pytest.approx(kept[0], abs=0.11)  # rows are rounded, so distances tie
    assert found.high == pytest.approx(kept[-1], abs=0.11)
    assert found.low < report.threshold_at_far(far) < found.high
    tar = report.interval("tar_at_far", far)
    own = report.interval("tar_at", report.threshold_at_far(far))
    assert tar.low <= own.low
    assert tar.high >= own.high
    assert tar.low <= report.tar_at(found.low)
    assert tar.high >= report.tar_at(found.high) - 1e-9


def test_a_rate_that_few_identities_cannot_bear_is_bounded_from_above():
    rows, labels = people(2, 8)
    report = verification(rows, labels)
    assert report.interval("threshold_at_far", 0.001).low == 0
    assert report.interval("tar_at_far", 0.001).low == 0
    assert report.interval("tar_at_far", 0.001).high < 1
    assert report.interval("threshold_at_far", 0.4).low > 0


def test_no_accepted_pair_leaves_an_upper_end():
    rows, labels = people(3, 30)
    report = verification(rows + 100 * labels[:, None], labels)
    assert report.far_at(10.0) == 0
    interval = report.interval("far_at", 10.0)
    assert interval.low == 0
    assert 1 - 0.025 ** (1 / 435) <= interval.high < 0.02  # at most one trial for each pair of identities
    assert report.interval("tar_at", 10.0).to_json()[1] == 1.0


def test_two_identities_are_worth_one_pair():
    report = verification(np.array([[0.0], [0.1], [5.0], [5.1]]), [1, 1, 2, 2])
    assert report.interval("far_at", 1.0).to_json() == pytest.approx([0.0, 0.975])


def test_more_pairs_than_are_held_have_the_interval_of_their_sample():
    rows, labels = people(4, 60)
    exact = verification(rows, labels)
    sampled = verification(rows, labels, max_pairs=exact.pairs_total // 2)
    for metric, argument in (("far_at", 1.5), ("tar_at", 1.0), ("tar_at_far", 0.1)):
        theirs, ours = exact.interval(metric, argument), sampled.interval(metric, argument)
        assert ours.low == pytest.approx(theirs.low, abs=0.5 * (theirs.high - theirs.low))
        assert ours.high == pytest.approx(theirs.high, abs=0.5 * (theirs.high - theirs.low))


def test_covers_where_numbers_are_uneven():
    # Places of identities with a spread of their own, so that some are accepted as many others.
    sizes = np.maximum(1, np.round(80 * np.arange(1.0, 31) ** -1.3)).astype(int)
    labels = np.repeat(np.arange(30), sizes)
    threshold, wide = 1.6, 0.3 * np.exp(0.4 * np.random.default_rng(10**6).standard_normal(1500))

    def drawn(random, spread, labels):
        centres = random.standard_normal((len(spread), 4))
        return centres[labels] + spread[labels, None] * random.standard_normal((len(labels), 4))

    pairs = np.random.default_rng(1), np.arange(1500).repeat(2)
    whole = verification(drawn(pairs[0], wide, pairs[1]), pairs[1], resamples=0)
    truth = {"far_at": whole.far_at(threshold), "tar_at_far": whole.tar_at_far(0.1)}
    covered, studies = dict.fromkeys(truth, 0), 30
    for study in range(studies):
        random = np.random.default_rng(study)
        spread = 0.3 * np.exp(0.4 * random.standard_normal(30))
        report = verification(drawn(random, spread, labels), labels)
        for metric, argument in (("far_at", threshold), ("tar_at_far", 0.1)):
            found = report.interval(metric, argument)
            covered[metric] += found.low <= truth[metric] <= found.high
    assert min(covered.values()) / studies >= 0.93
