"""The census in tiles: each distance is compared with d_ap and with d_ap + α, and then forgotten.

A float32 product within rounding of what it is compared with is not decisive. Such near-ties are recomputed
from coordinate differences, in place by the numba kernel and afterwards in plain torch, so the counts are
exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trine.engine.layout import Block
from trine.engine.numba_backend import KINDS, NumbaBatch
from trine.engine.one_negative import positives_of
from trine.engine.relations import RelationRows
from trine.engine.search import distances_to_negatives
from trine.engine.sorted_batch import SortedBatch
from trine.engine.tiles import run_tiles
from trine.triplets import Census

_POSITIVES = 1 << 21  # pairs for which the buffers stay within 100 MB
_PAIRS = 1 << 19  # distances held at once when recounting
_ROUNDING = 2.0**-22  # relative to a threshold: a root, a sum, a square and a cast, with room


@dataclass
class Counts:
    """Sums of a census over part of a batch.

    Attributes:
        triplets: Valid triplets.
        hard: Those with d_an ≤ d_ap.
        active: Those with d_an < d_ap + α.
        within: Those that are hard or active.
        positive_pairs: Positive pairs of valid triplets.
        negative_pairs: Negative pairs of valid triplets.
        positive_sum: Σ d_ap over those pairs.
        negative_sum: Σ d_an over those pairs.
    """

    triplets: int = 0
    hard: int = 0
    active: int = 0
    within: int = 0
    positive_pairs: int = 0
    negative_pairs: int = 0
    positive_sum: float = 0.0
    negative_sum: float = 0.0

    def add(self, other: Counts) -> None:
        """Adds another part of the batch."""
        for name in vars(other):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def census(self) -> Census:
        """Returns the census."""
        return Census(
            easy=self.triplets - self.within,
            semihard=self.within - self.hard,
            hard=self.hard,
            active=self.active,
            mean_positive_distance=_mean(self.positive_sum, self.positive_pairs),
            mean_negative_distance=_mean(self.negative_sum, self.negative_pairs),
        )


def _mean(total: float, number: int) -> float:
    return total / number if number else math.nan


def count_block(d: Tensor, rows: RelationRows, margin: float) -> Counts:
    """Counts the triplets of a block of anchors, from their distances."""
    positive = rows.positive & rows.negative.any(1)[:, None]
    negative = rows.negative & rows.positive.any(1)[:, None]
    row, column = positive.nonzero(as_tuple=True)
    positives = torch.bincount(row, minlength=len(d))
    place = torch.arange(len(row), device=d.device) - (positives.cumsum(0) - positives)[row]
    d_ap = d.new_full((len(d), int(positives.max()) if len(d) else 0), -torch.inf)
    d_ap[row, place] = d[row, column]
    # How many of the anchor's negatives are at most, or below, a distance: from a sorted row.
    in_order = d.masked_fill(~negative, torch.inf).sort(1).values
    hard = torch.searchsorted(in_order, d_ap, right=True)
    active = torch.searchsorted(in_order, d_ap + margin, right=False)
    return Counts(
        triplets=int((positives * negative.sum(1)).sum()),
        hard=int(hard.sum()),
        active=int(active.sum()),
        within=int(torch.maximum(hard, active).sum()),
        positive_pairs=len(row),
        negative_pairs=int(negative.sum()),
        positive_sum=float(d[row, column].sum(dtype=torch.float64)),
        negative_sum=float(d[negative].sum(dtype=torch.float64)),
    )


@dataclass
class Seen:
    """What one worker has counted, for each block.

    Attributes:
        hard: Negatives at most as far as each positive, (positives, rows).
        active: Negatives nearer than each positive and α.
        sums: Σ d_an of each row.
        unsure: Positives whose counts depend on rounding, (positives, rows).
        buffers: A transposed tile, and room to compare in.
    """

    hard: list[Tensor]
    active: list[Tensor]
    sums: list[Tensor]
    unsure: list[Tensor]
    buffers: list[Tensor]

    def add(self, other: Seen) -> None:
        """Adds what another worker has counted."""
        for name in ("hard", "active", "sums", "unsure"):
            for mine, more in zip(getattr(self, name), getattr(other, name), strict=True):
                mine += more


def counts_in_tiles(batch: SortedBatch) -> bool:
    """Whether comparing with each positive is faster than sorting the row; both count the same."""
    layout = batch.layout
    most = min(_POSITIVES, batch.census_positives * layout.rows)
    return layout.square and layout.positive_pairs <= most


def tiled_census(batch: SortedBatch, margin: float, workers: int) -> Counts:
    """Returns the counts of a sorted batch."""
    census = TiledCensus(batch, margin, workers)
    part = census.part
    size = max(map(len, part.blocks)) ** 2

    def state() -> tuple[Seen, Tensor]:
        return census.start(), batch.right.new_empty(size)

    def work(mine: tuple[Seen, Tensor], i: int, j: int) -> None:
        seen, buffer = mine
        a, b = part.sides[i], part.sides[j]
        tile = buffer[: len(a) * len(b)].view(len(a), len(b))
        if isinstance(batch, NumbaBatch):
            batch.product(a, b, tile)
        else:
            batch.tile(a, b, tile)
        census.visit(seen, i, j, tile)

    parts = run_tiles(part.tiles(batch.layout), state, work, workers)
    census.end([seen for seen, _ in parts])
    return census.counts


class TiledCensus:
    """Counts as tiles are computed, in its own pass or in that of a loss.

    Args:
        batch: The sorted batch.
        margin: α.

    Attributes:
        counts: The counts, once the pass has ended.
    """

    def __init__(self, batch: SortedBatch, margin: float, workers: int = 1) -> None:
        (self.part,) = batch.parts(workers)
        self.batch, self.blocks, self.margin = batch, self.part.blocks, margin
        blocks = self.blocks
        self.counts = Counts()
        chosen = [positives_of(batch, group, "all") for group in batch.layout.groups]
        self.squared = batch.by_block(self.part, [d for d, _ in chosen], -1.0)
        self.rows = batch.by_block(self.part, [p for _, p in chosen], -1)
        self.bands = [_bands(batch, b, d, margin) for b, d in zip(blocks, self.squared, strict=True)]

    def start(self) -> Seen:
        """Returns a worker's accumulator."""
        size, device = max(len(block) for block in self.blocks) ** 2, self.batch.raw.device
        return Seen(
            [torch.zeros_like(p, dtype=torch.int32) for p in self.rows],
            [torch.zeros_like(p, dtype=torch.int32) for p in self.rows],
            [torch.zeros(len(b), dtype=torch.float64, device=device) for b in self.blocks],
            [torch.zeros_like(p, dtype=torch.bool) for p in self.rows],
            [self.batch.right.new_empty(size) for _ in range(2)],
        )

    def visit(self, seen: Seen, i: int, j: int, tile: Tensor) -> None:
        """Counts a tile for rows and columns, from products if compiled, else from squared distances."""
        a, b = self.blocks[i], self.blocks[j]
        back, scratch = (t[: len(a) * len(b)] for t in seen.buffers)
        ends = [(i, a, b, tile)]
        if i != j:
            ends.append((j, b, a, back.view(len(b), len(a)).copy_(tile.T)))
        for end, here, there, t in ends:
            if isinstance(self.batch, NumbaBatch):
                self._in_numba(self.batch, seen, end, here, there, t)
            else:
                self._in_torch(seen, end, t, scratch.view(t.shape))

    def _in_numba(
        self, batch: NumbaBatch, seen: Seen, end: int, here: Block, there: Block, tile: Tensor
    ) -> None:
        from trine.engine.compiled.census import census_rows

        census_rows(
            *(tile.numpy(), here.start, there.start, batch.arrays),
            *(self.bands[end].numpy(), self.rows[end].numpy(), self.margin, KINDS[batch.distance]),
            *(seen.hard[end].numpy(), seen.active[end].numpy(), seen.sums[end].numpy()),
        )

    def _in_torch(self, seen: Seen, end: int, tile: Tensor, below: Tensor) -> None:
        bands = self.bands[end]
        for k in range(bands.shape[1]):
            numbers = [torch.lt(tile, bands[q, k, :, None], out=below).sum(1).int() for q in range(4)]
            seen.hard[end][k] += numbers[0]
            seen.active[end][k] += numbers[2]
            seen.unsure[end][k] |= (numbers[0] != numbers[1]) | (numbers[2] != numbers[3])
        # Class-mates are far beyond every distance.
        d = self.batch.measured(torch.where(tile < self.batch.largest * 8, tile, 0.0))
        seen.sums[end] += d.sum(1, dtype=torch.float64)

    def end(self, parts: list[Seen]) -> None:
        """Merges the counts of all workers; near-ties are recounted."""
        seen, layout = parts[0], self.batch.layout
        for part in parts[1:]:
            seen.add(part)
        size = layout.last - layout.first
        for end, block in enumerate(self.blocks):
            self._recount(seen, end)
            hard, active, d = seen.hard[end], seen.active[end], self.squared[end]
            mates = size[block.rows] - 1
            valid = (mates > 0) & (mates + 1 < layout.rows)
            d_ap = self.batch.measured(d.double().clamp(min=0)).masked_fill(d < 0, 0)
            negatives = layout.rows - mates - 1
            self.counts.add(
                Counts(
                    triplets=int((mates * negatives)[valid].sum()),
                    hard=int(hard[:, valid].sum()),
                    active=int(active[:, valid].sum()),
                    within=int(torch.maximum(hard, active)[:, valid].sum()),
                    positive_pairs=int(mates[valid].sum()),
                    negative_pairs=int(negatives[valid].sum()),
                    positive_sum=float(d_ap[:, valid].sum()),
                    negative_sum=float(seen.sums[end][valid].sum()),
                )
            )

    def _recount(self, seen: Seen, end: int) -> None:
        """Recounts, from coordinate differences, for the positives whose counts depend on rounding."""
        batch, start = self.batch, self.blocks[end].start
        k, row = seen.unsure[end].nonzero(as_tuple=True)
        for some in torch.split(torch.arange(len(k), device=k.device), max(1, _PAIRS // batch.layout.rows)):
            at = (k[some], row[some])
            a, p = at[1] + start, self.rows[end][at]
            bands = self.bands[end][:, at[0], at[1], None]
            slack = 2 * batch.tolerance[a, None]
            d, squared_ap = distances_to_negatives(batch, a), batch.exact_pairs(a, p)
            limits = (squared_ap, batch.measured(squared_ap) + self.margin)
            for q, numbers in enumerate((seen.hard[end], seen.active[end])):
                low, high = bands[2 * q] - slack, bands[2 * q + 1] + slack
                close, n = ((d >= low) & (d < high)).nonzero(as_tuple=True)
                squared_an = batch.exact_pairs(a[close], n)
                inside = squared_an <= limits[0][close]
                if q:
                    inside = batch.measured(squared_an) < limits[1][close]
                numbers[at] = (d < low).sum(1, dtype=torch.int32)
                numbers[at] += torch.bincount(close[inside], minlength=len(a)).int()


def _bands(batch: SortedBatch, block: Block, squared: Tensor, margin: float) -> Tensor:
    """(4, positives, rows): below and above d_ap², below and above (d_ap + α)²; nothing in empty places."""
    wide = squared.double()
    limits = torch.stack([wide, batch.squared(batch.measured(wide.clamp(min=0)) + margin)])
    slack = batch.tolerance[block.rows].double() + _ROUNDING * limits.abs()
    bands = torch.stack([limits - slack, limits + slack], 1).flatten(0, 1)
    return bands.masked_fill(wide < 0, -1.0).float()
