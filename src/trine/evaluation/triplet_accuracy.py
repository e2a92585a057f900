"""Triplet accuracy: how many given triplets the distances of the embeddings satisfy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from torch import Tensor

from trine.distances import Distance, check_distance
from trine.errors import InputError
from trine.evaluation.index_arrays import index_rows, integer_rows
from trine.evaluation.intervals import RESAMPLES
from trine.evaluation.metric_report import Columns, PerQueryReport, check_bootstrap
from trine.evaluation.pairs import measure_pairs
from trine.labels import Labels, codes
from trine.neighbours import as_rows
from trine.shapes import Float, Int, Int64

__all__ = ["TripletAccuracy", "TripletConsistency", "triplet_accuracy", "triplet_consistency"]


@dataclass(frozen=True)
class TripletConsistency:
    """How consistent triplets are with each other.

    Attributes:
        triplets: How many there are.
        duplicates: How many repeat an earlier one.
        contradictions: How many also occur with positive and negative swapped.
        ceiling: The highest accuracy that any distances could reach, given the contradictions.
    """

    triplets: int
    duplicates: int
    contradictions: int
    ceiling: float


def triplet_consistency(triplets: Int64[np.ndarray, "t 3"]) -> TripletConsistency:
    """Counts the judgements that repeat or contradict others.

    Args:
        triplets: Rows of anchor, positive and negative; at least one.

    Example:
        >>> triplet_consistency(np.array([[0, 1, 2], [0, 1, 2], [0, 2, 1], [1, 0, 2]]))
        TripletConsistency(triplets=4, duplicates=1, contradictions=3, ceiling=0.75)
    """
    triplets = integer_rows(triplets, columns=3, name="triplet")
    both = np.concatenate([triplets, triplets[:, [0, 2, 1]]])
    rows, inverse = np.unique(both, axis=0, return_inverse=True)
    t = len(triplets)
    there, opposite = (
        np.bincount(half, minlength=len(rows)) for half in (inverse.ravel()[:t], inverse.ravel()[t:])
    )
    counts, reverse = there[there > 0], opposite[there > 0]
    # Each pair of opposites is in the table twice.
    best = np.where(reverse > 0, np.maximum(counts, reverse) / 2, counts)
    return TripletConsistency(t, t - len(counts), int(counts[reverse > 0].sum()), float(best.sum() / t))


class MarginHistogram(NamedTuple):
    """How d_an − d_ap of triplets is distributed.

    Attributes:
        edges: The ends of the bins, ascending; 0 is one of them.
        agree: For each bin, how many triplets the embeddings agree with.
        disagree: For each bin, how many others.
    """

    edges: Float[np.ndarray, " e"]
    agree: Int64[np.ndarray, " b"]
    disagree: Int64[np.ndarray, " b"]


@dataclass(frozen=True, eq=False)
class TripletAccuracy(PerQueryReport):
    """The result of `triplet_accuracy`.

    Attributes:
        triplets: Rows of anchor, positive and negative.
        margins: d_an − d_ap of each: above 0 where the embeddings agree, 0 where they tie.
        groups: What is resampled for the interval: a number for each triplet.
        grouped_by: What these are: `"anchors"`, or `"given groups"`.
        distance: The distance that was compared.
        resamples: The number of bootstrap samples; 0 for no interval.
        seed: The seed of the bootstrap.
    """

    triplets: Int64[np.ndarray, "t 3"]
    margins: Float[np.ndarray, " t"]
    groups: Int64[np.ndarray, " t"]
    grouped_by: str
    distance: Distance

    resampled_by = "groups"
    protocol = "triplet accuracy: d(anchor, positive) < d(anchor, negative); a tie counts as wrong"

    @property
    def accuracy(self) -> float:
        """The share of triplets whose positive is nearer than the negative: 1 − the generalisation error."""
        return self._mean("accuracy")

    @property
    def ties(self) -> int:
        """How many triplets tie; a tie counts as wrong, though chance would settle half of them."""
        return int((self.margins == 0).sum())

    @property
    def duplicates(self) -> int:
        """How many triplets repeat an earlier one."""
        return self._consistency.duplicates

    @property
    def contradictions(self) -> int:
        """How many triplets also occur with positive and negative swapped."""
        return self._consistency.contradictions

    @property
    def ceiling(self) -> float:
        """The highest accuracy that any distances could reach, given the contradictions."""
        return self._consistency.ceiling

    def histogram(self, bins: int = 60) -> MarginHistogram:
        """Counts the margins of the triplets that the embeddings agree with, and of the others.

        Args:
            bins: About how many; none of them lies on both sides of 0.

        Example:
            >>> rows = np.array([[0.0], [1.0], [3.0]])
            >>> counted = triplet_accuracy(rows, [[0, 1, 2], [0, 2, 1]]).histogram(2)
            >>> counted.edges.tolist(), counted.agree.tolist(), counted.disagree.tolist()
            ([-2.0, 0.0, 2.0], [0, 1], [1, 0])
        """
        low, high = min(float(self.margins.min()), 0.0), max(float(self.margins.max()), 0.0)
        step = (high - low) / bins or 1.0
        first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
        edges = step * np.arange(first, last + 1, dtype=float)
        # Rounding may put values outside the edges; count them in the outer bins.
        margins = self.margins.clip(edges[0], edges[-1])
        agree, disagree = (
            np.histogram(margins[chosen], edges)[0].astype(np.int64)
            for chosen in (self.margins > 0, self.margins <= 0)
        )
        return MarginHistogram(edges, agree, disagree)

    def _columns(self) -> Columns:
        return {"accuracy": (self.margins > 0).astype(float)}

    def _facts(self) -> dict[str, object]:
        return {
            "protocol": self.protocol,
            "distance": self.distance,
            "triplets": len(self.triplets),
            "duplicates": self.duplicates,
            "contradictions": self.contradictions,
            "ties": self.ties,
            "ceiling": self.ceiling,
            "resampled": self.grouped_by,
            "groups": len(np.unique(self.groups)),
        }

    @cached_property
    def _consistency(self) -> TripletConsistency:
        return triplet_consistency(self.triplets)


def triplet_accuracy(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    triplets: Int[np.ndarray, "t 3"] | Int[Tensor, "t 3"] | Sequence[Sequence[int]],
    *,
    distance: Distance = "euclidean",
    groups: Labels | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> TripletAccuracy:
    """Counts how many given triplets, such as people's judgements, the embeddings satisfy.

    A triplet states that the positive is more like the anchor than the negative is. It is satisfied where
    d(anchor, positive) < d(anchor, negative); one minus the share is the generalisation error of the
    literature (van der Maaten, Weinberger 2012). A tie is not satisfied, and is counted separately, so that
    embeddings that collapse to a point score 0. Every triplet counts once, repeated and contradicting ones
    too; their numbers are in the report.

    Args:
        embeddings: One row per item.
        triplets: Rows of anchor, positive and negative. Those of a table by the names of its items:
            `trine.data.read_triplets(path).positions(names)`.
        distance: `"squared_euclidean"` (agrees as `"euclidean"`), `"euclidean"` or `"cosine"`.
        groups: What is resampled for the interval: one label per triplet, such as the person who judged
            it; by default the anchors.
        resamples: The number of bootstrap samples; 0 for no interval.
        seed: The seed of the bootstrap.

    Returns:
        The share, its interval, and the counts behind them.

    Raises:
        InputError: There are no triplets, one names an item twice or a row out of range, a row is not
            finite, or the groups do not fit.

    Example:
        >>> rows = np.array([[0.0], [1.0], [3.0]])
        >>> report = triplet_accuracy(rows, np.array([[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]]))
        >>> report.accuracy, report.ties, report.contradictions, report.ceiling
        (0.75, 0, 2, 0.75)
    """
    check_distance(distance)
    check_bootstrap(resamples, seed)
    rows = as_rows(embeddings, name="embeddings")
    listed = index_rows(triplets, columns=3, items=len(rows), name="triplet")
    _check(listed)
    drawn = listed[:, 0] if groups is None else codes(groups, items=len(listed), name="groups")
    nearer, farther = (_distances(rows, listed[:, [0, other]], distance) for other in (1, 2))
    return TripletAccuracy(
        listed,
        farther - nearer,
        np.unique(drawn, return_inverse=True)[1].astype(np.int64),
        "anchors" if groups is None else "given groups",
        distance,
        resamples=resamples,
        seed=seed,
    )


def _check(triplets: Int64[np.ndarray, "t 3"]) -> None:
    if not len(triplets):
        raise InputError("triplet accuracy needs at least one triplet, given none")
    anchor, positive, negative = triplets.T
    twice = (anchor == positive) | (anchor == negative) | (positive == negative)
    if twice.any():
        row = int(twice.argmax())
        raise InputError(
            f"triplet {row} names an item twice ({triplets[row].tolist()}): expected three different ones"
        )


def _distances(
    rows: Float[Tensor, "n d"], pairs: Int64[np.ndarray, "t 2"], distance: Distance
) -> Float[np.ndarray, " t"]:
    """Measures each different pair once, in float64: many triplets are about few items."""
    different, inverse = np.unique(np.sort(pairs, axis=1), axis=0, return_inverse=True)
    first, second = different.T
    distances = measure_pairs(rows, first, second, distance, dtype=np.float64)
    measured: Float[np.ndarray, " t"] = distances[inverse.ravel()]
    return measured
