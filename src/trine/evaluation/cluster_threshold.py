"""Chooses linkage and threshold for clustering, on labelled items of identities that were not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from torch import Tensor

from trine.cluster_threshold import ClusterMetric, ClusterThreshold, Knot, LinkageThreshold
from trine.clustering import Method, distances_of_all_pairs, merges_of_all_pairs, merges_of_neighbours
from trine.distances import Distance, check_distance
from trine.errors import CalibrationError, InputError, check_choice, check_count
from trine.evaluation.clustering import Clustering, clustering_from_assignment
from trine.evaluation.merge_scores import MergeScores, best_cut, merge_scores, trivial_scores
from trine.labels import Labels, codes
from trine.neighbours import Backend, as_rows, nearest_neighbours
from trine.shapes import Bool, Float, Float64, Int64

MOST_ITEMS = 5_000
"""The most items a threshold is chosen on; of more, as many are drawn. All their pairs take 0.1 GB."""

FEWEST_IDENTITIES = 50
"""How many identities a draw keeps, if there are as many, even if not all of their items fit."""

GROWTH = {"connected": 1.0, "average": 0.5, "complete": 0.5}
"""How the share of impostor pairs within the threshold falls with the number n of items: 1/n to this power.

With 1 an item has as many wrong neighbours within the threshold however many items there are, which is what
makes chains. Means and maxima over clusters feel single wrong neighbours less. Measured in
benchmarks/clusters.py; docs/decisions.md has the figures.
"""

DOUBLINGS = (-3, 12)
"""From how many halvings to how many doublings of the number of items thresholds are stored."""

CLEARLY = 0.05
"""How much better than a trivial clustering is enough, even if identities are too few to be sure."""

RESAMPLES = 200
"""How many bootstrap samples tell whether one clustering is better than another."""

FEWEST_PAIRS = 4
"""The fewest impostor pairs within a threshold that is stored for more items."""


def choose_cluster_threshold(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels,
    *,
    distance: Distance = "euclidean",
    metric: ClusterMetric = "bcubed_f",
    linkages: Sequence[Method] = get_args(Method),
    neighbours: int = 32,
    backend: Backend = "auto",
    most: int = MOST_ITEMS,
    seed: int = 0,
) -> ClusterThreshold:
    """Chooses the linkage and the threshold whose clusters agree best with the identities.

    Every threshold that makes a difference is tried, from every item alone to all in one cluster: a walk over
    the merges updates the metric. More items hold more pairs of different identities that are near each
    other, so the best threshold falls with their number: it is moved so that the share of such pairs within
    it falls as 1/n (single linkage) or 1/√n (average, complete), n the number of items.

    Args:
        embeddings: One row per item, of identities that the encoder was not trained on.
        labels: The identity of each item: integers of up to 64 bits, or strings.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        metric: What to maximise: `"bcubed_f"`, in which every item has one weight, or `"pairwise_f"`, in
            which large identities and clusters weigh most.
        linkages: The linkages to choose from; each gets its own threshold.
        neighbours: For `"connected"`, as for `trine.clustering.cluster`.
        backend: As for `nearest_neighbours`.
        most: The most items to choose on. Of more, whole identities are drawn, and of their items fewer if
            fewer than 50 identities would be left.
        seed: The seed of that draw.

    Returns:
        The best linkage, and the threshold of each linkage for any number of items. The score is that of the
        best of many thresholds on these very items, so expect a lower one on others.

    Raises:
        CalibrationError: All items have one identity, or no two items share one.
        InputError: An argument is unknown or out of range, or a row is not finite.
        MissingDependencyError: scipy is not installed.

    Example:
        >>> rows = np.array([[0.0], [0.1], [1.0], [1.1], [2.0], [2.2]])
        >>> found = choose_cluster_threshold(rows, ["a", "a", "b", "b", "c", "c"])
        >>> found.linkage, found.score, found.linkages["connected"].clusters
        ('average', 1.0, 3)
        >>> 0.2 < found.at(6) < 0.8
        True
    """
    check_distance(distance)
    check_choice("metric", metric, get_args(ClusterMetric))
    check_count("most", most, at_least=2)
    check_count("neighbours", neighbours)
    for linkage in linkages:
        check_choice("linkage", linkage, get_args(Method))
    if not linkages:
        raise InputError(f"linkages must name at least one of {', '.join(get_args(Method))}, given none")
    rows = as_rows(embeddings, name="embeddings")
    identity = codes(labels, items=len(rows))
    sizes = np.bincount(identity)
    if len(sizes) < 2 or sizes.max() < 2:
        raise CalibrationError(
            "a cluster threshold needs two items of one identity and a second identity, given "
            f"{len(rows):,} items of {len(sizes):,} identities; use more labelled items"
        )
    if len(rows) > most:
        kept = drawn(identity, most=most, seed=seed)
        rows, identity = rows[kept.tolist()], codes(identity[kept], items=len(kept))
        sizes = np.bincount(identity)
    pairs = distances_of_all_pairs(rows, distance=distance)
    impostors = np.sort(pairs[_different(identity)])
    trivial = _Trivial.of(identity, metric)
    found: dict[Method, LinkageThreshold] = {}
    clusters: dict[Method, Clustering] = {}
    for linkage in linkages:
        if linkage == "connected":
            near = nearest_neighbours(rows, k=neighbours, distance=distance, backend=backend)
            merges = merges_of_neighbours(near)
        else:
            merges = merges_of_all_pairs(pairs, method=linkage)
        scores = merge_scores(merges, identity)
        values: Float64[np.ndarray, " k"] = getattr(scores, metric)
        best, threshold = best_cut(scores.heights, values)
        made = _clustering(merges.cut(threshold), identity)
        growth = GROWTH[linkage]
        if values[best] < trivial.score + CLEARLY and not exceeds(made, trivial.clusters, metric):
            best, threshold = trivial.cut(scores, largest=float(pairs.max()))
            made, growth = _clustering(merges.cut(threshold), identity), 0.0
        knots = by_items(threshold, impostors, items=len(rows), growth=growth)
        found[linkage] = LinkageThreshold(threshold, float(values[best]), int(scores.clusters[best]), knots)
        clusters[linkage] = made
    return ClusterThreshold(
        linkage=_best(found, clusters, metric),
        linkages=found,
        metric=metric,
        distance=distance,
        items=len(rows),
        identities=len(sizes),
        alone=trivial.alone,
        all_in_one=trivial.all_in_one,
    )


def exceeds(one: Clustering, other: Clustering, metric: ClusterMetric) -> bool:
    """Whether clusters are better than others of the same items beyond chance.

    Args:
        one: The clusters.
        other: The others, with the same number and seed of bootstrap samples.
        metric: The metric.

    Returns:
        Whether the difference is above 0 in 95 % of the bootstrap samples of identities.
    """
    difference = one.resampled(metric) - other.resampled(metric)
    known = difference[~np.isnan(difference)]
    return len(known) > 0 and float(np.quantile(known, 0.05)) > 0


def _best(
    found: Mapping[Method, LinkageThreshold], clusters: Mapping[Method, Clustering], metric: ClusterMetric
) -> Method:
    """Average linkage, unless another is better beyond chance: its thresholds carry over best."""
    best: Method = "average" if "average" in found else next(iter(found))
    for other in sorted(found, key=lambda linkage: found[linkage].score, reverse=True):
        if found[other].score > found[best].score and exceeds(clusters[other], clusters[best], metric):
            best = other
    return best


@dataclass(frozen=True, eq=False)
class _Trivial:
    """What takes no embedding: every item alone, or all in one cluster."""

    alone: float
    all_in_one: float
    clusters: Clustering

    @classmethod
    def of(cls, identity: Int64[np.ndarray, " n"], metric: ClusterMetric) -> _Trivial:
        alone, all_in_one = trivial_scores(np.bincount(identity), metric)
        best = np.zeros_like(identity) if all_in_one > alone else np.arange(len(identity))
        return cls(alone, all_in_one, _clustering(best, identity))

    @property
    def score(self) -> float:
        return max(self.alone, self.all_in_one)

    def cut(self, scores: MergeScores, *, largest: float) -> tuple[int, float]:
        """The position among the scores, and the threshold, of the better one."""
        if self.all_in_one > self.alone:
            return len(scores.heights) - 1, largest
        only = MergeScores(*(column[:2] for column in vars(scores).values()))
        return best_cut(only.heights, np.array([1.0, 0.0])[: len(only.heights)])


def _clustering(assignment: Int64[np.ndarray, " n"], identity: Int64[np.ndarray, " n"]) -> Clustering:
    return clustering_from_assignment(assignment, identity, resamples=RESAMPLES)


def by_items(
    threshold: float, impostors: Float64[np.ndarray, " p"], *, items: int, growth: float
) -> tuple[Knot, ...]:
    """Moves a threshold to other numbers of items.

    Args:
        threshold: The best threshold for `items` items.
        impostors: The distances of their pairs of different identities, ascending.
        items: The number of items.
        growth: The share of impostor pairs within the threshold falls as the number of items to the minus
            this; 0 keeps the threshold.

    Returns:
        Numbers of items, ascending, each with its threshold. It ends where fewer than 4 impostor pairs would
        be within the threshold.

    Example:
        >>> apart = np.arange(1, 101) / 100
        >>> [(items, round(at, 2)) for items, at in by_items(0.4, apart, items=80, growth=1.0)]
        [(10.0, 1.0), (20.0, 1.0), (40.0, 0.8), (80.0, 0.4), (160.0, 0.2), (320.0, 0.1), (640.0, 0.05)]
    """
    if not growth:
        return ((float(items), threshold),)
    within = int(np.searchsorted(impostors, threshold, side="right"))
    found: list[Knot] = []
    for doublings in range(DOUBLINGS[0], DOUBLINGS[1] + 1):
        if doublings == 0:
            found.append((float(items), threshold))
            continue
        wanted = round(max(within, 1) * 2.0 ** (-growth * doublings))
        if doublings > 0 and wanted < FEWEST_PAIRS:
            break
        moved = float(impostors[min(max(wanted, 1), len(impostors)) - 1])
        # Impostor distances have gaps; more items never get a larger threshold.
        moved = min(moved, found[-1][1]) if doublings > 0 else max(moved, threshold)
        found.append((items * 2.0**doublings, moved))
    return tuple(found)


def drawn(identity: Int64[np.ndarray, " n"], *, most: int, seed: int) -> Int64[np.ndarray, " k"]:
    """Draws some of the items: whole identities while at least 50 are left, else equally few of each.

    Args:
        identity: The identity of each item, numbered from 0.
        most: The most items to draw.
        seed: The seed.

    Returns:
        The positions of the items drawn, ascending.
    """
    random = np.random.default_rng(seed)
    sizes = np.bincount(identity)
    order = random.permutation(len(sizes))
    count = max(int(np.searchsorted(np.cumsum(sizes[order]), most, side="right")), FEWEST_IDENTITIES)
    chosen = np.flatnonzero(np.isin(identity, order[:count]))
    if len(chosen) <= most:
        return chosen
    shuffled = random.permutation(chosen)
    rank = np.empty(len(shuffled), dtype=np.int64)
    by_identity = np.argsort(identity[shuffled], kind="stable")
    starts = np.cumsum(np.bincount(identity[shuffled])) - np.bincount(identity[shuffled])
    rank[by_identity] = np.arange(len(shuffled)) - starts[identity[shuffled][by_identity]]
    kept: Int64[np.ndarray, " k"] = np.sort(shuffled[np.argsort(rank, kind="stable")[:most]])
    return kept


def _different(identity: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " p"]:
    """Whether each pair, in the order of `distances_of_all_pairs`, is of two identities."""
    return np.concatenate([identity[i + 1 :] != identity[i] for i in range(len(identity))])
