"""Error rates of thresholds: against loops, against scipy, and against strangers who are drawn."""

import json
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from trine.errors import InputError, ModelError
from trine.rates import (
    ROUND_RATES,
    Promise,
    RateCurve,
    State,
    as_range,
    least_identities,
    lower_bound,
    percent,
    stranger_rates,
    upper_bound,
)


@st.composite
def probes(draw, own=False):
    """Distances with ties, the identity of each, and, for a gallery's own, the nearest other."""
    people = draw(st.integers(2 if own else 1, 7))
    size = draw(st.integers(people, 20))
    identity = np.array([*range(people), *draw(st.lists(st.integers(0, people - 1), max_size=size - people))])
    distances = np.array(
        draw(st.lists(st.integers(0, 6), min_size=len(identity), max_size=len(identity))), float
    )
    steps = draw(st.lists(st.integers(1, max(people - 1, 1)), min_size=len(identity), max_size=len(identity)))
    nearest = (identity + np.array(steps)) % people if own else None
    return distances, identity, nearest


def naive(distances, identity, nearest, threshold):
    """The rate at a threshold, and how many independent observations it is worth, person by person."""
    people = sorted(set(identity.tolist()))
    of = {person: np.flatnonzero(identity == person) for person in people}
    shares = [np.mean([distances[i] <= threshold for i in of[person]]) for person in people]
    rate = sum(shares) / len(people)
    spread = sum((share - rate) ** 2 for share in shares)
    if nearest is not None:
        to = defaultdict(float)
        for person in people:
            for i in of[person]:
                if distances[i] <= threshold:
                    to[person, int(nearest[i])] += 1 / len(of[person])
        spread += sum(to[a, b] * to[b, a] for a in people for b in people if a != b)
    alone = len(people) if nearest is None else len(people) / 2
    return rate, rate * (1 - rate) * len(people) ** 2 / spread if spread > 1e-12 else alone


@pytest.mark.parametrize("own", [False, True])
@settings(max_examples=40)
@given(data=st.data())
def test_rates_equal_loops(own, data):
    distances, identity, nearest = data.draw(probes(own))
    curve = stranger_rates(distances, identity, nearest=nearest)
    assert curve.identities == len(set(identity.tolist()))
    assert curve.alone == (curve.identities / 2 if own else curve.identities)
    assert len(curve.limits) == len(set(distances.tolist())) + 1
    assert (curve.estimate[0], curve.estimate[-1]) == (0, pytest.approx(1))
    for limit, estimate, effective in zip(curve.limits, curve.estimate, curve.effective, strict=True):
        rate, worth = naive(distances, identity, nearest, limit)
        assert estimate == pytest.approx(rate, abs=1e-12)
        if 1e-9 < rate < 1 - 1e-9:
            assert effective == pytest.approx(max(worth, curve.alone))
    for threshold in (-1.0, 0.0, 2.5, 3.0, 99.0):
        assert curve.at(threshold)[0] == pytest.approx(naive(distances, identity, nearest, threshold)[0])


def test_those_who_are_near_each_other_are_accepted_together():
    """Six people in three close pairs are three observations; in a circle they are six."""
    distances, identity = np.array([1.0, 1, 2, 2, 3, 3]), np.arange(6)
    pairs = stranger_rates(distances, identity, nearest=np.array([1, 0, 3, 2, 5, 4]))
    circle = stranger_rates(distances, identity, nearest=np.array([1, 2, 3, 4, 5, 0]))
    outside = stranger_rates(distances, identity)
    assert circle.effective[1] == pytest.approx(outside.effective[1]) == pytest.approx(6)
    assert pairs.effective[1] < 4
    assert pairs.at(1.0)[1][1] > circle.at(1.0)[1][1]


@pytest.mark.parametrize("own", [False, True])
@settings(max_examples=30)
@given(data=st.data())
def test_properties_of_any_rates(own, data):
    distances, identity, nearest = data.draw(probes(own))
    curve = stranger_rates(distances, identity, nearest=nearest, scale=1.25 if own else 1.0)
    table = curve.table()
    assert (np.diff(table[:, 0]) >= 0).all()
    assert (np.diff(table[:, 1]) >= -1e-12).all()
    assert (table[:, 2] <= table[:, 1] + 1e-12).all()
    assert (table[:, 1] <= table[:, 3] + 1e-12).all()
    assert (table >= np.nextafter(0, -1)).all() or table[0, 0] < 0
    assert table[:, 1:].max() <= 1 + 1e-12
    before = -1.0
    for rate in ROUND_RATES:
        if (found := curve.threshold(rate)) is None:
            continue
        threshold, promise = found
        assert threshold >= 0
        assert promise.rate == rate
        assert promise.interval[0] <= promise.estimate <= promise.bound
        assert (promise.bound <= rate) == (promise.state is State.FIRM) or promise.bound == rate
        if promise.state is State.PROVISIONAL:
            assert threshold >= before  # a firm threshold is smaller than a provisional one of the same rate
            before = threshold
    order = np.array(data.draw(st.permutations(range(len(distances)))))
    names = np.array(data.draw(st.permutations(range(50))))
    moved = stranger_rates(
        distances[order], names[identity[order]],
        nearest=None if nearest is None else names[nearest[order]], scale=curve.scale,
    )  # fmt: skip
    np.testing.assert_array_equal(moved.limits, curve.limits)
    np.testing.assert_allclose(moved.estimate, curve.estimate, atol=1e-12)
    np.testing.assert_allclose(moved.effective, curve.effective, rtol=1e-6, atol=1e-9)


@settings(max_examples=60)
@given(of=st.floats(0.5, 2000), share=st.floats(0, 1), confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_bounds_are_those_of_scipy(of, share, confidence):
    accepted = share * of
    high = beta.ppf(confidence, accepted + 1, of - accepted) if of > accepted else 1.0
    low = beta.ppf(1 - confidence, accepted, of - accepted + 1) if accepted > 0 else 0.0
    if of - accepted > 1e-6:
        assert upper_bound(accepted, of, confidence=confidence) == pytest.approx(high, abs=1e-9)
    if accepted > 1e-6:
        assert lower_bound(accepted, of, confidence=confidence) == pytest.approx(low, abs=1e-9)


def test_bounds_at_their_ends():
    assert upper_bound(7, 7) == 1.0
    assert lower_bound(0, 7) == 0.0
    assert upper_bound(0, 59) == pytest.approx(1 - 0.05 ** (1 / 59))
    np.testing.assert_allclose(
        upper_bound([[0, 1], [2, 3]], [[30], [40]]),
        beta.ppf(0.95, [[1, 2], [3, 4]], [[30, 29], [38, 37]]),
        atol=1e-12,
    )


@pytest.mark.parametrize(("rate", "firm", "provisional"), [(0.01, 299, 99), (0.05, 59, 19), (0.1, 29, 9)])
def test_so_many_identities_make_a_rate_firm_or_provisional(rate, firm, provisional):
    assert least_identities(rate) == firm
    for identities, state in (
        (firm, "firm"), (firm - 1, "provisional"), (provisional, "provisional"), (provisional - 1, None),
    ):  # fmt: skip
        found = stranger_rates(np.arange(1.0, identities + 1), np.arange(identities)).threshold(rate)
        assert (found and found[1].state) == state
    threshold, promise = stranger_rates(np.arange(1.0, firm + 1), np.arange(firm)).threshold(rate)
    assert threshold == np.nextafter(1.0, 0)  # none of them is accepted
    assert promise.interval[0] == 0
    assert promise.bound <= rate
    # A gallery's own identities may be near each other two by two.
    own = {"nearest": np.roll(np.arange(firm), 1), "scale": firm / (firm - 1)}
    assert stranger_rates(np.arange(1.0, firm + 1), np.arange(firm), **own).threshold(rate)[1].state != "firm"


def test_a_provisional_threshold_is_conformal():
    """Of 99 strangers one hundredth each: the threshold for 1 % lies just below the nearest."""
    distances = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    curve = stranger_rates(distances, np.arange(99))
    for rate, accepted in ((0.01, 0), (0.02, 1), (0.05, 4)):
        threshold, promise = curve.threshold(rate)
        if promise.state is State.PROVISIONAL:
            assert threshold == np.nextafter(accepted + 1.0, 0)
            assert promise.estimate == pytest.approx((accepted + 1) / 100)


def test_the_smallest_rate_is_the_next_round_one():
    curve = stranger_rates(np.arange(1.0, 31.0), np.arange(30))
    assert curve.threshold(0.01) is None
    assert curve.smallest(0.01) == curve.threshold(0.05)
    assert curve.smallest(0.02)[1].rate == 0.05  # 3 % needs 33
    assert curve.smallest(0.04)[1].rate == 0.04
    assert curve.smallest(0.06)[1].rate == 0.06
    assert stranger_rates(np.zeros(30), np.arange(30)).smallest(0.01) is None
    assert stranger_rates(np.ones(1), np.arange(1)).smallest(0.01)[1].rate == 0.5


def test_ties_are_accepted_together():
    distances = np.array([0.0] * 3 + [1.0] * 4 + [2.0] * 393)
    curve = stranger_rates(distances, np.arange(400))
    assert [curve.at(t)[0] for t in (-0.1, 0.0, 0.5, 1.0, 1.5, 2.0)] == pytest.approx(
        [0, 3 / 400, 3 / 400, 7 / 400, 7 / 400, 1]
    )
    assert curve.threshold(0.05) == (np.nextafter(2.0, 0), curve.threshold(0.05)[1])
    assert curve.threshold(0.02)[0] == np.nextafter(1.0, 0)
    # Below 0 there is no threshold.
    assert curve.threshold(0.003) is None


def test_scale_counts_those_whom_a_stranger_meets():
    plain = stranger_rates(np.arange(1.0, 101.0), np.arange(100))
    scaled = stranger_rates(np.arange(1.0, 101.0), np.arange(100), scale=2.0)
    for threshold in (5.5, 20.0, 60.0):
        estimate, (low, high) = plain.at(threshold)
        assert scaled.at(threshold) == (
            pytest.approx(1 - (1 - estimate) ** 2),
            (pytest.approx(1 - (1 - low) ** 2), pytest.approx(1 - (1 - high) ** 2)),
        )
    assert scaled.threshold(0.1)[0] < plain.threshold(0.1)[0]


def test_a_table_has_no_more_points_than_asked():
    curve = stranger_rates(np.arange(1.0, 501.0), np.arange(500))
    assert curve.table(points=20).shape == (20, 4)
    assert curve.table(points=9999).shape == (501, 4)
    for threshold, estimate, low, high in curve.table(points=20):
        found, interval = curve.at(threshold)
        assert (found, *interval) == pytest.approx((estimate, low, high))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: stranger_rates(np.empty(0), np.empty(0, np.int64)),
            "need one identity for each of at least one distance, given 0 distances and 0 identities",
        ),
        (lambda: stranger_rates(np.ones(3), np.arange(2)), "given 3 distances and 2 identities"),
        (
            lambda: stranger_rates(np.ones(3), np.arange(3)).threshold(0),
            "rate must be a number > 0 and < 1, given 0",
        ),
        (lambda: stranger_rates(np.ones(3), np.arange(3)).smallest(1.0), "rate must be a number > 0 and < 1"),
        (lambda: Promise("fir", 0.1, "firm", 0.1, (0, 0.1), 3), "unknown name 'fir'"),
        (lambda: Promise("far", 0.0, "firm", 0.1, (0, 0.1), 3), "rate must be a number > 0 and < 1, given 0"),
        (lambda: Promise("far", 0.1, "firm", 2.0, (0, 0.1), 3), "estimate must be a number >= 0 and <= 1"),
        (lambda: Promise("far", 0.1, "firm", 0.1, (0.2, 0.1), 3), "interval must be two rates from 0 to 1"),
        (lambda: Promise("far", 0.1, "firm", 0.1, (0, 0.1), 0), "identities must be at least 1, given 0"),
    ],
)
def test_what_cannot_be_used_is_named(ask, message, as_in_production):
    with pytest.raises(InputError, match=message):
        ask()


def test_a_promise_survives_json():
    promise = Promise("fpir", 0.05, "provisional", 0.04, (0.01, 0.11), 40)
    assert promise.state is State.PROVISIONAL
    assert Promise.from_json(json.loads(json.dumps(promise.to_json()))) == promise
    for wrong in ({}, {**promise.to_json(), "state": "firmly"}, {**promise.to_json(), "rate": None}):
        with pytest.raises(ModelError, match="the calibration has an invalid error rate"):
            Promise.from_json(wrong)
    with pytest.raises(ModelError, match="field 'x' must be a list of two numbers, given 'ab'"):
        as_range("ab", "x")
    assert as_range(None, "x") is None
    assert [percent(rate) for rate in (0.0, 1e-5, 0.0123, 0.5, 1.0)] == [
        "0 %", "0.001 %", "1.2 %", "50 %", "100 %"
    ]  # fmt: skip


def drawn(random, people, items):
    """How near strangers come: each has a distance of their own, around which their items lie."""
    sizes = random.integers(1, items + 1, people)
    identity = np.repeat(np.arange(people), sizes)
    return random.random(people)[identity] + 0.1 * random.random(len(identity)), identity


def accepted_among_all(items):
    """The share of all strangers that a threshold accepts, each weighed alike."""
    distances, identity = drawn(np.random.default_rng(99), 20_000, items)
    weight = 1 / np.bincount(identity)[identity]
    order = np.argsort(distances)
    sums = np.append(0, np.cumsum(weight[order]) / 20_000)
    return lambda threshold: sums[np.searchsorted(distances[order], threshold, side="right")]


@pytest.mark.parametrize("items", [1, 6])
def test_a_firm_promise_is_seldom_exceeded_and_a_provisional_one_right_on_average(items):
    truth = accepted_among_all(items)
    exceeded, realised, held = [], [], []
    for seed in range(80):
        random = np.random.default_rng([seed, items])
        threshold, promise = stranger_rates(*drawn(random, 40, items)).threshold(0.1)
        assert promise.state is State.FIRM
        exceeded.append(truth(threshold) > 0.1)
        held.append(promise.interval[0] <= truth(threshold) <= promise.bound)
        threshold, promise = stranger_rates(*drawn(random, 19, items)).threshold(0.1)
        assert promise.state is State.PROVISIONAL
        realised.append(truth(threshold))
    assert np.mean(exceeded) <= 0.1  # 5 %, and twice its standard error over 80
    assert np.mean(held) >= 0.85
    # With several items each, a little below: an identity is worth less than one observation more.
    assert np.mean(realised) == pytest.approx(0.1 if items == 1 else 0.085, abs=0.02)


def test_a_gallery_that_leaves_one_out_is_right_about_strangers():
    """People in a square; a stranger is named when one of the gallery is near."""
    strangers = np.random.default_rng(99).random((400, 2))

    def nearest_to(rows, gallery):
        squared = ((rows[:, None] - gallery[None]) ** 2).sum(axis=2)
        return np.sqrt(squared.min(axis=1)), squared.argmin(axis=1)

    exceeded, realised = [], []
    for seed in range(50):
        random = np.random.default_rng(seed)
        for people, keep in ((100, exceeded), (50, realised)):
            gallery = random.random((people, 2))
            squared = ((gallery[:, None] - gallery[None]) ** 2).sum(axis=2) + 9 * np.eye(people)
            curve = stranger_rates(
                np.sqrt(squared.min(axis=1)), np.arange(people), nearest=squared.argmin(axis=1),
                scale=people / (people - 1),
            )  # fmt: skip
            threshold, promise = curve.threshold(0.1)
            share = (nearest_to(strangers, gallery)[0] <= threshold).mean()
            if keep is exceeded:
                assert promise.state is State.FIRM
            keep.append(share > 0.1 if keep is exceeded else share)
    assert np.mean(exceeded) <= 0.12
    assert np.mean(realised) == pytest.approx(0.09, abs=0.025)


def test_a_curve_may_be_made_by_hand():
    curve = RateCurve(
        "fpir", np.array([0.5, 1.0]), np.array([0.0, 1.0]), np.array([400.0, 400.0]), 400.0, 400
    )
    assert curve.threshold(0.01)[0] == 0.5
    assert str(curve.threshold(0.01)[1]) == "at most 1 % of strangers are named, firm"


def test_a_rate_of_a_larger_gallery_is_larger_even_if_nobody_is_accepted():
    distances, identity = np.arange(1.0, 41.0), np.arange(40)
    same, larger = (stranger_rates(distances, identity, scale=scale) for scale in (1.0, 20.0))
    assert same.smallest(0.02)[1].estimate == pytest.approx(1 / 41)
    assert larger.smallest(0.02)[1].estimate == pytest.approx(1 - (1 - 1 / 41) ** 20)
