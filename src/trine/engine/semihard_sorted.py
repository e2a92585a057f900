"""Semi-hard negatives for large classes: for each anchor, one pass over its negatives serves all positives.

A search for each positive is quadratic in class size. Here the positives are sorted, and the rank of a
negative among them shows whose negative it can be. Distances are products in float64, as in the float64
blocks, so they can be compared directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from trine.engine.float64_distances import duplicates
from trine.engine.layout import Group
from trine.engine.numba_backend import NumbaBatch
from trine.engine.objective import Objective, Tally, values_and_weights
from trine.engine.sorted_batch import Accumulator
from trine.engine.tiles import run_tiles

_PAIRS = 1 << 19  # distances held at once
_DENSE = 9  # if one of this many rows is a positive, a product is faster than single pairs


class SortedPositives:
    """The loss of anchors with many positives, by ranks.

    Args:
        batch: The sorted batch.
        objective: The loss; its rule takes all positives and a semi-hard negative.
    """

    def __init__(self, batch: NumbaBatch, objective: Objective) -> None:
        self.batch, self.objective = batch, objective
        self.references = batch.layout.references
        rows = batch.precise(slice(None))
        self.rows = rows - rows.mean(0).bfloat16().double()
        self.norms = self.rows.square().sum(1)
        # Unit rows at right angles, to rounding, are at squared distance 2 exactly.
        self.slack = -1.0 if batch.cosine is None else 2 * batch.cosine.slack
        # Equal rows share their distances, so that ties are exact.
        self.copies, self.originals = duplicates(rows[self.references.rows])

    def run(self, groups: list[Group], state: Callable[[], Accumulator], workers: int) -> list[Accumulator]:
        """Returns each worker's sums over the anchors of some groups."""
        return run_tiles(self._strips(groups), state, self._strip, workers)

    def _strips(self, groups: list[Group]) -> Iterator[tuple[int, int]]:
        step = max(1, _PAIRS // len(self.references))
        for group in groups:
            for first in range(group.start, group.stop, group.anchors):
                for start in range(first, first + group.anchors, step):
                    yield start, min(start + step, first + group.anchors)

    def _strip(self, total: Accumulator, start: int, stop: int) -> None:
        """Adds the anchors of a strip, which are of one class."""
        objective, batch = self.objective, self.batch
        first, last = int(batch.layout.first[start]), int(batch.layout.last[start])
        near, place, far, negative = self._triplets(start, stop, first, last)
        live = (negative >= 0) & (near < torch.inf)
        d_ap = batch.measured(near).masked_fill(~live, -torch.inf)
        values, weight = values_and_weights(d_ap, batch.measured(far), objective.margin)
        per_anchor = live.sum(1)
        if objective.reduction == "anchor":
            each = 1.0 / per_anchor.clamp(min=1)[:, None].double()
            value, weight = (values * each).sum(), weight * each
        else:
            value = values.sum()
        total.tally.add(
            Tally(float(value), int((values > 0).sum()), int(live.sum()), int((per_anchor > 0).sum()))
        )
        if total.gradient is not None:
            self._pull_positives(total, start, stop, first, last, place, weight * batch.slope(near))
            self._push_negatives(total, start, stop, negative, weight * batch.slope(far))

    def _triplets(
        self, start: int, stop: int, first: int, last: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns (d², place in the class) of the positives, nearest first; (d², place) of the negatives."""
        from trine.engine.compiled.ranked import nearest_beyond, squares

        layout, r0 = self.batch.layout, self.references.start
        d = self.rows[start:stop] @ self.rows[self.references.rows].T
        squares(d.numpy(), start, r0, self.norms.numpy(), self.rows.numpy(), self.slack)
        d.clamp_(min=0)
        d[:, self.copies] = d[:, self.originals]
        mates = d[:, first - r0 : last - r0].clone()
        if layout.square:
            mates.diagonal(start - first).fill_(-1)  # the anchor itself comes first, and is left out
        elif layout.items is not None:
            mates[layout.items[first:last] == layout.items[start:stop, None]] = torch.inf
        place = torch.from_numpy(mates.numpy().argsort(1)[:, int(layout.square) :])
        near = mates.gather(1, place)
        far, negative = torch.empty_like(near), torch.empty_like(place)
        nearest_beyond(
            d.numpy(),
            first - r0,
            last - r0,
            near.numpy(),
            layout.order[self.references.rows].numpy(),
            self.objective.mining.negative == "semihard",
            far.numpy(),
            negative.numpy(),
        )
        far.masked_fill_(negative < 0, 0)
        return near, place, far, torch.where(negative < 0, -1, negative + r0)

    def _pull_positives(
        self,
        total: Accumulator,
        start: int,
        stop: int,
        first: int,
        last: int,
        place: Tensor,
        weights: Tensor,
    ) -> None:
        centre = self.rows[first:last].mean(0)
        rows, mine = self.rows[first:last] - centre, self.rows[start:stop] - centre
        dense = weights.new_zeros(len(mine), len(rows)).scatter_(1, place, weights)
        _add_product(total, slice(start, stop), dense, mine, rows)
        _add_product(total, slice(first, last), dense.T, rows, mine)

    def _push_negatives(
        self, total: Accumulator, start: int, stop: int, negative: Tensor, weights: Tensor
    ) -> None:
        references = self.references
        if _DENSE * negative.shape[1] < len(references):
            row, k = (weights > 0).nonzero(as_tuple=True)
            self.batch.pull_pairs(row + start, negative[row, k], -weights[row, k], total)
            return
        rows = self.batch.right[:, : self.batch.width]
        mine, others = rows[start:stop], rows[references.rows]
        dense = mine.new_zeros(len(mine), len(others))
        dense.scatter_add_(1, (negative - references.start).clamp(min=0), -weights.float())
        _add_product(total, slice(start, stop), dense, mine, others)
        _add_product(total, references.rows, dense.T, others, mine)


def _add_product(total: Accumulator, places: slice, weights: Tensor, x: Tensor, y: Tensor) -> None:
    """Adds the gradient at x of ½ Σ w‖x − y‖² over all pairs."""
    part = total.part(places)
    if part is not None:
        part += (weights.sum(1, keepdim=True) * x).addmm_(weights, y, alpha=-1).to(part.dtype)
