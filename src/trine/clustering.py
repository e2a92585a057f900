"""Clustering at a distance threshold, without a given number of clusters."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from torch import Tensor

from trine.distances import Distance, pairwise_distances
from trine.errors import InputError, check_choice, check_count, require
from trine.neighbours import Backend, Neighbours, as_rows, nearest_neighbours
from trine.neighbours.rows import TILE
from trine.settings import NOT_NEGATIVE, check_number
from trine.shapes import Float, Int64, Shaped

Method = Literal["connected", "average"]
"""How clusters are joined: by their nearest pair of items, or by the mean over all pairs."""

LARGEST_AVERAGE = 20_000
"""The most items for average linkage, whose distances of all pairs then take 3.2 GB."""


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
    pair, between them. At a false-accept rate of 1 in 1,000, items of 50 identities with 100 items each have
    12,000 wrong links among them and will probably end up as one cluster. `"average"` joins two clusters
    while the *mean* distance between their items is at most the threshold, which a few wrong pairs do not
    move; choose it for many items per identity, for few items, or if one cluster swallows the rest. With
    `"connected"`, choose a threshold of a far lower false-accept rate.

    Args:
        embeddings: One row per item.
        threshold: The largest distance that joins: a model's calibrated threshold.
        method: `"connected"` (single linkage over the graph of nearest neighbours) or `"average"` (average
            linkage, UPGMA: Sokal, Michener 1958), which holds the distances of all pairs.
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
    if method == "average":
        return _averaged(embeddings, threshold, distance)
    rows = as_rows(embeddings, name="embeddings")
    found = nearest_neighbours(rows, k=neighbours, distance=distance, backend=backend)
    return connected(found, threshold=threshold)


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


def _averaged(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"], threshold: float, distance: Distance
) -> Int64[np.ndarray, " n"]:
    hierarchy = require("scipy.cluster.hierarchy", extra="gallery")
    rows = as_rows(embeddings, name="embeddings").double()
    n = len(rows)
    if n > LARGEST_AVERAGE:
        raise InputError(
            f"average linkage holds the distances of all pairs, at most of {LARGEST_AVERAGE:,} items, and "
            f'there are {n:,}: use method="connected" or fewer items'
        )
    if n < 2:
        return np.zeros(n, dtype=np.int64)
    pairs, at = np.empty(n * (n - 1) // 2), 0
    step = max(1, TILE // n)
    for start in range(0, n, step):
        tile = pairwise_distances(rows[start : start + step], rows[start:], distance=distance).cpu().numpy()
        for i, line in enumerate(tile):
            pairs[at : at + len(line) - i - 1] = line[i + 1 :]
            at += len(line) - i - 1
    tree = hierarchy.linkage(pairs, method="average")
    return _numbered(hierarchy.fcluster(tree, threshold, criterion="distance"))


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
