"""The census: how many of all valid triplets are easy, semi-hard, hard and active, and the mean distances."""

from __future__ import annotations

import torch
from torch import Tensor

from trine.distances import Distance
from trine.engine.autograd import in_full_precision
from trine.engine.census_tiles import counts_in_tiles, tiled_census
from trine.engine.counts import Counts, count_block
from trine.engine.dispatch import finite, sorted_field, workers
from trine.engine.exact import blocks
from trine.engine.float64_distances import Space
from trine.engine.relations import Relations
from trine.engine.small_batch import LARGEST, all_distances
from trine.triplets import Census


@torch.no_grad()
def count_triplets(
    x: Tensor, y: Tensor | None, relations: Relations, margin: float, distance: Distance
) -> Census:
    """Returns the census of a batch, in the memory of a few tiles or one block."""
    with in_full_precision(x):
        field = sorted_field(x, relations, distance) if finite(x) else None
        if field is not None and counts_in_tiles(field):
            return tiled_census(field, margin, workers(x)).census()
        if y is None and len(x) <= LARGEST:
            return count_block(all_distances(x, distance), relations.whole(), margin).census()
        space, counts = Space(x, y, distance), Counts()
        for anchors in blocks(torch.arange(len(x), device=x.device), len(space.y)):
            counts.add(count_block(space.distances(anchors), relations.rows(anchors), margin))
        return counts.census()
