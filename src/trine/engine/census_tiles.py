"""The census in tiles: each distance is compared with d_ap and with d_ap + α, and then forgotten.

A float32 product that is within rounding of what it is compared with decides nothing. Such a triplet is
looked at again from differences: in place by the compiled kernel, or with its whole anchor by the exact
census in plain torch. So the numbers are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trine.engine.counts import Counts, count_block
from trine.engine.exact import blocks as cut
from trine.engine.fast import KINDS, CompiledField
from trine.engine.field import Field
from trine.engine.layout import Block
from trine.engine.relations import Relations
from trine.engine.space import Space
from trine.engine.tiles import run_tiles, tile_height, upper_triangle
from trine.engine.winners import positives_of

_POSITIVES = 1 << 21  # pairs up to which what is kept of them stays within 100 MB
_ROUNDING = 2.0**-22  # of a threshold: a root, a sum, a square and a cast, with room


@dataclass
class Seen:
    """What one worker has counted, for each block.

    Attributes:
        hard: Negatives at most as far as each positive, (positives, rows).
        active: Negatives nearer than each positive and α.
        sums: Σ d_an of each row.
        unsure: Rows for which rounding could have decided.
        buffers: A tile and its transpose.
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


def counts_in_tiles(field: Field) -> bool:
    """Whether comparing with each positive is faster than sorting the row; both count the same."""
    pairs, each = field.layout.positive_pairs, 256 if isinstance(field, CompiledField) else 32
    return pairs <= min(_POSITIVES, each * field.layout.rows)


def tiled_census(field: Field, relations: Relations, margin: float, workers: int) -> Counts:
    """Returns the counts of a sorted batch."""
    layout = field.layout
    blocks = layout.blocks(tile_height(layout.rows))
    chosen = [positives_of(field, group, "all") for group in layout.groups]
    squared = field.by_block(blocks, [d for d, _ in chosen], -1.0)
    rows = field.by_block(blocks, [p for _, p in chosen], -1)
    bands = [_bands(field, block, d, margin) for block, d in zip(blocks, squared, strict=True)]
    size = max(len(block) for block in blocks) ** 2

    def state() -> Seen:
        return Seen(
            [torch.zeros_like(p, dtype=torch.int32) for p in rows],
            [torch.zeros_like(p, dtype=torch.int32) for p in rows],
            [torch.zeros(len(b), dtype=torch.float64, device=field.raw.device) for b in blocks],
            [torch.zeros(len(b), dtype=torch.int64, device=field.raw.device) for b in blocks],
            [field.right.new_empty(size) for _ in range(3)],
        )

    def work(seen: Seen, i: int, j: int) -> None:
        a, b = blocks[i], blocks[j]
        tile, back, scratch = (t[: len(a) * len(b)] for t in seen.buffers)
        tile = tile.view(len(a), len(b))
        if isinstance(field, CompiledField):
            field.product(a, b, tile)
        else:
            field.tile(a, b, tile)
        ends = [(i, a, b, tile)]
        if i != j:
            ends.append((j, b, a, back.view(len(b), len(a)).copy_(tile.T)))
        for end, here, there, t in ends:
            if isinstance(field, CompiledField):
                _compiled(field, seen, end, here, there, t, bands[end], rows[end], margin)
            else:
                _in_torch(field, seen, end, t, bands[end], scratch.view(t.shape))

    parts = run_tiles(upper_triangle(blocks, layout), state, work, workers)
    for part in parts[1:]:
        parts[0].add(part)
    return _joined(field, relations, margin, blocks, squared, parts[0])


def _bands(field: Field, block: Block, squared: Tensor, margin: float) -> Tensor:
    """(4, positives, rows): below and above d_ap², below and above (d_ap + α)²; nothing in empty places."""
    wide = squared.double()
    limits = torch.stack([wide, field.squared(field.measured(wide.clamp(min=0)) + margin)])
    slack = field.tolerance[block.rows].double() + _ROUNDING * limits.abs()
    bands = torch.stack([limits - slack, limits + slack], 1).flatten(0, 1)
    return bands.masked_fill(wide < 0, -1.0).float()


def _compiled(
    field: CompiledField,
    seen: Seen,
    end: int,
    here: Block,
    there: Block,
    tile: Tensor,
    bands: Tensor,
    rows: Tensor,
    margin: float,
) -> None:
    from trine.engine.compiled.census import census_rows

    census_rows(
        tile.numpy(),
        here.start,
        there.start,
        field.norms.numpy(),
        field.plain.numpy(),
        field.layout.first.numpy(),
        field.layout.last.numpy(),
        bands.numpy(),
        rows.numpy(),
        margin,
        KINDS[field.distance],
        seen.hard[end].numpy(),
        seen.active[end].numpy(),
        seen.sums[end].numpy(),
    )


def _in_torch(field: Field, seen: Seen, end: int, tile: Tensor, bands: Tensor, below: Tensor) -> None:
    for k in range(bands.shape[1]):
        numbers = [torch.lt(tile, bands[q, k, :, None], out=below).sum(1).int() for q in range(4)]
        seen.hard[end][k] += numbers[0]
        seen.active[end][k] += numbers[2]
        seen.unsure[end] += (numbers[0] != numbers[1]) | (numbers[2] != numbers[3])
    # Class-mates are far beyond every distance.
    d = field.measured(torch.where(tile < field.largest * 8, tile, 0.0))
    seen.sums[end] += d.sum(1, dtype=torch.float64)


def _joined(
    field: Field, relations: Relations, margin: float, blocks: list[Block], squared: list[Tensor], seen: Seen
) -> Counts:
    layout, counts = field.layout, Counts()
    size = layout.last - layout.first
    again = []
    for block, d, hard, active, sums, unsure in zip(
        blocks, squared, seen.hard, seen.active, seen.sums, seen.unsure, strict=True
    ):
        mates = size[block.rows] - 1
        sure = (unsure == 0) & (mates > 0) & (mates + 1 < layout.rows)
        again.append(block.start + (unsure > 0).nonzero()[:, 0])
        d_ap = field.measured(d.double().clamp(min=0)).masked_fill(d < 0, 0)
        negatives = layout.rows - mates - 1
        counts.add(
            Counts(
                triplets=int((mates * negatives)[sure].sum()),
                hard=int(hard[:, sure].sum()),
                active=int(active[:, sure].sum()),
                within=int(torch.maximum(hard, active)[:, sure].sum()),
                positive_pairs=int(mates[sure].sum()),
                negative_pairs=int(negatives[sure].sum()),
                positive_sum=float(d_ap[:, sure].sum()),
                negative_sum=float(sums[sure].sum()),
            )
        )
    places = layout.order[torch.cat(again)].sort().values
    if len(places):
        space = Space(field.raw, None, field.distance)
        for anchors in cut(places, layout.rows):
            counts.add(count_block(space.distances(anchors), relations.rows(anchors), margin))
    return counts
