"""How well the clusters of every possible threshold agree with identities, in one walk over the merges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trine.cluster_threshold import ClusterMetric
from trine.clustering import Merges
from trine.shapes import Float, Float64, Int64


@dataclass(frozen=True, eq=False)
class MergeScores:
    """The clusterings between every item alone and the last merge, and how well each agrees with identities.

    Attributes:
        heights: The distance of the last merge of each clustering, strictly ascending; −1 for the first, with
            every item alone.
        bcubed_f: The BCubed F of each.
        pairwise_f: The pairwise F of each; 0 with every item alone.
        clusters: How many clusters each has.
    """

    heights: Float64[np.ndarray, " k"]
    bcubed_f: Float64[np.ndarray, " k"]
    pairwise_f: Float64[np.ndarray, " k"]
    clusters: Int64[np.ndarray, " k"]


def merge_scores(merges: Merges, labels: Int64[np.ndarray, " n"]) -> MergeScores:
    """Scores the clusters after each merge.

    A merge of clusters A and B that share Σ n_iA n_iB pairs of one identity changes only their own terms of
    the sums, so that all thresholds together cost about as much as one. Merges at one distance happen at
    once.

    Args:
        merges: The merges of the items.
        labels: The identity of each item, numbered from 0.

    Returns:
        One score for each threshold that makes a difference.

    Example:
        >>> merges = Merges(3, np.array([[0, 1], [2, 3]]), np.array([1.0, 4.0]))
        >>> scores = merge_scores(merges, np.array([0, 0, 1]))
        >>> scores.clusters.tolist(), scores.bcubed_f.round(2).tolist(), scores.pairwise_f.round(2).tolist()
        ([3, 2, 1], [0.8, 1.0, 0.71], [0.0, 1.0, 0.5])
    """
    n, sizes = len(labels), np.bincount(labels)
    members: list[dict[int, int]] = [{label: 1} for label in labels.tolist()]
    size, own = [1] * n, [1] * n  # of each cluster: its items, and Σ n_ij² over identities i
    size_of = sizes.tolist()
    alike = int((sizes * (sizes - 1) // 2).sum())
    both = together = 0
    precision, recall = float(n), float((1 / sizes[labels]).sum())
    rows = [(-1.0, *_f(precision / n, recall / n, both, together, alike), n)]
    for at, ((one, two), height) in enumerate(
        zip(merges.pairs.tolist(), merges.heights.tolist(), strict=True)
    ):
        large, small = members[one], members[two]
        if len(large) < len(small):
            large, small = small, large
        shared = 0
        for label, count in small.items():
            other = large.get(label, 0)
            shared += other * count
            recall += 2 * other * count / size_of[label]
            large[label] = other + count
        members.append(large)
        members[one] = members[two] = {}
        size.append(size[one] + size[two])
        own.append(own[one] + own[two] + 2 * shared)
        precision += own[-1] / size[-1] - own[one] / size[one] - own[two] / size[two]
        both += shared
        together += size[one] * size[two]
        row = (height, *_f(precision / n, recall / n, both, together, alike), n - at - 1)
        if height == rows[-1][0]:
            rows[-1] = row
        else:
            rows.append(row)
    heights, bcubed, pairwise, clusters = (np.array(column) for column in zip(*rows, strict=True))
    return MergeScores(heights, bcubed, pairwise, clusters.astype(np.int64))


def _f(precision: float, recall: float, both: int, together: int, alike: int) -> tuple[float, float]:
    """BCubed F, and pairwise F: 0 where no pair shares a cluster or an identity."""
    pairs = together + alike
    # The sums drift by rounding, to just above 1 where the clusters are the identities.
    return min(2 * precision * recall / (precision + recall), 1.0), 2 * both / pairs if pairs else 0.0


def best_cut(heights: Float[np.ndarray, " k"], scores: Float[np.ndarray, " k"]) -> tuple[int, float]:
    """Finds the best clustering, and a threshold that makes it.

    Args:
        heights: As in `MergeScores`.
        scores: The score of each clustering.

    Returns:
        Its position, the first of equal ones, and the threshold: halfway to the next merge, so that rounding
        does not matter. After the last merge it is that merge's own distance.

    Example:
        >>> best_cut(np.array([-1.0, 1.0, 4.0]), np.array([0.8, 1.0, 0.7]))
        (1, 2.5)
    """
    # With every item alone, pairs at distance 0 still join: no threshold is below 0.
    first = 1 if len(heights) > 1 and heights[1] <= 0 else 0
    best = first + int(np.argmax(scores[first:]))
    low = max(float(heights[best]), 0.0)
    high = float(heights[best + 1]) if best + 1 < len(heights) else low
    return best, (low + high) / 2


def trivial_scores(sizes: Int64[np.ndarray, " c"], metric: ClusterMetric) -> tuple[float, float]:
    """The metric with every item alone, and with all in one cluster.

    Args:
        sizes: The number of items of each identity.
        metric: `"bcubed_f"` or `"pairwise_f"`.

    Example:
        >>> [round(score, 3) for score in trivial_scores(np.array([2, 2]), "bcubed_f")]
        [0.667, 0.667]
    """
    n = int(sizes.sum())
    if metric == "bcubed_f":
        recall, precision = len(sizes) / n, float((sizes.astype(float) ** 2).sum()) / n**2
        return 2 * recall / (1 + recall), 2 * precision / (1 + precision)
    alike, pairs = int((sizes * (sizes - 1) // 2).sum()), n * (n - 1) // 2
    return 0.0, 2 * alike / (pairs + alike) if pairs else 0.0
