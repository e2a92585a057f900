"""Confidence intervals, and bootstrap samples of identities.

Items of one identity are alike, so items are not independent but identities are: the cluster bootstrap draws
identities with replacement, and each brings all of its items (Field, Welsh 2007). It compares two reports on
the same items. For the interval of one rate see `trine.evaluation.rate_intervals`: with few identities, or
uneven numbers of items, that of the bootstrap is too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trine.errors import InputError
from trine.shapes import Float, Int64

LEVEL = 0.95
"""The share of repeated studies whose interval holds the true value, approximately."""

RESAMPLES = 1000
"""The default number of bootstrap samples for means over queries."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        level: The confidence, in (0, 1).

    Example:
        >>> print(Interval(0.71, 0.846))
        0.710 to 0.846
    """

    low: float
    high: float
    level: float = LEVEL

    @property
    def known(self) -> bool:
        """Whether there is one; not where no bootstrap sample has a value."""
        return not np.isnan(self.low)

    def brackets(self, *, signed: bool = False) -> str:
        """Both ends in brackets, to stand behind the value.

        Args:
            signed: Whether to write a plus sign, as for differences.

        Returns:
            `" (0.710 to 0.846)"`; empty if both ends read the same, as then they say nothing, or are unknown.

        Example:
            >>> Interval(-0.1, 0.2).brackets(signed=True), Interval(1.0, 1.0).brackets()
            (' (-0.100 to +0.200)', '')
        """
        low, high = (f"{end:+.3f}" if signed else f"{end:.3f}" for end in (self.low, self.high))
        return "" if low == high else f" ({low} to {high})"

    def to_json(self) -> list[float] | None:
        """Both ends as JSON values; None where they are not known."""
        return [self.low, self.high] if self.known else None

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"


def multiplicities(identities: int, *, resamples: int, seed: int) -> Iterator[Int64[np.ndarray, " c"]]:
    """Draws bootstrap samples of identities, each as large as the set of identities.

    Args:
        identities: How many identities there are.
        resamples: How many samples to draw.
        seed: The seed; a longer series begins with the samples of a shorter one.

    Yields:
        How often each identity occurs in a sample.
    """
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(random.integers(0, identities, identities), minlength=identities)


def percentile_interval(values: Float[np.ndarray, " r"], *, level: float = LEVEL) -> Interval:
    """Returns the percentile interval of bootstrap values (Efron 1979).

    Args:
        values: The value in each bootstrap sample; NaN where a sample has none.
        level: The confidence, in (0, 1).

    Returns:
        The interval; NaN to NaN where no sample has a value.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(np.nan, np.nan, level)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def resampled_means(
    values: Float[np.ndarray, "n f"], identity: Int64[np.ndarray, " n"], *, resamples: int, seed: int
) -> Float[np.ndarray, "r f"]:
    """Returns the means of several metrics over the same queries in each bootstrap sample of identities.

    Args:
        values: The values of each query, one column for each metric.
        identity: The identity of each query, any integers.
        resamples: How many bootstrap samples to draw.
        seed: The seed of the samples.

    Raises:
        InputError: There is no query, or the arguments do not fit.
    """
    check_queries(values, identity)
    _, own = np.unique(identity, return_inverse=True)
    counts = np.bincount(own)
    sums = [np.bincount(own, weights=column) for column in values.T]
    drawn = multiplicities(len(counts), resamples=resamples, seed=seed)
    # One product per column: a column of a larger product may differ in its last bit from that of a smaller.
    return np.array([[times @ column / (times @ counts) for column in sums] for times in drawn])


def check_queries(values: Float[np.ndarray, "n ..."], identity: Int64[np.ndarray, " n"]) -> None:
    """Raises an `InputError` unless there is at least one query, and one identity for each."""
    if not len(values) or len(values) != len(identity):
        raise InputError(
            f"an interval needs one identity for each of at least one value, given {len(values)} values and "
            f"{len(identity)} identities"
        )
