"""From neighbours to clusters, where nobody knows how many there are."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from trine.distances import Distance
from trine.errors import InputError, require
from trine.neighbours import Backend, Neighbours, nearest_neighbours
from trine.shapes import Float, Int64


def cluster(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    *,
    threshold: float,
    distance: Distance = "euclidean",
    neighbours: int = 32,
    backend: Backend = "auto",
) -> Int64[np.ndarray, " n"]:
    """Puts items together that a chain of near neighbours connects (single linkage at a threshold).

    Args:
        embeddings: One row per item.
        threshold: Two items are linked when their distance is at most this: a model's calibrated threshold.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        neighbours: How many of the nearest neighbours of each item may be linked to it. It bounds memory, and
            only separates groups that are joined by nothing but an item outside everybody's nearest.
        backend: As for `nearest_neighbours`.

    Returns:
        The cluster of each item, numbered from 0, the largest first and equal sizes by their first item. An
        item that is linked to nothing is a cluster of its own.

    Raises:
        InputError: The threshold is negative or NaN, `neighbours` is below 1, or a row is not finite.
        MissingDependencyError: scipy is not installed.

    Example:
        >>> cluster(np.array([[9.0], [0.0], [0.4], [0.8]]), threshold=0.5).tolist()
        [1, 0, 0, 0]
    """
    if neighbours < 1:
        raise InputError(f"neighbours must be at least 1, given {neighbours}")
    _check(threshold)
    found = nearest_neighbours(embeddings, k=neighbours, distance=distance, backend=backend)
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
    _, first, inverse, sizes = np.unique(
        component, return_index=True, return_inverse=True, return_counts=True
    )
    number = np.empty(len(sizes), dtype=np.int64)
    number[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    clusters: Int64[np.ndarray, " n"] = number[inverse]
    return clusters


def _check(threshold: float) -> None:
    if not threshold >= 0:
        raise InputError(f"threshold must be a distance of at least 0, given {threshold}")
