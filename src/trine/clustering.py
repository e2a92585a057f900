"""Clustering at a distance threshold, without a given number of clusters."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from torch import Tensor

from trine.distances import Distance, pairwise_distances
from trine.errors import InputError, check_choice, check_count, require
from trine.interruption import check_interruption
from trine.neighbours import Backend, Neighbours, as_rows, nearest_neighbours
from trine.neighbours.rows import TILE
from trine.settings import NOT_NEGATIVE, check_number
from trine.shapes import Float, Float64, Int64, Shaped

Method = Literal["connected", "average", "complete"]
"""How clusters are joined: by their nearest pair of items, the mean over all pairs, or the farthest pair."""

LARGEST_ALL_PAIRS = 20_000
"""The most items for average and complete linkage, whose distances of all pairs then take 3.2 GB."""


def cluster(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    *,
    threshold: float,
    method: Method = "connected",
    distance: Distance = "euclidean",
    neighbours: int = 32,
    backend: Backend = "auto",
) -> Int64[np.ndarray, " n"]:
    """Clusters items whose distance is at most a threshold; the number of clusters need not be known.

    `"connected"` joins whatever a chain of near neighbours connects: single linkage, cut at the threshold. It
    is fast and has one trap, chaining: two identities become one cluster by a single item, or a single wrong
    pair, between them. `"average"` joins two clusters while the *mean* distance between their items is at
    most the threshold, which a few wrong pairs do not move; `"complete"` while *every* distance is.

    The threshold of a verification rate is the wrong one: at a false-accept rate of 1 in 1,000, items of 50
    identities with 100 items each have 12,000 wrong links among them. Choose threshold and method with
    `trine.evaluation.choose_cluster_threshold`; a trained model brings its own.

    Args:
        embeddings: One row per item.
        threshold: The largest distance that joins, such as `ClusterThreshold.at` gives.
        method: `"connected"` (single linkage over the graph of nearest neighbours), `"average"` (average
            linkage, UPGMA: Sokal, Michener 1958) or `"complete"` (complete linkage: Sørensen 1948); the last
            two hold the distances of all pairs.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        neighbours: For `"connected"`, how many of the nearest neighbours of each item may be linked to it.
            It bounds memory; groups are separated only if none of the links between them is among the nearest
            of either end.
        backend: For `"connected"`, as for `nearest_neighbours`.

    Returns:
        The cluster of each item, numbered from 0, the largest first and equal sizes by their first item. An
        unlinked item is a cluster by itself.

    Raises:
        InputError: The threshold is negative or NaN, `neighbours` is below 1, the method is unknown or the
            items are too many for it, or a row is not finite.
        MissingDependencyError: scipy is not installed.

    Example:
        >>> rows = np.array([[9.0], [0.0], [0.4], [0.85]])
        >>> cluster(rows, threshold=0.5).tolist()
        [1, 0, 0, 0]
        >>> cluster(rows, threshold=0.5, method="average").tolist()
        [1, 0, 0, 2]
    """
    check_count("neighbours", neighbours)
    check_choice("method", method, get_args(Method))
    _check(threshold)
    rows = as_rows(embeddings, name="embeddings")
    if method == "connected":
        found = nearest_neighbours(rows, k=neighbours, distance=distance, backend=backend)
        return connected(found, threshold=threshold)
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    return merges_of_all_pairs(distances_of_all_pairs(rows, distance=distance), method=method).cut(threshold)


def connected(neighbours: Neighbours, *, threshold: float) -> Int64[np.ndarray, " n"]:
    """Numbers the connected components of a neighbour graph whose links are at most `threshold` long.

    Args:
        neighbours: The neighbours of every item among the items themselves.
        threshold: The longest link.

    Returns:
        The cluster of each item, numbered as `cluster` does.

    Raises:
        InputError: The threshold is negative or NaN.
        MissingDependencyError: scipy is not installed.
    """
    _check(threshold)
    sparse = require("scipy.sparse", extra="gallery")
    graph = require("scipy.sparse.csgraph", extra="gallery")
    n = len(neighbours)
    linked = (neighbours.distances <= threshold) & (neighbours.indices >= 0)
    rows = np.broadcast_to(np.arange(n)[:, None], linked.shape)[linked]
    links = sparse.coo_matrix(
        (np.ones(len(rows), dtype=bool), (rows, neighbours.indices[linked])), shape=(n, n)
    )
    _, component = graph.connected_components(links, directed=False)
    return _numbered(component)


@dataclass(frozen=True, eq=False)
class Merges:
    """Which clusters join, from the nearest to the farthest: a dendrogram, or a forest of several.

    Attributes:
        items: The number of items, which are the first clusters, 0 to n − 1; merge i makes cluster n + i.
        pairs: The two clusters that each merge joins.
        heights: The distance at which they join, ascending.

    Example:
        >>> merges = merges_of_all_pairs(np.array([1.0, 5.0, 4.0]), method="average")
        >>> merges.pairs.tolist(), merges.heights.tolist()
        ([[0, 1], [2, 3]], [1.0, 4.5])
        >>> merges.cut(2.0).tolist()
        [0, 0, 1]
    """

    items: int
    pairs: Int64[np.ndarray, "m 2"]
    heights: Float64[np.ndarray, " m"]

    def cut(self, threshold: float) -> Int64[np.ndarray, " n"]:
        """Returns the cluster of each item after all merges at a distance of at most the threshold.

        Args:
            threshold: The largest distance that joins.

        Returns:
            The clusters, numbered as `cluster` does.
        """
        done = int(np.searchsorted(self.heights, threshold, side="right"))
        root = np.arange(self.items + done)
        for merge in range(done - 1, -1, -1):
            root[self.pairs[merge]] = root[self.items + merge]
        return _numbered(root[: self.items])


def merges_of_all_pairs(distances: Float64[np.ndarray, " p"], *, method: Method) -> Merges:
    """Joins clusters by the distances of all pairs until one is left.

    Args:
        distances: Of the pairs (0, 1), (0, 2), ..., (1, 2), ...: as `distances_of_all_pairs` returns them.
        method: How the distance of two clusters follows from those of their items.

    Returns:
        The n − 1 merges.

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    hierarchy = require("scipy.cluster.hierarchy", extra="gallery")
    items = (1 + math.isqrt(1 + 8 * len(distances))) // 2
    if items < 2:
        return Merges(items, np.empty((0, 2), dtype=np.int64), np.empty(0))
    tree = hierarchy.linkage(distances, method="single" if method == "connected" else method)
    return Merges(items, tree[:, :2].astype(np.int64), tree[:, 2].astype(np.float64))


def merges_of_neighbours(neighbours: Neighbours) -> Merges:
    """Joins clusters by the links of a neighbour graph, the shortest first (Kruskal 1956).

    Args:
        neighbours: The neighbours of every item among the items themselves.

    Returns:
        One merge for each link that connects two clusters; cut at a threshold, they give the clusters of
        `connected`.
    """
    n, k = neighbours.indices.shape
    order = np.argsort(neighbours.distances, axis=None, kind="stable")
    parent, name = list(range(n)), list(range(n))
    pairs: list[tuple[int, int]] = []
    heights: list[float] = []

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    for link in order.tolist():
        item, other = link // k, int(neighbours.indices[link // k, link % k])
        if other < 0:
            break  # Missing neighbours are infinitely far, so they come last.
        one, two = root(item), root(other)
        if one != two:
            pairs.append((name[one], name[two]))
            heights.append(float(neighbours.distances[link // k, link % k]))
            parent[two], name[one] = one, n + len(pairs) - 1
    return Merges(n, np.array(pairs, dtype=np.int64).reshape(-1, 2), np.array(heights))


def distances_of_all_pairs(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"], *, distance: Distance
) -> Float64[np.ndarray, " p"]:
    """Computes the distances of all pairs of items, each once.

    Args:
        embeddings: One row per item.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.

    Returns:
        The distances of the pairs (0, 1), (0, 2), ..., (1, 2), ...: n (n − 1) / 2 of them.

    Raises:
        InputError: There are more than 20,000 items, or a row is not finite.

    Example:
        >>> distances_of_all_pairs(np.array([[0.0], [1.0], [3.0]]), distance="euclidean").tolist()
        [1.0, 3.0, 2.0]
    """
    rows = as_rows(embeddings, name="embeddings").double()
    n = len(rows)
    if n > LARGEST_ALL_PAIRS:
        raise InputError(
            "average and complete linkage hold the distances of all pairs, at most of "
            f'{LARGEST_ALL_PAIRS:,} items, and there are {n:,}: use method="connected" or fewer items'
        )
    pairs, at = np.empty(n * (n - 1) // 2), 0
    step = max(1, TILE // max(n, 1))
    for start in range(0, n, step):
        check_interruption()
        tile = pairwise_distances(rows[start : start + step], rows[start:], distance=distance).cpu().numpy()
        for i, line in enumerate(tile):
            pairs[at : at + len(line) - i - 1] = line[i + 1 :]
            at += len(line) - i - 1
    return pairs


def extend_clusters(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    clusters: Int64[np.ndarray, " n"],
    *,
    threshold: float,
    distance: Distance = "euclidean",
    names: Mapping[int, str] | None = None,
    fixed: Collection[int] = (),
    loose: Collection[int] = (),
    kept: int = 1 << 25,
) -> Int64[np.ndarray, " n"]:
    """Clusters new items by average linkage, beginning with the clusters that others have already.

    Items that have a cluster keep it: it grows, or is joined with another when the mean distance of the two
    comes within the threshold by a new item. With no cluster to begin with, the result is average linkage,
    as `cluster` computes it, in the memory of a few rows of distances, for any number of items.

    It follows chains of nearest neighbours from the new items (Murtagh 1983), which finds the same clusters
    as joining the nearest two again and again.

    Args:
        embeddings: One row per item.
        clusters: The cluster of each item, at least 0; -1 for a new item.
        threshold: The largest mean distance of two clusters that are joined.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        names: Names of clusters: two with different names are never joined.
        fixed: Clusters that grow, but are joined with no other that there was.
        loose: Clusters, neither named nor fixed, whose items are clustered again, as if they were new;
            a fixed cluster still takes none of them. The cluster that has the most items of a loose one
            keeps its number.
        kept: About how many distances are kept to be used again; 256 MiB of them.

    Returns:
        The cluster of each item: of joined ones the smaller number, new ones from the next number on, the
        largest first and equal sizes by their first item.

    Raises:
        InputError: The threshold is negative or NaN, there is not one cluster for each row, a loose cluster
            is named or fixed, or a row is not finite.

    Example:
        >>> rows = np.array([[0.0], [0.4], [5.0], [5.2], [0.2]])
        >>> extend_clusters(rows, np.array([3, 3, 7, -1, -1]), threshold=0.5).tolist()
        [3, 3, 7, 7, 3]
        >>> extend_clusters(rows, np.full(5, -1), threshold=0.5).tolist()
        [0, 0, 1, 1, 0]
        >>> extend_clusters(rows, np.array([3, 3, 3, -1, 3]), threshold=0.5, loose={3}).tolist()
        [3, 3, 4, 4, 3]
    """
    _check(threshold)
    rows = as_rows(embeddings, name="embeddings")
    if clusters.shape != (len(rows),):
        raise InputError(
            f"clusters must name one cluster for each of {len(rows)} rows, given {clusters.shape}"
        )
    if clash := sorted(set(loose) & {*(names or {}), *fixed}):
        raise InputError(f"loose clusters must be neither named nor fixed, given {clash}")
    was = np.isin(clusters, list(loose))
    top = int(clusters.max(initial=-1))
    held = np.unique(clusters[(clusters >= 0) & ~was])
    forest = _Forest(rows, np.where(was, -1, clusters), held, distance, kept=kept)
    forest.old[forest.group[was]] = True
    called = {name: at for at, name in enumerate(sorted(set((names or {}).values())))}
    forest.name[: len(held)] = [called.get((names or {}).get(int(number), ""), -1) for number in held]
    forest.fixed[: len(held)] = np.isin(held, list(fixed))
    forest.join(threshold)
    found: Int64[np.ndarray, " n"] = np.append(held, np.full(len(forest.size) - len(held), -1))[forest.group]
    heirs = np.full(len(forest.size), -1)
    for group, number in _heirs(forest.group, np.where(was & (found < 0), clusters, -1)).items():
        heirs[group] = number
    found = np.where(found < 0, heirs[forest.group], found)
    fresh = found < 0
    found[fresh] = _numbered(forest.group[fresh]) + top + 1
    return found


def _heirs(groups: Int64[np.ndarray, " n"], numbers: Int64[np.ndarray, " n"]) -> dict[int, int]:
    """Which number each group takes over: the one that it has the most items of; none is given twice."""
    there = np.flatnonzero(numbers >= 0)
    pairs, shared = np.unique(np.stack([numbers[there], groups[there]], axis=1), axis=0, return_counts=True)
    heirs: dict[int, int] = {}
    given: set[int] = set()
    for number, group in pairs[np.lexsort((pairs[:, 1], pairs[:, 0], -shared))].tolist():
        if group not in heirs and number not in given:
            heirs[group] = number
            given.add(number)
    return heirs


class _Forest:
    """Groups of items that are joined by their mean distances; those that there were come first."""

    def __init__(
        self,
        rows: Float[Tensor, "n d"],
        clusters: Int64[np.ndarray, " n"],
        held: Int64[np.ndarray, " k"],
        distance: Distance,
        *,
        kept: int,
    ) -> None:
        fresh = clusters < 0
        self.rows, self.distance, self.held = rows, distance, len(held)
        self.group = np.searchsorted(held, clusters).astype(np.int64)
        self.group[fresh] = len(held) + np.arange(fresh.sum())
        self.size = np.bincount(self.group, minlength=len(held)).astype(np.float64)
        self.old = np.arange(len(self.size)) < len(held)
        self.fixed = np.zeros(len(self.size), dtype=bool)
        self.name = np.full(len(self.size), -1, dtype=np.int64)
        self._sums: OrderedDict[int, Float64[np.ndarray, " n"]] = OrderedDict()
        self._most = max(2, kept // max(len(rows), 1))

    def join(self, threshold: float) -> None:
        """Joins groups from each new one on, until no mean distance is within the threshold."""
        for start in range(self.held, len(self.size)):
            chain = [start] if self.size[start] else []
            while chain:
                check_interruption()
                means = self._means(chain[-1])
                near = int(np.argmin(means))
                # Means of two groups differ by rounding between the two directions.
                if len(chain) > 1 and means[chain[-2]] <= means[near] * (1 + 1e-9):
                    two = sorted((chain.pop(), chain.pop()))
                    self._unite(*two)
                    chain = chain or two[:1]
                elif means[near] > threshold:
                    chain.pop()  # alone: had it come by a link, that would be within the threshold
                else:
                    chain.append(near)

    def _means(self, one: int) -> Float64[np.ndarray, " g"]:
        """The mean distance of a group from each; infinite from those that it is not to be joined with."""
        totals = np.bincount(self.group, weights=self._sum(one), minlength=len(self.size))
        means: Float64[np.ndarray, " g"] = totals / np.maximum(self.size, 1) / self.size[one]
        apart = self.size == 0
        if self.name[one] >= 0:
            apart |= (self.name >= 0) & (self.name != self.name[one])
        if self.old[one]:
            apart |= self.old if self.fixed[one] else self.old & self.fixed
        apart[one] = True
        means[apart] = np.inf
        return means

    def _sum(self, one: int) -> Float64[np.ndarray, " n"]:
        """The sum of the distances of a group's items from each item."""
        if one not in self._sums:
            members = np.flatnonzero(self.group == one)
            total = np.zeros(len(self.rows))
            step = max(1, TILE // len(self.rows))
            for start in range(0, len(members), step):
                part = self.rows[members[start : start + step]]
                total += pairwise_distances(part, self.rows, distance=self.distance).double().sum(0).numpy()
            self._sums[one] = total
            while len(self._sums) > self._most:
                self._sums.popitem(last=False)
        self._sums.move_to_end(one)
        return self._sums[one]

    def _unite(self, one: int, other: int) -> None:
        """Makes two groups one, under the smaller number."""
        self._sums[one] = self._sum(one) + self._sum(other)
        self._sums.pop(other, None)
        self.group[self.group == other] = one
        self.size[one] += self.size[other]
        self.size[other] = 0
        self.name[one] = max(self.name[one], self.name[other])
        self.fixed[one] |= self.fixed[other]
        self.old[one] |= self.old[other]


def _numbered(component: Shaped[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    _, first, inverse, sizes = np.unique(
        component, return_index=True, return_inverse=True, return_counts=True
    )
    number = np.empty(len(sizes), dtype=np.int64)
    number[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    clusters: Int64[np.ndarray, " n"] = number[inverse]
    return clusters


def _check(threshold: float) -> None:
    if not (isinstance(threshold, float) and threshold == math.inf):
        check_number("threshold", threshold, NOT_NEGATIVE)
