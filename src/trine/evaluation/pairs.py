"""The distances of pairs, genuine (one identity) and impostor (two), sorted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance, paired_distances, pairwise_distances
from trine.neighbours.rows import TILE
from trine.shapes import Bool, Float, Float32, Int64


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distances in ascending order, measured in float64 and kept in float32.

    A pair is measured the same way wherever it comes from, and rounding to float32 makes pairs that are
    equally far apart equal to the bit: a tie is a tie.

    Attributes:
        genuine: Of the pairs of one identity.
        impostor: Of the pairs of two identities.
        total: How many pairs there are; more than were measured where they are a sample.
    """

    genuine: Float32[np.ndarray, " g"]
    impostor: Float32[np.ndarray, " i"]
    total: int

    @property
    def sampled(self) -> bool:
        """Whether the pairs are a random sample of a larger number."""
        return self.total > len(self.genuine) + len(self.impostor)


def all_pairs(rows: Float[Tensor, "n d"], identity: Int64[np.ndarray, " n"], *, distance: Distance) -> Pairs:
    """Measures every unordered pair of two items."""
    n = len(rows)
    sizes = np.bincount(identity)
    count = int((sizes * (sizes - 1) // 2).sum())
    total = n * (n - 1) // 2
    genuine, impostor = np.empty(count, np.float32), np.empty(total - count, np.float32)
    g = i = 0
    step = max(1, min(n, TILE // max(n, 1)))
    for start in range(0, n, step):
        x, y = rows[start : start + step].double(), rows[start:].double()
        tile = pairwise_distances(x, y, distance=distance).float().cpu().numpy()
        upper = np.arange(len(y)) > np.arange(len(x))[:, None]
        same = identity[start : start + step, None] == identity[start:]
        for kept, into, at in ((same & upper, genuine, g), (~same & upper, impostor, i)):
            values = tile[kept]
            into[at : at + len(values)] = values
        g += int((same & upper).sum())
        i += int((~same & upper).sum())
    genuine.sort()
    impostor.sort()
    return Pairs(genuine, impostor, total)


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
    genuine = _measure(rows, members[firsts], members[seconds], distance)
    # An ordered impostor pair: its first item by the number of its partners, then any item outside its block.
    ends = np.cumsum(n - sizes[identity])
    need = min(size - count, total - int(pairs.sum()))
    a = np.searchsorted(ends, random.integers(0, max(int(ends[-1]), 1), need), side="right")
    own = identity[a]
    b = random.integers(0, np.maximum(n - sizes[own], 1))
    b += (b >= begins[own]) * sizes[own]
    impostor = _measure(rows, a, members[b], distance)
    genuine.sort()
    impostor.sort()
    return Pairs(genuine, impostor, total)


def given_pairs(
    rows: Float[Tensor, "n d"],
    pairs: Int64[np.ndarray, "p 2"],
    same: Bool[np.ndarray, " p"],
    *,
    distance: Distance,
) -> Pairs:
    """Measures the pairs of a list."""
    values = _measure(rows, pairs[:, 0], pairs[:, 1], distance)
    return Pairs(np.sort(values[same]), np.sort(values[~same]), len(pairs))


def _measure(
    rows: Float[Tensor, "n d"],
    a: Int64[np.ndarray, " p"],
    b: Int64[np.ndarray, " p"],
    distance: Distance,
) -> Float32[np.ndarray, " p"]:
    values = np.empty(len(a), np.float32)
    step = max(1, TILE // (64 * max(rows.shape[1], 1)))
    for start in range(0, len(a), step):
        x, y = (rows[torch.from_numpy(side[start : start + step])].double() for side in (a, b))
        values[start : start + step] = paired_distances(x, y, distance=distance).float().cpu().numpy()
    return values
