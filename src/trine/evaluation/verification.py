"""Verification: are these two the same?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from trine.distances import Distance, check_distance
from trine.errors import InputError
from trine.evaluation.labels import Labels, codes
from trine.evaluation.pairs import Pairs, all_pairs, given_pairs, sampled_pairs
from trine.evaluation.rates import threshold_at_rate
from trine.neighbours import as_rows
from trine.shapes import Bool, Float, Float32, Int64

__all__ = ["Verification", "verification"]


@dataclass(frozen=True, eq=False)
class Verification:
    """What `verification` measured: the distances of both kinds of pairs, and every figure of their ROC.

    A pair is accepted as the same when its distance is at most a threshold. FAR is the share of impostor
    pairs that are accepted, TAR the share of genuine ones.

    Attributes:
        genuine: The distances of pairs of one identity, ascending.
        impostor: The distances of pairs of two identities, ascending.
        pairs_total: How many pairs the protocol has.
        pairs_sampled: Whether only a random sample of them was measured.
        identities: How many identities the items have; None for given pairs without labels.
        distance: What the distances are.
        protocol: How the pairs came about.
        at: The false-accept rates that `to_json` lists.
    """

    genuine: Float32[np.ndarray, " g"]
    impostor: Float32[np.ndarray, " i"]
    pairs_total: int
    pairs_sampled: bool
    identities: int | None
    distance: Distance
    protocol: str
    at: tuple[float, ...]

    @property
    def genuine_pairs(self) -> int:
        """How many pairs of one identity were measured."""
        return len(self.genuine)

    @property
    def impostor_pairs(self) -> int:
        """How many pairs of two identities were measured."""
        return len(self.impostor)

    @property
    def roc_auc(self) -> float:
        """The chance that a genuine pair is nearer than an impostor pair; a tie counts half."""
        farther = len(self.impostor) - np.searchsorted(self.impostor, self.genuine, side="right")
        not_nearer = len(self.impostor) - np.searchsorted(self.impostor, self.genuine, side="left")
        wins = int(farther.sum(dtype=np.int64)) + int(not_nearer.sum(dtype=np.int64))
        return wins / (2 * len(self.impostor) * len(self.genuine))

    @property
    def eer(self) -> float:
        """The rate at which false accepts equal false rejects, on the straight segments of the ROC."""
        thresholds = np.unique(np.concatenate([self.genuine, self.impostor]))
        fars = np.append(0.0, self._share(self.impostor, thresholds))
        rejected = 1 - np.append(0.0, self._share(self.genuine, thresholds))
        # FAR rises from 0 and false rejects fall to 0, so the first crossing is the only one.
        j = int(np.argmax(fars >= rejected))
        gap, step = rejected[j - 1] - fars[j - 1], (fars[j] - fars[j - 1]) + (rejected[j - 1] - rejected[j])
        return float(fars[j - 1] + (fars[j] - fars[j - 1]) * gap / step)

    def far_at(self, threshold: float) -> float:
        """The share of impostor pairs whose distance is at most the threshold."""
        return float(self._share(self.impostor, np.float64(threshold)))

    def tar_at(self, threshold: float) -> float:
        """The share of genuine pairs whose distance is at most the threshold."""
        return float(self._share(self.genuine, np.float64(threshold)))

    def threshold_at_far(self, far: float) -> float | None:
        """The largest observed distance that accepts at most a share `far` of the impostor pairs.

        Args:
            far: The false-accept rate, in [0, 1].

        Returns:
            The threshold; None where even the smallest observed distance accepts too many.

        Raises:
            InputError: The rate is not in [0, 1].
        """
        return threshold_at_rate(far, self.impostor, self.genuine, name="far")

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

    def to_json(self) -> dict[str, object]:
        """The figures, what stands behind them and the protocol, as values that JSON knows."""
        return {
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

    @staticmethod
    def _share(ascending: np.ndarray, thresholds: np.ndarray | np.float64) -> np.ndarray:
        share: np.ndarray = np.searchsorted(ascending, thresholds, side="right") / len(ascending)
        return share


def verification(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels | None = None,
    *,
    pairs: Int64[np.ndarray, "p 2"] | None = None,
    same: Bool[np.ndarray, " p"] | None = None,
    distance: Distance = "euclidean",
    at: tuple[float, ...] = (0.001, 0.01, 0.1),
    max_pairs: int = 10_000_000,
    seed: int = 0,
) -> Verification:
    """Measures how well the distance of two items says whether they are the same.

    Args:
        embeddings: One row per item.
        labels: The identity of each item; every unordered pair of items is a trial. May be left out where
            `pairs` and `same` are given.
        pairs: Trials of a protocol of one's own: rows of the two items.
        same: For each given pair whether it is genuine; left out, the labels say it.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        at: The false-accept rates to list in the report's JSON.
        max_pairs: Above this many pairs (from labels) a random sample of as many is measured, and the report
            says so: all genuine pairs up to half of it, impostor pairs for the rest.
        seed: Of the sample.

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
    rows = as_rows(embeddings, name="embeddings")
    identity = None if labels is None else codes(labels, items=len(rows))
    if pairs is not None:
        measured = given_pairs(rows, pairs, _flags(pairs, same, identity, len(rows)), distance=distance)
        protocol = "verification: given pairs"
    elif identity is None or same is not None:
        raise InputError("verification needs labels, or pairs together with same; give one of the two")
    elif len(rows) * (len(rows) - 1) // 2 <= max_pairs:
        measured = all_pairs(rows, identity, distance=distance)
        protocol = "verification: all pairs"
    else:
        measured = sampled_pairs(rows, identity, distance=distance, size=max_pairs, seed=seed)
        protocol = f"verification: a random sample of all pairs, seed {seed}"
    _check_both(measured)
    identities = None if identity is None else len(np.unique(identity))
    return Verification(
        measured.genuine,
        measured.impostor,
        measured.total,
        measured.sampled,
        identities,
        distance,
        protocol,
        at,
    )


def _flags(
    pairs: np.ndarray, same: np.ndarray | None, identity: np.ndarray | None, items: int
) -> Bool[np.ndarray, " p"]:
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= items):
        row = int(((pairs < 0) | (pairs >= items)).any(1).argmax())
        raise InputError(f"pair {row} is {pairs[row].tolist()}, expected rows from 0 to {items - 1}")
    if same is not None:
        if len(same) != len(pairs):
            raise InputError(f"same must have one entry per pair, given {len(same)} for {len(pairs)} pairs")
        return same
    if identity is None:
        raise InputError("pairs need same, or labels that say which of them are genuine")
    flags: np.ndarray = identity[pairs[:, 0]] == identity[pairs[:, 1]]
    return flags


def _check_both(pairs: Pairs) -> None:
    for kind, count, advice in (
        ("genuine", len(pairs.genuine), "two items of one identity"),
        ("impostor", len(pairs.impostor), "items of two identities"),
    ):
        if not count:
            raise InputError(f"verification needs a pair of each kind, given no {kind} one; add {advice}")
