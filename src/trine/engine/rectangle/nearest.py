"""The nearest negatives of a block of anchors among all references: products propose, differences decide.

Two products of one row may be apart by rounding and stand for equal distances. So all that are within
`Field.tolerance` of the winner, or of the positive's own distance, are measured again in float64. With a
bound for each positive, the distances of an anchor are sorted once, and every bound finds its place among
them: numpy sorts a row in the time that its products take.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trine.engine.exact import blocks as cut
from trine.engine.layout import Block
from trine.engine.rectangle.field import Rectangle, Sums
from trine.engine.relations import Relations
from trine.engine.sorted_batch import FAR
from trine.shapes import Float, Int64

_LONGEST = 32  # distances too close to tell apart that are still measured one by one
_COLUMN = 2**32 - 1


class Order:
    """The negatives of some anchors from near to far.

    Args:
        tile: The squared distances of the anchors to all references; class-mates are `FAR`.
        numbers: How many negatives each anchor has.
    """

    def __init__(self, tile: Float[Tensor, "h m"], numbers: Int64[Tensor, " h"]) -> None:
        # Distances of at least 0 are ordered as their bits are; below the bits, the column goes along.
        self.keys = torch.bitwise_left_shift(tile.view(torch.int32).long(), 32)
        self.keys += torch.arange(tile.shape[1], device=tile.device)
        if tile.device.type == "cpu":
            self.keys.numpy().sort(1)  # by vector instructions, which torch does without
        else:
            self.keys = self.keys.sort(1).values
        self.numbers = numbers

    def after(self, bounds: Float[Tensor, "h s"]) -> Int64[Tensor, "h s"]:
        """Returns the place of the first distance above each bound."""
        bits = torch.bitwise_left_shift(bounds.contiguous().view(torch.int32).long(), 32)
        return torch.searchsorted(self.keys, bits + _COLUMN)

    def squared(self, row: Tensor, at: Tensor) -> Tensor:
        """Returns the squared distances at these places; −`FAR` before the first, `FAR` after the last."""
        keys = self.keys[row, at.clamp(0, self.keys.shape[1] - 1)]
        squared = torch.bitwise_right_shift(keys, 32).int().view(torch.float32)
        return torch.where(at < 0, -FAR, torch.where(at < self.numbers[row], squared, FAR))

    def column(self, row: Tensor, at: Tensor) -> Tensor:
        """Returns the columns at these places."""
        return self.keys[row, at.clamp(max=self.keys.shape[1] - 1)] & _COLUMN

    def down(self, row: Tensor, at: Tensor, limit: Tensor) -> Tensor:
        """Moves places down to the first distance above a limit, by `_LONGEST` at most."""
        for _ in range(_LONGEST):
            more = self.squared(row, at - 1) > limit
            if not bool(more.any()):
                break
            at = at - more.long()
        return at

    def up(self, row: Tensor, at: Tensor, limit: Tensor) -> Tensor:
        """Moves places up to the first distance above a limit, by `_LONGEST` at most."""
        for _ in range(_LONGEST):
            more = self.squared(row, at) <= limit
            if not bool(more.any()):
                break
            at = at + more.long()
        return at

    def between(self, row: Tensor, start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
        """Lists the columns from `start` to `stop` of each search: (search, column)."""
        length = stop - start
        search = torch.repeat_interleave(torch.arange(len(row), device=row.device), length)
        at = torch.arange(len(search), device=row.device) - (length.cumsum(0) - length - start)[search]
        return search, self.column(row[search], at)


class Judge:
    """Finds negatives of a block of anchors.

    Args:
        field: Anchors and references.
        relations: Their relations.
        block: The anchors.
        sums: Whose buffer holds their distances to all references.
    """

    def __init__(self, field: Rectangle, relations: Relations, block: Block, sums: Sums) -> None:
        self.field, self.relations, self.block = field, relations, block
        self.tolerance, self.numbers = field.tolerance[block.rows], field.layout.negatives(block)
        self.tile = self._tile(sums.buffer(0, block, field.layout.references))

    def _tile(self, out: Tensor) -> Tensor:
        return self.field.tile(self.block, self.field.layout.references, out)

    def nearest(self) -> Int64[Tensor, "h 1"]:
        """Returns the place of the nearest negative of each anchor; −1 where there is none."""
        tile, rows = self.tile, torch.arange(len(self.block), device=self.tile.device)
        # numpy finds the place of a least value as fast as the value, which torch does not.
        column = torch.from_numpy(tile.numpy().argmin(1)) if tile.device.type == "cpu" else tile.argmin(1)
        least = tile[rows, column]
        tile[rows, column] = FAR
        close = (tile.amin(1) <= least + self.tolerance) & (least < FAR)
        tile[rows, column] = least
        found = torch.where(least < FAR, column + self.field.layout.anchors, -1)
        rows = close.nonzero()[:, 0]
        if len(rows):
            limit = (least + self.tolerance)[rows, None]
            search, column = (tile[rows] <= limit).nonzero(as_tuple=True)
            found[rows] = self._decided(rows, torch.full_like(rows, -1), search, column)
        return found[:, None]

    def beyond(
        self, bounds: Float[Tensor, "h s"], positives: Int64[Tensor, "h s"], farthest: bool
    ) -> Int64[Tensor, "h s"]:
        """Returns the place of the nearest negative beyond each bound; −1 where there is none.

        Args:
            bounds: The squared distances to positives; ∞ where nothing is searched.
            positives: Their places.
            farthest: Whether the farthest negative is taken where none is beyond.
        """
        tolerance = self.tolerance[:, None]
        order = Order(self.tile, self.numbers)
        at = order.after(bounds + tolerance)
        rows = torch.arange(len(bounds), device=bounds.device)[:, None]
        here = order.squared(rows, at)
        live = bounds < torch.inf
        sure = (here < FAR) & (order.squared(rows, at - 1) <= bounds - tolerance)
        sure &= order.squared(rows, at + 1) > here + tolerance
        found = torch.where(sure & live, order.column(rows, at) + self.field.layout.anchors, -1)
        row, k = (live & ~sure).nonzero(as_tuple=True)
        if len(row):
            at, near = at[row, k], here[row, k]
            start = order.down(row, at, (bounds - tolerance)[row, k])
            stop = order.up(row, at, torch.where(near < FAR, near + self.tolerance[row], -FAR))
            found[row, k] = self._decided(row, positives[row, k], *order.between(row, start, stop))
        return self._or_farthest(found, bounds) if farthest else found

    def _or_farthest(self, found: Tensor, bounds: Tensor) -> Tensor:
        """Takes the farthest negative where none is beyond the positive."""
        missing = (bounds < torch.inf) & (found < 0) & (self.numbers > 0)[:, None]
        row = missing.any(1).nonzero()[:, 0]
        if not len(row):
            return found
        far = self.tile[row].masked_fill_(self.tile[row] >= FAR, -1)
        limit = far.amax(1) - self.tolerance[row]
        end = torch.full_like(self.numbers, -1)
        search, column = (far >= limit.clamp(min=0)[:, None]).nonzero(as_tuple=True)
        end[row] = self._decided(row, None, search, column)
        return torch.where(missing, end[:, None], found)

    def _decided(self, row: Tensor, positives: Tensor | None, search: Tensor, column: Tensor) -> Tensor:
        """The nearest beyond the positive among the listed columns of each search, or the farthest of them.

        Args:
            row: The row of each search.
            positives: The place of its positive, −1 for none; nothing where the farthest is asked for.
            search: Which search a column is listed for.
            column: The columns.
        """
        layout, device = self.field.layout, row.device
        long = torch.bincount(search, minlength=len(row)) >= _LONGEST
        places, a = column + layout.anchors, row + self.block.start
        listed = ~long[search]
        search, places = search[listed], places[listed]
        sign = -1 if positives is None else 1
        d = sign * self.field.exact_pairs(a[search], places)
        bounds = torch.full((len(row),), -torch.inf, dtype=torch.float64, device=device)
        if positives is not None:
            bounded = (positives >= 0).nonzero()[:, 0]
            bounds[bounded] = self.field.exact_pairs(a[bounded], positives[bounded])
        d = torch.where(d > bounds[search], d, torch.inf)
        best = torch.full_like(bounds, torch.inf).scatter_reduce_(0, search, d, "amin")
        winners = ((d == best[search]) & (d < torch.inf)).nonzero()[:, 0]
        # Of equal distances the lowest index wins; the row after the last stands for nobody.
        first = torch.full((len(row),), layout.rows, device=device)
        first.scatter_reduce_(0, search[winners], layout.order[places[winners]], "amin")
        found = layout.place[first]
        again = long.nonzero()[:, 0]
        if len(again):
            found[again] = self._exactly(a[again], None if positives is None else positives[again])
        return found

    def _exactly(self, a: Tensor, positives: Tensor | None) -> Tensor:
        """The same by the distances of the exact pass, where too many are too close to be listed."""
        field, layout = self.field, self.field.layout
        n, found = layout.anchors, []
        for searches in cut(torch.arange(len(a), device=a.device), layout.rows - n):
            anchors = layout.order[a[searches]]
            d, negative = field.space.distances(anchors), self.relations.rows(anchors).negative
            if positives is None:
                found.append(layout.place[torch.where(negative, d, -torch.inf).argmax(1) + n])
                continue
            p = positives[searches]
            row = torch.arange(len(p), device=p.device)
            bound = torch.where(p >= 0, d[row, layout.order[p] - n], -torch.inf)
            near = torch.where(negative & (d > bound[:, None]), d, torch.inf).min(1)
            found.append(torch.where(near.values < torch.inf, layout.place[near.indices + n], -1))
        return torch.cat(found)
