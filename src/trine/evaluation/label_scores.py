"""Scores how likely each label is wrong, from the labels of the nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trine.shapes import Float, Int64

PRIOR = 0.003
"""The prior share of wrong labels: an item needs strong evidence to be called wrong."""

DOUBT = 0.04
"""The pseudo-vote of every label, so that one neighbour alone proves little."""

FLOOR = 0.005
"""The smallest share of votes for another label that is assumed to be usual."""

OTHERS = 10
"""How many pseudo-items the mean over all identities counts as, besides the others of the item's identity."""


@dataclass(frozen=True, eq=False)
class LabelScores:
    """How the neighbours of each item vote on its label, without the item itself.

    Attributes:
        score: How likely the label is wrong, in [0, 1]; 0 for the only item of an identity.
        looks_like: The other identity with the most votes; -1 where no other has any.
        asked: How many neighbours vote: at most one for each other item of the identity.
        for_own: How many of them have the item's own label.
        for_other: How many have the label that it looks like.
    """

    score: Float[np.ndarray, " n"]
    looks_like: Int64[np.ndarray, " n"]
    asked: Int64[np.ndarray, " n"]
    for_own: Int64[np.ndarray, " n"]
    for_other: Int64[np.ndarray, " n"]


def label_scores(neighbours: Int64[np.ndarray, "n k"], labels: Int64[np.ndarray, " n"]) -> LabelScores:
    """Weighs the labels of the neighbours of each item against its own.

    A neighbour's vote weighs one over its rank, and an item of a small identity asks only as many neighbours
    as the identity has other items, since more could not agree. The odds that the label y is wrong are those
    of the strongest
    other label t against it, over how usual it is that an item labelled y looks like t,

        odds = prior · (v_t + ε) / (v_y + ε) / (the mean share of t in the votes of the others labelled y),

    so that an item that looks like another identity counts little where many of its own do, as where classes
    overlap, and much where none does. That is confident learning's confusion of labels (Northcutt, Jiang,
    Chuang 2021), estimated by neighbours as in Zhu, Dong, Liu 2022, with each item left out of its own.

    Args:
        neighbours: The rows of the nearest other items of each, nearest first.
        labels: The identity of each item, numbered from 0.

    Returns:
        The votes.
    """
    n, k = neighbours.shape
    identities = int(labels.max(initial=-1)) + 1
    others = np.bincount(labels, minlength=identities)[labels] - 1
    asked = np.minimum(others, k)
    item, other, weight, heads = _cells(neighbours, labels, asked, identities)
    own = other == labels[item]
    for_own, own_weight = np.zeros(n, dtype=np.int64), np.zeros(n)
    for_own[item[own]], own_weight[item[own]] = heads[own], weight[own]
    item, other, weight, heads = (values[~own] for values in (item, other, weight, heads))
    strongest = np.lexsort((other, -weight, item))
    items, first = np.unique(item[strongest], return_index=True)
    chosen = strongest[first]
    looks_like, for_other, most = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int64), np.zeros(n)
    looks_like[items], for_other[items], most[items] = other[chosen], heads[chosen], weight[chosen]

    total = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, k + 1))])[asked]
    share = most / np.maximum(total, 1e-12)
    place = np.unique(labels[item] * np.int64(identities) + other, return_inverse=True)[1]
    sums = np.bincount(place, weights=weight / total[item])
    usual = np.zeros(n)
    usual[items] = sums[place[chosen]] - share[items]
    typical = float(share[asked > 0].mean()) if asked.any() else 0.0
    usual = (usual + OTHERS * typical) / (others + OTHERS)
    odds = PRIOR * (most + DOUBT) / (own_weight + DOUBT) / (usual + FLOOR)
    score = np.where(looks_like >= 0, odds / (1 + odds), 0.0)
    return LabelScores(score, looks_like, asked, for_own, for_other)


def _cells(
    neighbours: Int64[np.ndarray, "n k"],
    labels: Int64[np.ndarray, " n"],
    asked: Int64[np.ndarray, " n"],
    identities: int,
) -> tuple[
    Int64[np.ndarray, " cells"],
    Int64[np.ndarray, " cells"],
    Float[np.ndarray, " cells"],
    Int64[np.ndarray, " cells"],
]:
    """Each item with each label that a neighbour votes for: the weight of these votes, and their number."""
    row, rank = np.nonzero(np.arange(neighbours.shape[1]) < asked[:, None])
    votes = labels[neighbours[row, rank]]
    cells, cell, heads = np.unique(
        row * np.int64(max(identities, 1)) + votes, return_inverse=True, return_counts=True
    )
    weight = np.bincount(cell, weights=1 / (rank + 1), minlength=len(cells))
    item, other = np.divmod(cells, np.int64(max(identities, 1)))
    return item, other, weight, heads
