"""Selects the items that a report shows: queries with their nearest neighbours, and the 2-D map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance, compared_rows
from trine.errors import InputError, require
from trine.labels import Labels, codes
from trine.neighbours import Neighbours, as_rows, nearest_neighbours
from trine.shapes import Bool, Float, Int64

MAP_POINTS = 2000


@dataclass(frozen=True, eq=False)
class View:
    """The items that a report shows.

    Attributes:
        queries: Rows of the queries; the last `failing` have a wrong nearest neighbour.
        failing: The number of queries with a wrong nearest neighbour.
        neighbours: The nearest other items of each query.
        shown: Rows of the items on the map, ascending.
        points: Their positions on the map.
        projected: Whether the positions come from t-SNE; false for two-dimensional embeddings.
    """

    queries: Int64[np.ndarray, " q"]
    failing: int
    neighbours: Neighbours
    shown: Int64[np.ndarray, " m"]
    points: Float[np.ndarray, "m 2"]
    projected: bool


def view(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels,
    *,
    distance: Distance = "euclidean",
    queries: int = 8,
    neighbours: int = 8,
    nearest_is_wrong: Bool[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> View:
    """Chooses queries, finds their neighbours, and maps the items to a plane.

    Queries are random, from different identities while there are enough; up to a quarter of them, the last,
    have a wrong nearest neighbour, because these are the most informative. The map is t-SNE (van der
    Maaten, Hinton 2008) from a PCA start, over at most 2,000 random items; embeddings of two dimensions are
    shown directly.

    Args:
        embeddings: One row per item, at least two.
        labels: The identity of each.
        distance: The distance that ranks the neighbours.
        queries: The number of queries.
        neighbours: The number of neighbours per query.
        nearest_is_wrong: For each item whether its nearest neighbour has another identity; computed by a
            search over all items if omitted.
        seed: The seed for the queries and the map.

    Returns:
        The items to show.

    Raises:
        InputError: There are fewer than two items, or the labels do not fit.
        MissingDependencyError: scikit-learn is not installed.
    """
    x = as_rows(embeddings, name="embeddings").cpu()
    if len(x) < 2:
        raise InputError(f"a report needs at least two items to show, given {len(x)}")
    identity = codes(labels, items=len(x))
    if nearest_is_wrong is None:
        first = nearest_neighbours(x, k=1, distance=distance).indices[:, 0]
        nearest_is_wrong = identity[first] != identity
    chosen, failing = _choose(identity, nearest_is_wrong, queries, seed)
    nearest = nearest_neighbours(
        x[torch.from_numpy(chosen)], x, k=neighbours, distance=distance, exclude=chosen
    )
    shown = np.sort(np.random.default_rng([seed, 0]).permutation(len(x))[:MAP_POINTS])
    points = _plane(x[torch.from_numpy(shown)], distance, seed)
    return View(chosen, failing, nearest, shown, points, x.shape[1] != 2)


def _choose(
    identity: Int64[np.ndarray, " n"], nearest_is_wrong: Bool[np.ndarray, " n"], queries: int, seed: int
) -> tuple[Int64[np.ndarray, " q"], int]:
    """The queries by identity, then those with a wrong nearest neighbour, and the number of the latter."""
    random = np.random.default_rng([seed, 1])
    frequent = np.bincount(identity)[identity] > 1
    order = random.permutation(np.flatnonzero(frequent) if frequent.any() else len(identity))
    failing = order[nearest_is_wrong[order]][: queries // 4].tolist()
    fresh: list[int] = []
    again: list[int] = []
    seen: set[int] = set()
    for i in order.tolist():
        if i not in failing:
            (again if identity[i] in seen else fresh).append(i)
            seen.add(identity[i])
    chosen = sorted((fresh + again)[: queries - len(failing)], key=lambda i: (identity[i], i))
    return np.array(chosen + failing, dtype=np.int64), len(failing)


def _plane(x: Float[Tensor, "n d"], distance: Distance, seed: int) -> Float[np.ndarray, "n 2"]:
    wide = compared_rows(x.double(), distance)
    if x.shape[1] == 2:
        itself: np.ndarray = wide.numpy()
        return itself
    spread = float((wide - wide.mean(0)).abs().max()) if wide.numel() else 0.0
    if spread == 0:
        return np.zeros((len(x), 2))
    scaled = ((wide - wide.mean(0)) / spread).float().numpy()
    if len(x) < 10 or x.shape[1] < 2:
        u, s, _ = np.linalg.svd(np.pad(scaled, ((0, 0), (0, 2))), full_matrices=False)
        flat: np.ndarray = (u * s)[:, :2]
        return flat
    manifold = require("sklearn.manifold", extra="train")
    points: np.ndarray = manifold.TSNE(
        init="pca", perplexity=min(30.0, (len(x) - 1) / 3), random_state=seed
    ).fit_transform(scaled)
    return points
