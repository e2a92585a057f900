"""Rules that take one negative: the product proposes the winner, differences settle what is close.

A tile gives each anchor, and each of its positives where the rule asks for that, the nearest negative so
far. Two products of one row may be apart by rounding and stand for equal distances; an anchor for which
that could matter (the winner's runner-up, or the positive's own distance, is within `Field.tolerance`) is
decided again by the exact pass. The loss and the gradient come from differences in either case.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trine.engine.exact import blocks as cut
from trine.engine.exact import exact_block
from trine.engine.float64_distances import Space
from trine.engine.layout import Block, Group
from trine.engine.numba_backend import CompiledField, CompiledSearch
from trine.engine.objective import Objective, Tally, finished, weighed
from trine.engine.relations import Relations
from trine.engine.search import Best, farthest, joined, search_tiles, settle
from trine.engine.semihard_sorted import MANY, RankedPass
from trine.engine.sorted_batch import FAR, Field
from trine.engine.tiles import run_tiles, upper_triangle
from trine.triplets import Mining


def batch_winners(
    field: Field, relations: Relations, objective: Objective, asks: bool, workers: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss over the triplets of a rule with one negative, and its gradient.

    Args:
        field: The sorted batch.
        relations: The relations of the batch, for the anchors that are decided again.
        objective: The loss; its rule takes all positives, the farthest or the nearest, and the nearest
            negative (of those beyond the positive).
        asks: Whether the gradient is asked for.
        workers: How many threads share the tiles.
    """
    layout, rule = field.layout, objective.mining
    ranked = [group for group in layout.groups if _by_rank(group, objective)]
    chosen = [
        _nothing(field, group) if group in ranked else positives_of(field, group, rule.positive)
        for group in layout.groups
    ]
    tally, gradient = Tally(), torch.zeros_like(field.right[:, : field.width]) if asks else None
    for group, (d, rows), n in zip(
        layout.groups, chosen, _negatives(field, rule, chosen, workers), strict=True
    ):
        if 1 < group.size < layout.rows:
            tally.add(_loss(field, group, d, rows, n, objective, gradient))
    if ranked and isinstance(field, CompiledField):
        tally.add(RankedPass(field, objective).run(ranked, gradient, workers))
    whole = None if gradient is None else field.in_batch_order(gradient)
    if ranked and not isinstance(field, CompiledField):
        tally.add(_exactly(field, relations, objective, ranked, whole))
    loss, whole, _ = finished(tally, objective, field.raw, whole, None)
    return loss, whole, None


def _by_rank(group: Group, objective: Objective) -> bool:
    rule = objective.mining
    return group.size > MANY and rule.positive == "all" and rule.negative != "hard"


def _nothing(field: Field, group: Group) -> tuple[Tensor, Tensor]:
    rows = group.stop - group.start
    return field.right.new_empty(rows, 0), field.layout.order.new_empty(rows, 0)


def _negatives(field: Field, rule: Mining, chosen: list[tuple[Tensor, Tensor]], workers: int) -> list[Tensor]:
    """Returns the negative for each chosen positive of each group; −1 for none."""
    blocks = field.blocks
    searched = chosen
    if rule.negative == "hard":  # one search without a bound serves all positives
        searched = [(torch.full_like(d[:, :1], -FAR), torch.full_like(rows[:, :1], -1)) for d, rows in chosen]
    bounds = field.by_block(blocks, [d for d, _ in searched], torch.inf)
    positives = field.by_block(blocks, [rows for _, rows in searched], -1)
    if isinstance(field, CompiledField):
        best = _compiled(field, blocks, bounds, positives, workers)
    else:
        best = search_tiles(field, blocks, bounds, workers)
    settle(field, blocks, bounds, positives, best)
    if rule.negative == "semihard":
        _fall_back(field, blocks, bounds, best)
    found = field.to_groups(blocks, [b.index for b in best], [d.shape[1] for d, _ in searched])
    return [n.expand(rows.shape) for n, (_, rows) in zip(found, chosen, strict=True)]


def _compiled(
    field: CompiledField, blocks: list[Block], bounds: list[Tensor], positives: list[Tensor], workers: int
) -> list[Best]:
    kernel = CompiledSearch(field, blocks, bounds, positives)
    size = max(len(block) for block in blocks) ** 2

    def state() -> tuple[list[tuple[np.ndarray, np.ndarray]], Tensor]:
        return kernel.start(), torch.empty(size)

    parts = run_tiles(
        upper_triangle(blocks, field.layout), state, lambda mine, i, j: kernel.tile(*mine, i, j), workers
    )
    found = [
        [
            Best(
                torch.from_numpy(squared), torch.from_numpy(index), torch.zeros(index.shape, dtype=torch.bool)
            )
            for squared, index in part
        ]
        for part, _ in parts
    ]
    return joined(field, blocks, found)


def _fall_back(field: Field, blocks: list[Block], bounds: list[Tensor], best: list[Best]) -> None:
    """Takes the farthest negative where none is beyond the positive."""
    for block, bound, found in zip(blocks, bounds, best, strict=True):
        searches = len(bound)
        missing = (found.index[:searches] < 0) & (bound < torch.inf)
        row = missing.any(0).nonzero()[:, 0]
        if len(row):
            places = row + block.start
            last = torch.full_like(found.index[0], -1)
            last[row] = (
                field.farthest(places) if isinstance(field, CompiledField) else farthest(field, places)
            )
            found.index[:searches] = torch.where(missing, last, found.index[:searches])


def positives_of(field: Field, group: Group, rule: str) -> tuple[Tensor, Tensor]:
    """Returns (squared distance, row) of the positives that the rule takes, for each row of a group."""
    d = field.positives(group)
    own = torch.arange(group.size, device=d.device)
    places = torch.arange(group.size - 1, device=d.device).expand(group.size, -1)
    mates = places + (places >= own[:, None])
    starts = torch.arange(group.classes, device=d.device)[:, None, None] * group.size + group.start
    rows = (mates[None] + starts).flatten(0, 1)
    if rule == "all" or group.size == 1:
        return d, rows
    # Class-mates stand in the order of the batch: the first of equals has the lowest index.
    pick = (d.argmax(1) if rule == "hard" else d.argmin(1))[:, None]
    return d.gather(1, pick), rows.gather(1, pick)


def _exactly(
    field: Field, relations: Relations, objective: Objective, groups: list[Group], gradient: Tensor | None
) -> Tally:
    """Leaves the anchors of some groups to the exact pass, which sorts the negatives of each."""
    tally, space = Tally(), Space(field.raw, None, objective.distance)
    extra, _ = space.gradients(gradient is not None, False)
    places = torch.cat([field.layout.order[group.start : group.stop] for group in groups])
    for anchors in cut(places.sort().values, field.layout.rows):
        tally.add(exact_block(space, relations, objective, anchors, extra, extra))
    back = space.pulled_back(extra, field.raw)
    if gradient is not None and back is not None:
        gradient += back
    return tally


def _loss(
    field: Field,
    group: Group,
    d: Tensor,
    positive: Tensor,
    negative: Tensor,
    objective: Objective,
    gradient: Tensor | None,
) -> Tally:
    """The loss of the triplets of a group, and its gradient."""
    row, k = (negative >= 0).nonzero(as_tuple=True)
    a, p, n = row + group.start, positive[row, k], negative[row, k]
    near, far = d[row, k], field.squared_pairs(a, n)
    pull, tally = weighed(field.measured(near), field.measured(far), row, len(negative), objective)
    if gradient is not None:
        if positive.shape[1] == group.size - 1:
            weights = torch.zeros_like(d)
            weights[row, k] = pull * field.slope(near)
            field.pull_positives(group, weights, gradient)
        else:
            field.pull_pairs(a, p, pull * field.slope(near), gradient)
        field.pull_pairs(a, n, -pull * field.slope(far), gradient)
    return tally
