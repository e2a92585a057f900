"""Which pass computes a loss: the exact one for everything, the tiled ones for the common case."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor

from trine.distances import Distance
from trine.engine.all_triplets import CountKernel, Kernel, batch_all
from trine.engine.census_tiles import TiledCensus, counts_in_tiles
from trine.engine.exact import exact_pass
from trine.engine.layout import Layout
from trine.engine.numba_backend import CompiledCount, CompiledField, CompiledSoft, installed
from trine.engine.objective import Objective, loss_dtype
from trine.engine.one_negative import batch_winners
from trine.engine.rectangle.every_triplet import Hinge, Soft, every_triplet
from trine.engine.rectangle.fast import FastHinge, FastJudge, FastRectangle, FastSoft
from trine.engine.rectangle.field import Rectangle
from trine.engine.rectangle.nearest import Judge
from trine.engine.rectangle.sides import Sides
from trine.engine.rectangle.winners import one_negative
from trine.engine.relations import LabelRelations, Relations
from trine.engine.small_batch import LARGEST, direct_pass
from trine.engine.soft import SoftKernel, short
from trine.engine.sorted_batch import Field
from trine.engine.tiles import one_thread
from trine.triplets import Mining

SMALL = 192  # rows up to which one block of the exact pass is faster than sorting the batch
_ALONE = 64  # rows up to which waking a second thread takes longer than what it could do
_CROWDED = 16  # one class-mate in so many references: pairs listed in torch take longer than float64
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
    rectangle = sorted_sides(x, y, relations, objective)
    if rectangle is not None:
        return _rectangle_pass(rectangle, relations, objective, (asks_x, asks_y))
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


def sorted_sides(x: Tensor, y: Tensor | None, relations: Relations, objective: Objective) -> Rectangle | None:
    """Returns anchors and references prepared for tiles; nothing where other passes do, or are faster."""
    rule, columns = objective.mining, x if y is None else y
    if not isinstance(relations, LabelRelations) or not _suits(rule):
        return None
    if len(x) * len(columns) <= SMALL**2 or torch.float64 in (x.dtype, columns.dtype):
        return None
    sides, compiled = Sides(relations), x.device.type == "cpu" and installed()
    if not sides.items_keep_their_label():
        return None
    listed = not compiled and rule.positive == "all" and not rule.keeps_all
    if listed and sides.mated * _CROWDED > len(x) * len(columns):
        return None
    field = (FastRectangle if compiled else Rectangle)(x, y, sides, objective.distance)
    if compiled and field.zero_rows:
        field = Rectangle(x, y, sides, objective.distance)
    return field if _EXTREME**-2 < field.largest < _EXTREME**2 else None


def _rectangle_pass(
    field: Rectangle, relations: Relations, objective: Objective, asks: tuple[bool, bool]
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    compiled, threads = isinstance(field, FastRectangle), workers(field.raw)
    if not objective.mining.keeps_all:
        judge = FastJudge if compiled else Judge
        return one_negative(field, judge, relations, objective, asks, threads)
    if objective.margin is not None:
        look = (FastHinge if compiled else Hinge)(field, objective.margin)
        return every_triplet(field, look, objective, asks, threads)
    soft = (FastSoft if compiled and short(field) else Soft)(field)
    return every_triplet(field, soft, objective, asks, threads)


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
    return _suits(objective.mining) and not (objective.mining.keeps_all and objective.reduction == "anchor")


def _suits(rule: Mining) -> bool:
    if rule.keeps_all:
        return True
    return rule.positive in ("all", "hard", "easy") and rule.negative in (
        "hard",
        "semihard",
        "semihard-strict",
    )
