"""Every pair of many items: each distance exact, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from trine.cosine import unit_rows
from trine.distances import PROPERTIES, Distance, paired_distances, pairwise_distances
from trine.evaluation.pairs import HELD, Distances, Owned, Pairs, ascending
from trine.neighbours.candidates import Frame
from trine.shapes import Float, Float32, Int, Int64

TILE = (256, 1024)
"""The height and width of a tile of pairs: its products and what follows from them stay in the cache."""

_FRACTION = 23  # bits of a float32 below its exponent


def all_pairs(
    rows: Float[Tensor, "n d"],
    identity: Int64[np.ndarray, " n"],
    *,
    distance: Distance,
    seed: int = 0,
    held: int = HELD,
    tile: tuple[int, int] = TILE,
) -> Pairs:
    """Measures every unordered pair of two items.

    Up to `held` pairs of a kind are kept individually. Of more, each distinct distance is kept with its
    count, so that every metric is exact, plus a random sample of pairs with their identities.

    Args:
        rows: One row per item.
        identity: The identity of each item, from 0.
        distance: What to measure.
        seed: The seed of the sample.
        held: How many pairs of a kind are kept individually.
        tile: How many rows and columns of pairs are measured at once.

    Returns:
        The distances of both kinds.
    """
    n = len(rows)
    sizes = np.bincount(identity)
    count = int((sizes * (sizes - 1) // 2).sum())
    total = n * (n - 1) // 2
    random = np.random.default_rng(seed)
    genuine, impostor = (Collected(kind, held, random) for kind in (count, total - count))
    # Sort items by identity, so that most tiles hold only impostor pairs.
    order = np.argsort(identity, kind="stable")
    own = identity[order].astype(np.int32)
    ends = np.searchsorted(own, own, side="right")
    for i, j, near in PairTiles(rows[torch.from_numpy(order)], distance, tile).upper():
        a, b = own[i : i + near.shape[0]], own[j : j + near.shape[1]]
        if j >= ends[i + len(a) - 1]:
            impostor.add_tile(near, a, b)
            continue
        columns, places = np.arange(j, j + len(b)), np.arange(i, i + len(a))[:, None]
        within = columns < ends[places]
        for kind, mask in ((genuine, within & (columns > places)), (impostor, ~within & (columns > places))):
            at = np.nonzero(mask)
            kind.add(near[at], a[at[0]], b[at[1]])
    owned = genuine.owned(), impostor.owned()
    return Pairs(genuine.distances(owned[0]), impostor.distances(owned[1]), total, owned)


class PairTiles:
    """The distances of all pairs, a tile at a time: products propose, differences decide.

    With u = 2⁻⁵³ and rows in a frame about their centre, ‖x‖² + ‖y‖² − 2⟨x, y⟩ is off by less than
    5(D + 16)u(‖x‖² + ‖y‖²). Where both ends of that range round to one float32, this is the distance;
    elsewhere, about once in a million pairs, it is measured by differences.
    """

    def __init__(self, rows: Float[Tensor, "n d"], distance: Distance, tile: tuple[int, int] = TILE) -> None:
        self.rows, self.distance, self.tile = rows, distance, tile
        unit = PROPERTIES[distance].of_directions
        doubled = unit_rows(rows.double()) if unit else rows
        self._frame = Frame(doubled, unit=unit)
        self._placed = self._frame.place(doubled, torch.float64)
        self._squares = self._frame.squares(self._placed)[:, 0]
        self._error = 5 * (rows.shape[1] + 16) * 2.0**-53
        self._low, self._high = (rows.new_empty(tile[0] * tile[1], dtype=torch.float64) for _ in range(2))
        self._narrow = [rows.new_empty(tile[0] * tile[1], dtype=torch.float32) for _ in range(2)]

    def upper(self) -> Iterator[tuple[int, int, Float32[np.ndarray, "h w"]]]:
        """Yields the first row and the first column of each tile on or above the diagonal, and its distances.

        The distances are valid until the next tile.
        """
        n, (height, width) = len(self.rows), self.tile
        for i in range(0, n, height):
            for j in range(i, n, width):
                tile = self._measured(slice(i, min(i + height, n)), slice(j, min(j + width, n)))
                yield i, j, tile.cpu().numpy()

    def _measured(self, a: slice, b: slice) -> Float32[Tensor, "h w"]:
        shape = (a.stop - a.start, b.stop - b.start)
        low, high, near, far = (
            buffer[: shape[0] * shape[1]].view(shape) for buffer in (self._low, self._high, *self._narrow)
        )
        x, y = self._squares[a], self._squares[b]
        torch.mm(self._placed[a], self._placed[b].T, out=low)
        low.mul_(-2).add_(x[:, None]).add_(y)
        spread = self._error * float(x.max() + y.max())
        torch.add(low, spread, out=high)
        low.sub_(spread)
        for squares, narrow in ((low, near), (high, far)):
            narrow.copy_(self._settled(squares))
        unsure = near != far
        if bool(unsure.any()):
            self._settle_by_differences(near, unsure, a, b)
        return near

    def _settled(self, squares: Tensor) -> Float[Tensor, "h w"]:
        """From squares in the frame's scale to distances, in place."""
        properties = PROPERTIES[self.distance]
        squares.clamp_(min=0, max=4 if properties.of_directions else None)
        if properties.squared:
            return squares.div_(self._frame.scale**2 / properties.factor)
        return squares.sqrt_().div_(self._frame.scale)

    def _settle_by_differences(self, tile: Tensor, unsure: Tensor, a: slice, b: slice) -> None:
        at = unsure.nonzero()
        if 16 * len(at) > unsure.numel():
            x, y = self.rows[a].double(), self.rows[b].double()
            tile.copy_(pairwise_distances(x, y, distance=self.distance))
            return
        for part in torch.split(at, self.tile[1]):
            x, y = self.rows[a][part[:, 0]].double(), self.rows[b][part[:, 1]].double()
            tile[part[:, 0], part[:, 1]] = paired_distances(x, y, distance=self.distance).float()


class Collected:
    """Collects the pairs of one kind: individually, or as counts with a random sample."""

    def __init__(self, expected: int, held: int, random: np.random.Generator) -> None:
        self._share = min(1.0, held / max(expected, 1))
        self._random = random
        self._counted = Counted() if self._share < 1 else None
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add_tile(
        self, tile: Float32[np.ndarray, "h w"], a: Int[np.ndarray, " h"], b: Int[np.ndarray, " w"]
    ) -> None:
        """Takes all pairs of a tile."""
        if self._counted is None:
            self._parts.append((tile.flatten(), np.repeat(a, len(b)), np.tile(b, len(a))))
            return
        self._counted.add(tile.ravel())
        at = self._chosen(tile.size)
        self._parts.append((tile.ravel()[at], a[at // len(b)], b[at % len(b)]))

    def add(
        self, values: Float32[np.ndarray, " p"], a: Int[np.ndarray, " p"], b: Int[np.ndarray, " p"]
    ) -> None:
        """Takes pairs one by one."""
        if self._counted is not None:
            self._counted.add(values)
            at = self._chosen(len(values))
            values, a, b = values[at], a[at], b[at]
        self._parts.append((values, a, b))

    def owned(self) -> Owned:
        """The pairs that are held, with their identities."""
        none = (np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(0, np.int32))
        columns = [np.concatenate(column) for column in zip(none, *self._parts, strict=True)]
        self._parts.clear()
        return ascending(columns[0], columns[1], columns[2])

    def distances(self, owned: Owned) -> Distances:
        """All distances."""
        return Distances(owned.distances) if self._counted is None else self._counted.distances()

    def _chosen(self, size: int) -> Int64[np.ndarray, " c"]:
        count = self._random.binomial(size, self._share) if size else 0
        return self._random.integers(0, max(size, 1), count)


class Counted:
    """Counts how often each float32 distance occurs; counters are allocated an octave at a time."""

    def __init__(self) -> None:
        self._octaves: dict[int, np.ndarray] = {}

    def add(self, values: Float32[np.ndarray, " p"]) -> None:
        """Counts more of them; none is negative."""
        if not len(values):
            return
        bits = np.sort(values.view(np.int32))
        last = np.flatnonzero(np.append(bits[1:] != bits[:-1], True))
        bits, times = bits[last], np.diff(last, prepend=-1)
        octaves = np.arange(int(bits[0]) >> _FRACTION, (int(bits[-1]) >> _FRACTION) + 2, dtype=np.int64)
        cuts = np.searchsorted(bits, octaves << _FRACTION)
        for octave, start, stop in zip(octaves[:-1].tolist(), cuts[:-1], cuts[1:], strict=True):
            if start == stop:
                continue
            if octave not in self._octaves:
                self._octaves[octave] = np.zeros(1 << _FRACTION, np.int64)
            self._octaves[octave][bits[start:stop] - (octave << _FRACTION)] += times[start:stop]

    def distances(self) -> Distances:
        """Returns each distance once, with the number of pairs up to it, and frees the counters."""
        values, times = [], []
        for octave in sorted(self._octaves):
            counters = self._octaves.pop(octave)
            at = np.flatnonzero(counters)
            values.append((at + (octave << _FRACTION)).astype(np.uint32).view(np.float32))
            times.append(counters[at])
        upto = np.concatenate(times)
        np.cumsum(upto, out=upto)
        return Distances(np.concatenate(values), upto)
