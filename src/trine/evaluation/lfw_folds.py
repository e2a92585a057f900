"""Accuracy over folds of pairs: the protocol of Labeled Faces in the Wild."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trine.errors import InputError
from trine.evaluation.pair_intervals import Drawn
from trine.evaluation.roc import accepts_none
from trine.shapes import Bool, Float, Float32, Int64


@dataclass(frozen=True, eq=False)
class Folds:
    """The accuracy on each fold at the threshold that is best on the other folds.

    Attributes:
        thresholds: The threshold for each fold.
        accuracies: The share of the fold's pairs that it classifies correctly.
        fold: The fold of each pair, from 0.
        same: Whether each pair is genuine.
        right: Whether each pair is classified correctly.
    """

    thresholds: Float[np.ndarray, " f"]
    accuracies: Float[np.ndarray, " f"]
    fold: Int64[np.ndarray, " p"]
    same: Bool[np.ndarray, " p"]
    right: Bool[np.ndarray, " p"]

    @property
    def accuracy(self) -> float:
        """The mean over the folds."""
        return float(self.accuracies.mean())

    @property
    def standard_error(self) -> float:
        """Its standard error: the deviation of the folds (over F − 1) by the root of their number."""
        return float(self.accuracies.std(ddof=1) / np.sqrt(len(self.accuracies)))

    def resampled(
        self,
        first: Int64[np.ndarray, " p"],
        second: Int64[np.ndarray, " p"],
        *,
        resamples: int,
        seed: int,
    ) -> Float[np.ndarray, " r"]:
        """The accuracy in each bootstrap sample at fixed thresholds; NaN where a fold lacks a kind of pair.

        A fold keeps its shares of genuine and impostor pairs, which the protocol has set.
        """
        drawn = Drawn(first, second, resamples=resamples, seed=seed)
        count = len(self.thresholds)
        group = 2 * self.fold + self.right
        whole = np.zeros((count, resamples))
        for kind in (self.same, ~self.same):
            at = np.flatnonzero(kind)
            at = at[np.argsort(group[at], kind="stable")]
            cuts = np.searchsorted(group[at], np.arange(2 * count + 1))
            weights = (
                drawn.within(first[at], cuts)
                if kind is self.same
                else drawn.between(first[at], second[at], cuts)
            ).reshape(count, 2, resamples)
            share = np.bincount(self.fold[at], minlength=count) / np.bincount(self.fold, minlength=count)
            with np.errstate(invalid="ignore"):
                rates = weights[:, 1] / weights.sum(1)
            whole += np.where(share[:, None] > 0, share[:, None] * rates, 0)
        means: np.ndarray = whole.mean(0)
        return means


def evaluate_folds(
    distances: Float32[np.ndarray, " p"], same: Bool[np.ndarray, " p"], fold: Int64[np.ndarray, " p"]
) -> Folds:
    """Chooses for each fold the threshold with the highest accuracy on the other folds.

    Candidates are the observed distances of those other folds, and one below them that accepts no pair; ties
    take the smallest, which accepts the fewest.

    Args:
        distances: The distance of each pair.
        same: Whether it is genuine.
        fold: Its fold, numbered from 0.

    Returns:
        Thresholds and accuracies.

    Raises:
        InputError: There are fewer than two folds.
    """
    count = int(fold.max(initial=-1)) + 1
    if count < 2:
        raise InputError(
            f"fold must name at least 2 folds, given {count}; leave it out to measure all pairs at once"
        )
    thresholds = np.array([_best(distances[fold != f], same[fold != f]) for f in range(count)])
    right = (distances <= thresholds[fold]) == same
    accuracies = np.bincount(fold, weights=right, minlength=count) / np.bincount(fold, minlength=count)
    return Folds(thresholds, accuracies, fold, same, right)


def _best(distances: Float32[np.ndarray, " p"], same: Bool[np.ndarray, " p"]) -> float:
    order = np.argsort(distances, kind="stable")
    ascending = distances[order]
    last = np.append(ascending[1:] != ascending[:-1], True)  # of equal distances: all are accepted, or none
    gained = np.cumsum(np.where(same[order], 1, -1))[last]
    best = int(gained.argmax())
    return float(ascending[last][best]) if gained[best] > 0 else accepts_none(ascending[0])
