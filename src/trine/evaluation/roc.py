"""The ROC of two kinds of distances, from exact counts: pairs at most at the threshold are accepted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trine.errors import check_count
from trine.evaluation.pairs import Distances
from trine.settings import RATE, check_number
from trine.shapes import Float, Int64

_CHUNK = 1 << 20  # values looked up at once


@dataclass(frozen=True, eq=False)
class Roc:
    """Points of a ROC, by ascending threshold; the counts at each are exact.

    Attributes:
        threshold: An observed distance.
        far: The share of impostor pairs that are at most that far apart, in [0, 1].
        tar: The share of genuine pairs that are, in [0, 1].
        impostors_accepted: How many impostor pairs.
        genuine_accepted: How many genuine pairs.
    """

    threshold: Float[np.ndarray, " k"]
    far: Float[np.ndarray, " k"]
    tar: Float[np.ndarray, " k"]
    impostors_accepted: Int64[np.ndarray, " k"]
    genuine_accepted: Int64[np.ndarray, " k"]

    def to_json(self) -> dict[str, list[float]]:
        """The points as lists."""
        return {name: values.tolist() for name, values in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many pairs of each kind lie in each bin of distances.

    A bin holds what is above its left edge and at most its right edge, as a threshold there would accept it;
    the first bin holds its left edge, too.

    Attributes:
        edges: Edges of the bins, ascending.
        genuine: Pairs of one identity in each bin.
        impostor: Pairs of two identities in each bin.
    """

    edges: Float[np.ndarray, " k"]
    genuine: Int64[np.ndarray, " b"]
    impostor: Int64[np.ndarray, " b"]

    def to_json(self) -> dict[str, list[float]]:
        """Edges and counts as lists."""
        return {name: values.tolist() for name, values in vars(self).items()}


def area(genuine: Distances, impostor: Distances) -> float:
    """The chance that a genuine pair is nearer than an impostor pair; a tie counts half."""
    twice, whole = 2 * impostor.count, 0
    times = None if genuine.upto is None else genuine.times()
    for start in range(0, len(genuine.values), _CHUNK):
        part = slice(start, start + _CHUNK)
        values = genuine.values[part]
        wins = twice - impostor.within(values) - impostor.below(values)
        if times is None:
            whole += int(wins.sum())
        elif twice * int(times[part].sum()) < 1 << 63:
            whole += int(wins @ times[part])
        else:
            whole += int(wins.astype(np.float64) @ times[part])
    return min(whole / (twice * genuine.count), 1.0)


def equal_error_rate(genuine: Distances, impostor: Distances) -> float:
    """The rate at which false accepts equal false rejects, on the straight segments of the ROC."""

    def rates(threshold: float) -> tuple[float, float]:
        far = int(impostor.within(threshold)) / impostor.count
        return far, 1 - int(genuine.within(threshold)) / genuine.count

    # FAR rises and false rejects fall, so there is one crossing: the first observed distance beyond it.
    crossings = []
    for kind in (genuine, impostor):
        low, high = 0, len(kind.values)
        while low < high:
            middle = (low + high) // 2
            far, rejected = rates(float(kind.values[middle]))
            low, high = (low, middle) if far >= rejected else (middle + 1, high)
        if low < len(kind.values):
            crossings.append(float(kind.values[low]))
    before = _largest_below(genuine, impostor, np.array([min(crossings)]))[0]
    far, rejected = rates(min(crossings))
    was_far, was_rejected = (0.0, 1.0) if np.isnan(before) else rates(float(before))
    step = (far - was_far) + (was_rejected - rejected)
    return float(was_far + (far - was_far) * (was_rejected - was_far) / step)


def best_threshold(genuine: Distances, impostor: Distances) -> float:
    """The threshold with the highest accuracy; see `Verification.best_threshold`."""
    observed = np.union1d(genuine.values, impostor.values).astype(np.float64)
    between = (observed[:-1] + observed[1:]) / 2
    candidates = np.concatenate([[accepts_none(observed[0])], between, observed[-1:]])
    gained = genuine.within(candidates) - impostor.within(candidates)
    return float(candidates[gained.argmax()])


def accepts_none(smallest: float) -> float:
    """A threshold below the smallest distance: half of it, and −1 where it is 0."""
    return float(smallest) / 2 if smallest > 0 else -1.0


def accepts_within(rate: float, count: int, *, name: str) -> int:
    """The largest number of accepts whose share, as the division rounds it, is within a rate.

    Args:
        rate: In [0, 1].
        count: How many there are to accept.
        name: What the error calls the rate.

    Raises:
        InputError: The rate is not in [0, 1].
    """
    check_number(name, rate, RATE)
    allowed = min(int(rate * count) + 1, count)
    while allowed and allowed / count > rate:
        allowed -= 1
    return allowed


def threshold_at_rate(rate: float, genuine: Distances, impostor: Distances, *, name: str) -> float | None:
    """The largest observed distance that accepts at most a share of the impostors.

    Args:
        rate: The share, in [0, 1].
        genuine: The distances of those to be accepted.
        impostor: The distances of those to be refused.
        name: What the error calls the rate.

    Returns:
        The threshold; None where even the smallest observed distance accepts too many.

    Raises:
        InputError: The rate is not in [0, 1].
    """
    allowed = accepts_within(rate, impostor.count, name=name)
    found = largest_thresholds(genuine, impostor, np.array([allowed]))[0]
    return None if np.isnan(found) else float(found)


def largest_thresholds(
    genuine: Distances, impostor: Distances, allowed: Int64[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """The largest observed distance that accepts at most this many impostor pairs; NaN where none does."""
    count = impostor.count
    limits = impostor.ranked(np.minimum(allowed, count - 1)).astype(np.float64)
    found = _largest_below(genuine, impostor, limits)
    return np.where(allowed >= count, max(impostor.values[-1], genuine.values[-1]), found)


def roc_points(genuine: Distances, impostor: Distances, points: int) -> Roc:
    """Points of the ROC at even steps of the logarithm of FAR; all of its corners where they are few."""
    points = check_count("points", points, at_least=2)
    steps = np.geomspace(1, impostor.count, points - 1)
    allowed = np.unique(np.concatenate([[0], np.round(steps).astype(np.int64)]))
    thresholds = np.unique(largest_thresholds(genuine, impostor, allowed))
    thresholds = thresholds[~np.isnan(thresholds)]
    accepted = [kind.within(thresholds) for kind in (impostor, genuine)]
    return Roc(
        thresholds, accepted[0] / impostor.count, accepted[1] / genuine.count, accepted[0], accepted[1]
    )


def histogram_of(genuine: Distances, impostor: Distances, bins: int) -> Histogram:
    """Counts both kinds in bins of equal width, from the smallest distance to the largest."""
    bins = check_count("bins", bins)
    low = float(min(genuine.values[0], impostor.values[0]))
    high = float(max(genuine.values[-1], impostor.values[-1]))
    edges = np.linspace(low, high, bins + 1)
    counts = []
    for kind in (genuine, impostor):
        upto = kind.within(edges)
        upto[0] = 0
        counts.append(np.diff(upto))
    return Histogram(edges, counts[0], counts[1])


def _largest_below(
    genuine: Distances, impostor: Distances, limits: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """The largest observed distance below each limit; NaN where there is none."""
    largest = np.full(len(limits), -np.inf)
    for kind in (genuine, impostor):
        at = np.searchsorted(kind.values, limits, side="left")
        largest = np.maximum(largest, np.where(at > 0, kind.values[np.maximum(at - 1, 0)], -np.inf))
    return np.where(np.isinf(largest), np.nan, largest)
