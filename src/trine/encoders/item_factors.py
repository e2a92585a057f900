"""The closed form that users by their items begin with: a ridge regression of each item on all others.

EASE (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data") has the weights B, with a diagonal of
0, that reproduce the users' liked items X best, ‖X − XB‖² + λ‖B‖². With the singular vectors V and values
σ of X and w = σ²/(σ² + λ), B_ij = Σ_f w_f V_if V_jf / (1 − Σ_f w_f V_jf²) for i ≠ j: an inner product of two
embeddings, one of the liked item and one of the recommended item. The largest factors suffice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from trine.encoders.two_tower import LikedTower, TwoTower
from trine.errors import require
from trine.shapes import Float, Int64

ROOM = 0.95
"""How long the longest embedding of an item is at the start: training may still lengthen it."""


def item_factors(
    liked: Int64[np.ndarray, "n 2"], *, users: int, items: int, count: int, ridge: float
) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, "m d"]]:
    """Computes the embeddings whose inner products are the weights of EASE, of the largest factors.

    Args:
        liked: User and item of each liked interaction, each once.
        users: How many users there are.
        items: How many items there are.
        count: How many factors; those that the data does not have are 0.
        ridge: λ.

    Returns:
        The embeddings of liked items, and those of recommended items.

    Example:
        >>> liked = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 2]])
        >>> by, to = item_factors(liked, users=3, items=3, count=2, ridge=1.0)
        >>> bool((by @ to.T)[0, 1] > 0.5), bool(abs((by @ to.T)[0, 2]) < 1e-6)
        (True, True)
    """
    sparse: Any = require("scipy.sparse", extra="gallery")
    linalg: Any = require("scipy.sparse.linalg", extra="gallery")
    rows = sparse.csr_matrix((np.ones(len(liked)), (liked[:, 0], liked[:, 1])), (users, items))
    least = min(rows.shape)
    if least <= count + 1:
        _, sizes, vectors = np.linalg.svd(rows.toarray(), full_matrices=False)
    else:
        _, sizes, vectors = linalg.svds(rows, k=count, v0=np.ones(least), solver="arpack")
        sizes, vectors = sizes[::-1], vectors[::-1]
    sizes, vectors = sizes[:count], vectors[:count]
    weights = sizes**2 / (sizes**2 + ridge)
    by = np.zeros((items, count))
    by[:, : len(sizes)] = vectors.T * np.sqrt(weights)
    own = np.minimum((by**2).sum(axis=1, keepdims=True), 1 - 1e-6)
    return by, by / (1 - own)


def start_from_factors(towers: TwoTower, liked: Int64[np.ndarray, "n 2"], *, ridge: float) -> None:
    """Gives towers that embed users by their items the closed form as their weights.

    What the features of items tell of their embeddings goes into the weights of the features, and the table
    has the rest, so that items without an interaction have an embedding by their features alone.

    Args:
        towers: The towers.
        liked: User and item of each liked training interaction.
        ridge: λ.
    """
    assert isinstance(towers.users, LikedTower)
    of = towers.settings
    by, to = item_factors(
        liked, users=len(of.users), items=len(of.items), count=of.dimension - 1, ridge=ridge
    )
    to = to * (ROOM / max(np.linalg.norm(to, axis=1).max(), 1e-12))
    features = towers.items.features.double().numpy()
    known = np.unique(liked[:, 1])
    seen = features[known]
    told = np.linalg.solve(seen.T @ seen + ridge * np.eye(features.shape[1]), seen.T @ to[known])
    with torch.no_grad():
        towers.users.table.copy_(torch.from_numpy(by))
        towers.items.weights.copy_(torch.from_numpy(told))
        towers.items.table.copy_(
            torch.from_numpy(np.where(np.isin(np.arange(len(to)), known)[:, None], to - features @ told, 0))
        )
