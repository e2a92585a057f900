"""Batches and the ways through the engine: each of its passes can be made to take any of them."""

from contextlib import contextmanager

import pytest
import torch

from trine import triplet_loss
from trine.distances import unit_rows
from trine.engine import dispatch, small_batch, sorted_batch
from trine.engine.numba_backend import installed

COMPILED = pytest.param(
    "compiled", marks=pytest.mark.skipif(not installed(), reason="numba is not installed")
)
WAYS = ["torch", COMPILED]


@contextmanager
def through_tiles(way, height=4):
    """Sends batches of any size through the tiles, of a few rows each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "SMALL", 0)
        patch.setattr(dispatch, "installed", lambda: way == "compiled")
        patch.setattr(sorted_batch, "tile_height", lambda rows: height)
        yield


@contextmanager
def without_tiles(way="exact"):
    """Sends batches of any size through the exact pass, or through the direct one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "SMALL", 10**9)
        patch.setattr(dispatch, "LARGEST", 0 if way == "exact" else 10**9)
        patch.setattr(small_batch, "_WORTH", 2 if way == "proposed by float32" else 10**9)
        yield


def in_proportion(embeddings, margin, distance):
    """Rows and a margin that float32 can tell apart: no coordinate, and no margin, is dust to the rest."""
    largest = float(embeddings.abs().max()) if embeddings.numel() else 1.0
    embeddings = embeddings.masked_fill(embeddings.abs() < 1e-3 * largest, 0)
    if largest == 0:
        return embeddings, margin
    if margin is None:  # it sees distances as they stand, and those of 1e8 are only known to ±8
        return embeddings / largest, margin
    return embeddings, margin * (largest**2 if distance == "squared_euclidean" else largest)


def value_and_gradient(embeddings, labels, **settings):
    rows = embeddings.detach().clone().requires_grad_()
    loss = triplet_loss(rows, labels, **settings)
    loss.backward()
    return loss.detach().double(), rows.grad.double()


SHAPES = {
    "pairs": lambda n: torch.arange(n) // 2,
    "fours": lambda n: torch.arange(n) // 4,
    "skewed": lambda n: torch.cat(
        [torch.zeros(n // 2, dtype=torch.int64), 1 + torch.arange(n - n // 2) // 2]
    ),
    "uneven": lambda n: (torch.arange(n) ** 0.5).long() - 2**40,
    "singletons": lambda n: (torch.arange(n) - n // 2).clamp(min=0),
}


def made(kind, labels, width=24, seed=0):
    """Embeddings of a kind that training meets, as float32."""
    g = torch.Generator().manual_seed(seed)
    x = unit_rows(torch.randn(len(labels), width, generator=g))
    if kind == "collapsed":
        x = unit_rows(torch.randn(1, width, generator=g)) + 1e-3 * x
    if kind.startswith("tight"):
        _, identity = torch.unique(labels, return_inverse=True)
        centres = unit_rows(torch.randn(int(identity.max()) + 1, width, generator=g))
        x = centres[identity] + float(kind.removeprefix("tight ")) * x
    if kind == "duplicated":
        x[1::2] = x[::2]
    if kind == "with zero rows":
        # Unit rows are all as far from a zero row: which is nearest, the last bit of a kernel would decide.
        x *= torch.linspace(0.5, 1.5, len(labels))[:, None]
        x[3::50] = 0
    return x
