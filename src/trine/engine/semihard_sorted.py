"""Semi-hard negatives for large classes: all positives of an anchor are served by one look at its negatives.

A search for each positive takes time with the square of the class. Here the positives are sorted, and the
rank of a negative among them says whose negative it may be. Distances are products in float64, as in the
exact pass, so that two of them can be compared as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trine.engine.float64_distances import duplicates
from trine.engine.layout import Group
from trine.engine.numba_backend import CompiledField
from trine.engine.objective import Objective, Tally
from trine.engine.tiles import run_tiles
from trine.shapes import Float

MANY = 40  # positives from which this is faster than a search for each
_PAIRS = 1 << 19  # distances held at once
_DENSE = 9  # of so many rows one is a positive: then a product is faster than to touch single pairs


@dataclass
class _Share:
    """What one worker adds up."""

    gradient: Tensor | None
    tally: Tally = field(default_factory=Tally)


class RankedPass:
    """The loss of anchors with many positives, by ranks.

    Args:
        batch: The sorted batch.
        objective: The loss; its rule takes all positives and a semi-hard negative.
    """

    def __init__(self, batch: CompiledField, objective: Objective) -> None:
        self.field, self.objective = batch, objective
        rows = batch.precise(slice(None))
        self.rows = rows - rows.mean(0).bfloat16().double()
        self.norms = self.rows.square().sum(1)
        # Equal rows share their distances, so that a tie is a tie.
        self.copies, self.originals = duplicates(rows)

    def run(self, groups: list[Group], gradient: Float[Tensor, "n d"] | None, workers: int) -> Tally:
        """Returns the sums over the anchors of some groups, and adds to the gradient at the sorted rows."""

        def share() -> _Share:
            return _Share(None if gradient is None else torch.zeros_like(gradient))

        tally = Tally()
        for part in run_tiles(self._strips(groups), share, self._strip, workers):
            tally.add(part.tally)
            if gradient is not None and part.gradient is not None:
                gradient += part.gradient
        return tally

    def _strips(self, groups: list[Group]) -> Iterator[tuple[int, int]]:
        step = max(1, _PAIRS // len(self.rows))
        for group in groups:
            for first in range(group.start, group.stop, group.size):
                for start in range(first, first + group.size, step):
                    yield start, min(start + step, first + group.size)

    def _strip(self, share: _Share, start: int, stop: int) -> None:
        objective, batch = self.objective, self.field
        first, last = int(batch.layout.first[start]), int(batch.layout.last[start])
        near, place, far, negative = self._triplets(start, stop, first, last)
        d_ap, d_an, live = batch.measured(near), batch.measured(far), negative >= 0
        if objective.margin is None:
            gap = (d_ap - d_an).masked_fill_(~live, -torch.inf)
            values, pull = torch.nn.functional.softplus(gap), torch.sigmoid(gap)
        else:
            gap = (d_ap + objective.margin - d_an).masked_fill_(~live, -torch.inf)
            values, pull = gap.clamp(min=0), (gap > 0).double()
        per_anchor = live.sum(1)
        if objective.reduction == "anchor":
            each = 1.0 / per_anchor.clamp(min=1)[:, None].double()
            value, pull = (values * each).sum(), pull * each
        else:
            value = values.sum()
        share.tally.add(
            Tally(float(value), int((values > 0).sum()), int(live.sum()), int((per_anchor > 0).sum()))
        )
        if share.gradient is not None:
            self._pull_positives(share.gradient, start, stop, first, last, place, pull * batch.slope(near))
            self._push_negatives(share.gradient, start, stop, negative, pull * batch.slope(far))

    def _triplets(
        self, start: int, stop: int, first: int, last: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns (d², place in the class) of the positives, nearest first; (d², row) of the negatives."""
        from trine.engine.compiled.ranked import nearest_beyond, squares

        d = self.rows[start:stop] @ self.rows.T
        squares(d.numpy(), start, self.norms.numpy(), self.rows.numpy())
        d.clamp_(min=0)
        d[:, self.copies] = d[:, self.originals]
        mates = d[:, first:last].clone()
        mates.diagonal(start - first).fill_(-1)  # itself comes first, and is left out
        place = torch.from_numpy(mates.numpy().argsort(1)[:, 1:])
        near = mates.gather(1, place)
        far, negative = torch.empty_like(near), torch.empty_like(place)
        nearest_beyond(
            d.numpy(),
            first,
            last,
            near.numpy(),
            self.field.layout.order.numpy(),
            self.objective.mining.negative == "semihard",
            far.numpy(),
            negative.numpy(),
        )
        return near, place, far, negative

    def _pull_positives(
        self,
        gradient: Tensor,
        start: int,
        stop: int,
        first: int,
        last: int,
        place: Tensor,
        weights: Tensor,
    ) -> None:
        rows = self.rows[first:last] - self.rows[first:last].mean(0)
        mine = rows[start - first : stop - first]
        dense = weights.new_zeros(len(mine), len(rows)).scatter_(1, place, weights)
        own = (dense.sum(1, keepdim=True) * mine).addmm_(dense, rows, alpha=-1)
        gradient[start:stop] += own.to(gradient.dtype)
        back = (dense.sum(0)[:, None] * rows).addmm_(dense.T, mine, alpha=-1)
        gradient[first:last] += back.to(gradient.dtype)

    def _push_negatives(
        self, gradient: Tensor, start: int, stop: int, negative: Tensor, weights: Tensor
    ) -> None:
        if _DENSE * negative.shape[1] < len(self.rows):
            row, k = (weights > 0).nonzero(as_tuple=True)
            self.field.pull_pairs(row + start, negative[row, k], -weights[row, k], gradient)
            return
        rows = self.field.right[:, : self.field.width]
        mine = rows[start:stop]
        dense = mine.new_zeros(len(mine), len(rows))
        dense.scatter_add_(1, negative.clamp(min=0), weights.float())
        gradient[start:stop] -= (dense.sum(1, keepdim=True) * mine).addmm_(dense, rows, alpha=-1)
        gradient -= (dense.sum(0)[:, None] * rows).addmm_(dense.T, mine, alpha=-1)
