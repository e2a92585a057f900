"""Finds items like some and unlike others, without near-duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trine.distances import PROPERTIES, Distance
from trine.errors import Argument, InputError, SettingError
from trine.gallery.entries import Hit, check_at_least, check_items, unknown_item
from trine.gallery.filters import Filter
from trine.gallery.index import scores_between
from trine.gallery.store import Scope, Store
from trine.shapes import Float32

AWAY = 0.25
"""How far the query moves away from unwanted items, as a share of their distance."""

POOL = 10
"""Diverse items are chosen among this many times as many candidates."""


def recommend(
    store: Store, *, like: Sequence[str], unlike: Sequence[str], k: int, diversity: float, where: Filter
) -> list[Hit]:
    """Finds items near some and away from others; see `Gallery.recommend`."""
    check_at_least(1, k=k)
    if not 0 <= diversity <= 1:
        raise SettingError(f"diversity must be in [0, 1], given {diversity}")
    like, unlike = check_items(like, "like"), check_items(unlike, "unlike")
    if not like:
        raise InputError("recommend needs at least one item: name it in ", Argument("like"))
    query = towards(_rows(store, like), _rows(store, unlike), distance=store.binding.distance)
    scope = Scope(where=where, exclude=frozenset([*like, *unlike]))
    wanted = k if diversity == 0 else POOL * k
    (pool,) = store.search(query[None], k=wanted, scope=scope, metadata=True)
    if diversity == 0:
        return pool
    records = store.get([hit.item for hit in pool])
    pool = [hit for hit in pool if hit.item in records]
    if not pool:
        return []
    rows = np.stack([records[hit.item].embedding for hit in pool])
    scores = np.array([hit.score for hit in pool], dtype=np.float32)
    between = scores_between(rows, rows, distance=store.binding.distance)
    return [pool[i] for i in diverse(scores, between, k=k, diversity=diversity)]


def towards(
    like: Float32[np.ndarray, "n d"], unlike: Float32[np.ndarray, "m d"], *, distance: Distance
) -> Float32[np.ndarray, " d"]:
    """Returns the query m⁺ + w(m⁺ − m⁻) of the means of wanted and unwanted embeddings (Rocchio 1971).

    For cosine, the means are of unit vectors.

    Example:
        >>> towards(np.array([[1.0, 0.0]], "f4"), np.array([[0.0, 0.0]], "f4"), distance="euclidean").tolist()
        [1.25, 0.0]
    """
    means = [
        _directions(rows, distance).astype(np.float64).mean(axis=0) for rows in (like, unlike) if len(rows)
    ]
    query = means[0] if len(means) == 1 else means[0] + AWAY * (means[0] - means[1])
    narrow: Float32[np.ndarray, " d"] = query.astype(np.float32)
    return narrow


def diverse(
    scores: Float32[np.ndarray, " n"], between: Float32[np.ndarray, "n n"], *, k: int, diversity: float
) -> list[int]:
    """Chooses items greedily by maximal marginal relevance (Carbonell, Goldstein 1998).

    With the negative distance as similarity, each choice maximises
    -(1 - λ) d(query, x) + λ min d(x, chosen); the first is the nearest.

    Args:
        scores: The distance of each item from the query.
        between: The distances of the items from each other.
        k: The number of items to choose.
        diversity: λ, in [0, 1].

    Returns:
        Positions in the order of choice; ties go to the earlier position.

    Example:
        >>> scores = np.array([1.0, 1.1, 2.0], "f4")
        >>> between = np.array([[0, 0.1, 3], [0.1, 0, 3], [3, 3, 0]], "f4")
        >>> diverse(scores, between, k=2, diversity=0.0), diverse(scores, between, k=2, diversity=0.5)
        ([0, 1], [0, 2])
    """
    chosen: list[int] = []
    left = np.ones(len(scores), dtype=bool)
    apart = np.zeros(len(scores))
    while len(chosen) < k and left.any():
        gain = -scores.astype(np.float64) if not chosen else diversity * apart - (1 - diversity) * scores
        best = int(np.argmax(np.where(left, gain, -np.inf)))
        apart = between[best].astype(np.float64) if not chosen else np.minimum(apart, between[best])
        chosen.append(best)
        left[best] = False
    return chosen


def _directions(rows: Float32[np.ndarray, "n d"], distance: Distance) -> Float32[np.ndarray, "n d"]:
    if not PROPERTIES[distance].of_directions:
        return rows
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _rows(store: Store, items: Sequence[str]) -> Float32[np.ndarray, "n d"]:
    records = store.get(list(items))
    missing = next((item for item in items if item not in records), None)
    if missing is not None:
        raise unknown_item(missing, store.address)
    rows = [records[item].embedding for item in items]
    return np.stack(rows) if rows else np.empty((0, store.binding.dimension), dtype=np.float32)
