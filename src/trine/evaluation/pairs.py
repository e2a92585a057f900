"""The distances of pairs, genuine (one identity) and impostor (two), in ascending order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance, paired_distances
from trine.neighbours.rows import TILE
from trine.shapes import Bool, Float, Float32, Int, Int64

HELD = 10_000_000
"""The most pairs of a kind that are kept individually; of more, each distance is kept with its count."""


@dataclass(frozen=True, eq=False)
class Distances:
    """The distances of the pairs of one kind.

    Attributes:
        values: In ascending order.
        upto: For each value how many pairs are at most that far apart; None where each value is one pair.
    """

    values: Float[np.ndarray, " v"]
    upto: Int64[np.ndarray, " v"] | None = None

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return len(self.values) if self.upto is None else int(self.upto[-1])

    def within(self, thresholds: Float[np.ndarray, "*t"] | float) -> Int64[np.ndarray, "*t"]:
        """How many pairs are at most as far apart as each threshold."""
        return self._counted(np.asarray(np.searchsorted(self.values, thresholds, side="right")))

    def below(self, thresholds: Float[np.ndarray, "*t"] | float) -> Int64[np.ndarray, "*t"]:
        """How many pairs are nearer than each threshold."""
        return self._counted(np.asarray(np.searchsorted(self.values, thresholds, side="left")))

    def ranked(self, ranks: Int64[np.ndarray, "*t"]) -> Float[np.ndarray, "*t"]:
        """The distance of the pair at each rank, from 0."""
        at = ranks if self.upto is None else np.searchsorted(self.upto, ranks, side="right")
        found: np.ndarray = self.values[at]
        return found

    def times(self) -> Int64[np.ndarray, " v"]:
        """How many pairs have each value."""
        return np.ones(len(self.values), np.int64) if self.upto is None else np.diff(self.upto, prepend=0)

    def _counted(self, at: np.ndarray) -> Int64[np.ndarray, "*t"]:
        if self.upto is None:
            return at.astype(np.int64)
        counts: np.ndarray = np.where(at > 0, self.upto[np.maximum(at - 1, 0)], 0)
        return counts


@dataclass(frozen=True, eq=False)
class Owned:
    """Pairs of one kind with their identities, by ascending distance: what an interval is computed from.

    Attributes:
        distances: The distance of each pair.
        first: The identity of one item of each pair.
        second: The identity of the other.
    """

    distances: Float32[np.ndarray, " p"]
    first: Int[np.ndarray, " p"]
    second: Int[np.ndarray, " p"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distances measured in float64 and kept in float32.

    A pair is measured the same way wherever it comes from, and rounding to float32 makes pairs that are
    equally far apart equal to the bit: a tie is a tie.

    Attributes:
        genuine: Distances of the pairs of one identity.
        impostor: Distances of the pairs of two identities.
        total: How many pairs there are; more than were measured where they are a sample.
        owned: The genuine and the impostor pairs with their identities, or a random sample of them where
            there are more than `HELD`; None where the identities are not known.
    """

    genuine: Distances
    impostor: Distances
    total: int
    owned: tuple[Owned, Owned] | None

    @property
    def sampled(self) -> bool:
        """Whether the pairs are a random sample of a larger number."""
        return self.total > self.genuine.count + self.impostor.count


def sampled_pairs(
    rows: Float[Tensor, "n d"],
    identity: Int64[np.ndarray, " n"],
    *,
    distance: Distance,
    size: int,
    seed: int,
) -> Pairs:
    """Measures `size` pairs: all genuine ones, or a random half where they are more, and impostors at random.

    Random pairs are drawn with replacement and with equal chances among the pairs of their kind, so
    every rate over one kind is estimated without bias.
    """
    random = np.random.default_rng(seed)
    n = len(rows)
    sizes = np.bincount(identity)
    members = np.argsort(identity, kind="stable")
    begins = np.concatenate([[0], np.cumsum(sizes)])
    pairs = sizes * (sizes - 1) // 2
    total = n * (n - 1) // 2
    count = int(pairs.sum())
    if count <= size // 2:
        firsts = np.repeat(np.arange(n), begins[identity[members] + 1] - np.arange(n) - 1)
        runs = np.concatenate([[0], np.flatnonzero(np.diff(firsts)) + 1]) if len(firsts) else np.zeros(0, int)
        lengths = np.diff(np.append(runs, len(firsts)))
        seconds = firsts + 1 + np.arange(len(firsts)) - np.repeat(runs, lengths)
    else:
        count = size // 2
        ends = np.cumsum(pairs)
        chosen = np.searchsorted(ends, random.integers(0, ends[-1], count), side="right")
        firsts = random.integers(0, sizes[chosen])
        seconds = random.integers(0, sizes[chosen] - 1)
        seconds += seconds >= firsts
        firsts, seconds = firsts + begins[chosen], seconds + begins[chosen]
    genuine = measure_pairs(rows, members[firsts], members[seconds], distance)
    # An ordered impostor pair: its first item by the number of its partners, then any item outside its block.
    ends = np.cumsum(n - sizes[identity])
    need = min(size - count, total - int(pairs.sum()))
    a = np.searchsorted(ends, random.integers(0, max(int(ends[-1]), 1), need), side="right")
    own = identity[a]
    b = random.integers(0, np.maximum(n - sizes[own], 1))
    b += (b >= begins[own]) * sizes[own]
    impostor = measure_pairs(rows, a, members[b], distance)
    owners = identity[members[firsts]]
    return held(
        ascending(genuine, owners, owners), ascending(impostor, own, identity[members[b]]), total=total
    )


def given_pairs(
    rows: Float[Tensor, "n d"],
    pairs: Int64[np.ndarray, "p 2"],
    same: Bool[np.ndarray, " p"],
    identity: Int64[np.ndarray, " n"] | None,
    *,
    distance: Distance,
) -> tuple[Pairs, Float32[np.ndarray, " p"]]:
    """Measures the pairs of a list; returns their distances in the order of the list, too."""
    values = measure_pairs(rows, pairs[:, 0], pairs[:, 1], distance)
    a, b = (np.zeros(len(pairs), np.int64) if identity is None else identity[side] for side in pairs.T)
    kinds = [ascending(values[kind], a[kind], b[kind]) for kind in (same, ~same)]
    return held(kinds[0], kinds[1], total=len(pairs), owned=identity is not None), values


def held(genuine: Owned, impostor: Owned, *, total: int, owned: bool = True) -> Pairs:
    """Pairs that are kept individually."""
    known = (genuine, impostor) if owned else None
    return Pairs(Distances(genuine.distances), Distances(impostor.distances), total, known)


def ascending(
    distances: Float32[np.ndarray, " p"], first: Int[np.ndarray, " p"], second: Int[np.ndarray, " p"]
) -> Owned:
    """Orders pairs by their distance."""
    # A distance is not negative, so its bits rise with it; numbers are sorted six times as fast as ranks.
    keys = distances.view(np.uint32).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    order = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    codes = [side[order].astype(np.int32) for side in (first, second)]
    return Owned(distances[order], codes[0], codes[1])


def measure_pairs(
    rows: Float[Tensor, "n d"],
    a: Int64[np.ndarray, " p"],
    b: Int64[np.ndarray, " p"],
    distance: Distance,
    *,
    dtype: type[np.floating] = np.float32,
) -> Float[np.ndarray, " p"]:
    """Measures pairs of rows in float64, a part at a time, and rounds the distances to a dtype."""
    values = np.empty(len(a), dtype)
    step = max(1, TILE // (64 * max(rows.shape[1], 1)))
    for start in range(0, len(a), step):
        x, y = (rows[torch.from_numpy(side[start : start + step])].double() for side in (a, b))
        values[start : start + step] = paired_distances(x, y, distance=distance).cpu().numpy()
    return values
