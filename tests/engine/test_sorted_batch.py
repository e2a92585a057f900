"""What the tiles rely on: how far a float32 product can be from the distance it stands for."""

import pytest
import torch

from support.backends import made
from trine.engine.layout import Block, Layout
from trine.engine.sorted_batch import SortedBatch


def spread(kind, labels, width, seed):
    if kind not in ("uneven norms", "one quadrant"):
        return made(kind, labels, width=width, seed=seed)
    x = made("random", labels, width=width, seed=seed)
    if kind == "one quadrant":
        return x.abs() + 1
    return x * torch.randn(len(x), 1, generator=torch.Generator().manual_seed(seed)).exp()


@pytest.mark.parametrize("width", [2, 16, 128, 512])
@pytest.mark.parametrize("kind", ["random", "collapsed", "tight 1e-3", "uneven norms", "one quadrant"])
@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
def test_products_stay_within_two_thirds_of_the_tolerance(width, kind, distance):
    labels = torch.arange(512) // 4
    worst = 0.0
    for seed in range(2):
        batch = SortedBatch(spread(kind, labels, width, seed), None, Layout(labels), distance)
        rows = batch.plain.double()
        exact = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
        got = batch.tile(Block(0, 512, 3), Block(0, 512, 3), torch.empty(512, 512))
        apart = ((got.double() - exact).abs() / batch.tolerance[:, None]).masked_fill(got > 1e29, 0)
        worst = max(worst, float(apart.max()))
    assert 0.01 < worst < 0.67
