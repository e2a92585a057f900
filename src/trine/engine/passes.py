"""Which pass computes a loss: the exact one for everything, the tiled ones for the common case."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor

from trine.distances import Distance
from trine.engine.census_tiles import TiledCensus, counts_in_tiles
from trine.engine.counting import CountKernel, Kernel, batch_all
from trine.engine.direct import LARGEST, direct_pass
from trine.engine.exact import exact_pass
from trine.engine.fast import CompiledCount, CompiledField, CompiledSoft, installed
from trine.engine.field import Field
from trine.engine.layout import Layout
from trine.engine.objective import Objective, loss_dtype
from trine.engine.relations import LabelRelations, Relations
from trine.engine.soft import SoftKernel, short
from trine.engine.tiles import one_thread
from trine.engine.winners import batch_winners

SMALL = 192  # rows up to which one block of the exact pass is faster than sorting the batch
_ALONE = 64  # rows up to which waking a second thread takes longer than what it could do
_EXTREME = 1e10  # norms beyond this, or below its inverse, are left to float64


def all_pairs_loss(
    x: Tensor, y: Tensor | None, relations: Relations, objective: Objective, asks_x: bool, asks_y: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss of a batch and the gradients asked for; see `Pass`.

    Rows that are not finite make the loss and its gradients NaN.
    """
    if not (finite(x) and finite(y)):
        gradients = [
            torch.full_like(side, math.nan) if asks and side is not None else None
            for side, asks in ((x, asks_x), (y, asks_y))
        ]
        return x.new_full((), math.nan, dtype=loss_dtype(x)), gradients[0], gradients[1]
    field = sorted_field(x, relations, objective.distance) if _tiles_suit(objective) else None
    if field is not None:
        if not objective.mining.keeps_all:
            return batch_winners(field, relations, objective, asks_x, workers(x))
        census, threads = _witness(field, objective), workers(x)
        done = batch_all(field, objective, asks_x, _kernel(field, objective), threads, census)
        if census is not None and objective.watch is not None:
            objective.watch.census = census.counts.census()
        return done
    if y is None and len(x) <= LARGEST:
        with one_thread(x) if len(x) <= _ALONE else nullcontext():
            return direct_pass(x, relations, objective, asks_x)
    return exact_pass(x, y, relations, objective, asks_x, asks_y)


def sorted_field(x: Tensor, relations: Relations, distance: Distance) -> Field | None:
    """Returns the batch prepared for tiles; nothing where the exact passes have to do, or are faster."""
    if not isinstance(relations, LabelRelations) or not relations.own or relations.by_id:
        return None
    if len(x) <= SMALL or x.dtype == torch.float64:
        return None
    compiled = x.device.type == "cpu" and installed()
    field = (CompiledField if compiled else Field)(x, Layout(relations.labels), distance)
    fits = _EXTREME**-2 < field.largest < _EXTREME**2 and not (compiled and field.zero_rows)
    return field if fits else None


def _kernel(field: Field, objective: Objective) -> type[Kernel]:
    if objective.margin is not None:
        return CompiledCount if isinstance(field, CompiledField) else CountKernel
    return CompiledSoft if isinstance(field, CompiledField) and short(field) else SoftKernel


def _witness(field: Field, objective: Objective) -> TiledCensus | None:
    if objective.watch is None or not counts_in_tiles(field):
        return None
    return TiledCensus(field, objective.watch.margin)


def workers(x: Tensor) -> int:
    """Returns how many threads share the tiles: those of torch on the CPU, one elsewhere."""
    return torch.get_num_threads() if x.device.type == "cpu" and len(x) >= 512 else 1


def finite(rows: Tensor | None) -> bool:
    """Whether no coordinate is infinite or NaN."""
    return rows is None or math.isfinite(float(rows.sum(dtype=torch.float64)))


def _tiles_suit(objective: Objective) -> bool:
    rule = objective.mining
    if rule.keeps_all:
        return objective.reduction != "anchor"
    return rule.positive in ("all", "hard", "easy") and rule.negative in (
        "hard",
        "semihard",
        "semihard-strict",
    )
