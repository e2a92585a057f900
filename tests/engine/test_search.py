"""The search for the nearest negative in torch tiles: what workers find is joined."""

import torch

from support.backends import made, tiles
from trine.engine.layout import Layout
from trine.engine.search import Best, joined, search, search_tiles
from trine.engine.sorted_batch import FAR, SortedBatch


def test_it_does_not_matter_which_worker_finds_a_search_unsure():
    # Four rows of four classes are equal: which is the nearest is decided by their places in the batch.
    labels = torch.arange(60) % 15
    rows = made("random", labels)[torch.arange(60) // 4]
    plan = tiles("torch", 8, tile_pairs=400)
    batch = SortedBatch(rows, None, Layout(labels), "squared_euclidean", plan)
    (part,) = batch.parts(1)
    bounds = [torch.full((1, len(block)), -FAR) for block in part.blocks]
    positives = [torch.full((1, len(block)), -1) for block in part.blocks]

    def found(i, j):
        best = [Best.of(*of, block.start) for *of, block in zip(bounds, positives, part.blocks, strict=True)]
        a, b = part.sides[i], part.sides[j]
        tile = batch.tile(a, b, torch.empty(len(a), len(b)))
        search(batch, tile, best[i], b.start)
        if part.both_ends(i, j):
            search(batch, tile.T.contiguous(), best[j], a.start)
        return best

    each_tile_apart = joined(batch, [found(i, j) for i, j in part.tiles(batch.layout)])
    by_one = search_tiles(batch, part, bounds, positives, 1)
    found_apart, found_by_one = (
        torch.cat([each.index for each in best], 1) for best in (each_tile_apart, by_one)
    )
    assert (found_by_one >= 0).all()
    assert found_apart.equal(found_by_one)
