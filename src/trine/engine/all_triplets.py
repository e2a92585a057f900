"""Batch-all with a hinge, by counting: no triplet is ever listed.

For an anchor, a negative at distance d is active against exactly the positives with d_ap + α > d. So the
loss is Σ (d_ap + α)·n_ap − Σ d_an·c_an, where n and c say how many active triplets a pair is in, and the
gradient takes n and c for weights. A tile of distances gives both sides their counts, and one product
turns the counts of both into gradients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from trine.engine.layout import Block
from trine.engine.objective import Objective, Tally, finished
from trine.engine.sorted_batch import Field
from trine.engine.tiles import run_tiles, upper_triangle

_PAIRS = 1 << 17  # positives handled at once in float64
MANY = 128  # positives from which a search for the rank of a distance is faster than comparing with each


@dataclass
class Sums:
    """What one worker adds up.

    Attributes:
        value: Σ ℓ with the soft margin; with a hinge the part of the negatives, −Σ d_an·c_an.
        gradient: Σ w·[y, 1] for each row; nothing where no gradient is asked for.
        counts: The weight of each positive, laid out as the thresholds are.
        buffers: Tiles.
        seen: What the witness of the pass has seen, where it has one.
    """

    value: float
    gradient: Tensor | None
    counts: list[Tensor]
    buffers: list[Tensor]
    seen: Any = None

    def buffer(self, number: int, i: Block, j: Block) -> Tensor:
        """Returns one of the buffers, in the shape of a tile."""
        return self.buffers[number][: len(i) * len(j)].view(len(i), len(j))


class Witness(Protocol):
    """Sees each tile of a pass before the pass writes over it."""

    def start(self) -> Any:
        """Returns what one worker's tiles are kept in."""

    def look(self, seen: Any, i: int, j: int, tile: Tensor) -> None:
        """Looks at tile (i, j)."""

    def end(self, parts: list[Any]) -> None:
        """Takes what was kept for all workers."""


class Kernel(ABC):
    """The part of the pass that looks into a tile.

    Args:
        field: The sorted batch.
        blocks: Its blocks.
        thresholds: What negatives are compared with, for each group, (rows, positives).
        witness: Sees each tile besides.
    """

    buffers = 1

    def __init__(
        self, field: Field, blocks: list[Block], thresholds: list[Tensor], witness: Witness | None
    ) -> None:
        self.field, self.blocks, self.witness = field, blocks, witness
        self.laid = field.by_block(blocks, thresholds, -1.0)

    def counts(self) -> list[Tensor]:
        """Returns zeros to count in."""
        return [torch.zeros_like(t) for t in self.laid]

    def counted(self, counts: list[Tensor]) -> list[Tensor]:
        """Returns finished counts as (positives, rows) of each block."""
        return counts

    def show(self, sums: Sums, i: int, j: int, tile: Tensor) -> None:
        """Shows the witness a tile as the field makes it."""
        if self.witness is not None:
            self.witness.look(sums.seen, i, j, tile)

    @abstractmethod
    def tile(self, sums: Sums, i: int, j: int) -> Tensor | None:
        """Adds tile (i, j), seen from both ends; returns the weights of its pairs, unless it used them."""


def batch_all(
    field: Field,
    objective: Objective,
    asks: bool,
    kernel_of: type[Kernel],
    workers: int,
    witness: Witness | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss over all triplets and its gradient.

    Args:
        field: The sorted batch.
        objective: The loss; its rule selects all triplets.
        asks: Whether the gradient is asked for.
        kernel_of: What looks into the tiles.
        workers: How many threads share them.
        witness: Sees each tile besides.
    """
    layout, margin = field.layout, objective.margin
    blocks, width = field.blocks, field.width + 1
    size = max(len(block) for block in blocks) ** 2
    squared = [field.positives(group) for group in layout.groups]
    thresholds = [field.measured(d) for d in squared]
    if margin is not None:
        thresholds = [field.squared(d + margin) for d in thresholds]
    kernel = kernel_of(field, blocks, thresholds, witness)

    def state() -> Sums:
        return Sums(
            0.0,
            field.right.new_zeros(layout.rows, width) if asks else None,
            kernel.counts(),
            [field.right.new_empty(size) for _ in range(kernel.buffers)],
            None if witness is None else witness.start(),
        )

    def work(sums: Sums, i: int, j: int) -> None:
        weights = kernel.tile(sums, i, j)
        if sums.gradient is None or weights is None:
            return
        a, b = blocks[i].rows, blocks[j].rows
        if i == j:
            weights = weights + weights.T
        sums.gradient[a].addmm_(weights, field.right[b, :width])
        if i != j:
            sums.gradient[b].addmm_(weights.T, field.right[a, :width])

    parts = run_tiles(upper_triangle(blocks, layout), state, work, workers)
    if witness is not None:
        witness.end([part.seen for part in parts])
    whole = parts[0]
    for part in parts[1:]:
        whole.value += part.value
        for mine, other in zip(whole.counts, part.counts, strict=True):
            mine += other
        if whole.gradient is not None and part.gradient is not None:
            whole.gradient += part.gradient
    counts = field.to_groups(blocks, kernel.counted(whole.counts), [d.shape[1] for d in squared])
    tally = Tally(whole.value, 0, layout.triplets)
    if margin is not None:
        for n, d in zip(counts, squared, strict=True):
            rows = max(1, _PAIRS // max(1, n.shape[1]))
            for some, near in zip(torch.split(n, rows), torch.split(d, rows), strict=True):
                tally.value += float((some * (field.measured(near).double() + margin)).sum())
                tally.active += int(some.sum(dtype=torch.float64))
    gradient = None
    if whole.gradient is not None:
        gradient = _gradient(field, whole.gradient, counts, squared)
    loss, gradient, _ = finished(tally, objective, field.raw, gradient, None)
    return loss, None if gradient is None else field.in_batch_order(gradient), None


def _gradient(field: Field, weighted: Tensor, counts: list[Tensor], squared: list[Tensor]) -> Tensor:
    """Joins Σ w·y − (Σ w)·x of the negatives with the pull of the positives."""
    rows = field.right[:, : field.width]
    gradient = weighted[:, : field.width] - weighted[:, field.width :] * rows
    if field.distance == "squared_euclidean":
        gradient *= 2
    for group, n, d in zip(field.layout.groups, counts, squared, strict=True):
        if group.size > 1:
            field.pull_positives(group, field.slope(d).mul_(n), gradient)
    return gradient


class CountKernel(Kernel):
    """Counts in plain torch, on any device."""

    buffers = 3

    def tile(self, sums: Sums, i: int, j: int) -> Tensor:
        """Adds a tile; see `Kernel`."""
        field, a, b = self.field, self.blocks[i], self.blocks[j]
        tile, below, c = (sums.buffer(number, a, b) for number in range(3))
        self.show(sums, i, j, field.tile(a, b, tile))
        c.zero_()
        _count_side(tile, self.laid[i], sums.counts[i], below, c)
        if i != j:
            _count_side(tile.T, self.laid[j], sums.counts[j], below.T, c.T)
        if field.distance != "euclidean":
            torch.mul(c, tile, out=below)
            half = 2 if field.distance == "cosine" else 1
            sums.value -= float(below.sum(1).sum(dtype=torch.float64)) / half
            return c
        torch.sqrt(tile, out=below)
        below.mul_(c)
        sums.value -= float(below.sum(1).sum(dtype=torch.float64))
        # c/d as c·d/d², and 0 at d = 0.
        return torch.div(below, tile.add_(1e-30), out=c)


def _count_side(tile: Tensor, thresholds: Tensor, counts: Tensor, below: Tensor, c: Tensor) -> None:
    if len(thresholds) > MANY:
        _rank_side(tile, thresholds, counts, c)
        return
    for k in range(len(thresholds)):
        torch.lt(tile, thresholds[k, :, None], out=below)
        c += below
        counts[k] += below.sum(1)


def _rank_side(tile: Tensor, thresholds: Tensor, counts: Tensor, c: Tensor) -> None:
    """The same by ranks, where the positives are many: each distance is looked up among the thresholds."""
    in_order, place = thresholds.T.contiguous().sort(1)
    width = in_order.shape[1]
    first = torch.searchsorted(in_order, tile.contiguous(), right=True, out_int32=True)
    c += width - first
    first += torch.arange(len(first), dtype=torch.int32, device=tile.device)[:, None] * (width + 1)
    starts = torch.bincount(first.flatten(), minlength=len(first) * (width + 1)).view(-1, width + 1)
    n = torch.empty_like(in_order).scatter_(1, place, starts.cumsum(1)[:, :width].float())
    counts += n.T
