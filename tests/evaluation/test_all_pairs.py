"""All pairs, counted and not held, give what measuring and holding each of them gives."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from support.all_pairs import verified
from support.reference import distance
from trine.distances import DISTANCES
from trine.evaluation import verification
from trine.evaluation.all_pairs import Counted, all_pairs

RATES = (0.0, 0.0003, 0.001, 0.01, 0.1, 0.37, 1.0)


def measured(rows, labels, name):
    """Every pair by a loop over differences."""
    found = ([], [])
    for i, j in itertools.combinations(range(len(rows)), 2):
        found[int(labels[i] != labels[j])].append(np.float32(distance(rows[i], rows[j], name)))
    return [np.sort(np.array(kind, np.float32)) for kind in found]


def awkward(seed):
    """Tight classes far from the origin, copies, zero rows and a row far out."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 6, 60)
    rows = 30 + np.round(random.standard_normal((6, 5)))[labels] + 1e-5 * random.standard_normal((60, 5))
    rows[3], rows[11] = rows[7], 0
    rows[12], rows[20] = 0, 1e4
    return rows, labels


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_equals_the_loop_to_the_bit(name, dtype):
    rows, labels = awkward(0)
    rows = rows.astype(dtype)
    report = verified(rows, labels, distance=name, tile=(16, 32))
    genuine, impostor = measured(rows.astype(np.float64).tolist(), labels, name)
    np.testing.assert_array_max_ulp(report.genuine, genuine, 1)
    np.testing.assert_array_max_ulp(report.impostor, impostor, 1)
    # The loop sums in another order than torch; what rounds alike is nearly everything.
    assert (report.impostor == impostor).mean() > 0.99
    assert (impostor == 0).sum() == (report.impostor == 0).sum()


@given(st.integers(0, 50), st.sampled_from(DISTANCES), st.integers(1, 9), st.integers(1, 40))
@settings(max_examples=8)
def test_counted_equals_held(seed, name, height, width):
    rows, labels = awkward(seed)
    held = verification(rows, labels, distance=name)
    counted = verified(rows, labels, distance=name, held=20, tile=(height, width))
    assert counted.pairs.impostor.upto is not None
    same_figures(counted, held)


def same_figures(counted, held):
    assert (counted.genuine_pairs, counted.impostor_pairs) == (held.genuine_pairs, held.impostor_pairs)
    assert counted.protocol == "verification: all pairs"
    assert not counted.pairs_sampled
    np.testing.assert_array_equal(counted.impostor, np.unique(held.impostor))
    np.testing.assert_array_equal(np.unique(counted.genuine), np.unique(held.genuine))
    assert (counted.roc_auc, counted.eer) == (held.roc_auc, held.eer)
    for far in RATES:
        assert counted.threshold_at_far(far) == held.threshold_at_far(far)
        assert counted.tar_at_far(far) == held.tar_at_far(far)
    for threshold in (0.0, *np.quantile(held.impostor, [0.01, 0.3, 0.9]).tolist(), 1e9):
        assert counted.far_at(threshold) == held.far_at(threshold)
        assert counted.tar_at(threshold) == held.tar_at(threshold)
    for points in (5, 512):
        assert counted.roc(points).to_json() == held.roc(points).to_json()
    assert counted.histogram().to_json() == held.histogram().to_json()


def test_counted_equals_held_on_digits():
    digits = load_digits()
    x, y = digits.data[:900].astype(np.float32), digits.target[:900]
    held = verification(x, y)
    counted = verified(x, y, held=20_000, seed=1)
    assert counted.pairs.genuine.upto is not None
    same_figures(counted, held)
    for figure, *arguments in (("roc_auc",), ("tar_at_far", 0.01), ("eer",)):
        theirs, ours = (report.interval(figure, *arguments) for report in (held, counted))
        width = theirs.high - theirs.low
        assert width > 0.005
        assert ours.low == pytest.approx(theirs.low, abs=0.3 * width)
        assert ours.high == pytest.approx(theirs.high, abs=0.3 * width)
    assert counted.to_json()["intervals"]["pairs"] == pytest.approx(40_000, rel=0.03)
    again = verified(x, y, held=20_000, seed=1)
    assert again.interval("eer") == counted.interval("eer")


def test_the_sample_beside_the_counts_is_of_all_pairs_alike():
    # Every pair of places has a distance of its own, so the distances count the pairs.
    x = 2.0 ** np.arange(12)[:, None]
    y = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3])
    rows = torch.from_numpy(np.tile(x, (100, 1)))
    found = all_pairs(rows, np.tile(y, 100), distance="euclidean", held=20_000, tile=(64, 128))
    impostors = found.owned[1]
    values, counts = np.unique(impostors.distances, return_counts=True)
    wanted = sum(a != b for a, b in itertools.combinations(y, 2))
    assert len(values) == wanted
    expected = counts.sum() / wanted
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    pairs = {
        np.float32(abs(x[a, 0] - x[b, 0])): {y[a], y[b]} for a, b in itertools.combinations(range(12), 2)
    }
    for value, a, b in zip(impostors.distances, impostors.first, impostors.second, strict=True):
        assert pairs[value] == {a, b}


@given(
    st.lists(
        st.lists(st.just(0.0) | st.floats(0.75, 4.5, width=32), max_size=20), min_size=1, max_size=4
    ).filter(any)
)
def test_counters_hold_every_float(parts):
    counted = Counted()
    for part in parts:
        counted.add(np.array(part, np.float32))
    found = counted.distances()
    values, times = np.unique(
        np.concatenate([np.array(part, np.float32) for part in parts]), return_counts=True
    )
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.times(), times)
    assert found.count == sum(map(len, parts))


def test_pairs_at_one_distance_need_no_more_than_one_counter():
    report = verified(np.eye(40), np.arange(40) // 2, held=10)
    assert report.impostor.tolist() == [np.float32(2**0.5)]
    assert (report.roc_auc, report.impostor_pairs) == (0.5, 760)
