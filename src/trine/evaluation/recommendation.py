"""Recommendation: where a user's held-out items rank among all that the user has not interacted with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trine import ranking
from trine.distances import Distance, check_distance, pairwise_distances
from trine.errors import InputError, check_count, check_type
from trine.evaluation.index_arrays import integer_rows
from trine.evaluation.intervals import RESAMPLES
from trine.evaluation.metric_report import Columns, PerQueryReport, check_bootstrap, check_ranks
from trine.neighbours import NEVER, as_rows
from trine.shapes import Float, Int64

__all__ = ["Recommendation", "recommendation", "recommendation_from_scores"]

TILE = 2_000_000
"""How many scores are in memory at once."""

Scores = Callable[[Int64[np.ndarray, " b"]], Float[np.ndarray, "b m"]]
"""From some users to their score of every item; larger is better."""


@dataclass(frozen=True, eq=False)
class Recommendation(PerQueryReport):
    """The result of `recommendation`: one entry for each user with a held-out item, and the means over them.

    Attributes:
        users: The users with a held-out item.
        ranks: The ranks, from 1, of their held-out items, ascending; padded with `NEVER`.
        items: How many items there are.
        protocol: What was ranked.
    """

    users: Int64[np.ndarray, " q"]
    ranks: Int64[np.ndarray, "q w"]
    items: int

    resampled_by = "users"
    protocol = (
        "recommendation: full ranking of all items without an interaction of the user; ties rank behind"
    )

    def hit_rate_at(self, k: int) -> float:
        """HR@k: the share of users with a held-out item among the first `k`, for any `k`."""
        return self._mean("hit_rate_at", k)

    def ndcg_at(self, k: int) -> float:
        """NDCG@k with gains 1 and 0 (Järvelin, Kekäläinen 2002), for any `k`."""
        return self._mean("ndcg_at", k)

    @property
    def mrr(self) -> float:
        """The mean reciprocal rank of the first held-out item, over the whole ranking."""
        return self._mean("mrr")

    def _columns(self) -> Columns:
        return {
            "mrr": ranking.reciprocal_rank(self.ranks[:, 0]),
            "hit_rate_at": lambda k: ranking.recall_at_k(self.ranks, k=k),
            "ndcg_at": lambda k: ranking.ndcg_at_k(self.ranks, k=k),
        }

    def _facts(self) -> dict[str, object]:
        return {
            "protocol": self.protocol,
            "users": len(self.users),
            "items": self.items,
            "held_out": int((self.ranks < NEVER).sum()),
        }


def recommendation(
    users: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    items: Float[np.ndarray, "m d"] | Float[Tensor, "m d"],
    *,
    held_out: Int64[np.ndarray, "r 2"],
    seen: Int64[np.ndarray, "s 2"],
    distance: Distance = "euclidean",
    at: tuple[int, ...] = (1, 5, 10, 20, 50),
    resamples: int = RESAMPLES,
    seed: int = 0,
    tile: int = TILE,
) -> Recommendation:
    """Ranks all items that a user has not interacted with by their distance from the user, in tiles.

    All items are ranked, not a sample: metrics on sampled items order methods differently than the full
    ranking (Krichene, Rendle 2020). An item ranks behind all items at the same distance, so that a collapsed
    model finds nothing.

    Args:
        users: One row per user.
        items: One row per item.
        held_out: User and item of each held-out interaction.
        seen: User and item of earlier interactions, which are not ranked.
        distance: The distance to rank by, computed from differences in the precision of the embeddings.
        at: The k that the report's JSON lists.
        resamples: How many bootstrap samples of users an interval is made of; 0 for no interval.
        seed: The seed of the bootstrap.
        tile: How many scores are in memory at once.

    Returns:
        The metrics over all users with a held-out item.

    Raises:
        InputError: Nothing is held out, a held-out item was seen, or a row, user or item is out of range.

    Example:
        >>> users, items = np.array([[0.0], [5.0]]), np.array([[0.1], [1.0], [4.0]])
        >>> held_out, seen = np.array([[0, 1], [1, 0]]), np.array([[0, 0]])
        >>> report = recommendation(users, items, held_out=held_out, seen=seen)
        >>> report.hit_rate_at(1), report.mrr
        (0.5, 0.6666666666666666)
    """
    check_distance(distance)
    rows, columns = as_rows(users, name="users"), as_rows(items, name="items")
    if rows.shape[1] != columns.shape[1]:
        raise InputError(
            f"users have width {rows.shape[1]} and items {columns.shape[1]}; give embeddings of one width"
        )

    def scores(some: Int64[np.ndarray, " b"]) -> Float[np.ndarray, "b m"]:
        near = pairwise_distances(rows[torch.from_numpy(some)], columns, distance=distance)
        return -near.numpy()

    return recommendation_from_scores(
        scores,
        users=len(rows),
        items=len(columns),
        held_out=held_out,
        seen=seen,
        at=at,
        resamples=resamples,
        seed=seed,
        tile=tile,
    )


def recommendation_from_scores(
    scores: Scores,
    *,
    users: int,
    items: int,
    held_out: Int64[np.ndarray, "r 2"],
    seen: Int64[np.ndarray, "s 2"],
    at: tuple[int, ...] = (1, 5, 10, 20, 50),
    resamples: int = RESAMPLES,
    seed: int = 0,
    tile: int = TILE,
) -> Recommendation:
    """Ranks all items that a user has not interacted with by any score; see `recommendation`.

    Args:
        scores: From some users to their score of every item; larger is better.
        users: How many users there are.
        items: How many items there are.
        held_out: User and item of each held-out interaction.
        seen: User and item of earlier interactions.
        at: The k that the report's JSON lists.
        resamples: How many bootstrap samples of users an interval is made of; 0 for no interval.
        seed: The seed of the bootstrap.
        tile: How many scores are in memory at once.

    Returns:
        The metrics over all users with a held-out item.

    Raises:
        InputError: Nothing is held out, a held-out item was seen, a score is not finite, or a user or item is
            out of range.

    Example:
        >>> popular = np.array([3.0, 1.0, 2.0])
        >>> report = recommendation_from_scores(
        ...     lambda some: np.tile(popular, (len(some), 1)), users=1, items=3,
        ...     held_out=np.array([[0, 2]]), seen=np.array([[0, 0]]))
        >>> report.hit_rate_at(1)
        1.0
    """
    check_ranks(at)
    check_bootstrap(resamples, seed)
    check_type("scores", scores, Callable, "a function from users to scores")  # type: ignore[arg-type]
    users, items = check_count("users", users, at_least=0), check_count("items", items, at_least=0)
    check_count("tile", tile)
    held_out = _checked_pairs(held_out, users, items, "held_out")
    seen = _checked_pairs(seen, users, items, "seen")
    if not len(held_out):
        raise InputError("nothing is held out; give user and item of at least one interaction")
    wanted, met = _each_once(held_out, items), _each_once(seen, items)
    known = np.isin(wanted @ [items, 1], met @ [items, 1])
    if known.any():
        user, item = wanted[int(known.argmax())]
        raise InputError(f"item {item} is held out for user {user} but is also in seen; remove it from one")
    asked = np.unique(wanted[:, 0])
    ranks = np.full((len(asked), int(np.bincount(wanted[:, 0]).max())), NEVER)
    rows = max(1, tile // max(1, items))
    for start in range(0, len(asked), rows):
        some = asked[start : start + rows]
        ranks[start : start + len(some)] = _ranks(scores(some), some, wanted, met, ranks.shape[1])
    return Recommendation(asked, ranks, items, at=at, resamples=resamples, seed=seed)


def _ranks(
    scores: np.ndarray, some: np.ndarray, wanted: np.ndarray, met: np.ndarray, width: int
) -> Int64[np.ndarray, "b w"]:
    if not np.isfinite(scores).all():
        raise InputError(
            f"a score of user {some[int((~np.isfinite(scores)).any(1).argmax())]} is not finite; "
            "return finite scores"
        )
    scores = scores.astype(np.float64)
    scores[_among(met, some)] = -np.inf
    place, item = _among(wanted, some)
    within = np.arange(len(place)) - np.searchsorted(place, place)
    ranks = np.full((len(some), width), NEVER)
    ranks[place, within] = (scores[place] >= scores[place, item][:, None]).sum(1)
    ranks.sort(axis=1)
    # Held-out items of equal scores got the last of their ranks, each; the others come right before it.
    slots = np.arange(width)
    before = slots + np.minimum.accumulate((ranks - slots)[:, ::-1], axis=1)[:, ::-1]
    return np.where(ranks < NEVER, before, NEVER)


def _each_once(pairs: np.ndarray, items: int) -> np.ndarray:
    """The pairs in the order of users and items, none twice."""
    keys = np.sort(pairs @ np.array([items, 1]))
    return np.stack(np.divmod(keys[np.diff(keys, prepend=-1) > 0], items), axis=1)


def _among(pairs: np.ndarray, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of these users, sorted as the users are: the row of each user, and the item."""
    low, high = np.searchsorted(pairs[:, 0], [some[0], some[-1] + 1])
    chosen = pairs[low:high]
    chosen = chosen[np.isin(chosen[:, 0], some)]
    return np.searchsorted(some, chosen[:, 0]), chosen[:, 1]


def _checked_pairs(given: object, users: int, items: int, name: str) -> Int64[np.ndarray, "r 2"]:
    pairs = integer_rows(given, columns=2, name=f"{name} pair")
    for column, (what, count) in enumerate((("user", users), ("item", items))):
        wrong = (pairs[:, column] < 0) | (pairs[:, column] >= count)
        if wrong.any():
            row = int(wrong.argmax())
            raise InputError(
                f"{name}[{row}] refers to {what} {pairs[row, column]}, expected 0 to {count - 1}"
            )
    return pairs
