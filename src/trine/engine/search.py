"""The nearest negative beyond a bound, in plain torch; near-ties are recomputed from differences.

Products of equal distances can differ by rounding. A search where the runner-up, or the bound, is within
`SortedBatch.tolerance` is unsure: its few candidates are kept, and decided from coordinate differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trine.engine.layout import Part
from trine.engine.sorted_batch import FAR, SortedBatch
from trine.engine.tiles import run_tiles
from trine.shapes import Bool, Float, Int64

RUN = 64  # columns whose least value is found first
_SEARCHES = 16  # searches of one tile that are finished together
_SORTED_FROM = 6  # searches from which sorting a tile is faster than a pass for each
_COLUMN = 2**32 - 1
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1
_PAIRS = 1 << 19  # distances held at once when unsure searches are decided


@dataclass
class Best:
    """The nearest negative so far, for each place (positive, row) of a block.

    Attributes:
        start: The first anchor of the block.
        bounds: The squared distances that the nearest must be beyond; −`FAR` for no bound.
        positives: The places that the bounds were measured to; −1 for no bound.
        squared: The squared distance of the nearest that is surely beyond; `FAR` where there is none.
        index: Its row; −1 where there is none.
        unsure: Which searches are decided in the end, among all references. None: what may be the nearest is
            kept from each tile, which is faster where many are unsure.
        close: Further rows that may be the nearest: (search, row); a search is a place in `index.flatten()`.
        held: How many these are.
    """

    start: int
    bounds: Tensor
    positives: Int64[Tensor, "p h"]
    squared: Tensor
    index: Int64[Tensor, "p h"]
    unsure: Bool[Tensor, "p h"] | None = None
    close: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    held: int = 0

    @classmethod
    def of(cls, bounds: Tensor, positives: Tensor, start: int) -> Best:
        """Starts without any negative."""
        none = torch.full(bounds.shape, -1, device=bounds.device)
        unsure = torch.zeros_like(none, dtype=torch.bool) if len(bounds) < _SORTED_FROM else None
        return cls(start, bounds, positives, torch.full_like(bounds, FAR), none, unsure)

    def take(self, batch: SortedBatch, squared: Tensor, index: Tensor, first: int = 0) -> None:
        """Takes the nearest of another tile if it is nearer; of two that are close the other is kept.

        Args:
            batch: The sorted batch.
            squared: Squared distances of some of the searches; `FAR` for none.
            index: Their rows.
            first: The first of these searches.
        """
        tolerance = batch.tolerance[self.start : self.start + squared.shape[1]]
        some = slice(first, first + len(squared))
        mine, known = self.squared[some], self.index[some]
        nearer, farther = squared < mine, torch.maximum(squared, mine)
        torch.minimum(squared, mine, out=mine)
        close = (farther < FAR) & (farther - mine <= tolerance)
        if self.unsure is not None:
            self.unsure[some] |= close
        elif len((at := close.nonzero(as_tuple=True))[0]):
            self.keep(batch, at[0] + first, at[1], torch.where(nearer, known, index)[at])
        torch.where(nearer, index, known, out=known)

    def keep(self, batch: SortedBatch, k: Tensor, row: Tensor, index: Tensor) -> None:
        """Keeps rows that may be the nearest."""
        self.close.append((k * self.index.shape[1] + row, index))
        self.held += len(k)
        if self.held > _PAIRS:
            search, index = self._decided(batch)
            search, index = search[index >= 0], index[index >= 0]
            self.close, self.held = [(search, index)], len(search)

    def decide(self, batch: SortedBatch) -> None:
        """Decides, by differences, the searches that are unsure."""
        if self.unsure is not None:
            self._list_all(batch, *self.unsure.nonzero(as_tuple=True))
        if self.close:
            search = torch.unique(torch.cat([each for each, _ in self.close]))
            index = self.index.flatten()[search]
            self.close.append((search[index >= 0], index[index >= 0]))
            search, index = self._decided(batch)
            self.index.view(-1)[search] = index
            self.close, self.held = [], 0

    def _list_all(self, batch: SortedBatch, k: Tensor, row: Tensor) -> None:
        """Keeps what may be the nearest among all references, for some searches."""
        for some in _chunks(len(k), len(batch.layout.references)):
            at, place = (k[some], row[some]), row[some] + self.start
            d, slack = distances_to_negatives(batch, place), 2 * batch.tolerance[place, None]
            bound = self.bounds[at][:, None]
            surely = d.masked_fill(d <= bound + slack, FAR).amin(1, keepdim=True)
            near = (d >= bound - slack) & (d <= surely + slack) & (d < FAR)
            which, n = near.nonzero(as_tuple=True)
            self.keep(batch, k[some][which], row[some][which], n + batch.layout.references.start)

    def _decided(self, batch: SortedBatch) -> tuple[Tensor, Tensor]:
        """Returns the searches for which rows are kept, and the nearest beyond of these; −1 for none."""
        search, n = (torch.cat(part) for part in zip(*self.close, strict=True))
        search, which = torch.unique(search, return_inverse=True)
        a, positive = search % self.index.shape[1] + self.start, self.positives.flatten()[search]
        d_an = batch.exact_pairs(a[which], n)
        d_ap = torch.where(positive < 0, -1.0, batch.exact_pairs(a, positive.clamp(min=0)))
        beyond = d_an > d_ap[which]
        return search, _first(batch.layout.order, which[beyond], n[beyond], d_an[beyond], len(a))


class SortedTile:
    """The columns of a tile from near to far, row by row.

    Args:
        tile: Squared distances; they are not changed.
    """

    def __init__(self, tile: Float[Tensor, "h w"]) -> None:
        # Distances of at least 0 are ordered as their bits are; below the bits, the column goes along.
        self.keys = torch.bitwise_left_shift(tile.view(torch.int32).long(), 32)
        self.keys += torch.arange(tile.shape[1], device=tile.device)
        if tile.device.type == "cpu":
            self.keys.numpy().sort(1)  # by vector instructions, which torch does without
        else:
            self.keys = self.keys.sort(1).values

    def beyond(self, bounds: Float[Tensor, "h s"]) -> Int64[Tensor, "h s"]:
        """Returns the place of the first distance above each bound."""
        bits = torch.bitwise_left_shift(bounds.clamp(min=0).view(torch.int32).long(), 32) + _COLUMN
        return torch.searchsorted(self.keys, torch.where(bounds < 0, -1, bits))

    def squared(self, row: Int64[Tensor, "..."], at: Int64[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns the squared distances at these places; `FAR` after the last."""
        keys = self.keys[row, at.clamp(max=self.keys.shape[1] - 1)]
        squared = torch.bitwise_right_shift(keys, 32).int().view(torch.float32)
        return squared.masked_fill_(at >= self.keys.shape[1], FAR)

    def column(self, row: Int64[Tensor, "..."], at: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
        """Returns the columns at these places; any one after the last."""
        return self.keys[row, at.clamp(max=self.keys.shape[1] - 1)] & _COLUMN

    def candidates(self, row: Tensor, at: Tensor, bound: Tensor, slack: Tensor) -> tuple[Tensor, Tensor]:
        """Lists what may be the nearest beyond each bound, (which, column), up and down from a place."""
        which = torch.arange(len(row), device=row.device)
        surely, found, some, place = torch.full_like(bound, FAR), [], which, at
        while len(some):
            squared = self.squared(row[some], place)
            beyond = squared > (bound + slack)[some]
            surely[some] = torch.where(beyond, torch.minimum(squared, surely[some]), surely[some])
            near = (squared < FAR) & (squared <= (surely + slack)[some])
            some, place = some[near], place[near]
            found.append((some, place))
            place = place + 1
        some, place = which, at - 1
        while len(some):
            near = (place >= 0) & (self.squared(row[some], place.clamp(min=0)) >= (bound - slack)[some])
            some, place = some[near], place[near]
            found.append((some, place))
            place = place - 1
        which, place = (torch.cat(part) for part in zip(*found, strict=True))
        return which, self.column(row[which], place)


_Candidates = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From (search, row, bound, slack) of some to what may be the nearest beyond: (which of them, column)."""

_Searched = tuple[slice, Tensor, Tensor, Tensor, _Candidates | None]


def search_tiles(
    batch: SortedBatch, part: Part, bounds: list[Tensor], positives: list[Tensor], workers: int
) -> list[Best]:
    """Returns the nearest negative beyond each bound; −1 where there is none.

    Args:
        batch: The sorted batch.
        part: The anchors.
        bounds: Squared distances, (searches, anchors) of each block; −`FAR` for no bound.
        positives: The places that the bounds were measured to; −1 for no bound.
        workers: How many threads share the tiles.
    """
    size = max(len(side) for side in part.sides)

    def state() -> tuple[list[Best], Tensor]:
        blocks = zip(bounds, positives, part.blocks, strict=True)
        best = [Best.of(bound, positive, block.start) for bound, positive, block in blocks]
        return best, batch.right.new_empty(max(map(len, part.blocks)) * size)

    def work(mine: tuple[list[Best], Tensor], i: int, j: int) -> None:
        best, buffer = mine
        a, b = part.sides[i], part.sides[j]
        tile = batch.tile(a, b, buffer[: len(a) * len(b)].view(len(a), len(b)))
        search(batch, tile, best[i], b.start)
        if part.both_ends(i, j):
            search(batch, tile.T.contiguous(), best[j], a.start)

    return joined(batch, [best for best, _ in run_tiles(part.tiles(batch.layout), state, work, workers)])


def joined(batch: SortedBatch, found: list[list[Best]]) -> list[Best]:
    """Merges the workers' results, and decides what is close."""
    for other in found[1:]:
        for mine, more in zip(found[0], other, strict=True):
            mine.take(batch, more.squared, more.index)
            mine.close += more.close
            if mine.unsure is not None and more.unsure is not None:
                mine.unsure |= more.unsure
    for best in found[0]:
        best.decide(batch)
    return found[0]


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


def _chunks(rows: int, width: int) -> Iterator[slice]:
    """Yields some rows at a time, of this width each."""
    step = max(1, _PAIRS // width)
    return (slice(start, start + step) for start in range(0, rows, step))


def distances_to_negatives(batch: SortedBatch, a: Int64[Tensor, " r"]) -> Float[Tensor, "r n"]:
    """Returns the squared distances, by products, of anchors to references; to class-mates they are `FAR`."""
    layout = batch.layout
    d = (batch.left[a] @ batch.right[layout.references.rows].T).clamp_(min=0)
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


def search(batch: SortedBatch, tile: Tensor, best: Best, offset: int) -> None:
    """Finds the nearest negative beyond each bound in a tile.

    Distances of at least 0 are ordered as their bits are. A few bounds are searched one by one; for many,
    each row is sorted once.

    Args:
        batch: The sorted batch.
        tile: Squared distances of the anchors of a block.
        best: The nearest so far.
        offset: The place of the first column.
    """
    bounds, tolerance = best.bounds, batch.tolerance[best.start : best.start + len(tile)]
    way = _in_order if best.unsure is None else _one_by_one
    for some, nearest, column, runner_up, candidates in way(tile, bounds - tolerance):
        unsure = (runner_up <= nearest + tolerance) | (nearest <= bounds[some] + tolerance)
        unsure &= nearest < FAR
        possible = unsure & (nearest <= best.squared[some] + tolerance)
        if best.unsure is not None:
            best.unsure[some] |= possible
        elif candidates is not None:
            k, row = possible.nonzero(as_tuple=True)
            for at in _chunks(len(k), tile.shape[1]):
                which, n = candidates(k[at], row[at], bounds[k[at], row[at]], 2 * tolerance[row[at]])
                best.keep(batch, k[at][which], row[at][which], n + offset)
        best.take(batch, nearest.masked_fill(unsure, FAR), column + offset, some.start)


def _in_order(tile: Tensor, floor: Tensor) -> Iterator[_Searched]:
    """Yields (searches, nearest, its column, runner-up, their candidates), of all searches at once."""
    ordered = SortedTile(tile)
    at = ordered.beyond(floor.T.contiguous())
    rows = torch.arange(len(at), device=at.device)[:, None]
    nearest, runner_up = ordered.squared(rows, at), ordered.squared(rows, at + 1)

    def candidates(k: Tensor, row: Tensor, bound: Tensor, slack: Tensor) -> tuple[Tensor, Tensor]:
        return ordered.candidates(row, at[row, k], bound, slack)

    yield slice(0, len(floor)), nearest.T, ordered.column(rows, at).T, runner_up.T, candidates


def _one_by_one(tile: Tensor, floor: Tensor) -> Iterator[_Searched]:
    """Yields the same without candidates, some searches at a time.

    Integers wrap around: less the bits of the bound, what is not beyond it is larger than all that is, and
    the least is the nearest beyond. The least of each run of columns is found first: torch finds a least
    value much faster than its place.
    """
    h, w = tile.shape
    if w % RUN:
        tile = torch.nn.functional.pad(tile, (0, RUN - w % RUN), value=FAR)
    unbounded = bool((floor < 0).all())
    bits = tile.view(torch.int32)
    moved = bits if unbounded else torch.empty_like(bits)
    shift = torch.where(floor >= 0, floor.clamp(min=0).view(torch.int32) + 1, 0) + _LOWEST
    row = torch.arange(h, device=tile.device)
    for start in range(0, len(floor), _SEARCHES):
        some = slice(start, start + _SEARCHES)
        all_least, all_inside = [], []
        for k in range(len(floor))[some]:
            # Without a bound all are moved alike: it is enough to move what is found.
            runs = (bits if unbounded else torch.sub(bits, shift[k, :, None], out=moved)).view(h, -1, RUN)
            all_least.append(runs.amin(2))
            all_inside.append(runs[row, all_least[-1].argmin(1)])
            if unbounded:
                all_least[-1] -= shift[k, :, None]
                all_inside[-1] -= shift[k, :, None]
        # The least of each run, and the whole run of the least.
        least, inside = torch.stack(all_least), torch.stack(all_inside)
        value, at = least.min(2)
        first = inside.argmin(2)
        inside.scatter_(2, first[..., None], _HIGHEST)
        least.scatter_(2, at[..., None], _HIGHEST)
        second = torch.minimum(inside.amin(2), least.amin(2))
        nearest, runner_up = (_beyond(v, shift[some]) for v in (value, second))
        yield some, nearest, at * RUN + first, runner_up, None


def _beyond(moved: Tensor, shift: Tensor) -> Tensor:
    """Turns the least shifted bits back into a squared distance; `FAR` if nothing is beyond the bound."""
    bits = moved + shift
    squared = bits.view(torch.float32)
    return torch.where((bits >= shift - _LOWEST) & (squared < FAR), squared, FAR)
