"""Chooses which of four implementations computes a loss.

- `small_batch`: up to `Plan.small` (192) rows that are their own references, at once in float64.
- `exact`: blocks in float64, for any rule and any relations: float64 rows, masks or lists of pairs, and rules
  that the tiles do not support.
- `all_triplets`: float32 tiles in torch or numba, for labels and the rules that select every triplet.
- `one_negative`: the same tiles, for labels and the rules that take one negative per positive.

The tiles are used above `Plan.tiled_from` pairs; near-ties are recomputed from coordinate differences.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor

from trine.distances import Distance
from trine.engine.all_triplets import (
    TileKernel,
    TorchHinge,
    TorchSoft,
    all_triplets_loss,
    has_short_distances,
)
from trine.engine.autograd import in_full_precision
from trine.engine.census_tiles import Counts, TiledCensus, count_block, counts_in_tiles, tiled_census
from trine.engine.exact import blocks, exact_loss
from trine.engine.float64_distances import Float64Distances
from trine.engine.layout import Layout, rectangular_layout
from trine.engine.numba_backend import NumbaBatch, NumbaHinge, NumbaSoft, installed
from trine.engine.objective import Objective, loss_dtype
from trine.engine.one_negative import one_negative_loss
from trine.engine.plan import DEFAULT_PLAN, Plan
from trine.engine.relations import LabelRelations, RelationRows, Relations
from trine.engine.small_batch import all_distances, small_batch_loss
from trine.engine.sorted_batch import SortedBatch
from trine.engine.tiles import one_thread
from trine.shapes import Float, Int64
from trine.triplets import Census

_ONE_THREAD = 64  # rows up to which a second thread costs more than it saves
_EXTREME = 1e10  # norms above this, or below its inverse, are computed in float64


def all_pairs_loss(
    x: Tensor,
    y: Tensor | None,
    relations: Relations,
    objective: Objective,
    grad_x: bool,
    grad_y: bool,
    plan: Plan = DEFAULT_PLAN,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss of a batch and the gradients needed; see `EarlyLoss`.

    Rows that are not finite make the loss and its gradients NaN.
    """
    needs_grad = grad_x, grad_y
    if not (_finite(x) and _finite(y)):
        gradients = [
            torch.full_like(side, math.nan) if needed and side is not None else None
            for side, needed in zip((x, y), needs_grad, strict=True)
        ]
        return x.new_full((), math.nan, dtype=loss_dtype(x)), gradients[0], gradients[1]
    batch = sorted_batch(x, y, relations, objective, plan)
    if batch is not None:
        return _tiled_loss(batch, relations, objective, needs_grad)
    if y is None and len(x) <= plan.small:
        with one_thread(x) if len(x) <= _ONE_THREAD else nullcontext():
            return small_batch_loss(x, relations, objective, grad_x, plan)
    return exact_loss(x, y, relations, objective, needs_grad, plan)


def sorted_batch(
    x: Tensor, y: Tensor | None, relations: Relations, objective: Objective, plan: Plan = DEFAULT_PLAN
) -> SortedBatch | None:
    """Returns the batch prepared for tiles; `None` if it needs float64, or float64 is faster."""
    columns, rule = x if y is None else y, objective.mining
    if not isinstance(relations, LabelRelations) or not (rule.keeps_all or rule.takes_nearest_negative):
        return None
    if len(x) * len(columns) <= plan.tiled_from or torch.float64 in (x.dtype, columns.dtype):
        return None
    # A mean over anchors weights the rows and the columns of a tile differently.
    asymmetric = rule.keeps_all and objective.reduction == "anchor"
    square = _is_square(relations) and not asymmetric
    layout = Layout(relations.labels) if square else rectangular_layout(relations)
    return None if layout is None else _prepared(x, y, layout, objective.distance, plan)


def _prepared(
    x: Tensor, y: Tensor | None, layout: Layout, distance: Distance, plan: Plan
) -> SortedBatch | None:
    numba = x.device.type == "cpu" and (installed() if plan.numba is None else plan.numba)
    batch = (NumbaBatch if numba else SortedBatch)(x, y, layout, distance, plan)
    if numba and batch.cosine is not None and (batch.zero_rows or batch.cosine.whole is not None):
        batch = SortedBatch(x, y, layout, distance, plan)
    return batch if _EXTREME**-2 < batch.largest < _EXTREME**2 else None


def _tiled_loss(
    batch: SortedBatch, relations: Relations, objective: Objective, needs_grad: tuple[bool, bool]
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    threads, request = _workers(batch), objective.census
    if not objective.mining.keeps_all:
        return one_negative_loss(batch, relations, objective, needs_grad, threads)
    census = None
    if request is not None and counts_in_tiles(batch):
        census = TiledCensus(batch, request.margin, threads)
    done = all_triplets_loss(batch, objective, needs_grad, _kernel(batch, objective), threads, census)
    if census is not None and request is not None:
        request.census = census.counts.census()
    return done


def _kernel(batch: SortedBatch, objective: Objective) -> type[TileKernel]:
    numba = isinstance(batch, NumbaBatch)
    if objective.margin is not None:
        return NumbaHinge if numba else TorchHinge
    return NumbaSoft if numba and has_short_distances(batch) else TorchSoft


def _workers(batch: SortedBatch) -> int:
    """How many threads share the tiles: those of torch on the CPU, one elsewhere."""
    if batch.plan.workers is not None:
        return batch.plan.workers
    return torch.get_num_threads() if batch.x.device.type == "cpu" and len(batch.x) >= 512 else 1


def _finite(rows: Tensor | None) -> bool:
    return rows is None or math.isfinite(float(rows.sum(dtype=torch.float64)))


def _is_square(relations: LabelRelations) -> bool:
    """Whether anchors are their own references, and a row is the same item as itself only."""
    return relations.own and not relations.by_id


def distance_blocks(
    x: Tensor, y: Tensor | None, relations: Relations, distance: Distance, plan: Plan = DEFAULT_PLAN
) -> Iterator[tuple[Int64[Tensor, " h"], Float[Tensor, "h m"], RelationRows]]:
    """Yields some anchors at a time, with their float64 distances and relations to all references."""
    anchors = torch.arange(len(x), device=x.device)
    if y is None and len(x) <= plan.small:
        yield anchors, all_distances(x, distance), relations.whole()
        return
    distances = Float64Distances(x, y, distance)
    for some in blocks(anchors, len(distances.y), plan.block_pairs):
        yield some, distances.distances(some), relations.rows(some)


@torch.no_grad()
def count_triplets(
    x: Tensor,
    y: Tensor | None,
    relations: Relations,
    margin: float,
    distance: Distance,
    plan: Plan = DEFAULT_PLAN,
) -> Census:
    """Returns the census of a batch, in the memory of a few tiles or one block."""
    with in_full_precision(x):
        large = len(x) ** 2 > plan.tiled_from and x.dtype != torch.float64
        if isinstance(relations, LabelRelations) and _is_square(relations) and large and _finite(x):
            batch = _prepared(x, None, Layout(relations.labels), distance, plan)
            if batch is not None and counts_in_tiles(batch):
                return tiled_census(batch, margin, _workers(batch)).census()
        counts = Counts()
        for _, d, rows in distance_blocks(x, y, relations, distance, plan):
            counts.add(count_block(d, rows, margin))
        return counts.census()
