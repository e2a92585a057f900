"""A threshold is given for what the data supports, and refused for more."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trine.errors import CalibrationError, InputError
from trine.evaluation import calibrate, verification
from trine.evaluation.all_pairs import all_pairs
from trine.evaluation.calibration import impostor_rates
from trine.rates import State


def people(identities, each, seed=0, noise=0.3):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(identities), each)
    return random.standard_normal((identities, 8))[labels] + noise * random.standard_normal(
        (len(labels), 8)
    ), labels


def test_the_threshold_keeps_the_rate_and_no_much_larger_one_does():
    x, y = people(40, 4)
    found = calibrate(x, y, far=0.05, distance="cosine")
    report = verification(x, y, distance="cosine")
    accepted = int((report.impostor <= found.threshold).sum())
    assert 0 < accepted <= 0.05 * report.impostor_pairs
    # Rates are known at some of the distances, and one pair more is added for a stranger.
    assert accepted > 0.048 * report.impostor_pairs
    assert found.tar == (report.genuine <= found.threshold).mean()
    assert (found.genuine_pairs, found.impostor_pairs) == (240, 160 * 159 // 2 - 240)
    assert found.distance == "cosine"
    promise = found.promise
    assert (promise.name, promise.rate, promise.state, promise.identities) == ("far", 0.05, "provisional", 40)
    assert promise.interval[0] <= promise.estimate <= 0.05 < promise.bound


def test_a_firm_threshold_has_its_bound_below_the_rate():
    x, y = people(60, 4)
    found = calibrate(x, y, far=0.05, resamples=0)
    report = verification(x, y, resamples=0)
    assert found.promise.state is State.FIRM
    assert found.promise.bound <= 0.05
    accepted = report.far_at(found.threshold)
    assert found.promise.interval[0] <= accepted < found.promise.estimate <= found.promise.bound
    estimate, (low, high) = impostor_rates(report.pairs).at(found.threshold)
    assert (estimate, low) == pytest.approx((accepted, found.promise.interval[0]))
    assert high <= 0.05


def test_it_holds_on_other_people_on_average():
    rates = []
    everybody = verification(*people(300, 3, seed=999), resamples=0)
    for seed in range(20):
        found = calibrate(*people(50, 2, seed=seed), far=0.05, resamples=0)
        assert found.promise.state is State.PROVISIONAL
        rates.append(everybody.far_at(found.threshold))
    assert np.mean(rates) == pytest.approx(0.05, abs=0.01)


def test_a_firm_rate_holds_among_other_people_and_so_does_its_interval():
    """The rate that a threshold has among other people, over many calibrations."""
    everybody = verification(*people(300, 3, seed=999), resamples=0)
    exceeded = held = 0
    for seed in range(20):
        found = calibrate(*people(60, 2, seed=seed), far=0.05, resamples=0)
        low, high = found.promise.interval
        assert found.promise.state is State.FIRM
        exceeded += everybody.far_at(found.threshold) > 0.05
        held += low <= everybody.far_at(found.threshold) <= high
    assert exceeded <= 3
    assert 0.8 <= held / 20 <= 1.0


def test_a_rate_needs_so_many_identities():
    """299, 59 and 29 for a firm 1, 5 and 10 %; 99, 19 and 9 for a provisional one."""
    for far, firm, provisional in ((0.1, 29, 9), (0.05, 59, 19)):
        for identities, state in ((firm, "firm"), (firm - 1, "provisional"), (provisional, "provisional")):
            assert calibrate(*people(identities, 2), far=far, resamples=0).promise.state == state
        fewer = provisional - 1
        with pytest.raises(
            CalibrationError,
            match=rf"needs at least {provisional} identities \(and {firm} to be firm\), given ",
        ):
            calibrate(*people(fewer, 2), far=far)


def test_too_few_identities_are_refused_or_take_the_smallest_rate():
    x, y = people(30, 2)
    message = (
        r"a false-accept rate of 1 % needs at least 99 identities \(and 299 to be firm\), given 30; .*"
        "take the smallest rate possible with too_few='smallest'"
    )
    with pytest.raises(CalibrationError, match=message):
        calibrate(x, y, far=0.01)
    found = calibrate(x, y, far=0.01, too_few="smallest", resamples=0)
    assert (found.promise.rate, found.promise.state) == (0.05, "provisional")
    assert found == calibrate(x, y, far=0.05, resamples=0)
    assert verification(x, y, resamples=0).far_at(found.threshold) <= 0.05


def test_a_rate_below_every_observed_distance_accepts_nobody():
    # 0, 1 and 3 are each at 1 or more from the others, and the pairs at 1 are too many for the rate.
    x = np.array([0.0, 1.0, *np.arange(3.0, 20.0), 100.0])
    found = calibrate(x[:, None], [*range(19), 0], far=0.05, resamples=0)
    assert found.threshold == np.nextafter(np.float32(1), np.float32(0))
    assert found.tar == 0


def test_no_pair_or_no_threshold_is_always_an_error():
    with pytest.raises(CalibrationError, match="two items of one identity, given 3 items of 3 identities"):
        calibrate(np.zeros((3, 2)), [0, 1, 2], too_few="smallest")
    with pytest.raises(CalibrationError, match="items of two identities, given 3 items of 1 identities"):
        calibrate(np.zeros((3, 2)), [0, 0, 0], too_few="smallest")
    with pytest.raises(CalibrationError, match="needs two items of one identity, given 0 items"):
        calibrate(np.zeros((0, 2)), [], too_few="smallest")
    with pytest.raises(CalibrationError, match="too many of the 180 impostor pairs are at distance 0"):
        calibrate(np.zeros((20, 2)), np.arange(20) // 2, far=0.2, too_few="smallest")


def test_the_intervals_are_those_of_the_pairs():
    x, y = people(40, 4)
    found = calibrate(x, y, far=0.05, seed=2)
    report = verification(x, y, seed=2)
    assert found.tar_interval == tuple(report.interval("tar_at", found.threshold).to_json())
    assert found.threshold_interval == tuple(report.interval("threshold_at_far", 0.05).to_json())
    assert 0 < found.promise.interval[0] < 0.05 < found.promise.bound < 0.15
    assert found.threshold_interval[0] < found.threshold < found.threshold_interval[1]
    bare = calibrate(x, y, far=0.05, resamples=0)
    assert (bare.tar_interval, bare.threshold_interval) == (None, None)
    assert (bare.threshold, bare.promise) == (found.threshold, found.promise)


def test_what_cannot_be_used_is_named(as_in_production):
    x, y = people(30, 4)
    with pytest.raises(InputError, match="unknown probability 'plat': did you mean 'platt'"):
        calibrate(x, y, probability="plat")
    with pytest.raises(InputError, match="prior needs a probability"):
        calibrate(x, y, prior=0.5)
    with pytest.raises(InputError, match="prior must be a number > 0 and < 1, given 1"):
        calibrate(x, y, far=0.1, probability="platt", prior=1.0)
    with pytest.raises(InputError, match="far must be a number > 0 and < 1, given 0"):
        calibrate(x, y, far=0)
    with pytest.raises(InputError, match="unknown too_few 'smalest': did you mean 'smallest'"):
        calibrate(x, y, too_few="smalest")
    with pytest.raises(
        InputError, match="a false-accept rate needs the identities of the pairs, given pairs"
    ):
        impostor_rates(replace(verification(x, y, resamples=0).pairs, owned=None))


def test_rates_are_those_of_a_loop_over_pairs():
    """The share accepted, and its variance over identities by the infinitesimal jackknife."""
    x, y = people(12, 3, noise=0.6)
    x = x.round(1)  # ties
    pairs = verification(x, y, resamples=0).pairs
    curve = impostor_rates(pairs)
    owned = pairs.owned[1]
    impostors = list(zip(owned.distances.tolist(), owned.first.tolist(), owned.second.tolist(), strict=True))
    assert len(impostors) == 36 * 35 // 2 - 12 * 3
    assert (curve.estimate[0], curve.estimate[-1], curve.identities) == (0.0, 1.0, 12)
    assert (np.diff(curve.limits) >= 0).all()
    for limit, estimate, effective in zip(curve.limits, curve.estimate, curve.effective, strict=True):
        accepted = [pair for pair in impostors if pair[0] <= limit]
        rate = len(accepted) / len(impostors)
        assert estimate == pytest.approx(rate)
        total = 0.0
        for person in range(12):
            own = sum(person in pair[1:] for pair in accepted)
            met = sum(person in pair[1:] for pair in impostors)
            total += (own - rate * met) ** 2
        variance = total / len(impostors) ** 2 * 12 / 11
        if 0 < rate < 1 and variance > 1e-12:
            assert effective == pytest.approx(rate * (1 - rate) / variance)


def test_one_item_of_each_identity_has_rates_too():
    x = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    curve = impostor_rates(all_pairs(x, np.arange(4), distance="euclidean"))
    assert [curve.at(threshold)[0] for threshold in (0.5, 1.0, 3.5, 6.9, 7.0)] == pytest.approx(
        [0, 1 / 6, 3 / 6, 5 / 6, 1]
    )
