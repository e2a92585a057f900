"""The rows of anchors and references in one field, and what is added up over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from trine.distances import Distance
from trine.engine.float64_distances import Space, through_unit_rows
from trine.engine.layout import Block
from trine.engine.objective import Tally
from trine.engine.rectangle.sides import Sides
from trine.engine.sorted_batch import Field
from trine.shapes import Bool, Float, Int64


@dataclass
class Sums:
    """What one worker adds up.

    Attributes:
        tally: The sums of the loss.
        x: Σ w·[y, 1] of each anchor, by place; nothing where its gradient is not asked for.
        y: The same of each reference.
        device: Where tiles are.
        buffers: Room for them.
    """

    tally: Tally
    x: Tensor | None
    y: Tensor | None
    device: torch.device
    buffers: dict[int, Tensor] = field(default_factory=dict)

    def buffer(self, number: int, i: Block, j: Block) -> Tensor:
        """Returns one of the buffers, in the shape of a tile."""
        pairs, room = len(i) * len(j), self.buffers.get(number)
        if room is None or len(room) < pairs:
            room = self.buffers[number] = torch.empty(pairs, device=self.device)
        return room[:pairs].view(len(i), len(j))

    @property
    def asked(self) -> bool:
        """Whether any gradient is."""
        return self.x is not None or self.y is not None

    def add(self, other: Sums) -> None:
        """Adds what another worker did."""
        self.tally.add(other.tally)
        for mine, more in ((self.x, other.x), (self.y, other.y)):
            if mine is not None and more is not None:
                mine += more


class Rectangle(Field):
    """The rows of anchors and references, in the order of their sides.

    Args:
        x: The anchors.
        y: The references; `None` where the anchors are their own.
        sides: The order.
        distance: The name of the distance.
    """

    layout: Sides
    product_from = 256  # pairs of a class from which they are taken as one product

    def __init__(self, x: Tensor, y: Tensor | None, sides: Sides, distance: Distance) -> None:
        super().__init__(torch.cat([x, x if y is None else y]), sides, distance)
        self.x, self.y = x, y

    @cached_property
    def space(self) -> Space:
        """The same rows for the exact pass, in the order of the batch."""
        return Space(self.x, self.y, self.distance)

    def sums(self, asks: tuple[bool, bool], dtype: torch.dtype = torch.float32) -> Sums:
        """Returns zeros to add to."""
        n, m = self.layout.anchors, len(self.layout.references)
        x, y = (
            self.right.new_zeros(rows, self.width + 1, dtype=dtype) if wanted else None
            for rows, wanted in ((n, asks[0]), (m, asks[1] or (asks[0] and self.y is None)))
        )
        return Sums(Tally(), x, y, self.right.device)

    def gradients(self, sums: Sums) -> tuple[Tensor | None, Tensor | None]:
        """Returns Σ w·y − (Σ w)·x of both sides, at the rows as given; one for both where they are one."""
        n = self.layout.anchors
        ends: list[Tensor | None] = []
        for rows, total in ((slice(0, n), sums.x), (slice(n, self.layout.rows), sums.y)):
            if total is None:
                ends.append(None)
                continue
            total = total.float()
            gradient = total[:, : self.width]
            gradient -= total[:, self.width :] * self.right[rows, : self.width]
            gradient = gradient[self.layout.place[: self.layout.rows][rows] - rows.start]
            if self.distance == "cosine":
                gradient = through_unit_rows(gradient, self.raw[rows])
            ends.append(gradient)
        x, y = ends
        return (x + y, None) if self.y is None and x is not None and y is not None else (x, y)

    def mask(self, i: Block, j: Block, tile: Tensor, value: float) -> None:
        """Fills the places of class-mates in a tile."""
        first, last = self.layout.first[i.rows, None], self.layout.last[i.rows, None]
        if int(last[-1]) <= j.start or int(first[0]) >= j.stop:
            return
        places = first + torch.arange(i.positives, device=tile.device)
        row, k = ((places < last) & (places >= j.start) & (places < j.stop)).nonzero(as_tuple=True)
        tile[row, places[row, k] - j.start] = value

    def squares(
        self, block: Block, places: Int64[Tensor, "h p"], positive: Bool[Tensor, "h p"]
    ) -> Float[Tensor, "h p"]:
        """Returns the squared distances of a block to its positives in float64; 0 elsewhere."""
        out = torch.zeros(places.shape, dtype=torch.float64, device=places.device)
        alone = positive.clone()
        for a, p in self._large_classes(block):
            rows = slice(a.start - block.start, a.stop - block.start)
            out[rows, : p.stop - p.start] = self._class_squares(a, p)
            alone[rows] = False
        row, k = alone.nonzero(as_tuple=True)
        out[row, k] = self.exact_pairs(row + block.start, places[row, k])
        return out.masked_fill_(~positive, 0)

    def pull_mates(
        self, block: Block, places: Int64[Tensor, "h p"], weights: Float[Tensor, "h p"], sums: Sums
    ) -> None:
        """Adds the gradient of ½ Σ w‖x − y‖² over the positives of a block."""
        alone = weights != 0
        for a, p in self._large_classes(block):
            rows = slice(a.start - block.start, a.stop - block.start)
            w, (u, v) = weights[rows, : p.stop - p.start].double(), self._centred(a, p)
            if sums.x is not None:
                sums.x[a, : self.width] += (w.sum(1, keepdim=True) * u).addmm_(w, v, alpha=-1)
            if sums.y is not None:
                q = slice(p.start - self.layout.anchors, p.stop - self.layout.anchors)
                sums.y[q, : self.width] += (w.sum(0)[:, None] * v).addmm_(w.T, u, alpha=-1)
            alone[rows] = False
        row, k = alone.nonzero(as_tuple=True)
        self.pull(row + block.start, places[row, k], weights[row, k], sums)

    def pull(
        self, a: Int64[Tensor, " t"], p: Int64[Tensor, " t"], weights: Float[Tensor, " t"], sums: Sums
    ) -> None:
        """Adds the gradient of ½ Σ w‖x − y‖² over listed pairs of places."""
        for part in self.chunks(0, len(a)):
            i, j = a[part], p[part]
            pull = (self.plain[i] - self.plain[j]).float().mul_(weights[part, None].float())
            if sums.x is not None:
                sums.x[:, : self.width].index_add_(0, i, pull.to(sums.x.dtype))
            if sums.y is not None:
                j = j - self.layout.anchors
                sums.y[:, : self.width].index_add_(0, j, pull.to(sums.y.dtype), alpha=-1)

    def _large_classes(self, block: Block) -> list[tuple[slice, slice]]:
        """The anchors and the references of each class of a block that is worth a product."""
        first, number = torch.unique_consecutive(self.layout.first[block.rows], return_counts=True)
        stop = number.cumsum(0) + block.start
        last = self.layout.last[stop - 1]
        large = (number * (last - first) >= self.product_from).nonzero()[:, 0]
        ends = zip(*(t[large].tolist() for t in (stop - number, stop, first, last)), strict=True)
        return [(slice(i, j), slice(k, m)) for i, j, k, m in ends]

    def _centred(self, a: slice, p: slice) -> tuple[Tensor, Tensor]:
        u, v = self.precise(a), self.precise(p)
        centre = v.mean(0)
        return u - centre, v - centre

    def _class_squares(self, a: slice, p: slice) -> Tensor:
        """Squared distances within a class from class-centred rows: of a radius of 1e-4 nothing is lost."""
        u, v = self._centred(a, p)
        norms = u.square().sum(1)[:, None] + v.square().sum(1)
        squared = torch.addmm(norms, u, v.T, alpha=-2)
        row, column = (squared < 1e-6 * norms).nonzero(as_tuple=True)
        for part in self.chunks(0, len(row)):
            squared[row[part], column[part]] = (u[row[part]] - v[column[part]]).square_().sum(1)
        if self.distance == "cosine":
            zero = (self.raw == 0).all(1)[self.layout.order]
            squared.masked_fill_(zero[a, None] | zero[p], 2)
        return squared.clamp_(min=0)
