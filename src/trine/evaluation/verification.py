"""Verification: are these two the same?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from trine.distances import Distance, check_distance
from trine.errors import InputError, nearest
from trine.evaluation.every_pair import every_pair
from trine.evaluation.folds import Folds, judge_folds
from trine.evaluation.intervals import LEVEL, Interval, percentile_interval
from trine.evaluation.labels import Labels, codes
from trine.evaluation.pair_intervals import PAIR_RESAMPLES, Resampled, resample
from trine.evaluation.pairs import HELD, Pairs, given_pairs, sampled_pairs
from trine.evaluation.roc import (
    Histogram,
    Roc,
    area,
    equal_error_rate,
    histogram_of,
    largest_thresholds,
    roc_points,
)
from trine.neighbours import as_rows
from trine.shapes import Bool, Float, Float32, Int64

__all__ = ["Verification", "verification"]

MAX_PAIRS = 200_000_000
"""Up to so many pairs all are measured unless asked otherwise: those of 20,000 items, in some seconds."""

FIGURES = ("roc_auc", "eer", "tar_at_far", "threshold_at_far", "far_at", "tar_at", "accuracy")
"""The figures that have an interval."""


@dataclass(frozen=True, eq=False)
class Verification:
    """What `verification` measured: the distances of both kinds of pairs, and every figure of their ROC.

    A pair is accepted as the same when its distance is at most a threshold. FAR is the share of impostor
    pairs that are accepted, TAR the share of genuine ones.

    Attributes:
        pairs: The distances, and the identities of the pairs where they are known.
        identities: How many identities the items have; None for given pairs without labels.
        distance: What the distances are.
        protocol: How the pairs came about.
        at: The false-accept rates that `to_json` lists.
        folds: What the folds gave, where the pairs have folds.
        owners: The identities of both items of each given pair with a fold.
        resamples: How often identities are drawn again for an interval.
        seed: Of those draws.
    """

    pairs: Pairs
    identities: int | None
    distance: Distance
    protocol: str
    at: tuple[float, ...]
    folds: Folds | None = None
    owners: Int64[np.ndarray, "p 2"] | None = None
    resamples: int = PAIR_RESAMPLES
    seed: int = 0

    @property
    def genuine(self) -> Float32[np.ndarray, " g"]:
        """The distances of pairs of one identity, ascending; each once where they are more than 10⁷."""
        return self.pairs.genuine.values

    @property
    def impostor(self) -> Float32[np.ndarray, " i"]:
        """The distances of pairs of two identities, ascending; each once where they are more than 10⁷."""
        return self.pairs.impostor.values

    @property
    def pairs_total(self) -> int:
        """How many pairs the protocol has."""
        return self.pairs.total

    @property
    def pairs_sampled(self) -> bool:
        """Whether only a random sample of them was measured."""
        return self.pairs.sampled

    @property
    def genuine_pairs(self) -> int:
        """How many pairs of one identity were measured."""
        return self.pairs.genuine.count

    @property
    def impostor_pairs(self) -> int:
        """How many pairs of two identities were measured."""
        return self.pairs.impostor.count

    @cached_property
    def roc_auc(self) -> float:
        """The chance that a genuine pair is nearer than an impostor pair; a tie counts half."""
        return area(self.pairs.genuine, self.pairs.impostor)

    @cached_property
    def eer(self) -> float:
        """The rate at which false accepts equal false rejects, on the straight segments of the ROC."""
        return equal_error_rate(self.pairs.genuine, self.pairs.impostor)

    def far_at(self, threshold: float) -> float:
        """The share of impostor pairs whose distance is at most the threshold."""
        return int(self.pairs.impostor.within(threshold)) / self.impostor_pairs

    def tar_at(self, threshold: float) -> float:
        """The share of genuine pairs whose distance is at most the threshold."""
        return int(self.pairs.genuine.within(threshold)) / self.genuine_pairs

    def threshold_at_far(self, far: float) -> float | None:
        """The largest observed distance that accepts at most a share `far` of the impostor pairs.

        Args:
            far: The false-accept rate, in [0, 1].

        Returns:
            The threshold; None where even the smallest observed distance accepts too many.

        Raises:
            InputError: The rate is not in [0, 1].
        """
        if not 0 <= far <= 1:
            raise InputError(f"far must be a rate from 0 to 1, given {far}")
        count = self.impostor_pairs
        # The largest number of accepts whose share, as the division rounds it, is within the rate.
        allowed = min(int(far * count) + 1, count)
        while allowed / count > far:
            allowed -= 1
        found = largest_thresholds(self.pairs.genuine, self.pairs.impostor, np.array([allowed]))[0]
        return None if np.isnan(found) else float(found)

    def tar_at_far(self, far: float) -> float:
        """The largest TAR at an observed threshold whose FAR is at most `far`: FaceNet's VAL at FAR.

        Nothing is interpolated (Schroff, Kalenichenko, Philbin 2015, eq. 6-8). A rate below one over the
        number of impostor pairs is the TAR without any false accept, and supported by no more than that.

        Args:
            far: The false-accept rate, in [0, 1].

        Returns:
            The true-accept rate, in [0, 1].

        Raises:
            InputError: The rate is not in [0, 1].
        """
        threshold = self.threshold_at_far(far)
        return 0.0 if threshold is None else self.tar_at(threshold)

    @property
    def accuracy(self) -> float | None:
        """The mean over folds of the share of pairs judged right; None without folds."""
        return None if self.folds is None else self.folds.accuracy

    @property
    def accuracy_standard_error(self) -> float | None:
        """The standard error of that mean, from the folds; None without folds."""
        return None if self.folds is None else self.folds.standard_error

    @property
    def fold_accuracies(self) -> tuple[float, ...] | None:
        """The accuracy of each fold, at the threshold that is best on the others; None without folds."""
        return None if self.folds is None else tuple(self.folds.accuracies.tolist())

    @property
    def fold_thresholds(self) -> tuple[float, ...] | None:
        """The threshold for each fold, chosen on the others; None without folds."""
        return None if self.folds is None else tuple(self.folds.thresholds.tolist())

    def roc(self, points: int = 512) -> Roc:
        """Points of the ROC, at even steps of the logarithm of FAR; the counts at each are exact.

        Args:
            points: How many at most, at least 2.

        Returns:
            The points; every corner of the ROC where there are not more.

        Raises:
            InputError: Fewer than 2 points are asked for.
        """
        return roc_points(self.pairs.genuine, self.pairs.impostor, points)

    def histogram(self, bins: int = 60) -> Histogram:
        """How many pairs of each kind lie in bins of equal width, from the smallest distance to the largest.

        Args:
            bins: How many, at least 1.

        Returns:
            Edges and counts.

        Raises:
            InputError: No bin is asked for.
        """
        return histogram_of(self.pairs.genuine, self.pairs.impostor, bins)

    def interval(self, figure: str, *arguments: float) -> Interval:
        """The interval of a figure, by the bootstrap over identities.

        A pair of two identities is weighted by the product of how often both were drawn, a pair within one
        identity by how often that one was; copies of one identity are never impostors. Of more than ten
        million pairs of a kind a random sample of as many is weighted. Computed when first asked for.

        Args:
            figure: `"roc_auc"`, `"eer"`, `"tar_at_far"`, `"threshold_at_far"`, `"far_at"`, `"tar_at"` or
                `"accuracy"`.
            *arguments: What the figure takes: the rate, or the threshold.

        Returns:
            The interval.

        Raises:
            InputError: The figure is unknown, the identities are not known, or `resamples` was 0.

        Example:
            >>> random = np.random.default_rng(0)
            >>> people = np.repeat(np.arange(20), 4)
            >>> rows = random.normal(size=(20, 8))[people] + random.normal(size=(80, 8))
            >>> report = verification(rows, people)
            >>> print(f"{report.roc_auc:.3f}, {report.interval('roc_auc')}")
            0.816, 0.740 to 0.883
        """
        if figure not in FIGURES:
            raise InputError(f"no interval is known for {figure!r}: {nearest(figure, FIGURES)}")
        if not self.resamples:
            raise InputError("this report was made with resamples=0; measure again with resamples to draw")
        if figure == "accuracy":
            return self._accuracy_interval
        return percentile_interval(getattr(self._resampled, figure)(*arguments))

    @cached_property
    def _resampled(self) -> Resampled:
        if self.pairs.owned is None:
            raise InputError(
                "an interval needs the identities of the pairs, given pairs without labels; give labels, too"
            )
        return resample(self.pairs.owned, resamples=self.resamples, seed=self.seed)

    @cached_property
    def _accuracy_interval(self) -> Interval:
        if self.folds is None or self.owners is None:
            raise InputError("the accuracy has an interval where pairs with fold and labels are given")
        first, second = self.owners[:, 0], self.owners[:, 1]
        figures = self.folds.resampled(first, second, resamples=self.resamples, seed=self.seed)
        return percentile_interval(figures)

    def to_json(self) -> dict[str, object]:
        """The figures, their intervals, what stands behind them and the protocol, as values JSON knows."""
        figures = {
            "protocol": self.protocol,
            "distance": self.distance,
            "genuine_pairs": self.genuine_pairs,
            "impostor_pairs": self.impostor_pairs,
            "pairs_total": self.pairs_total,
            "pairs_sampled": self.pairs_sampled,
            "identities": self.identities,
            "roc_auc": self.roc_auc,
            "eer": self.eer,
            "tar_at_far": {f"{far:g}": self.tar_at_far(far) for far in self.at},
            "threshold_at_far": {f"{far:g}": self.threshold_at_far(far) for far in self.at},
        }
        if self.folds is not None:
            figures |= {
                "accuracy": self.accuracy,
                "accuracy_standard_error": self.accuracy_standard_error,
                "fold_accuracies": self.fold_accuracies,
                "fold_thresholds": self.fold_thresholds,
            }
        return {**figures, "intervals": self._intervals()}

    def _intervals(self) -> dict[str, object] | None:
        if not self.resamples or self.pairs.owned is None:
            return None
        listed: dict[str, object] = {
            "level": LEVEL,
            "resamples": self.resamples,
            "pairs": sum(len(kind.distances) for kind in self.pairs.owned),
            "roc_auc": self.interval("roc_auc").to_json(),
            "eer": self.interval("eer").to_json(),
            "tar_at_far": {f"{far:g}": self.interval("tar_at_far", far).to_json() for far in self.at},
        }
        return listed if self.folds is None else {**listed, "accuracy": self.interval("accuracy").to_json()}


def verification(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels | None = None,
    *,
    pairs: Int64[np.ndarray, "p 2"] | None = None,
    same: Bool[np.ndarray, " p"] | None = None,
    fold: Labels | None = None,
    distance: Distance = "euclidean",
    at: tuple[float, ...] = (0.001, 0.01, 0.1),
    max_pairs: int | None = MAX_PAIRS,
    resamples: int = PAIR_RESAMPLES,
    seed: int = 0,
) -> Verification:
    """Measures how well the distance of two items says whether they are the same.

    Args:
        embeddings: One row per item.
        labels: The identity of each item; every unordered pair of items is a trial. May be left out where
            `pairs` and `same` are given; then no figure has an interval.
        pairs: Trials of a protocol of one's own: rows of the two items.
        same: For each given pair whether it is genuine; left out, the labels say it.
        fold: For each given pair its fold, of at least two: then there is an accuracy, with the threshold of
            each fold chosen on the others (the protocol of Labeled Faces in the Wild).
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        at: The false-accept rates to list in the report's JSON.
        max_pairs: Up to this many pairs (from labels) all are measured, and every figure is exact. Of more, a
            random sample of ten million, or of `max_pairs` where that is less, is measured, and the report
            says so: all genuine pairs up to half of it, impostor pairs for the rest. None measures all pairs,
            however many: those of 50,000 items of 128 numbers in about a minute and in 1.5 GiB.
        resamples: How often identities are drawn again for the intervals; 0 for none.
        seed: Of the sample and of the intervals.

    Returns:
        The distances of both kinds of pairs and their figures.

    Raises:
        InputError: There is no genuine or no impostor pair, a row is not finite, or the arguments do not fit.

    Example:
        >>> report = verification(np.array([[0.0], [0.1], [1.0], [1.3]]), ["a", "a", "b", "b"])
        >>> report.roc_auc, report.tar_at_far(0.01), report.impostor_pairs
        (1.0, 1.0, 4)
    """
    check_distance(distance)
    if resamples < 0:
        raise InputError(f"resamples must be at least 0, given {resamples}")
    rows = as_rows(embeddings, name="embeddings")
    identity = None if labels is None else codes(labels, items=len(rows))
    identities = None if identity is None else len(np.unique(identity))
    if pairs is not None:
        return _of_pairs(
            rows,
            pairs,
            _flags(pairs, same, identity, len(rows)),
            None if fold is None else codes(fold, items=len(pairs), name="fold"),
            identity,
            distance=distance,
            at=at,
            resamples=resamples,
            seed=seed,
        )
    if identity is None or same is not None or fold is not None:
        raise InputError("verification needs labels, or pairs together with same; give one of the two")
    if max_pairs is None or len(rows) * (len(rows) - 1) // 2 <= max_pairs:
        measured = every_pair(rows, identity, distance=distance, seed=seed)
        protocol = "verification: all pairs"
    else:
        size = min(max_pairs, HELD)
        measured = sampled_pairs(rows, identity, distance=distance, size=size, seed=seed)
        protocol = f"verification: a random sample of all pairs, seed {seed}"
    _check_both(measured)
    return Verification(measured, identities, distance, protocol, at, resamples=resamples, seed=seed)


def _of_pairs(
    rows: Float[Tensor, "n d"],
    pairs: Int64[np.ndarray, "p 2"],
    same: Bool[np.ndarray, " p"],
    fold: Int64[np.ndarray, " p"] | None,
    identity: Int64[np.ndarray, " n"] | None,
    *,
    distance: Distance,
    at: tuple[float, ...],
    resamples: int,
    seed: int,
) -> Verification:
    measured, distances = given_pairs(rows, pairs, same, identity, distance=distance)
    _check_both(measured)
    folds = None if fold is None else judge_folds(distances, same, fold)
    protocol = "verification: given pairs"
    if folds is not None:
        protocol += f", {len(folds.thresholds)} folds, each at the threshold that is best on the others"
    return Verification(
        measured,
        None if identity is None else len(np.unique(identity[pairs])),
        distance,
        protocol,
        at,
        folds,
        None if identity is None or folds is None else identity[pairs],
        resamples,
        seed,
    )


def _flags(
    pairs: np.ndarray, same: np.ndarray | None, identity: np.ndarray | None, items: int
) -> Bool[np.ndarray, " p"]:
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= items):
        row = int(((pairs < 0) | (pairs >= items)).any(1).argmax())
        raise InputError(f"pair {row} is {pairs[row].tolist()}, expected rows from 0 to {items - 1}")
    if same is not None and len(same) != len(pairs):
        raise InputError(f"same must have one entry per pair, given {len(same)} for {len(pairs)} pairs")
    if identity is None:
        if same is None:
            raise InputError("pairs need same, or labels that say which of them are genuine")
        return same
    flags: np.ndarray = identity[pairs[:, 0]] == identity[pairs[:, 1]]
    if same is not None and (wrong := same != flags).any():
        row = int(wrong.argmax())
        said = "is called the same, and its items have two labels"
        raise InputError(
            f"pair {row} {said if same[row] else 'is called different, and its items have one label'}; "
            "correct one of the two, or give pairs and same alone"
        )
    return flags


def _check_both(pairs: Pairs) -> None:
    for kind, count, advice in (
        ("genuine", pairs.genuine.count, "two items of one identity"),
        ("impostor", pairs.impostor.count, "items of two identities"),
    ):
        if not count:
            raise InputError(f"verification needs a pair of each kind, given no {kind} one; add {advice}")
