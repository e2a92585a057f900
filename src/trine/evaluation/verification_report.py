"""The result of verification: the ROC of genuine and impostor pairs, its metrics and their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trine.distances import Distance
from trine.errors import InputError, check_choice
from trine.evaluation.intervals import Interval
from trine.evaluation.lfw_folds import Folds
from trine.evaluation.metric_report import Asked, MetricReport, key
from trine.evaluation.pair_intervals import Resampled, resample
from trine.evaluation.pairs import Owned, Pairs
from trine.evaluation.roc import (
    Histogram,
    Roc,
    accepts_within,
    area,
    best_threshold,
    equal_error_rate,
    histogram_of,
    roc_points,
    threshold_at_rate,
)
from trine.evaluation.verification_intervals import VerificationIntervals
from trine.shapes import Float, Float32, Int64

TAKES = {
    **dict.fromkeys(("roc_auc", "eer", "accuracy"), "nothing"),
    **dict.fromkeys(("tar_at_far", "threshold_at_far"), "one rate"),
    **dict.fromkeys(("far_at", "tar_at", "accuracy_at"), "one threshold"),
}
"""The metrics that have an interval, with the argument that each takes."""


@dataclass(frozen=True, eq=False)
class Verification(MetricReport):
    """The result of `verification`: the distances of both kinds of pairs, and the metrics of their ROC.

    A pair is accepted as the same when its distance is at most a threshold. FAR is the share of impostor
    pairs that are accepted, TAR the share of genuine ones.

    Attributes:
        pairs: The distances, and the identities of the pairs where they are known.
        identities: How many identities the items have; None for given pairs without labels.
        distance: The name of the distance.
        protocol: Which pairs were measured.
        folds: The accuracy over folds, where the pairs have folds.
        owners: The identities of both items of each given pair with a fold.
    """

    pairs: Pairs
    identities: int | None
    distance: Distance
    protocol: str
    folds: Folds | None = None
    owners: Int64[np.ndarray, "p 2"] | None = None

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
        """The probability that a genuine pair is nearer than an impostor pair; a tie counts half."""
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

    def accuracy_at(self, threshold: float) -> float:
        """The share of all pairs that a threshold classifies correctly.

        Accepted are genuine pairs whose distance is at most the threshold, refused are impostor pairs whose
        distance is above it. The two kinds count by how many pairs there are of each.
        """
        right = int(self.pairs.genuine.within(threshold)) - int(self.pairs.impostor.within(threshold))
        return (right + self.impostor_pairs) / (self.genuine_pairs + self.impostor_pairs)

    def best_threshold(self) -> float:
        """The threshold of the highest accuracy on these pairs, to be applied to others.

        It lies midway between two neighbouring observed distances; it is the largest distance if accepting
        all pairs is best; if accepting none is, it is half of the smallest distance, or −1 where that is 0.
        Ties take the smallest, which accepts the fewest. On these very pairs its accuracy is optimistic.

        Example:
            >>> from trine.evaluation import verification
            >>> chosen_on = verification(np.array([[0.0], [0.1], [1.0], [1.3]]), ["a", "a", "b", "b"])
            >>> round(chosen_on.best_threshold(), 2)
            0.6
            >>> others = verification(np.array([[0.0], [0.4], [0.8]]), ["a", "a", "b"])
            >>> round(others.accuracy_at(chosen_on.best_threshold()), 3)
            0.667
        """
        return best_threshold(self.pairs.genuine, self.pairs.impostor)

    def threshold_at_far(self, far: float) -> float | None:
        """The largest observed distance that accepts at most a share `far` of the impostor pairs.

        Args:
            far: The false-accept rate, in [0, 1].

        Returns:
            The threshold; None where even the smallest observed distance accepts too many.

        Raises:
            InputError: The rate is not in [0, 1].
        """
        return threshold_at_rate(far, self.pairs.genuine, self.pairs.impostor, name="far")

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
        """The mean over folds of the share of pairs classified correctly; None without folds."""
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
            InputError: `points` is below 2.
        """
        return roc_points(self.pairs.genuine, self.pairs.impostor, points)

    def histogram(self, bins: int = 60) -> Histogram:
        """How many pairs of each kind lie in bins of equal width, from the smallest distance to the largest.

        Args:
            bins: How many, at least 1.

        Returns:
            Edges and counts.

        Raises:
            InputError: `bins` is below 1.
        """
        return histogram_of(self.pairs.genuine, self.pairs.impostor, bins)

    def interval(self, metric: str, *arguments: float) -> Interval:
        """Returns the 95 % confidence interval of a metric over identities.

        FAR and TAR are worth as many independent pairs as the identities make them; the thresholds of a FAR
        are those whose interval of the FAR holds it, and the TAR at a FAR has the uncertainty of both. Where
        the data cannot bear a FAR, since accepting no pair at all would not contradict it, its threshold and
        the TAR there are bounded from above only: their lower end is 0.

        The ROC AUC, the EER and the accuracy over folds have the percentiles of bootstrap samples of
        identities: a pair of two identities is weighted by the product of how often both occur in a sample, a
        pair within one identity by how often that one occurs; copies of one identity are never impostors.
        Where there are more than ten million pairs of a kind, both use a random sample of ten million.

        Args:
            metric: `"roc_auc"`, `"eer"`, `"tar_at_far"`, `"threshold_at_far"`, `"far_at"`, `"tar_at"`,
                `"accuracy_at"` (each kind of pair keeps its share) or `"accuracy"`.
            *arguments: The rate or the threshold that the metric takes.

        Returns:
            The interval.

        Raises:
            InputError: The metric is unknown, the identities are not known, or `resamples` is 0.

        Example:
            >>> from trine.evaluation import verification
            >>> random = np.random.default_rng(0)
            >>> people = np.repeat(np.arange(20), 4)
            >>> rows = random.normal(size=(20, 8))[people] + random.normal(size=(80, 8))
            >>> report = verification(rows, people)
            >>> print(f"{report.roc_auc:.3f}, {report.interval('roc_auc')}")
            0.816, 0.740 to 0.883
        """
        return super().interval(metric, *arguments)

    def _facts(self) -> dict[str, object]:
        facts: dict[str, object] = {
            "protocol": self.protocol,
            "distance": self.distance,
            "genuine_pairs": self.genuine_pairs,
            "impostor_pairs": self.impostor_pairs,
            "pairs_total": self.pairs_total,
            "pairs_sampled": self.pairs_sampled,
            "identities": self.identities,
            "threshold_at_far": {key(far): self.threshold_at_far(far) for far in self.at},
        }
        if self.folds is not None:
            facts |= {
                "accuracy_standard_error": self.accuracy_standard_error,
                "fold_accuracies": self.fold_accuracies,
                "fold_thresholds": self.fold_thresholds,
            }
        return facts

    def _listed(self) -> list[Asked]:
        plain = ("roc_auc", "eer") if self.folds is None else ("roc_auc", "eer", "accuracy")
        return [(name, ()) for name in plain] + [("tar_at_far", (far,)) for far in self.at]

    def _with_interval(self) -> list[Asked]:
        return [] if self.pairs.owned is None else super()._with_interval()

    def _interval_facts(self) -> dict[str, object]:
        return {"pairs": sum(len(kind.distances) for kind in self.pairs.owned or ())}

    def _check(self, metric: str, arguments: tuple[float, ...]) -> None:
        check_choice("metric", metric, TAKES)
        if len(arguments) != (TAKES[metric] != "nothing"):
            raise InputError(f"{metric} takes {TAKES[metric]}, given {arguments}")
        if TAKES[metric] == "one rate":
            accepts_within(arguments[0], 0, name="far")

    def _interval(self, metric: str, arguments: tuple[float, ...]) -> Interval:
        if TAKES[metric] == "nothing":
            return super()._interval(metric, arguments)
        if (metric, arguments) not in self._rate_intervals:
            of = self._intervals_of_rates
            methods: dict[str, Callable[[float], Interval]] = {
                "tar_at_far": of.tar_at_far,
                "threshold_at_far": of.threshold_at_far,
                "far_at": of.far_at,
                "tar_at": of.tar_at,
                "accuracy_at": of.accuracy_at,
            }
            self._rate_intervals[metric, arguments] = methods[metric](*arguments)
        return self._rate_intervals[metric, arguments]

    def _resampled(self, asked: Sequence[Asked]) -> Sequence[Float[np.ndarray, " r"]]:
        return [self._one_resampled(metric, *arguments) for metric, arguments in asked]

    def _one_resampled(self, metric: str, *arguments: float) -> Float[np.ndarray, " r"]:
        if metric == "accuracy":
            return self._accuracies
        if metric == "accuracy_at":
            share = self.genuine_pairs / (self.genuine_pairs + self.impostor_pairs)
            drawn = self._weights
            return share * drawn.tar_at(*arguments) + (1 - share) * (1 - drawn.far_at(*arguments))
        resampled: dict[str, Callable[..., Float[np.ndarray, " r"]]] = {
            "roc_auc": self._weights.roc_auc,
            "eer": self._weights.eer,
            "tar_at_far": self._weights.tar_at_far,
            "threshold_at_far": self._weights.threshold_at_far,
            "far_at": self._weights.far_at,
            "tar_at": self._weights.tar_at,
        }
        return resampled[metric](*arguments)

    @cached_property
    def _rate_intervals(self) -> dict[Asked, Interval]:
        """Those computed so far: with ten million pairs one takes a moment."""
        return {}

    @cached_property
    def _intervals_of_rates(self) -> VerificationIntervals:
        return VerificationIntervals(self.pairs, self._check_owned())

    @cached_property
    def _weights(self) -> Resampled:
        return resample(self._check_owned(), resamples=self.resamples, seed=self.seed)

    def _check_owned(self) -> tuple[Owned, Owned]:
        if self.pairs.owned is None:
            raise InputError(
                "an interval needs the identities of the pairs, given pairs without labels; "
                "pass labels as well"
            )
        return self.pairs.owned

    @cached_property
    def _accuracies(self) -> Float[np.ndarray, " r"]:
        if self.folds is None or self.owners is None:
            raise InputError("an interval of the accuracy needs folds and labels; pass both")
        first, second = self.owners[:, 0], self.owners[:, 1]
        return self.folds.resampled(first, second, resamples=self.resamples, seed=self.seed)
