"""Confidence intervals of rates that cover with few identities and uneven numbers of items, too.

A rate that is observed over identities is worth as much as one over some number of independent trials: fewer
than there are items, since items of one identity are alike. This effective number follows from how much the
rate changes when each identity is left out (the jackknife). The interval is then that of Clopper and Pearson
(1934) for so many trials, as in surveys (Korn, Graubard 1998): it stays within [0, 1], is not symmetric where
the rate is small, and has an upper end above 0 where nothing was accepted. `benchmarks/intervals.py` compares
it with others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from trine.beta import beta_quantile, student_quantile
from trine.errors import InputError
from trine.evaluation.intervals import LEVEL, Interval, check_queries
from trine.shapes import Float, Int64

HEAVY = 0.5
"""How much identities with many items lower the degrees of freedom: chosen by the coverage in simulations."""

ROUNDING = 1e-24
"""A variance below which changes are rounding errors: all identities have the same rate."""

_ROUNDING = 1e-9  # what a mean of ranks may exceed 1 by
_PRECISION = 1 / 256  # of the number of accepted trials at which a search ends


@dataclass(frozen=True, eq=False)
class ObservedRate:
    """A rate over the trials of several identities, and what its uncertainty follows from.

    Attributes:
        rate: In [0, 1].
        changes: The rate minus the rate without each identity.
        shares: The share of all trials that each identity has; they sum to 1.
        agreeing: How many independent trials it is worth where all identities have the same rate, as where
            nothing is accepted.
        least: The smallest number of independent trials that it can be worth.
    """

    rate: float
    changes: Float[np.ndarray, " c"]
    shares: Float[np.ndarray, " c"]
    agreeing: float
    least: float

    @classmethod
    def of_identities(
        cls, accepted: Float[np.ndarray, " c"], trials: Float[np.ndarray, " c"]
    ) -> ObservedRate:
        """A rate whose every trial belongs to one identity, such as the TAR or the mean over queries.

        Args:
            accepted: How many trials of each identity were accepted, or the sum of values in [0, 1].
            trials: How many there were, in all at least one.
        """
        whole = trials.sum()
        rate = float(accepted.sum() / whole)
        shares = trials / whole
        kish = 1 / float((shares**2).sum())
        return cls(rate, _changes(accepted, trials, rate), shares, kish, kish)

    @classmethod
    def of_pairs(cls, accepted: Float[np.ndarray, " c"], trials: Float[np.ndarray, " c"]) -> ObservedRate:
        """A rate whose every trial belongs to two identities, such as the FAR.

        Args:
            accepted: How many trials of each identity were accepted: each trial counts for both of its own.
            trials: How many there were, in all at least one.
        """
        whole = trials.sum() / 2
        rate = float(accepted.sum() / 2 / whole)
        shares = trials / trials.sum()
        squares, fourths = float((shares**2).sum()), float((shares**4).sum())
        # The effective number of pairs of identities (Kish); they are worth at least C/2 (Hoeffding 1948).
        kish = (1 - squares) ** 2 / (2 * (squares**2 - fourths))
        changes = _changes(accepted, trials, rate, whole=whole)
        return cls(rate, changes, shares, min(kish, float(whole)), 1 / (2 * squares))

    def effective_trials(self, level: float = LEVEL) -> float:
        """How many independent trials the rate is worth for an interval.

        The number whose binomial variance equals the jackknife variance, times (z / t)² for the uncertainty
        of that variance itself (Korn, Graubard 1998). The degrees of freedom of t fall where few identities
        make up most of the variance (Satterthwaite 1946), or have most of the trials.

        Args:
            level: The confidence of the interval, in (0, 1).
        """
        squares = self.changes**2
        variance, binomial = float(squares.sum()), self.rate * (1 - self.rate)
        if variance < ROUNDING:
            variance = 0.0
        if binomial <= 0 or not 0 < variance < math.inf:
            return self.agreeing if variance == 0 or binomial <= 0 else self.least
        count = int((self.shares > 0).sum())
        spread = float((squares**2).sum()) - variance**2 / count
        freedom = 1 / max(spread / (2 * variance**2), 1 / max(count - 1, 1))
        heavy = float((self.shares**4).sum() / (self.shares**2).sum() ** 2)
        freedom = max(1 / (1 / freedom + HEAVY * heavy), 1.0)
        upper = (1 + level) / 2
        found = binomial / variance * (NormalDist().inv_cdf(upper) / student_quantile(upper, freedom)) ** 2
        return max(found, self.least)

    def interval(self, level: float = LEVEL) -> Interval:
        """Returns the confidence interval.

        Args:
            level: The confidence, in (0, 1).
        """
        return Interval(self.lower(level), self.upper(level), level)

    def lower(self, level: float = LEVEL) -> float:
        """The lower end of the interval of a level."""
        return 1 - _upper_end(1 - self.rate, self.effective_trials(level), level)

    def upper(self, level: float = LEVEL) -> float:
        """The upper end of the interval of a level."""
        return _upper_end(self.rate, self.effective_trials(level), level)

    def at(self, rate: float) -> ObservedRate:
        """The same evidence for a rate that was measured over more trials."""
        return replace(self, rate=rate)


def mean_interval(
    values: Float[np.ndarray, " n"], identity: Int64[np.ndarray, " n"], *, level: float = LEVEL
) -> Interval:
    """Returns the confidence interval of a mean over queries, whose identities are the sample.

    Args:
        values: The value of each query, in [0, 1].
        identity: The identity of each query, any integers.
        level: The confidence, in (0, 1).

    Returns:
        The interval, in [0, 1]. One identity is worth one query.

    Raises:
        InputError: There is no query, a value is outside [0, 1], or the arguments do not fit.

    Example:
        >>> hits, people = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 1, 2, 2])
        >>> print(mean_interval(hits, people))
        0.094 to 0.992
    """
    check_queries(values, identity)
    if not (values.min() >= -_ROUNDING and values.max() <= 1 + _ROUNDING):
        raise InputError(
            f"an interval of a mean needs values from 0 to 1, given {values.min():g} to {values.max():g}"
        )
    _, own, counts = np.unique(identity, return_inverse=True, return_counts=True)
    sums = np.bincount(own, weights=np.clip(values, 0, 1))
    observed = ObservedRate.of_identities(sums, counts.astype(np.float64))
    return observed.interval(level)


def compatible_counts(
    rate: float, count: int, observed: Callable[[int], ObservedRate], *, level: float = LEVEL
) -> tuple[int, int]:
    """Finds how many trials a threshold may accept, its true rate being a given one: a test, inverted.

    Args:
        rate: The rate, in [0, 1].
        count: How many trials there are.
        observed: The observed rate of the threshold that accepts the nearest so many of them.
        level: The confidence, in (0, 1).

    Returns:
        The smallest and the largest number whose interval holds the rate, within 1/256 of it. 0 is the
        smallest where the data cannot bear the rate: accepting nothing would not contradict it.
    """
    start = min(int(rate * count), count)

    def too_few(accepted: int) -> bool:
        return observed(accepted).upper(level) < rate

    def too_many(accepted: int) -> bool:
        return observed(accepted).lower(level) > rate

    low, high = 0, start
    if too_few(low):
        low, high = _halved(low, high, too_few)
        low = high
    below, above = start, min(start + max(start, 1), count)
    while above < count and not too_many(above):
        below, above = above, min(2 * above, count)
    if too_many(above):
        below, above = _halved(below, above, lambda accepted: not too_many(accepted))
        return low, below
    return low, above


def combined(
    value: float, first: tuple[float, float], second: tuple[float, float], correlation: float
) -> Interval:
    """Adds the uncertainty of two parts of a rate whose intervals are not symmetric (Zou, Donner 2008).

    Args:
        value: The rate, in [0, 1].
        first: How far the interval of one part reaches below and above, both at least 0.
        second: The same for the other.
        correlation: The correlation of the errors of the two, as they add up; a negative one counts as 0,
            since a few identities do not tell that errors cancel out.
    """
    below, above = (
        math.sqrt(a * a + b * b + 2 * max(correlation, 0.0) * a * b)
        for a, b in zip(first, second, strict=True)
    )
    return Interval(max(value - below, 0.0), min(value + above, 1.0))


def correlation(first: ObservedRate, second: ObservedRate) -> float:
    """The correlation of the errors of two rates over the same identities, by the jackknife."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = first.changes @ second.changes / np.sqrt((first.changes**2).sum() * (second.changes**2).sum())
    return float(np.clip(found, -1, 1)) if np.isfinite(found) else 0.0


def reach(value: float, interval: Interval) -> tuple[float, float]:
    """How far an interval reaches below and above a value."""
    return max(value - interval.low, 0.0), max(interval.high - value, 0.0)


def _upper_end(rate: float, trials: float, level: float) -> float:
    """The upper end of Clopper and Pearson, or of the logit where that is higher but for two more accepts.

    The latter is where few effective accepts were seen, of unequal size.
    """
    if rate >= 1:
        return 1.0
    share, accepted = (1 + level) / 2, rate * trials
    exact = beta_quantile(share, accepted + 1, trials - accepted)
    if rate <= 0:
        return exact
    log_odds = math.log(rate / (1 - rate))
    log_odds += NormalDist().inv_cdf(share) / math.sqrt(rate * (1 - rate) * trials)
    logit = 1 / (1 + math.exp(-min(log_odds, 700.0)))
    rejected = trials - accepted - 2
    further = beta_quantile(share, accepted + 3, rejected) if rejected > 0 else 1.0
    return max(exact, min(logit, further))


def _changes(
    accepted: Float[np.ndarray, " c"],
    trials: Float[np.ndarray, " c"],
    rate: float,
    *,
    whole: float | None = None,
) -> Float[np.ndarray, " c"]:
    """The rate minus the rate without each identity; infinite where one has all trials."""
    others = (trials.sum() if whole is None else whole) - trials
    with np.errstate(invalid="ignore", divide="ignore"):
        changes: np.ndarray = np.where(others > 0, (accepted - rate * trials) / others, np.inf)
    return changes


def _halved(low: int, high: int, holds: Callable[[int], bool]) -> tuple[int, int]:
    """Narrows a range down, `holds` being true at its lower and false at its upper end."""
    while high - low > max(1, int(low * _PRECISION)):
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high
