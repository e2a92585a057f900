"""Anchors × references with compiled kernels, where numba is installed and the rows are on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trine.engine.layout import Block
from trine.engine.numba_backend import KINDS
from trine.engine.rectangle.every_triplet import Anchors, Hinge, Soft
from trine.engine.rectangle.field import Rectangle, Sums
from trine.engine.rectangle.nearest import Judge
from trine.engine.sorted_batch import FAR
from trine.shapes import Float, Int64

FEW = 8  # negatives of an anchor up to which a look for each is faster than sorting
_SPARSE = 16  # of so many pairs at most one active: then only the active ones are touched


class FastRectangle(Rectangle):
    """Anchors and references whose work on listed pairs is compiled."""

    product_from = 2048

    def exact_pairs(self, a: Int64[Tensor, " t"], b: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        """Returns the squared distances of listed pairs of places, from differences, in float64."""
        from trine.engine.compiled.rectangle import exact_squares

        out = torch.empty(len(a), dtype=torch.float64)
        exact_squares(self.plain.numpy(), a.numpy(), b.numpy(), out.numpy())
        return out

    def pull(
        self, a: Int64[Tensor, " t"], p: Int64[Tensor, " t"], w: Float[Tensor, " t"], sums: Sums
    ) -> None:
        """Adds the gradient of ½ Σ w‖x − y‖² over listed pairs of places."""
        from trine.engine.compiled.rectangle import pull_side

        for side, i, j, offset in ((sums.x, a, p, 0), (sums.y, p, a, self.layout.anchors)):
            if side is not None:
                pull_side(self.plain.numpy(), i.numpy(), j.numpy(), w.float().numpy(), offset, side.numpy())

    def sides(self, i: Block, j: Block) -> tuple[int | np.ndarray, ...]:
        """Returns what a kernel has to know of the two blocks of a tile."""
        layout = self.layout
        return (
            i.start,
            j.start,
            self.norms.numpy(),
            self.plain.numpy(),
            layout.first.numpy(),
            layout.last.numpy(),
        )


class FastHinge(Hinge):
    """Counts by a compiled look at each tile."""

    def begin(self, block: Block, share: Tensor, d_ap: Tensor, positive: Tensor) -> Anchors:
        """Returns a block of anchors of which no tile has been seen."""
        from trine.engine.compiled.counting import MANY

        anchors = super().begin(block, share, d_ap, positive)
        anchors.limits = F.pad(anchors.limits, (0, -block.positives % 4), value=-1.0)
        ranked = block.positives > MANY
        if ranked:
            # numpy sorts by vector instructions where torch does not.
            anchors.rising = torch.from_numpy(np.sort(anchors.limits.numpy(), 1))
        h, p = anchors.limits.shape
        anchors.weights = torch.zeros(h, p + ranked, dtype=torch.int32)
        return anchors

    def tile(self, anchors: Anchors, j: Block, sums: Sums) -> Tensor | None:
        """Adds a tile; see `Look`."""
        from trine.engine.compiled.rectangle import count_rows, sparse_products

        field, i = self.field, anchors.block
        assert isinstance(field, FastRectangle)
        s = field.product(i, j, sums.buffer(0, i, j))
        pairs = count_rows(
            s.numpy(),
            *field.sides(i, j),
            (anchors.limits if anchors.rising is None else anchors.rising).numpy(),
            anchors.rising is not None,
            anchors.weights.numpy(),
            anchors.share[:, 0].numpy(),
            anchors.value.numpy(),
            KINDS[field.distance],
        )
        if pairs * _SPARSE > s.numel():
            return s
        if pairs and sums.asked:
            rows, n = field.right[:, : field.width + 1], field.layout.anchors
            nothing = rows[:0]
            gx = nothing if sums.x is None else sums.x[i.rows]
            gy = nothing if sums.y is None else sums.y[j.start - n : j.stop - n]
            sparse_products(*(t.numpy() for t in (s, rows[i.rows], rows[j.rows], gx, gy)))
        return None

    def weights(self, anchors: Anchors) -> Tensor:
        """Returns the finished weights of the positives as (anchors, positives)."""
        from trine.engine.compiled.counting import counts_of_ranks

        counts = anchors.weights
        if anchors.rising is not None:
            counts = torch.empty_like(anchors.limits)
            counts_of_ranks(*(t.numpy() for t in (anchors.limits, anchors.rising, anchors.weights, counts)))
        return counts[:, : anchors.block.positives].float()


class FastSoft(Soft):
    """The soft margin by a compiled look at each tile, for distances that are `short`."""

    def begin(self, block: Block, share: Tensor, d_ap: Tensor, positive: Tensor) -> Anchors:
        """Returns a block of anchors of which no tile has been seen."""
        anchors = super().begin(block, share, d_ap, positive)
        anchors.limits = F.pad(anchors.limits.exp(), (0, -block.positives % 4)).T.contiguous()
        anchors.weights = torch.zeros_like(anchors.limits)
        return anchors

    def tile(self, anchors: Anchors, j: Block, sums: Sums) -> Tensor | None:
        """Adds a tile; see `Look`."""
        from trine.engine.compiled.rectangle import soft_rows

        field, i = self.field, anchors.block
        assert isinstance(field, FastRectangle)
        s = field.product(i, j, sums.buffer(0, i, j))
        soft_rows(
            s.numpy(),
            *field.sides(i, j),
            anchors.limits.numpy(),
            anchors.weights.numpy(),
            anchors.share[:, 0].numpy(),
            anchors.value.numpy(),
            KINDS[field.distance],
        )
        return s

    def weights(self, anchors: Anchors) -> Tensor:
        """Returns the finished weights of the positives as (anchors, positives)."""
        return anchors.weights[: anchors.block.positives].T


class FastJudge(Judge):
    """Finds negatives by a compiled look at the products where few are asked for; nothing is left unsure."""

    field: FastRectangle

    def _tile(self, out: Tensor) -> Tensor:
        return self.field.product(self.block, self.field.layout.references, out)

    def nearest(self) -> Int64[Tensor, "h 1"]:
        """Returns the place of the nearest negative of each anchor; −1 where there is none."""
        bounds = torch.full((4, len(self.block)), torch.inf)
        bounds[0] = -FAR
        return self._searched(bounds, torch.full(bounds.shape, -1))[:1].T

    def beyond(
        self, bounds: Float[Tensor, "h s"], positives: Int64[Tensor, "h s"], farthest: bool
    ) -> Int64[Tensor, "h s"]:
        """Returns the place of the nearest negative beyond each bound; see `Judge`."""
        from trine.engine.compiled.rectangle import square_rows

        number, few = bounds.shape[1], bounds.shape[1] <= FEW
        if few:
            limits, at = bounds.sort(1)  # where nothing is searched has to come last
            pad = (0, 0, 0, -number % 4)
            places = F.pad(positives.gather(1, at).T, pad, value=-1)
            found = self._searched(F.pad(limits.T, pad, value=torch.inf), places)[:number].T
            found = torch.empty_like(found).scatter_(1, at, found)
            if not farthest:
                return found
        square_rows(self.tile.numpy(), *self.field.sides(self.block, self.field.layout.references))
        return self._or_farthest(found, bounds) if few else super().beyond(bounds, positives, farthest)

    def _searched(self, bounds: Tensor, positives: Tensor) -> Tensor:
        from trine.engine.compiled.winners import nearest_tile

        field = self.field
        best, index = torch.full_like(bounds, FAR), torch.full_like(positives, -1)
        nearest_tile(
            self.tile.numpy(),
            *field.sides(self.block, field.layout.references),
            bounds.numpy(),
            bounds[:0].numpy(),
            positives.numpy(),
            positives[:0].numpy(),
            field.tolerance.numpy(),
            field.layout.order.numpy(),
            best.numpy(),
            best[:0].numpy(),
            index.numpy(),
            index[:0].numpy(),
        )
        return index
