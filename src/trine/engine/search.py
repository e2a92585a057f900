"""The nearest negative beyond a bound, in plain torch; near-ties are recomputed from differences.

Products of equal distances can differ by rounding. A search where the runner-up, or the bound, is within
`SortedBatch.tolerance` is unsure, and is decided from coordinate differences among the few candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trine.engine.layout import Part
from trine.engine.sorted_batch import FAR, SortedBatch
from trine.engine.tiles import run_tiles
from trine.shapes import Float, Int64

RUN = 64  # columns whose least value is found first
_SEARCHES = 16  # searches of one tile that are finished together
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1
_PAIRS = 1 << 19  # distances held at once when unsure searches are decided


@dataclass
class Best:
    """The nearest negative so far, for each place (positive, row) of a block.

    Attributes:
        squared: Its squared distance; `FAR` where there is none.
        index: Its row.
        unsure: Whether the result depends on rounding.
    """

    squared: Tensor
    index: Int64[Tensor, "p h"]
    unsure: Tensor

    @classmethod
    def of(cls, bounds: Tensor) -> Best:
        """Starts without any negative."""
        return cls(
            torch.full_like(bounds, FAR),
            torch.full(bounds.shape, -1, device=bounds.device),
            torch.zeros(bounds.shape, dtype=torch.bool, device=bounds.device),
        )

    def take(self, squared: Tensor, index: Tensor, unsure: Tensor, tolerance: Tensor) -> None:
        """Takes the nearest of another tile if it is nearer."""
        clear = squared < self.squared - tolerance
        close = ~clear & (squared <= self.squared + tolerance) & (squared < FAR)
        nearer = squared < self.squared
        self.unsure = torch.where(clear, unsure, self.unsure | close)
        self.index = torch.where(nearer, index, self.index)
        self.squared = torch.minimum(squared, self.squared)


def search_tiles(batch: SortedBatch, part: Part, bounds: list[Tensor], workers: int) -> list[Best]:
    """Returns the nearest negative beyond each bound.

    Args:
        batch: The sorted batch.
        part: The anchors.
        bounds: Squared distances, (searches, anchors) of each block; −`FAR` for no bound.
        workers: How many threads share the tiles.
    """
    size = max(len(side) for side in part.sides)

    def state() -> tuple[list[Best], Tensor]:
        return [Best.of(b) for b in bounds], batch.right.new_empty(max(map(len, part.blocks)) * size)

    def work(mine: tuple[list[Best], Tensor], i: int, j: int) -> None:
        best, buffer = mine
        a, b = part.sides[i], part.sides[j]
        tile = batch.tile(a, b, buffer[: len(a) * len(b)].view(len(a), len(b)))
        search(tile, bounds[i], batch.tolerance[a.rows], best[i], b.start)
        if part.both_ends(i, j):
            search(tile.T.contiguous(), bounds[j], batch.tolerance[b.rows], best[j], a.start)

    found = run_tiles(part.tiles(batch.layout), state, work, workers)
    return joined(batch, part, [best for best, _ in found])


def joined(batch: SortedBatch, part: Part, found: list[list[Best]]) -> list[Best]:
    """Merges the workers' results."""
    for other in found[1:]:
        for block, mine, more in zip(part.blocks, found[0], other, strict=True):
            mine.take(more.squared, more.index, more.unsure, batch.tolerance[block.rows])
    return found[0]


def settle(
    batch: SortedBatch, part: Part, bounds: list[Tensor], positives: list[Tensor], found: list[Best]
) -> None:
    """Decides the unsure searches, from coordinate differences.

    Args:
        batch: The sorted batch.
        part: The anchors.
        bounds: What negatives must be beyond, (searches, anchors) of each block.
        positives: The places that the bounds were measured to; −1 for no bound.
        found: What was found; −1 afterwards where no negative is beyond the bound.
    """
    step = max(1, _PAIRS // len(batch.layout.references))
    for block, bound, positive, best in zip(part.blocks, bounds, positives, found, strict=True):
        k, row = best.unsure.nonzero(as_tuple=True)
        for start in range(0, len(k), step):
            some = (k[start : start + step], row[start : start + step])
            best.index[some] = _settled(batch, some[1] + block.start, bound[some], positive[some])


def _settled(batch: SortedBatch, a: Tensor, bound: Tensor, positive: Tensor) -> Tensor:
    """Returns the nearest negative of each place beyond its bound; −1 for none."""
    d = distances_to_negatives(batch, a)
    slack = 2 * batch.tolerance[a]
    surely = d.masked_fill(d <= (bound + slack)[:, None], FAR).amin(1)
    candidate = (d >= (bound - slack)[:, None]) & (d <= (surely + slack)[:, None]) & (d < FAR)
    row, n = candidate.nonzero(as_tuple=True)
    n = n + batch.layout.references.start
    d_an = batch.exact_pairs(a[row], n)
    d_ap = torch.where(positive < 0, -1.0, batch.exact_pairs(a, positive.clamp(min=0)))
    beyond = d_an > d_ap[row]
    row, n, d_an = row[beyond], n[beyond], d_an[beyond]
    return _first(batch.layout.order, row, n, d_an, len(a))


def farthest(batch: SortedBatch, a: Int64[Tensor, " r"]) -> Int64[Tensor, " r"]:
    """Returns the farthest negative of each of these places; −1 for none."""
    step = max(1, _PAIRS // len(batch.layout.references))
    return torch.cat([_farthest(batch, some) for some in torch.split(a, step)])


def _farthest(batch: SortedBatch, a: Tensor) -> Tensor:
    d = distances_to_negatives(batch, a)
    negative = d < FAR
    d.masked_fill_(~negative, -FAR)
    close = (d >= (d.amax(1) - 2 * batch.tolerance[a])[:, None]) & negative
    row, n = close.nonzero(as_tuple=True)
    n = n + batch.layout.references.start
    return _first(batch.layout.order, row, n, -batch.exact_pairs(a[row], n), len(a))


def distances_to_negatives(batch: SortedBatch, a: Int64[Tensor, " r"]) -> Float[Tensor, "r n"]:
    """Returns the squared distances, by products, of anchors to references; to class-mates they are `FAR`."""
    layout = batch.layout
    d = batch.left[a] @ batch.right[layout.references.rows].T
    column = torch.arange(layout.references.start, layout.rows, device=d.device)
    mates = (column >= layout.first[a, None]) & (column < layout.last[a, None])
    return d.masked_fill_(mates, FAR)


def _first(order: Tensor, row: Tensor, n: Tensor, key: Tensor, rows: int) -> Tensor:
    """Returns for each row the n of least key, of equals the first in the batch; −1 for a row without any."""
    rank = order[n].argsort()
    rank = rank[key[rank].argsort(stable=True)]
    rank = rank[row[rank].argsort(stable=True)]
    row, n = row[rank], n[rank]
    first = torch.ones(len(row), dtype=torch.bool, device=row.device)
    first[1:] = row[1:] != row[:-1]
    index = torch.full((rows,), -1, device=row.device)
    index[row[first]] = n[first]
    return index


def search(tile: Tensor, bounds: Tensor, tolerance: Tensor, best: Best, offset: int) -> None:
    """Finds the nearest negative beyond each bound in a tile.

    Distances of at least 0 are ordered as their bits are, and integers wrap around: less the bits of the
    bound, what is not beyond it is larger than all that is, and the least is the nearest beyond. The least
    of each run of columns is found first: torch finds a least value much faster than its place.
    """
    h, w = tile.shape
    if w % RUN:
        tile = torch.nn.functional.pad(tile, (0, RUN - w % RUN), value=FAR)
    floor = bounds - tolerance
    unbounded = bool((floor < 0).all())
    bits = tile.view(torch.int32)
    moved = bits if unbounded else torch.empty_like(bits)
    shift = torch.where(floor >= 0, floor.clamp(min=0).view(torch.int32) + 1, 0) + _LOWEST
    row = torch.arange(h, device=tile.device)
    for start in range(0, len(bounds), _SEARCHES):
        some = slice(start, start + _SEARCHES)
        least, inside = [], []
        for k in range(len(bounds))[some]:
            # Without a bound all are moved alike: it is enough to move what is found.
            runs = (bits if unbounded else torch.sub(bits, shift[k, :, None], out=moved)).view(h, -1, RUN)
            least.append(runs.amin(2))
            inside.append(runs[row, least[-1].argmin(1)])
            if unbounded:
                least[-1] -= shift[k, :, None]
                inside[-1] -= shift[k, :, None]
        _improve(best, some, torch.stack(least), torch.stack(inside), shift, bounds, tolerance, offset)


def _improve(
    best: Best,
    some: slice,
    least: Tensor,
    inside: Tensor,
    shift: Tensor,
    bounds: Tensor,
    tolerance: Tensor,
    offset: int,
) -> None:
    """Takes what some searches found: the least of each run, and the whole run of the least."""
    value, at = least.min(2)
    first = inside.argmin(2)
    inside.scatter_(2, first[..., None], _HIGHEST)
    least.scatter_(2, at[..., None], _HIGHEST)
    second = torch.minimum(inside.amin(2), least.amin(2))
    nearest, runner_up = (_beyond(v, shift[some]) for v in (value, second))
    unsure = (runner_up <= nearest + tolerance) | (nearest <= bounds[some] + tolerance)
    part = Best(best.squared[some], best.index[some], best.unsure[some])
    part.take(nearest, at * RUN + first + offset, unsure & (nearest < FAR), tolerance)
    best.squared[some], best.index[some], best.unsure[some] = part.squared, part.index, part.unsure


def _beyond(moved: Tensor, shift: Tensor) -> Tensor:
    """Turns the least shifted bits back into a squared distance; `FAR` if nothing is beyond the bound."""
    bits = moved + shift
    squared = bits.view(torch.float32)
    return torch.where((bits >= shift - _LOWEST) & (squared < FAR), squared, FAR)
