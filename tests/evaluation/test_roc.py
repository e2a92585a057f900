"""The threshold of the highest accuracy, and the accuracy at one, equal twins that try every pair."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.errors import InputError
from trine.evaluation import verification
from trine.evaluation.pairs import Distances
from trine.evaluation.roc import best_threshold


def accuracy(genuine, impostor, threshold):
    right = sum(d <= threshold for d in genuine) + sum(d > threshold for d in impostor)
    return right / (len(genuine) + len(impostor))


def twin(genuine, impostor):
    """Every threshold that judges the pairs in its own way, the smallest of several that are best."""
    observed = sorted({*genuine, *impostor})
    candidates = [observed[0] / 2 or -1.0]
    candidates += [(low + high) / 2 for low, high in itertools.pairwise(observed)]
    candidates.append(observed[-1])
    best, most = None, -1.0
    for threshold in candidates:
        if accuracy(genuine, impostor, threshold) > most:
            best, most = threshold, accuracy(genuine, impostor, threshold)
    return best, most


def measured(genuine, impostor):
    """Items on a line: the first is one end of every pair."""
    rows = np.array([[0.0], *([d] for d in (*genuine, *impostor))])
    pairs = np.array([[0, at] for at in range(1, len(rows))])
    same = np.array([True] * len(genuine) + [False] * len(impostor))
    return verification(rows, pairs=pairs, same=same)


eighths = st.lists(st.integers(0, 8).map(lambda n: n / 8), min_size=1, max_size=12)


@given(eighths, eighths)
def test_equals_the_twin(genuine, impostor):
    report = measured(genuine, impostor)
    threshold, most = twin(genuine, impostor)
    assert report.best_threshold() == threshold
    assert report.accuracy_at(threshold) == pytest.approx(most, abs=1e-12)
    for other in (0.0, 0.3, 0.5, 2.0):
        assert report.accuracy_at(other) == pytest.approx(accuracy(genuine, impostor, other), abs=1e-12)
        assert report.accuracy_at(other) <= report.accuracy_at(threshold)


@pytest.mark.parametrize(
    ("genuine", "impostor", "threshold"),
    [
        ([1.0, 2.0], [3.0, 4.0], 2.5),
        ([3.0, 4.0], [1.0], 4.0),  # better to accept all
        ([3.0], [1.0, 2.0], 0.5),  # better to accept none
        ([3.0], [0.0, 0.0], -1.0),  # the same, and nothing is half of 0
        ([3.0], [0.0], -1.0),  # as good as 3, and accepts fewer
        ([1.0, 3.0], [2.0, 4.0], 1.5),  # as good as 3.5, and accepts fewer
    ],
)
def test_where_the_threshold_lies(genuine, impostor, threshold):
    assert measured(genuine, impostor).best_threshold() == threshold


def test_between_neighbouring_floats():
    low = np.float32(1)
    high = np.nextafter(low, np.float32(2))
    threshold = best_threshold(Distances(np.array([low])), Distances(np.array([high])))
    assert float(low) < threshold < float(high)
    report = measured([float(low)], [float(high)])
    assert report.accuracy_at(report.best_threshold()) == 1.0


def test_counted_distances_weigh_what_they_count():
    genuine = Distances(np.array([1.0, 3.0], np.float32), np.array([1, 11]))  # one at 1, ten at 3
    impostor = Distances(np.array([2.0], np.float32), np.array([5]))
    assert best_threshold(genuine, impostor) == 3.0


def test_the_interval_weighs_each_kind_by_its_share():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(15), 4)
    rows = random.normal(size=(15, 4))[labels] + 0.8 * random.normal(size=(60, 4))
    report = verification(rows, labels)
    threshold = report.threshold_at_far(0.1)
    share = report.genuine_pairs / (report.genuine_pairs + report.impostor_pairs)
    parts = report.resampled("tar_at", threshold), report.resampled("far_at", threshold)
    drawn = report.resampled("accuracy_at", threshold)
    np.testing.assert_allclose(drawn, share * parts[0] + (1 - share) * (1 - parts[1]))
    assert np.ptp(drawn) > 0
    interval = report.interval("accuracy_at", threshold)
    assert interval.low < report.accuracy_at(threshold) < interval.high


def test_an_accuracy_at_no_threshold_is_refused():
    report = measured([1.0], [2.0])
    with pytest.raises(InputError, match=r"accuracy_at takes one threshold, given \(\)"):
        report.interval("accuracy_at")
    with pytest.raises(InputError, match=r"an interval needs the identities of the pairs"):
        report.interval("accuracy_at", 1.5)
