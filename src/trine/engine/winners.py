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
from trine.engine.fast import CompiledField, CompiledSearch
from trine.engine.field import FAR, Field
from trine.engine.layout import Block, Group
from trine.engine.objective import Objective, Tally, finished
from trine.engine.ranked import MANY, RankedPass
from trine.engine.relations import Relations
from trine.engine.search import Best, joined, search_tiles, settle
from trine.engine.space import Space
from trine.engine.tiles import run_tiles, tile_height, upper_triangle


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
    blocks = layout.blocks(tile_height(layout.rows))
    chosen, ranked = [], []
    for group in layout.groups:
        if _by_rank(group, objective):
            ranked.append(group)
            chosen.append(_nothing(field, group))
        else:
            chosen.append(positives_of(field, group, rule.positive))
    bounds, bounded = [], []
    for d, rows in chosen:
        if rule.negative == "hard":  # one search without a bound serves all positives
            searches = min(1, d.shape[1])
            bounds.append(d.new_full((len(d), searches), -FAR))
            bounded.append(rows.new_full((len(d), searches), -1))
        else:
            bounds.append(d)
            bounded.append(rows)
    laid, laid_rows = field.by_block(blocks, bounds, torch.inf), field.by_block(blocks, bounded, -1)
    if isinstance(field, CompiledField):
        best = _compiled(field, blocks, laid, laid_rows, workers)
        if rule.negative == "semihard":
            _fall_back(field, blocks, laid, best)
    else:
        best = search_tiles(field, blocks, laid, workers)
        settle(field, blocks, laid, laid_rows, best)
    return _loss(field, relations, objective, asks, blocks, best, chosen, ranked, workers)


def _by_rank(group: Group, objective: Objective) -> bool:
    rule = objective.mining
    return group.size > MANY and rule.positive == "all" and rule.negative != "hard"


def _nothing(field: Field, group: Group) -> tuple[Tensor, Tensor]:
    rows = group.stop - group.start
    return field.right.new_empty(rows, 0), field.layout.order.new_empty(rows, 0)


def _compiled(
    field: CompiledField, blocks: list[Block], bounds: list[Tensor], positives: list[Tensor], workers: int
) -> list[Best]:
    kernel = CompiledSearch(field, blocks, bounds, positives)
    size = max(len(block) for block in blocks) ** 2

    def state() -> tuple[list[tuple[np.ndarray, np.ndarray]], tuple[Tensor, Tensor]]:
        return kernel.start(), (torch.empty(size), torch.empty(size))

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


def _fall_back(field: CompiledField, blocks: list[Block], bounds: list[Tensor], best: list[Best]) -> None:
    """Takes the farthest negative where none is beyond the positive."""
    for block, bound, found in zip(blocks, bounds, best, strict=True):
        missing = (found.index[: len(bound)] < 0) & (bound < torch.inf)
        row = missing.any(0).nonzero()[:, 0]
        if len(row):
            farthest = torch.full_like(found.index[0], -1)
            farthest[row] = field.farthest(row + block.start)
            found.index[: len(bound)] = torch.where(missing, farthest, found.index[: len(bound)])


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


def _loss(
    field: Field,
    relations: Relations,
    objective: Objective,
    asks: bool,
    blocks: list[Block],
    best: list[Best],
    chosen: list[tuple[Tensor, Tensor]],
    ranked: list[Group],
    workers: int,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    layout, margin = field.layout, objective.margin
    device = field.raw.device
    unsure = torch.zeros(layout.rows, dtype=torch.bool, device=device)
    n = [torch.full(rows.shape, -1, device=device) for _, rows in chosen]
    for block, found in zip(blocks, best, strict=True):
        for group, target in zip(layout.groups, n, strict=True):
            start, stop = max(block.start, group.start), min(block.stop, group.stop)
            if start < stop and group.size > 1 and group.size < layout.rows:
                columns = slice(start - block.start, stop - block.start)
                searches = 1 if objective.mining.negative == "hard" else target.shape[1]
                index = found.index[:searches, columns].T
                target[start - group.start : stop - group.start] = index
                missing = (index < 0).any(1) & (objective.mining.negative == "semihard")
                unsure[start:stop] = found.unsure[:searches, columns].any(0) | missing
    gradient = torch.zeros_like(field.right[:, : field.width]) if asks else None
    tally = Tally()
    if ranked and isinstance(field, CompiledField):
        tally, gradient = RankedPass(field, objective).run(ranked, asks, workers)
    elif ranked:  # the exact pass sorts the negatives of an anchor
        unsure[ranked[0].start :] = True
    for group, (d, rows), negative in zip(layout.groups, chosen, n, strict=True):
        if group.size > 1:
            sure = ~unsure[group.start : group.stop]
            live = sure[:, None] & (negative >= 0)
            tally.add(_settled(field, group, margin, d, rows, negative, live, objective, gradient))
    again = layout.order[unsure.nonzero()[:, 0]].sort().values
    whole = None if gradient is None else field.in_batch_order(gradient)
    if len(again):
        space = Space(field.raw, None, objective.distance)
        extra, _ = space.gradients(asks, False)
        for anchors in cut(again, layout.rows):
            tally.add(exact_block(space, relations, objective, anchors, extra, extra))
        back = space.pulled_back(extra, field.raw)
        if whole is not None and back is not None:
            whole += back
    loss, whole, _ = finished(tally, objective.reduction, field.raw, whole, None)
    return loss, whole, None


def _settled(
    field: Field,
    group: Group,
    margin: float | None,
    d: Tensor,
    positive: Tensor,
    negative: Tensor,
    live: Tensor,
    objective: Objective,
    gradient: Tensor | None,
) -> Tally:
    """The loss of the triplets of a group whose anchors are sure, and its gradient."""
    row, k = live.nonzero(as_tuple=True)
    a, p, n = row + group.start, positive[row, k], negative[row, k]
    near, far = d[row, k], field.squared_pairs(a, n)
    d_ap, d_an = field.measured(near), field.measured(far)
    gap = d_ap - d_an if margin is None else d_ap + margin - d_an
    values = torch.nn.functional.softplus(gap) if margin is None else gap.clamp(min=0)
    per_anchor = torch.bincount(row, minlength=len(live))
    share = 1.0 / per_anchor[row].float() if objective.reduction == "anchor" else torch.ones_like(gap)
    if gradient is not None:
        pull = (torch.sigmoid(gap) if margin is None else (gap > 0).float()) * share
        if positive.shape[1] == group.size - 1:
            weights = torch.zeros_like(d)
            weights[row, k] = pull * field.slope(near)
            field.pull_positives(group, weights, gradient)
        else:
            field.pull_pairs(a, p, pull * field.slope(near), gradient)
        field.pull_pairs(a, n, -pull * field.slope(far), gradient)
    return Tally(
        float((values.double() * share).sum()),
        int((values > 0).sum()),
        len(row),
        int((per_anchor > 0).sum()),
    )
