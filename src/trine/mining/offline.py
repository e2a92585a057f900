"""Offline mining: the triplets of a whole set, listed from its embeddings.

The nearest items of "other" identities are the hardest negatives. If labels are unreliable, they are often
not negatives at all; the guards of `OfflineMining` exclude them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from trine.distances import Distance
from trine.errors import check_choice, check_count, check_type
from trine.labels import Labels
from trine.mining.hash_random import uniform
from trine.mining.inputs import checked_set
from trine.neighbours import ExactSearch, make_search
from trine.settings import NOT_NEGATIVE, check_number
from trine.shapes import Bool, Float, Int64

OfflineRule = Literal["hard", "semihard"]
"""The negatives that an offline triplet may have: any, or those farther away than the positive."""

Draw = Literal["nearest", "random"]
"""Which of the negatives that are allowed: the nearest, or some at random."""

ANCHORS = 2048
"""How many anchors are searched for at once; memory besides the embeddings grows with it."""

_CANDIDATES = 2048  # candidates for which as many pairs as anchors are compared at once
_IN_THE_WAY = 32  # positives that may stand in the way before a second, wider search is needed


@dataclass(frozen=True)
class OfflineMining:
    """Rules for listing the triplets of a whole set, and guards against suspiciously close negatives.

    Such negatives are likely label errors.

    Attributes:
        rule: `hard` takes the nearest items of other identities; `semihard` only those with d_an > d_ap.
        positives: How many positives each anchor gets, at least 1; None takes all. Each identity's items
            are put into a random ring, and an anchor's positives are those that follow it, so that every
            item is a positive equally often.
        negatives: How many negatives each pair of anchor and positive gets, at least 1.
        skip: How many of the nearest items of other identities are left out: with
            unreliable labels, these are the likeliest to be of the same identity.
        among: How many after those are candidates, at least 1.
        absolute_margin: A negative must have d_an ≥ d_ap + this; None for no limit.
        relative_margin: A negative must have d_an ≥ (1 + this)·d_ap; None for no limit.
        min_distance: A negative must have d_an ≥ this; None for no limit.
        max_distance: A negative must have d_an ≤ this; None for no limit.
        choose: Of the negatives that remain, the `nearest` or some at `random`.
        seed: The seed of all random choices.

    Raises:
        InputError: A value is unknown or out of range.
    """

    rule: OfflineRule = "semihard"
    positives: int | None = 1
    negatives: int = 1
    skip: int = 0
    among: int = 100
    absolute_margin: float | None = None
    relative_margin: float | None = None
    min_distance: float | None = None
    max_distance: float | None = None
    choose: Draw = "nearest"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("rule", get_args(OfflineRule)), ("choose", get_args(Draw))):
            check_choice(f"{name} of offline mining", getattr(self, name), known)
        for name, least in (("positives", 1), ("negatives", 1), ("skip", 0), ("among", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None or name != "positives":
                check_count(f"{name} of offline mining", value, at_least=least)
        for name in ("absolute_margin", "relative_margin", "min_distance", "max_distance"):
            value = getattr(self, name)
            if value is not None:
                check_number(name, value, NOT_NEGATIVE)


@dataclass(frozen=True, eq=False)
class MinedTriplets:
    """Listed triplets, sorted by anchor and then positive, the chosen negatives of a pair nearest first.

    Attributes:
        anchor: Row of each anchor.
        positive: Row of each positive.
        negative: Row of each negative.
        d_ap: The distance of anchor and positive.
        d_an: The distance of anchor and negative.
        wanted: How many there would be if every pair had found all its negatives.
    """

    anchor: Int64[np.ndarray, " t"]
    positive: Int64[np.ndarray, " t"]
    negative: Int64[np.ndarray, " t"]
    d_ap: Float[np.ndarray, " t"]
    d_an: Float[np.ndarray, " t"]
    wanted: int

    def __len__(self) -> int:
        return len(self.anchor)


def mine_offline(
    embeddings: Float[np.ndarray, "n d"],
    labels: Labels,
    *,
    how: OfflineMining | None = None,
    distance: Distance = "euclidean",
    search: ExactSearch | None = None,
    anchors_at_once: int = ANCHORS,
) -> MinedTriplets:
    """Lists hard or semi-hard triplets of a whole set.

    Candidates are the `how.among` nearest items of other identities, after the nearest `how.skip`; of
    those that the rule and the guards allow, each pair of anchor and positive gets `how.negatives`. The
    search is exact below a million items, and approximate from there on where FAISS is installed.

    Args:
        embeddings: One row per item.
        labels: The identity of each: integers or strings.
        how: The rule and the guards; by default those of `OfflineMining`.
        distance: How embeddings are compared.
        search: Finds nearest rows among the embeddings; `None` makes one that suits their number.
        anchors_at_once: How many anchors are searched for together; memory grows with it.

    Returns:
        The triplets. An anchor without a positive, or without a negative that is allowed, has none.

    Raises:
        InputError: The rows are not finite, or labels and rows differ in number.

    Example:
        >>> rows = np.array([[0.0], [1.0], [0.2], [1.5], [4.0]])
        >>> triplets = mine_offline(rows, np.array([0, 0, 1, 1, 1]), how=OfflineMining(rule="hard"))
        >>> triplets.anchor.tolist(), triplets.negative.tolist()
        ([0, 1, 2, 3, 4], [2, 3, 0, 1, 1])
    """
    parts = list(
        stream_triplets(
            embeddings, labels, how=how, distance=distance, search=search, anchors_at_once=anchors_at_once
        )
    )
    names = ("anchor", "positive", "negative", "d_ap", "d_an")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return MinedTriplets(**columns, wanted=sum(part.wanted for part in parts))


def stream_triplets(
    embeddings: Float[np.ndarray, "n d"],
    labels: Labels,
    *,
    how: OfflineMining | None = None,
    distance: Distance = "euclidean",
    search: ExactSearch | None = None,
    anchors_at_once: int = ANCHORS,
) -> Iterator[MinedTriplets]:
    """Like `mine_offline`, some anchors at a time, for sets whose triplets do not fit in memory.

    Args:
        embeddings: One row per item.
        labels: The identity of each: integers or strings.
        how: The rule and the guards.
        distance: How embeddings are compared.
        search: Finds nearest rows among the embeddings; `None` makes one that suits their number.
        anchors_at_once: How many anchors are searched for together; memory grows with it.

    Yields:
        The triplets of the next anchors; one empty list if there are no rows.

    Raises:
        InputError: The rows are not finite, or labels and rows differ in number.
    """
    how = OfflineMining() if how is None else how
    check_type("how", how, OfflineMining, "an OfflineMining")
    check_type("search", search, ExactSearch | None, "a search made by make_search, or None")
    check_count("anchors_at_once", anchors_at_once)
    codes, rows = checked_set(embeddings, labels, distance)
    search = make_search(rows, distance=distance) if search is None else search
    mined = _MinedSet(search, rows.numpy(), codes, how, anchors_at_once)
    ring, place = _ring(codes, how.seed)
    sizes = np.bincount(codes, minlength=1)
    first = np.cumsum(sizes) - sizes
    for start in range(0, max(len(rows), 1), anchors_at_once):
        anchors = np.arange(start, min(start + anchors_at_once, len(rows)))
        size = sizes[codes[anchors]]
        most = np.minimum(size - 1, len(rows) if how.positives is None else how.positives)
        row = np.repeat(np.arange(len(anchors)), most)
        step = np.arange(len(row)) - np.repeat(np.cumsum(most) - most, most) + 1
        own = first[codes[anchors]][row]
        positive = ring[own + (place[anchors][row] - own + step) % size[row]]
        order = np.lexsort((positive, row))
        yield _mined(mined, anchors, row[order], positive[order])


@dataclass(frozen=True, eq=False)
class _MinedSet:
    """A set whose triplets are listed: its rows, the identity of each, and how it is searched."""

    search: ExactSearch
    rows: NDArray[np.floating]
    codes: Int64[np.ndarray, " n"]
    how: OfflineMining
    anchors_at_once: int


def _mined(
    mined: _MinedSet,
    anchors: Int64[np.ndarray, " b"],
    row: Int64[np.ndarray, " p"],
    positive: Int64[np.ndarray, " p"],
) -> MinedTriplets:
    """The triplets of some anchors, whose pairs are (row of the anchor, positive)."""
    how = mined.how
    others, distances = _candidates(mined, anchors)
    d_ap = mined.search.distances(mined.rows[anchors[row]], positive[:, None])[:, 0]
    parts = []
    step = max(1, mined.anchors_at_once * _CANDIDATES // max(others.shape[1], 1))
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        at, near = others[row[part]], distances[row[part]]
        allowed = (at >= 0) & _allowed(near, d_ap[part][:, None], how)
        chosen = _chosen(allowed, anchors[row[part]], positive[part], at, how)
        pair, column = np.nonzero(chosen)
        parts.append((pair + start, at[pair, column], near[pair, column]))
    nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, d_ap.dtype))
    pair, negative, d_an = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    wanted = len(row) * how.negatives
    return MinedTriplets(anchors[row[pair]], positive[pair], negative, d_ap[pair], d_an, wanted)


def _candidates(
    mined: _MinedSet, anchors: Int64[np.ndarray, " b"]
) -> tuple[Int64[np.ndarray, "b c"], Float[np.ndarray, "b c"]]:
    """The nearest items of other identities, padded with -1 at infinite distance."""
    rows, codes, how = mined.rows, mined.codes, mined.how
    last = how.skip + how.among
    others = np.full((len(anchors), min(how.among, len(rows))), -1, dtype=np.int64)
    distances = np.full(others.shape, np.inf, dtype=rows.dtype)
    searching, width = np.arange(len(anchors)), last + min(_IN_THE_WAY, mined.anchors_at_once)
    while len(searching) and len(rows) > 1:
        asking = anchors[searching]
        found = mined.search.nearest(rows[asking], k=min(width, len(rows) - 1), exclude=asking)
        other = (found.indices >= 0) & (codes[found.indices] != codes[asking, None])
        rank = other.cumsum(axis=1)
        row, column = np.nonzero(other & (rank > how.skip) & (rank <= last))
        place = searching[row], rank[row, column] - 1 - how.skip
        others[place], distances[place] = found.indices[row, column], found.distances[row, column]
        if width >= len(rows) - 1:
            break
        # These results were mostly items of the same identity.
        searching, width = searching[rank[:, -1] < last], 4 * width
    return others, distances


def _allowed(
    d_an: Float[np.ndarray, "p c"], d_ap: Float[np.ndarray, "p 1"], how: OfflineMining
) -> Bool[np.ndarray, "p c"]:
    allowed = np.ones(d_an.shape, dtype=bool)
    if how.rule == "semihard":
        allowed &= d_an > d_ap
    if how.absolute_margin is not None:
        allowed &= d_an >= d_ap + how.absolute_margin
    if how.relative_margin is not None:
        allowed &= d_an >= (1 + how.relative_margin) * d_ap
    if how.min_distance is not None:
        allowed &= d_an >= how.min_distance
    if how.max_distance is not None:
        allowed &= d_an <= how.max_distance
    return allowed


def _chosen(
    allowed: Bool[np.ndarray, "p c"],
    anchor: Int64[np.ndarray, " p"],
    positive: Int64[np.ndarray, " p"],
    others: Int64[np.ndarray, "p c"],
    how: OfflineMining,
) -> Bool[np.ndarray, "p c"]:
    """At most `how.negatives` of those allowed: the first, which are the nearest, or some at random."""
    if how.choose == "nearest":
        allowed &= allowed.cumsum(axis=1) <= how.negatives
        return allowed
    keys = (torch.from_numpy(np.repeat(ids, others.shape[1])) for ids in (anchor, positive))
    u = uniform(how.seed, *keys, torch.from_numpy(others.reshape(-1))).numpy().reshape(others.shape)
    order = np.argsort(np.where(allowed, u, np.inf), axis=1, kind="stable")[:, : how.negatives]
    chosen = np.zeros_like(allowed)
    np.put_along_axis(chosen, order, True, axis=1)
    chosen &= allowed
    return chosen


def _ring(
    codes: Int64[np.ndarray, " n"], seed: int
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """The items by identity, each identity's shuffled; and the place of each item."""
    shuffled = np.random.default_rng([seed, 0]).permutation(len(codes))
    ring = shuffled[np.argsort(codes[shuffled], kind="stable")]
    place = np.empty_like(ring)
    place[ring] = np.arange(len(ring))
    return ring, place
