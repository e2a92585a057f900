"""The bootstrap over identities for metrics of pairs.

In a bootstrap sample, identity i occurs mᵢ times, as mᵢ identities that look alike. A pair of two identities
then exists mᵢ·mⱼ times; copies of one identity are not impostors of each other. A pair within one identity
exists mᵢ times, once within each copy: weighted by mᵢ², an identity drawn twice would bring four times its
pairs, and the intervals would be 1.5 times too wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trine.evaluation.intervals import multiplicities
from trine.evaluation.pairs import Distances, Owned
from trine.shapes import Bool, Float, Float32, Int, Int64

PAIR_RESAMPLES = 200
"""The default number of bootstrap samples for metrics over pairs, of which there are millions."""

_EXACT, _GROWTH, _GENUINE = 256, 256, 2048
_ROWS = 512  # pairs whose weights in all resamples stay in the cache


@dataclass(frozen=True, eq=False)
class Resampled:
    """The weights of both kinds of pairs up to each of some thresholds, in every resample.

    The thresholds are observed distances: each of the 256 nearest impostors, then from one to the next a
    256th more of them, and every 2048th part of the genuine pairs.

    Attributes:
        thresholds: Ascending; the last accepts everything.
        genuine: For each threshold and resample the weight of the genuine pairs it accepts.
        impostor: The same for impostor pairs.
        pairs: Which pairs were weighed: genuine, impostor.
    """

    thresholds: Float32[np.ndarray, " k"]
    genuine: Float[np.ndarray, "k r"]
    impostor: Float[np.ndarray, "k r"]
    pairs: tuple[Owned, Owned]

    def roc_auc(self) -> Float[np.ndarray, " r"]:
        """The area under the ROC in each resample, straight between thresholds."""
        tar, far = self._rates()
        rises = np.diff(far, axis=0, prepend=0)
        middles = tar - np.diff(tar, axis=0, prepend=0) / 2
        area: np.ndarray = (rises * middles).sum(0)
        return area

    def eer(self) -> Float[np.ndarray, " r"]:
        """The equal error rate in each resample."""
        tar, far = (np.vstack([np.zeros(rates.shape[1]), rates]) for rates in self._rates())
        rejected = 1 - tar
        j, every = (far >= rejected).argmax(0), np.arange(far.shape[1])
        before, was = far[j - 1, every], rejected[j - 1, every]
        step = (far[j, every] - before) + (was - rejected[j, every])
        with np.errstate(invalid="ignore", divide="ignore"):
            crossing: np.ndarray = before + (far[j, every] - before) * (was - before) / step
        crossing[self._empty()] = np.nan
        return crossing

    def tar_at_far(self, far: float) -> Float[np.ndarray, " r"]:
        """The largest TAR whose FAR is within the rate, in each resample."""
        tar = self._rates()[0]
        at = self._within(far)
        found: np.ndarray = np.where(at > 0, tar[np.maximum(at - 1, 0), np.arange(tar.shape[1])], 0.0)
        found[self._empty()] = np.nan
        return found

    def threshold_at_far(self, far: float) -> Float[np.ndarray, " r"]:
        """The largest threshold whose FAR is within the rate, in each resample; NaN where none is."""
        at = self._within(far)
        return np.where(at > 0, self.thresholds[np.maximum(at - 1, 0)], np.nan).astype(np.float64)

    def far_at(self, threshold: float) -> Float[np.ndarray, " r"]:
        """The FAR of a threshold in each resample."""
        return self._between(self._rates()[1], self.pairs[1].distances, threshold)

    def tar_at(self, threshold: float) -> Float[np.ndarray, " r"]:
        """The TAR of a threshold in each resample."""
        return self._between(self._rates()[0], self.pairs[0].distances, threshold)

    def _empty(self) -> Bool[np.ndarray, " r"]:
        """Whether a resample has no genuine or no impostor pair."""
        empty: np.ndarray = (self.genuine[-1] == 0) | (self.impostor[-1] == 0)
        return empty

    def _rates(self) -> tuple[Float[np.ndarray, "k r"], Float[np.ndarray, "k r"]]:
        with np.errstate(invalid="ignore"):  # a resample of one identity has no impostors
            return self.genuine / self.genuine[-1], self.impostor / self.impostor[-1]

    def _within(self, far: float) -> Int64[np.ndarray, " r"]:
        counts: np.ndarray = (self._rates()[1] <= far).sum(0)
        return counts

    def _between(
        self, rates: Float[np.ndarray, "k r"], distances: Float32[np.ndarray, " p"], threshold: float
    ) -> Float[np.ndarray, " r"]:
        """Between two thresholds, by the share of the measured pairs between them."""
        k = int(np.searchsorted(self.thresholds, threshold, side="right"))
        if k == len(self.thresholds):
            return np.array(rates[-1])
        upto = [
            int(np.searchsorted(distances, limit, side="right"))
            for limit in (self.thresholds[k - 1] if k else -1.0, threshold, self.thresholds[k])
        ]
        share = (upto[1] - upto[0]) / max(upto[2] - upto[0], 1)
        before = rates[k - 1] if k else np.zeros(rates.shape[1])
        return np.array(before + share * (rates[k] - before))


def resample(pairs: tuple[Owned, Owned], *, resamples: int, seed: int) -> Resampled:
    """Resamples identities, and sums the weights of the pairs up to each threshold.

    Args:
        pairs: The genuine and the impostor pairs.
        resamples: How many bootstrap samples to draw.
        seed: The seed of the bootstrap.

    Returns:
        The weights.
    """
    genuine, impostor = pairs
    thresholds = reported_thresholds(Distances(genuine.distances), Distances(impostor.distances))
    sides = (genuine.first, genuine.second, impostor.first, impostor.second)
    drawn = Drawn(*sides, resamples=resamples, seed=seed)
    cuts = [_cuts(kind.distances, thresholds) for kind in pairs]
    return Resampled(
        thresholds,
        np.cumsum(drawn.within(genuine.first, cuts[0]), axis=0),
        np.cumsum(drawn.between(impostor.first, impostor.second, cuts[1]), axis=0),
        pairs,
    )


class Drawn:
    """How often each identity was drawn in each resample, and sums of the weights of pairs."""

    def __init__(self, *codes: Int[np.ndarray, " p"], resamples: int, seed: int) -> None:
        # Only identities of a pair are drawn: others would not change any metric.
        self._known = np.unique(np.concatenate([np.unique(side) for side in codes]))
        times = multiplicities(len(self._known), resamples=resamples, seed=seed)
        self._times = torch.from_numpy(np.stack(list(times), axis=1).astype(np.float32))

    def within(self, owner: Int[np.ndarray, " p"], cuts: Int64[np.ndarray, " k"]) -> Float[np.ndarray, "b r"]:
        """The weight of genuine pairs, summed from each cut to the next."""
        sums = torch.nn.functional.embedding_bag(
            self._places(owner),
            self._times,
            torch.from_numpy(cuts),
            mode="sum",
            include_last_offset=True,
        )
        return sums.double().numpy()

    def between(
        self, first: Int[np.ndarray, " p"], second: Int[np.ndarray, " p"], cuts: Int64[np.ndarray, " k"]
    ) -> Float[np.ndarray, "b r"]:
        """The weight of impostor pairs, summed from each cut to the next."""
        a, b = self._places(first), self._places(second)
        sums = torch.zeros(len(cuts) - 1, self._times.shape[1], dtype=torch.float64)
        left, right = (torch.empty(_ROWS, self._times.shape[1]) for _ in range(2))
        for cell, (start, stop) in enumerate(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)):
            for at in range(start, stop, _ROWS):
                end = min(at + _ROWS, stop)
                x, y = left[: end - at], right[: end - at]
                torch.index_select(self._times, 0, a[at:end], out=x)
                torch.index_select(self._times, 0, b[at:end], out=y)
                sums[cell] += x.mul_(y).sum(0)
        return sums.numpy()

    def _places(self, codes: Int[np.ndarray, " p"]) -> Tensor:
        return torch.from_numpy(np.searchsorted(self._known, codes))


def _cuts(distances: Float32[np.ndarray, " p"], thresholds: Float32[np.ndarray, " k"]) -> np.ndarray:
    return np.append(0, np.searchsorted(distances, thresholds, side="right"))


def reported_thresholds(genuine: Distances, impostor: Distances) -> Float32[np.ndarray, " k"]:
    """A few thousand observed distances, close together where FAR is small; see `Resampled`."""
    count = impostor.count
    steps = max(1, int(_GROWTH * np.log(max(count / _EXACT, 1))))
    growing = np.geomspace(min(_EXACT, count), count, steps + 1)
    ranks = np.concatenate([np.arange(min(_EXACT, count)), np.round(growing).astype(np.int64) - 1])
    even = np.linspace(0, genuine.count - 1, min(_GENUINE, genuine.count)).astype(np.int64)
    last = [genuine.values[-1:], impostor.values[-1:]]  # one item of each identity makes no genuine pair
    return np.unique(np.concatenate([impostor.ranked(ranks), genuine.ranked(even), *last]).astype(np.float32))
