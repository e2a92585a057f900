"""Rules that take one negative, such as the usual semi-hard one.

Each tile updates the nearest negative so far of every anchor, or of every positive if the rule needs that.
Products of equal distances can differ by rounding, so near-ties are recomputed from coordinate differences:
searches where the runner-up, or the positive's own distance, is within `SortedBatch.tolerance`. The loss and
the gradient always come from differences.

A search for each positive is quadratic in class size. Of rules with all positives and a semi-hard negative,
classes with more than `Plan.sorted_from` references are therefore computed elsewhere: with numba in
`semihard_sorted`; with torch in float64 blocks, which sort the negatives of an anchor once for all of its
positives. The torch tiles have no such search.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trine.engine.exact import blocks as cut
from trine.engine.exact import exact_block
from trine.engine.float64_distances import Float64Distances
from trine.engine.layout import Group, Part
from trine.engine.numba_backend import NumbaBatch, NumbaSearch
from trine.engine.objective import Objective, Tally, reduce, triplet_weights
from trine.engine.relations import Relations
from trine.engine.search import Best, farthest, joined, search_tiles
from trine.engine.semihard_sorted import SortedPositives
from trine.engine.sorted_batch import FAR, Accumulator, SortedBatch
from trine.engine.tiles import run_tiles


class NegativeSearch(Protocol):
    """Finds the nearest negative beyond each bound of the anchors of a part; −1 if there is none."""

    def __call__(
        self, batch: SortedBatch, part: Part, bounds: list[Tensor], positives: list[Tensor], workers: int
    ) -> list[Best]:
        """Returns the negatives of each block, (searches, anchors)."""


def one_negative_loss(
    batch: SortedBatch,
    relations: Relations,
    objective: Objective,
    needs_grad: tuple[bool, bool],
    workers: int,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss over the triplets of a rule with one negative, and the gradients needed.

    Args:
        batch: The sorted batch.
        relations: Its relations, for anchors that are computed in float64.
        objective: The loss; its rule takes all positives, the farthest or the nearest, and the nearest
            negative (of those beyond the positive).
        needs_grad: Whether the gradients at the anchors and at the references are needed.
        workers: How many threads share the tiles.
    """
    layout = batch.layout
    large = [group for group in layout.groups if _in_large_class(batch, group, objective)]
    left_out = frozenset(large)
    small = [group for group in layout.groups if group not in left_out]
    parts = batch.parts(workers, small, batch.search_pairs)
    outer, inner = (1, workers) if layout.square else (workers, 1)

    def state() -> Accumulator:
        # A reference may be the negative of thousands of other anchors: float32 would not keep their sum.
        dtype = torch.float32 if layout.square else torch.float64
        return batch.accumulator(needs_grad, batch.width, dtype)

    def work(total: Accumulator, part: Part) -> None:
        _add_part(batch, part, left_out, objective, total, inner)

    totals = run_tiles(((part,) for part in parts), state, work, outer)
    if large and isinstance(batch, NumbaBatch):
        spare = list(totals)
        found = SortedPositives(batch, objective).run(
            large, lambda: spare.pop() if spare else state(), workers
        )
        totals += [other for other in found if not any(other is known for known in totals)]
    total = totals[0]
    for other in totals[1:]:
        total.add(other)
    gradients = list(batch.in_batch_order(total))
    if large and not isinstance(batch, NumbaBatch):
        total.tally.add(_in_float64(batch, relations, objective, large, gradients))
    return reduce(total.tally, objective, batch.x, *gradients)


def _in_large_class(batch: SortedBatch, group: Group, objective: Objective) -> bool:
    """Whether a search for each positive would take too long; `hard` needs only one for all of them."""
    rule, large = objective.mining, group.references > batch.plan.sorted_from
    return large and rule.positive == "all" and rule.negative != "hard"


def _add_part(
    batch: SortedBatch,
    part: Part,
    left_out: AbstractSet[Group],
    objective: Objective,
    total: Accumulator,
    workers: int,
) -> None:
    """Adds the anchors of a part, except the groups that are left out."""
    rule = objective.mining.positive
    chosen = [
        _nothing(batch, group) if group in left_out else positives_of(batch, group, rule)
        for group in part.groups
    ]
    negatives = _negatives(batch, part, objective, chosen, workers)
    for group, (d, mates), n in zip(part.groups, chosen, negatives, strict=True):
        if d.shape[1] and group.references < len(batch.layout.references):
            total.tally.add(_loss(batch, group, d, mates, n, objective, total))


def _nothing(batch: SortedBatch, group: Group) -> tuple[Tensor, Tensor]:
    rows = group.stop - group.start
    return batch.right.new_empty(rows, 0), batch.layout.order.new_empty(rows, 0)


def positives_of(batch: SortedBatch, group: Group, rule: str) -> tuple[Tensor, Tensor]:
    """Returns (squared distance, place) of the positives that the rule takes, for each anchor of a group.

    Where an anchor has fewer than the others, the distance is ∞: rows of its own item are not its positives.
    """
    layout, d = batch.layout, batch.positives(group)
    if layout.items is not None:
        same_item = ~layout.positive(group, layout.mates(group))
        d.masked_fill_(same_item, -torch.inf if rule == "hard" else torch.inf)
    if rule == "all" or not group.positives:
        return d, layout.mates(group)
    # Rows of a class keep the batch's order: the first of equals has the lowest index.
    pick = (d.argmax(1) if rule == "hard" else d.argmin(1))[:, None]
    d = d.gather(1, pick)
    return d.masked_fill_(d == -torch.inf, torch.inf), layout.mate(group, pick)


def _negatives(
    batch: SortedBatch, part: Part, objective: Objective, chosen: list[tuple[Tensor, Tensor]], workers: int
) -> list[Tensor]:
    """Returns the negative for each chosen positive of each group; −1 for none."""
    rule, searched = objective.mining, chosen
    if rule.negative == "hard":  # one search without a bound serves all positives
        searched = [(torch.full_like(d[:, :1], -FAR), torch.full_like(rows[:, :1], -1)) for d, rows in chosen]
    bounds = batch.by_block(part, [d for d, _ in searched], torch.inf)
    positives = batch.by_block(part, [rows for _, rows in searched], -1)
    search: NegativeSearch = _numba_search if isinstance(batch, NumbaBatch) else search_tiles
    best = search(batch, part, bounds, positives, workers)
    if rule.negative == "semihard":
        _fall_back(batch, part, bounds, best)
    found = batch.to_groups(part, [b.index for b in best], [d.shape[1] for d, _ in searched])
    expanded = [n.expand(rows.shape) for n, (_, rows) in zip(found, chosen, strict=True)]
    if batch.layout.items is None:
        return expanded
    return [n.masked_fill(d == torch.inf, -1) for n, (d, _) in zip(expanded, chosen, strict=True)]


def _numba_search(
    batch: SortedBatch, part: Part, bounds: list[Tensor], positives: list[Tensor], workers: int
) -> list[Best]:
    assert isinstance(batch, NumbaBatch)
    kernel = NumbaSearch(batch, part, bounds, positives)
    size = max(map(len, part.blocks)) * max(map(len, part.sides))

    def state() -> tuple[list[tuple[np.ndarray, np.ndarray]], Tensor]:
        return kernel.start(), torch.empty(size)

    def work(best: tuple[list[tuple[np.ndarray, np.ndarray]], Tensor], i: int, j: int) -> None:
        kernel.tile(*best, i, j)

    parts = run_tiles(part.tiles(batch.layout), state, work, workers)
    found = [
        [
            Best(block.start, bound, positive, torch.from_numpy(squared), torch.from_numpy(index))
            for block, bound, positive, (squared, index) in zip(
                part.blocks, bounds, positives, tiles, strict=True
            )
        ]
        for tiles, _ in parts
    ]
    return joined(batch, found)


def _fall_back(batch: SortedBatch, part: Part, bounds: list[Tensor], best: list[Best]) -> None:
    """Gives searches that found no negative beyond the positive the farthest, as `semihard` has it."""
    for block, bound, found in zip(part.blocks, bounds, best, strict=True):
        searches = len(bound)
        missing = (found.index[:searches] < 0) & (bound < torch.inf)
        row = missing.any(0).nonzero()[:, 0]
        if len(row):
            places = row + block.start
            last = torch.full_like(found.index[0], -1)
            last[row] = batch.farthest(places) if isinstance(batch, NumbaBatch) else farthest(batch, places)
            found.index[:searches] = torch.where(missing, last, found.index[:searches])


def _loss(
    batch: SortedBatch,
    group: Group,
    d: Tensor,
    positive: Tensor,
    negative: Tensor,
    objective: Objective,
    total: Accumulator,
) -> Tally:
    """The loss of the triplets of a group, and its gradient."""
    row, k = (negative >= 0).nonzero(as_tuple=True)
    a, p, n = row + group.start, positive[row, k], negative[row, k]
    near, far = d[row, k], batch.squared_pairs(a, n)
    weight, tally = triplet_weights(batch.measured(near), batch.measured(far), row, len(negative), objective)
    if total.gradient is not None:
        if positive.shape[1] == group.positives:
            weights = torch.zeros_like(d)
            weights[row, k] = weight * batch.slope(near)
            batch.pull_positives(group, weights, total)
        else:
            batch.pull_pairs(a, p, weight * batch.slope(near), total)
        batch.pull_pairs(a, n, -weight * batch.slope(far), total)
    return tally


def _in_float64(
    batch: SortedBatch,
    relations: Relations,
    objective: Objective,
    groups: list[Group],
    gradients: list[Tensor | None],
) -> Tally:
    """Computes the anchors of large classes in float64 blocks: the torch tiles have no search that sorts."""
    tally, distances = Tally(), Float64Distances(batch.x, batch.y, objective.distance)
    extra = distances.gradients(*(g is not None for g in gradients))
    places = torch.cat([batch.layout.order[group.start : group.stop] for group in groups])
    for anchors in cut(places.sort().values, len(batch.layout.references), batch.plan.block_pairs):
        tally.add(exact_block(distances, relations, objective, anchors, *extra))
    for side, (end, raw) in enumerate(zip(extra, (batch.x, batch.y), strict=True)):
        back, gradient = distances.pulled_back(end, raw), gradients[side]
        if gradient is not None and back is not None:
            gradient += back
    return tally
