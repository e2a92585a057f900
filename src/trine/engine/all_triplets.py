"""The loss over all triplets of a batch, in tiles: triplets are never listed.

For an anchor, a negative at distance d is active against exactly the positives with d_ap + α > d. So the
hinge loss is Σ (d_ap + α)·n_ap − Σ d_an·c_an, where n and c say how many active triplets a pair is in, and
the gradient takes n and c for weights. A tile of distances yields the counts of its rows and of its columns,
and one product turns both into gradients.

The soft margin does not separate into counts, so every triplet of a tile is computed:
softplus(d_ap − d_an) = log(1 + u·v) with u = exp(d_ap), v = exp(−d_an), one exponential per distance. The
product of 1 + u·v over four triplets is kept as q = ∏ − 1, so that a small term stays whole, and takes one
log1p. Where a distance is too large for that, softplus is computed directly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from trine.engine.layout import Block, Part
from trine.engine.objective import Objective, reduce
from trine.engine.sorted_batch import Accumulator, SortedBatch
from trine.engine.tiles import run_tiles
from trine.shapes import Float

_PAIRS = 1 << 17  # positives handled at once in float64
_LONGEST = 20.0  # the product of four of its exponentials is finite in float32
_TOGETHER = 4  # triplets that share a logarithm


@dataclass
class TileState:
    """What one worker has accumulated over its tiles.

    Attributes:
        total: The sums.
        value: With the soft margin Σ ℓ of each anchor; with a hinge the negatives' part, −Σ d_an·c_an. A tile
            that serves rows and columns is credited to its rows.
        counts: The weight of each positive, laid out as the thresholds are.
        seen: What the tile observer has accumulated, if there is one.
    """

    total: Accumulator
    value: Float[Tensor, " n"]
    counts: list[Tensor]
    seen: Any = None


class TileObserver(Protocol):
    """Sees each tile of a loss before the loss overwrites it."""

    def start(self) -> Any:
        """Returns an accumulator for one worker."""

    def visit(self, seen: Any, i: int, j: int, tile: Tensor) -> None:
        """Observes tile (i, j)."""

    def end(self, parts: list[Any]) -> None:
        """Merges the accumulators of all workers."""


class TileKernel(ABC):
    """Computes the loss and the weights of one tile.

    Args:
        batch: The sorted batch.
        part: The anchors.
        thresholds: What negatives are compared with, for each group, (anchors, positives).
        observer: Sees each tile besides.
    """

    def __init__(
        self, batch: SortedBatch, part: Part, thresholds: list[Tensor], observer: TileObserver | None
    ) -> None:
        self.batch, self.part, self.observer = batch, part, observer
        self.start = part.blocks[0].start
        self.laid = batch.by_block(part, thresholds, -1.0)

    def counts(self) -> list[Tensor]:
        """Returns zeros to count in."""
        return [torch.zeros_like(t) for t in self.laid]

    def finished(self, counts: list[Tensor]) -> list[Tensor]:
        """Returns the final counts as (positives, anchors) of each block."""
        return counts

    def observe(self, state: TileState, i: int, j: int, tile: Tensor) -> None:
        """Passes a tile of the batch to the observer."""
        if self.observer is not None:
            self.observer.visit(state.seen, i, j, tile)

    def values(self, state: TileState, block: Block) -> Tensor:
        """Returns the values of the anchors of a block, for adding to."""
        return state.value[block.start - self.start : block.stop - self.start]

    @abstractmethod
    def tile(self, state: TileState, i: int, j: int) -> Tensor:
        """Adds tile (i, j) for its rows and, in a square batch, its columns; returns pair weights."""


def all_triplets_loss(
    batch: SortedBatch,
    objective: Objective,
    needs_grad: tuple[bool, bool],
    kernel_of: type[TileKernel],
    workers: int,
    observer: TileObserver | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss over all triplets and the gradients needed.

    Args:
        batch: The sorted batch.
        objective: The loss; its rule selects all triplets.
        needs_grad: Whether the gradients at the anchors and at the references are needed.
        kernel_of: Computes the tiles.
        workers: How many threads share them.
        observer: Sees each tile besides.
    """
    parts = batch.parts(workers)
    # Workers share the tiles of a square batch, and otherwise its parts.
    outer, inner = (1, workers) if batch.layout.square else (workers, 1)

    def state() -> Accumulator:
        return batch.accumulator(needs_grad, batch.width + 1)

    def work(total: Accumulator, part: Part) -> None:
        _add_part(batch, part, objective, kernel_of, observer, total, state, inner)

    totals = run_tiles(((part,) for part in parts), state, work, outer)
    total = totals[0]
    for other in totals[1:]:
        total.add(other)
    scale = 2.0 if batch.distance == "squared_euclidean" else 1.0
    return reduce(total.tally, objective, batch.x, *batch.in_batch_order(total), scale=scale)


def _add_part(
    batch: SortedBatch,
    part: Part,
    objective: Objective,
    kernel_of: type[TileKernel],
    observer: TileObserver | None,
    total: Accumulator,
    fresh: Any,
    workers: int,
) -> None:
    margin = objective.margin
    squared = [batch.positives(group) for group in part.groups]
    thresholds = [batch.measured(d) for d in squared]
    if margin is not None:
        thresholds = [batch.squared(d + margin) for d in thresholds]
    if batch.layout.items is not None:
        thresholds = [
            t.masked_fill_(~batch.layout.positive(group, batch.layout.mates(group)), -1.0)
            for group, t in zip(part.groups, thresholds, strict=True)
        ]
    kernel, places = kernel_of(batch, part, thresholds, observer), part.places
    share, unused = _share(batch, part, objective), [total]

    def state() -> TileState:
        mine = unused.pop() if unused else fresh()
        value = batch.right.new_zeros(places.stop - places.start, dtype=torch.float64)
        return TileState(mine, value, kernel.counts(), None if observer is None else observer.start())

    def work(mine: TileState, i: int, j: int) -> None:
        weights = kernel.tile(mine, i, j)
        if mine.total.gradient is None:
            return
        a, b = part.sides[i], part.sides[j]
        if share is not None:
            weights *= share[a.start - places.start : a.stop - places.start, None]
        batch.add_weights(weights, a, b, mine.total, sparse=margin is not None)

    states = run_tiles(part.tiles(batch.layout), state, work, workers)
    if observer is not None:
        observer.end([mine.seen for mine in states])
    whole = states[0]
    for other in states[1:]:
        whole.value += other.value
        for mine, more in zip(whole.counts, other.counts, strict=True):
            mine += more
    for each in states:
        if each.total is not total:  # any worker may have taken `total` to add to
            total.add(each.total)
    counts = batch.to_groups(part, kernel.finished(whole.counts), [d.shape[1] for d in squared])
    _add_positives(batch, part, objective, squared, counts, share, total)
    total.tally.value += float((whole.value if share is None else whole.value * share).sum())


def _share(batch: SortedBatch, part: Part, objective: Objective) -> Tensor | None:
    """The weight of each triplet of an anchor; None where all weigh 1."""
    if objective.reduction != "anchor":
        return None
    return 1.0 / batch.layout.triplets[part.places].clamp(min=1).float()


def _add_positives(
    batch: SortedBatch,
    part: Part,
    objective: Objective,
    squared: list[Tensor],
    counts: list[Tensor],
    share: Tensor | None,
    total: Accumulator,
) -> None:
    """Adds the positives' part of the loss and of its gradient, from the counts."""
    margin, tally, start = objective.margin, total.tally, part.places.start
    triplets = batch.layout.triplets[part.places]
    tally.triplets += int(triplets.sum())
    tally.anchors += int((triplets > 0).sum())
    for group, n, d in zip(part.groups, counts, squared, strict=True):
        if margin is not None:
            tally.active += int(n.sum(dtype=torch.float64))
        if share is not None:
            n = n * share[group.start - start : group.stop - start, None]
        if margin is not None:
            rows = max(1, _PAIRS // max(1, n.shape[1]))
            for some, near in zip(torch.split(n, rows), torch.split(d, rows), strict=True):
                tally.value += float((some * (batch.measured(near).double() + margin)).sum())
        if total.gradient is not None:
            # The factor 2 of squared distances comes with the reduction.
            weights = batch.slope(d).mul_(n) if batch.distance == "euclidean" else n
            batch.pull_positives(group, weights, total)


class TorchHinge(TileKernel):
    """Counts in plain torch, on any device."""

    def tile(self, state: TileState, i: int, j: int) -> Tensor:
        """Adds a tile; see `TileKernel`."""
        batch, a, b = self.batch, self.part.sides[i], self.part.sides[j]
        tile, below, c = (state.total.buffer(number, batch.right, a, b) for number in range(3))
        self.observe(state, i, j, batch.tile(a, b, tile))
        c.zero_()
        self._count(tile, i, state, below, c)
        if self.part.both_ends(i, j):
            self._count(tile.T, j, state, below.T, c.T)
        value = self.values(state, a)
        if batch.distance != "euclidean":
            torch.mul(c, tile, out=below)
            value -= batch.measured(below.sum(1))
            return c
        torch.sqrt(tile, out=below)
        below.mul_(c)
        value -= below.sum(1)
        # c/d as c·d/d², and 0 at d = 0.
        return torch.div(below, tile.add_(1e-30), out=c)

    def _count(self, tile: Tensor, side: int, state: TileState, below: Tensor, c: Tensor) -> None:
        thresholds, counts = self.laid[side], state.counts[side]
        if len(thresholds) > (self.batch.plan.ranks_from or self.batch.ranks_from):
            _count_by_rank(tile, thresholds, counts, c)
            return
        for k in range(len(thresholds)):
            torch.lt(tile, thresholds[k, :, None], out=below)
            c += below
            counts[k] += below.sum(1)


def _count_by_rank(tile: Tensor, thresholds: Tensor, counts: Tensor, c: Tensor) -> None:
    """The same by ranks, for many positives: each distance is looked up among the thresholds."""
    in_order, place = thresholds.T.contiguous().sort(1)
    width = in_order.shape[1]
    first = torch.searchsorted(in_order, tile.contiguous(), right=True, out_int32=True)
    c += width - first
    first += torch.arange(len(first), dtype=torch.int32, device=tile.device)[:, None] * (width + 1)
    starts = torch.bincount(first.flatten(), minlength=len(first) * (width + 1)).view(-1, width + 1)
    n = torch.empty_like(in_order).scatter_(1, place, starts.cumsum(1)[:, :width].float())
    counts += n.T


class TorchSoft(TileKernel):
    """The soft margin in plain torch, on any device and at any distance."""

    def tile(self, state: TileState, i: int, j: int) -> Tensor:
        """Adds a tile; see `TileKernel`."""
        batch, a, b = self.batch, self.part.sides[i], self.part.sides[j]
        tile, d, c, w, q = (state.total.buffer(number, batch.right, a, b) for number in range(5))
        self.observe(state, i, j, batch.tile(a, b, tile))
        _distances(batch, tile, d)
        c.zero_()
        value = self.values(state, a)
        sides = [(d, self.laid[i], state.counts[i], w, q, c)]
        if self.part.both_ends(i, j):
            sides.append((d.T, self.laid[j], state.counts[j], w.T, q.T, c.T))
        in_products = has_short_distances(batch)
        v = torch.exp(-d) if in_products else d
        for number, (end, (side, d_ap, counts, *scratch)) in enumerate(zip((v, v.T), sides, strict=False)):
            if in_products:
                credited = _by_products(end, d_ap, counts, *scratch)
            else:
                credited = _directly(side, d_ap, counts, scratch[-1])
            if number:  # columns are credited to the rows
                value[0] += credited.sum()
            else:
                value += credited
        if batch.distance == "euclidean":
            return torch.where(d > 0, c / d, 0.0)
        return c


def has_short_distances(batch: SortedBatch) -> bool:
    """Whether every distance of the batch is short enough for products of exponentials."""
    return float(batch.measured(batch.norms.max() * 4)) < _LONGEST


def _distances(batch: SortedBatch, tile: Tensor, out: Tensor) -> None:
    if batch.distance == "euclidean":
        torch.sqrt(tile, out=out)
    elif batch.distance == "cosine":
        torch.div(tile, 2, out=out)
    else:
        out.copy_(tile)


def _by_products(v: Tensor, d_ap: Tensor, counts: Tensor, w: Tensor, q: Tensor, c: Tensor) -> Tensor:
    u = torch.where(d_ap >= 0, d_ap.exp(), 0.0)  # empty places are below 0
    value = v.new_zeros(len(v), dtype=torch.float64)
    for start in range(0, len(u), _TOGETHER):
        q.zero_()
        for k in range(start, min(start + _TOGETHER, len(u))):
            torch.mul(v, u[k, :, None], out=w)
            torch.addcmul(q, q, w, out=q).add_(w)  # ∏(1 + w) − 1, without the 1 that would swallow it
            w.div_(w + 1)
            c += w
            counts[k] += w.sum(1)
        value += _log1p_(q, w).sum(1)
    return value


def _log1p_(q: Tensor, scratch: Tensor) -> Tensor:
    """log(1 + q) in place, q ≥ 0; torch's own log1p, which is not vectorised, takes ten times as long."""
    u = torch.add(q, 1, out=scratch)
    q.sub_(u - 1).div_(u)  # what 1 + q has rounded away
    return q.add_(u.log_())


def _directly(d: Tensor, d_ap: Tensor, counts: Tensor, c: Tensor) -> Tensor:
    value = d.new_zeros(len(d), dtype=torch.float64)
    for k in range(len(d_ap)):
        here = d_ap[k] >= 0
        gap = torch.where(here, d_ap[k], -torch.inf)[:, None] - d
        weight = torch.sigmoid(gap)
        value += F.softplus(gap).sum(1)
        c += weight
        counts[k] += weight.sum(1)
    return value
