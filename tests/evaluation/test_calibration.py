"""A threshold is given for what the data supports, and refused for more."""

import numpy as np
import pytest

from trine.errors import CalibrationError, InputError
from trine.evaluation import calibrate, verification


def people(identities, each, seed=0, noise=0.3):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(identities), each)
    return random.standard_normal((identities, 8))[labels] + noise * random.standard_normal(
        (len(labels), 8)
    ), labels


def test_the_threshold_keeps_the_rate_and_no_larger_one_does():
    x, y = people(40, 4)
    found = calibrate(x, y, far=0.01, distance="cosine")
    report = verification(x, y, distance="cosine")
    accepted = int((report.impostor <= found.threshold).sum())
    assert 0 < accepted <= 0.01 * report.impostor_pairs
    everything = np.sort(np.concatenate([report.genuine, report.impostor]))
    larger = everything[everything > found.threshold][0]
    assert (report.impostor <= larger).mean() > 0.01
    assert found.tar == (report.genuine <= found.threshold).mean()
    assert (found.identities, found.genuine_pairs, found.impostor_pairs) == (40, 240, 160 * 159 // 2 - 240)
    assert (found.far, found.distance, found.provisional) == (0.01, "cosine", False)


def test_it_holds_on_other_people_on_average():
    rates = []
    for seed in range(8):
        threshold = calibrate(*people(60, 5, seed=seed), far=0.05).threshold
        rates.append(verification(*people(60, 5, seed=seed + 100)).far_at(threshold))
    assert np.mean(rates) == pytest.approx(0.05, abs=0.015)


def test_too_few_identities_are_refused_or_provisional():
    x, y = people(29, 4)
    with pytest.raises(CalibrationError, match="at least 30 identities and 300 impostor pairs, given 29 and"):
        calibrate(x, y, far=0.01)
    assert calibrate(x, y, far=0.01, support="provisional").provisional


def test_too_few_pairs_are_refused_or_provisional():
    x, y = people(30, 2)  # 1,740 impostor pairs
    assert not calibrate(x, y, far=3 / 1740).provisional
    with pytest.raises(CalibrationError, match="30 identities and 3000 impostor pairs, given 30 and 1740"):
        calibrate(x, y, far=0.001)
    found = calibrate(x, y, far=0.001, support="provisional")
    assert found.provisional
    assert verification(x, y).far_at(found.threshold) <= 0.001


def test_a_rate_below_every_observed_distance_accepts_nobody():
    x = np.array([[0.0], [1.0], [1.5], [9.0]])
    found = calibrate(x, [0, 1, 2, 0], far=0.01, support="provisional")
    assert found.threshold == np.nextafter(np.float32(0.5), np.float32(0))
    assert found.tar == 0


def test_no_pair_or_no_threshold_is_always_an_error():
    with pytest.raises(CalibrationError, match="two items of one identity, given 3 items of 3 identities"):
        calibrate(np.zeros((3, 2)), [0, 1, 2], support="provisional")
    with pytest.raises(CalibrationError, match="items of two identities, given 3 items of 1 identities"):
        calibrate(np.zeros((3, 2)), [0, 0, 0], support="provisional")
    with pytest.raises(CalibrationError, match="needs two items of one identity, given 0 items"):
        calibrate(np.zeros((0, 2)), [], support="provisional")
    with pytest.raises(CalibrationError, match="too many of the 4 impostor pairs are at distance 0"):
        calibrate(np.zeros((4, 2)), [0, 0, 1, 1], support="provisional")


def test_the_intervals_are_those_of_the_pairs():
    x, y = people(40, 4)
    found = calibrate(x, y, far=0.05, seed=2)
    report = verification(x, y, seed=2)
    assert found.far_interval == tuple(report.interval("far_at", found.threshold).to_json())
    assert found.tar_interval == tuple(report.interval("tar_at", found.threshold).to_json())
    assert found.threshold_interval == tuple(report.interval("threshold_at_far", 0.05).to_json())
    assert 0 < found.far_interval[0] < 0.05 < found.far_interval[1] < 0.15
    assert found.threshold_interval[0] < found.threshold < found.threshold_interval[1]
    bare = calibrate(x, y, far=0.05, resamples=0)
    assert (bare.far_interval, bare.tar_interval, bare.threshold_interval) == (None, None, None)
    assert bare.threshold == found.threshold


def test_the_interval_of_the_rate_holds_the_rate_among_other_people():
    """The rate that a threshold has among other people, in how many of many calibrations."""
    held = 0
    everybody = verification(*people(700, 4, seed=999), resamples=0)
    for seed in range(40):
        found = calibrate(*people(60, 5, seed=seed), far=0.05, resamples=150, seed=seed)
        low, high = found.far_interval
        held += low <= everybody.far_at(found.threshold) <= high
    assert 0.87 <= held / 40 <= 1.0


def test_what_cannot_be_used_is_named(as_in_production):
    x, y = people(30, 4)
    with pytest.raises(InputError, match="unknown probability 'plat': did you mean 'platt'"):
        calibrate(x, y, probability="plat")
    with pytest.raises(InputError, match="prior needs a probability"):
        calibrate(x, y, prior=0.5)
    with pytest.raises(InputError, match="prior must be a number > 0 and < 1, given 1"):
        calibrate(x, y, probability="platt", prior=1.0)
    with pytest.raises(InputError, match="far must be a number > 0 and < 1, given 0"):
        calibrate(x, y, far=0)
    with pytest.raises(InputError, match="unknown support 'provisonal': did you mean 'provisional'"):
        calibrate(x, y, support="provisonal")
