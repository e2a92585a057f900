"""Confidence intervals of the true-accept rate (TAR) and the false-accept rate (FAR) of pairs.

Of the FAR, the TAR and the accuracy at a threshold, and of the threshold and the TAR at a FAR. They follow
from `ObservedRate`, without resampling.
"""

from __future__ import annotations

import numpy as np

from trine.evaluation.intervals import Interval
from trine.evaluation.pairs import Owned, Pairs
from trine.evaluation.rate_intervals import ObservedRate, combined, compatible_counts, correlation, reach
from trine.evaluation.roc import threshold_at_rate
from trine.shapes import Float


class VerificationIntervals:
    """The intervals of genuine and impostor pairs with their identities, which are counted up to a threshold.

    Args:
        pairs: The distances of all pairs.
        owned: The genuine and the impostor pairs whose identities are known: all, or a sample.
    """

    def __init__(self, pairs: Pairs, owned: tuple[Owned, Owned]) -> None:
        self._pairs = pairs
        self._genuine, self._impostor = owned
        owners = [side.max(initial=0) for kind in owned for side in (kind.first, kind.second)]
        self._identities = int(max(owners)) + 1
        self._of_genuine = self._owned(self._genuine, len(self._genuine.distances))
        self._of_impostor = self._owned(self._impostor, len(self._impostor.distances))

    def far_at(self, threshold: float) -> Interval:
        """The interval of the FAR of a threshold."""
        return self._far(threshold).interval()

    def tar_at(self, threshold: float) -> Interval:
        """The interval of the TAR of a threshold."""
        return self._tar(threshold).interval()

    def accuracy_at(self, threshold: float) -> Interval:
        """The interval of the share of pairs that are classified correctly; each kind keeps its share."""
        genuine, impostor = self._pairs.genuine.count, self._pairs.impostor.count
        share = genuine / (genuine + impostor)
        tar, far = self._tar(threshold), self._far(threshold)
        below, above = reach(far.rate, far.interval())
        return combined(
            share * tar.rate + (1 - share) * (1 - far.rate),
            _scaled(reach(tar.rate, tar.interval()), share),
            _scaled((above, below), 1 - share),
            -correlation(tar, far),
        )

    def threshold_at_far(self, far: float) -> Interval:
        """The thresholds whose interval of the FAR holds a rate.

        From 0 where accepting no pair would not contradict the rate.
        """
        low, high = self._accepted(far)
        distances = self._impostor.distances
        return Interval(
            float(distances[low - 1]) if low else 0.0, float(distances[min(high, len(distances) - 1)])
        )

    def tar_at_far(self, far: float) -> Interval:
        """The interval of the TAR at a FAR: that of the TAR at the threshold, and of the threshold."""
        threshold = threshold_at_rate(far, self._pairs.genuine, self._pairs.impostor, name="far")
        at = -1.0 if threshold is None else threshold
        tar, limits = self._tar(at), self.threshold_at_far(far)
        lowest = self._tar_value(limits.low) if limits.low > 0 else 0.0
        moved = max(tar.rate - lowest, 0.0), max(self._tar_value(limits.high) - tar.rate, 0.0)
        # An identity that is often accepted as others lowers the threshold, and with it the TAR.
        return combined(tar.rate, reach(tar.rate, tar.interval()), moved, -correlation(tar, self._far(at)))

    def _tar_value(self, threshold: float) -> float:
        return int(self._pairs.genuine.within(threshold)) / self._pairs.genuine.count

    def _tar(self, threshold: float) -> ObservedRate:
        count = int(np.searchsorted(self._genuine.distances, threshold, side="right"))
        # A pair has both of its sides in one identity.
        accepted, trials = self._owned(self._genuine, count) / 2, self._of_genuine / 2
        return ObservedRate.of_identities(accepted, trials).at(self._tar_value(threshold))

    def _far(self, threshold: float) -> ObservedRate:
        count = int(np.searchsorted(self._impostor.distances, threshold, side="right"))
        exact = int(self._pairs.impostor.within(threshold)) / self._pairs.impostor.count
        return self._nearest(count).at(exact)

    def _accepted(self, far: float) -> tuple[int, int]:
        return compatible_counts(far, len(self._impostor.distances), self._nearest)

    def _nearest(self, count: int) -> ObservedRate:
        return ObservedRate.of_pairs(self._owned(self._impostor, count), self._of_impostor)

    def _owned(self, pairs: Owned, count: int) -> Float[np.ndarray, " c"]:
        """How many of the nearest pairs each identity has a side in."""
        sides = (
            np.bincount(side[:count], minlength=self._identities) for side in (pairs.first, pairs.second)
        )
        counts: np.ndarray = np.sum(list(sides), axis=0).astype(np.float64)
        return counts


def _scaled(reached: tuple[float, float], share: float) -> tuple[float, float]:
    return reached[0] * share, reached[1] * share
