"""Confusable identities: those that should share a batch.

Offline mining chooses which identities share a batch; online mining chooses the triplets among them.
"""

from __future__ import annotations

import numpy as np

from trine.cosine import unit_rows
from trine.distances import PROPERTIES, Distance
from trine.errors import check_count
from trine.labels import Labels
from trine.mining.inputs import checked_set
from trine.neighbours import make_search
from trine.neighbours.rows import tiles
from trine.shapes import Float, Int64


def confusable_identities(
    embeddings: Float[np.ndarray, "n d"],
    labels: Labels,
    *,
    k: int = 16,
    distance: Distance = "euclidean",
) -> Int64[np.ndarray, "i k"]:
    """Finds the identities that each identity is most easily confused with.

    Each identity is represented by the mean of its embeddings (Suh, Han, Kim, Lee 2019, §3.2, "class
    signatures"), which a single mislabelled or outlying item moves little. The search is exact below a
    million identities; above, it is approximate if FAISS is installed.

    Args:
        embeddings: One row per item.
        labels: The identity of each: integers or strings.
        k: How many to find, at least 1.
        distance: How embeddings are compared; for `cosine` the mean is that of unit rows.

    Returns:
        One row for each identity, in ascending order of the labels: the places in that order of the `k`
        nearest others (of all others where there are fewer), nearest first.

    Raises:
        InputError: The rows are not finite, `k` is below 1, or labels and rows differ in number.

    Example:
        >>> rows = np.array([[0.0], [1.0], [9.0], [10.0], [2.0], [3.0]])
        >>> confusable_identities(rows, np.array([5, 5, 7, 7, 8, 8]), k=2).tolist()
        [[2, 1], [2, 0], [0, 1]]
    """
    codes, rows = checked_set(embeddings, labels, distance)
    check_count("k", k)
    if not len(rows):
        return np.empty((0, 0), dtype=np.int64)
    of_directions = PROPERTIES[distance].of_directions
    sums, start = np.zeros((codes.max() + 1, rows.shape[1])), 0
    for part in tiles(rows):
        values = part.double()
        stop = start + len(part)
        np.add.at(sums, codes[start:stop], (unit_rows(values) if of_directions else values).numpy())
        start = stop
    means = sums / np.bincount(codes)[:, None]
    if len(means) == 1:
        return np.empty((1, 0), dtype=np.int64)
    return make_search(means, distance=distance).nearest(means, k=k, exclude=np.arange(len(means))).indices
