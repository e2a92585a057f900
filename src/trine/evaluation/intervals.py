"""Intervals: how far a figure could have fallen otherwise, had other identities been looked at.

Items of one identity are alike, so items are no independent draws and identities are: the bootstrap draws
identities, with replacement, and each brings all its items (Field, Welsh 2007, the cluster bootstrap).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from trine.errors import InputError, nearest
from trine.shapes import Float, Int64

LEVEL = 0.95
"""The share of repetitions of a study in which its interval holds the true figure, about."""

RESAMPLES = 1000
"""How often identities are drawn again, where one value stands for one query."""


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
        """Whether there is one: no draw may have had the figure."""
        return not np.isnan(self.low)

    def to_json(self) -> list[float] | None:
        """Both ends, as values that JSON knows; None where they are not known."""
        return [self.low, self.high] if self.known else None

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"


def multiplicities(identities: int, *, resamples: int, seed: int) -> Iterator[Int64[np.ndarray, " c"]]:
    """Draws as many identities as there are, with replacement, many times.

    Args:
        identities: How many there are.
        resamples: How many draws to make.
        seed: Of the draws; the first draws of a longer series are those of a shorter one.

    Yields:
        How often each identity was drawn.
    """
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(random.integers(0, identities, identities), minlength=identities)


def percentile_interval(figures: Float[np.ndarray, " r"], *, level: float = LEVEL) -> Interval:
    """The middle of what the resamples gave (Efron 1979): the interval of the percentiles.

    Args:
        figures: The figure of each resample; NaN where a resample had none.
        level: The confidence, in (0, 1).

    Returns:
        The interval; NaN to NaN where no resample had a figure.
    """
    known = figures[~np.isnan(figures)]
    if not len(known):
        return Interval(np.nan, np.nan, level)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def mean_interval(
    values: Float[np.ndarray, " n"],
    identity: Int64[np.ndarray, " n"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The interval of a mean over queries, by the bootstrap over their identities.

    Args:
        values: The figure of each query.
        identity: The identity of each query, any integers.
        resamples: How often to draw.
        seed: Of the draws.
        level: The confidence, in (0, 1).

    Returns:
        The interval; of no width where all queries are of one identity.

    Raises:
        InputError: There is no query, or the arguments do not fit.

    Example:
        >>> hits, people = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 1, 2, 2])
        >>> print(mean_interval(hits, people))
        0.500 to 1.000
    """
    return mean_intervals(values[:, None], identity, resamples=resamples, seed=seed, level=level)[0]


def mean_intervals(
    values: Float[np.ndarray, "n f"],
    identity: Int64[np.ndarray, " n"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> list[Interval]:
    """The intervals of several means over the same queries, from the same draws.

    Args:
        values: The figures of each query, one column each.
        identity: As for `mean_interval`.
        resamples: As for `mean_interval`.
        seed: As for `mean_interval`.
        level: As for `mean_interval`.

    Returns:
        What `mean_interval` says of each column.

    Raises:
        InputError: As for `mean_interval`.
    """
    if not len(values) or len(values) != len(identity):
        raise InputError(
            f"an interval needs one identity for each of at least one value, given {len(values)} values and "
            f"{len(identity)} identities"
        )
    _, own = np.unique(identity, return_inverse=True)
    counts = np.bincount(own)
    sums = [np.bincount(own, weights=column) for column in values.T]
    drawn = multiplicities(len(counts), resamples=resamples, seed=seed)
    # One product per column: a column of a larger product may differ in its last bit from that of a smaller.
    resampled = np.array([[times @ column / (times @ counts) for column in sums] for times in drawn])
    return [percentile_interval(column, level=level) for column in resampled.T]


def check_figure(figure: str, known: Collection[str]) -> None:
    """Raises an `InputError` that names the nearest known figure, unless `figure` is one."""
    if figure not in known:
        raise InputError(f"unknown figure {figure!r}: {nearest(figure, tuple(known))}")


def check_resamples(resamples: int) -> None:
    """Raises an `InputError` where there is nothing to draw an interval from."""
    if resamples < 1:
        raise InputError(f"an interval needs resamples of at least 1, given {resamples}; measure with more")


def check_count(resamples: int) -> None:
    """Raises an `InputError` unless this many draws can be made, none among them."""
    if resamples < 0:
        raise InputError(f"resamples must be at least 0, given {resamples}")
