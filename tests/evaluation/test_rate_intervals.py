"""Intervals of rates over identities: twins in loops, closed forms, zero counts, coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trine.errors import InputError
from trine.evaluation.rate_intervals import (
    HEAVY,
    ObservedRate,
    combined,
    compatible_counts,
    correlation,
    mean_interval,
)

identities = st.lists(
    st.integers(1, 9).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))),
    min_size=2,
    max_size=9,
)


def observed(accepted, trials):
    return ObservedRate.of_identities(np.array(accepted, float), np.array(trials, float))


def clopper_pearson(accepted, trials):
    low, high = stats.beta.ppf(
        [0.025, 0.975], [accepted, accepted + 1], [trials - accepted + 1, trials - accepted]
    )
    return (low if accepted else 0.0), (high if accepted < trials else 1.0)


def twin_trials(rate, changes, shares, agreeing, least):
    """The formulas in plain loops."""
    squares = [change**2 for change in changes]
    variance = sum(squares)
    if rate in (0, 1) or variance == 0:
        return agreeing
    spread = sum((one - variance / len(squares)) ** 2 for one in squares)
    own = min(2 * variance**2 / spread if spread else np.inf, len(squares) - 1)
    heavy = sum(share**4 for share in shares) / sum(share**2 for share in shares) ** 2
    freedom = max(1 / (1 / own + HEAVY * heavy), 1)
    ratio = stats.norm.ppf(0.975) / stats.t.ppf(0.975, freedom)
    return max(rate * (1 - rate) / variance * ratio**2, least)


@given(identities)
def test_leaves_each_identity_out_as_the_twin_does(people):
    accepted, trials = zip(*people, strict=True)
    found = observed(accepted, trials)
    whole = sum(accepted) / sum(trials)
    assert found.rate == pytest.approx(whole)
    for i, change in enumerate(found.changes):
        others = [(a, t) for j, (a, t) in enumerate(people) if j != i]
        assert change == pytest.approx(whole - sum(a for a, _ in others) / sum(t for _, t in others))
    shares = [t / sum(trials) for t in trials]
    kish = 1 / sum(share**2 for share in shares)
    expected = twin_trials(whole, found.changes, shares, kish, kish)
    assert found.effective_trials() == pytest.approx(expected, rel=1e-6)
    interval = found.interval()
    assert 0 <= interval.low <= found.rate <= interval.high <= 1
    assert interval.high > 0
    assert interval.low < 1


@given(st.integers(3, 7), st.integers(0, 10_000))
def test_a_pair_belongs_to_both_of_its_identities(count, seed):
    random = np.random.default_rng(seed)
    trials = np.triu(random.integers(1, 5, (count, count)), 1)
    accepted = random.binomial(trials, 0.3)
    both = [matrix.sum(0) + matrix.sum(1) for matrix in (accepted, trials)]
    found = ObservedRate.of_pairs(both[0].astype(float), both[1].astype(float))
    assert found.rate == pytest.approx(accepted.sum() / trials.sum())
    for i, change in enumerate(found.changes):
        kept = (
            np.delete(np.delete(accepted, i, 0), i, 1).sum() / np.delete(np.delete(trials, i, 0), i, 1).sum()
        )
        assert change == pytest.approx(found.rate - kept)
    assert found.least <= count / 2 + 1e-9
    assert found.agreeing <= count * (count - 1) / 2 + 1e-9


def test_agreeing_pairs_of_equal_identities_are_worth_their_number():
    accepted, trials = np.zeros(30), np.full(30, 29.0 * 100)
    none = ObservedRate.of_pairs(accepted, trials)
    assert none.effective_trials() == pytest.approx(435)
    assert none.interval().to_json() == pytest.approx([0.0, 1 - 0.025 ** (1 / 435)])
    assert none.least == pytest.approx(15)


@pytest.mark.parametrize(
    ("accepted", "trials"), [(0, 40), (1, 40), (5, 100), (50, 100), (99, 100), (100, 100)]
)
def test_one_item_of_each_identity_is_a_binomial(accepted, trials):
    hits = np.zeros(trials)
    hits[:accepted] = 1
    found = mean_interval(hits, np.arange(trials))
    low, high = clopper_pearson(accepted, trials)
    # Never narrower than Clopper and Pearson for the same number, and hardly wider.
    assert found.low <= low + 1e-9
    assert found.high >= high - 1e-9
    assert found.high - found.low <= 1.25 * (high - low)
    if accepted in (0, trials):
        assert found.to_json() == pytest.approx([low, high])


def test_one_identity_is_worth_one_item():
    perfect = mean_interval(np.ones(50), np.zeros(50, dtype=np.int64))
    assert perfect.to_json() == pytest.approx([0.025, 1.0])
    mixed = observed([20], [50])
    assert mixed.effective_trials() == 1
    assert mixed.interval().high - mixed.interval().low > 0.9


def test_items_that_are_alike_add_nothing():
    once = mean_interval(np.repeat([0.0, 1.0], [3, 37]), np.arange(40))
    often = mean_interval(np.repeat(np.repeat([0.0, 1.0], [3, 37]), 25), np.repeat(np.arange(40), 25))
    assert often.to_json() == pytest.approx(once.to_json())


def test_rates_that_differ_by_rounding_alone_are_equal():
    identity = np.repeat(np.arange(7), [10, 20, 30, 40, 50, 60, 70])
    values = np.full(280, 0.1) + np.tile([1e-17, 0.0], 140)
    found = mean_interval(values * 9, identity)
    same = mean_interval(np.full(280, 0.9), identity)
    assert 0.3 < found.low < 0.9 < found.high < 1
    assert (found.low, found.high) == (pytest.approx(same.low), pytest.approx(same.high))
    nearly = ObservedRate.of_identities(np.array([9e8, 9e8 + 1]), np.array([1e9, 1e9]))
    assert nearly.interval().low == pytest.approx(0.9, abs=1e-4)


def test_an_identity_of_most_items_makes_the_interval_wide():
    even = observed([2] * 30, [20] * 30).interval()
    uneven = observed([30] + [1] * 29, [300] + [10] * 29).interval()
    assert uneven.high - uneven.low > 2 * (even.high - even.low)


def test_covers_where_numbers_are_uneven():
    sizes = np.maximum(1, np.round(530 * np.arange(1.0, 101) ** (-np.log(530) / np.log(100))))
    random = np.random.default_rng(0)
    studies, rate, covered, percentiles = 250, 0.1, 0, 0
    for _ in range(studies):
        accepted = random.binomial(sizes.astype(int), random.beta(0.3, 2.7, 100)).astype(float)
        found = observed(accepted, sizes).interval()
        covered += found.low <= rate <= found.high
        times = random.multinomial(100, np.full(100, 0.01), size=200)
        low, high = np.quantile((times @ accepted) / (times @ sizes), [0.025, 0.975])
        percentiles += low <= rate <= high
    assert covered / studies >= 0.93
    assert percentiles / studies < 0.88  # what the intervals replace


def exact_counts(rate, count, make):
    """Tries every number of accepted trials."""
    fits = [k for k in range(count + 1) if make(k).lower() <= rate <= make(k).upper()]
    return fits[0], fits[-1]


@given(st.integers(20, 120), st.sampled_from([0.0, 0.02, 0.1, 0.4, 1.0]))
@settings(max_examples=15)
def test_compatible_counts_are_those_that_a_test_of_each_keeps(count, rate):
    def make(accepted):
        return observed(np.arange(count) < accepted, np.ones(count))

    assert compatible_counts(rate, count, make) == exact_counts(rate, count, make)


def test_a_rate_that_the_data_cannot_bear_has_no_lower_end():
    def make(accepted):
        return observed(np.arange(30) < accepted, np.ones(30))

    assert compatible_counts(0.05, 30, make)[0] == 0  # none of 30 is no evidence against 5 %
    assert compatible_counts(0.2, 30, make)[0] > 0


def test_parts_add_up_by_their_squares():
    independent = combined(0.5, (0.03, 0.06), (0.04, 0.08), 0.0)
    assert independent.to_json() == pytest.approx([0.45, 0.6])
    assert combined(0.5, (0.03, 0.06), (0.04, 0.08), 1.0).to_json() == pytest.approx([0.43, 0.64])
    assert combined(0.5, (0.03, 0.06), (0.04, 0.08), -1.0) == independent
    assert combined(0.1, (0.3, 0.95), (0.0, 0.0), 0.0).to_json() == [0.0, 1.0]


def test_correlation_is_that_of_the_changes():
    first, second = observed([1, 5, 2], [6, 6, 6]), observed([2, 10, 4], [12, 12, 12])
    assert correlation(first, second) == pytest.approx(1)
    assert correlation(first, observed([5, 1, 4], [6, 6, 6])) == pytest.approx(-1)
    assert correlation(first, observed([3, 3, 3], [6, 6, 6])) == 0.0


def test_refuses_what_is_no_rate():
    with pytest.raises(InputError, match="needs values from 0 to 1, given 0 to 2"):
        mean_interval(np.array([0.0, 2.0]), np.array([0, 1]))
    with pytest.raises(InputError, match="given 2 values and 1 identities"):
        mean_interval(np.ones(2), np.zeros(1, dtype=np.int64))
