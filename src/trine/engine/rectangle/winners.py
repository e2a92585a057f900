"""Rules that take one negative, on anchors × references: a block of anchors against all references."""

from __future__ import annotations

import torch
from torch import Tensor

from trine.engine.layout import Block
from trine.engine.objective import Objective, weighed
from trine.engine.one_sided import one_sided
from trine.engine.rectangle.field import Rectangle, Sums
from trine.engine.rectangle.nearest import Judge
from trine.engine.relations import Relations

STRIP = 1 << 19  # distances of a block to all references: 2 MB, and twice that to sort them
_EQUAL = 1e-9  # of a squared distance in float64, by which those of duplicates may differ
_LEAST = 32  # anchors from which their product with all references is a fast one


def one_negative(
    field: Rectangle,
    judge_of: type[Judge],
    relations: Relations,
    objective: Objective,
    asks: tuple[bool, bool],
    workers: int,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss over the triplets of a rule with one negative, and the gradients asked for.

    Args:
        field: Anchors and references.
        judge_of: What finds the negatives.
        relations: The relations, for what cannot be decided in float32.
        objective: The loss; its rule takes all positives, the farthest or the nearest, and the nearest
            negative (of those beyond the positive).
        asks: Whether the gradients at the anchors and at the references are asked for.
        workers: How many threads share the anchors.
    """
    return one_sided(
        field,
        objective,
        # A reference may be the negative of thousands: float32 would not keep their sum.
        lambda: field.sums(asks, torch.float64),
        lambda block, sums: _add(field, judge_of(field, relations, block, sums), objective, block, sums),
        workers,
        height=max(_LEAST, STRIP // len(field.layout.references)),
    )


def _add(field: Rectangle, judge: Judge, objective: Objective, block: Block, sums: Sums) -> None:
    rule = objective.mining
    places, positive = field.layout.mates(block)
    squared = field.squares(block, places, positive)
    if rule.positive != "all":
        pick = _picked(squared, positive, rule.positive == "hard")
        places, squared, positive = (t.gather(1, pick) for t in (places, squared, positive))
    if rule.negative == "hard":
        negatives = judge.nearest().expand_as(places)
    else:
        bounds = squared.masked_fill(~positive, torch.inf).float()
        negatives = judge.beyond(bounds, places, farthest=rule.negative == "semihard")
    row, k = (positive & (negatives >= 0)).nonzero(as_tuple=True)
    a, p, n = row + block.start, places[row, k], negatives[row, k]
    to_p, to_n = squared[row, k], field.exact_pairs(a, n)
    pull, tally = weighed(field.measured(to_p), field.measured(to_n), row, len(block), objective)
    sums.tally.add(tally)
    if not sums.asked:
        return
    if rule.positive == "all":
        weights = torch.zeros_like(squared)
        weights[row, k] = pull * field.slope(to_p)
        field.pull_mates(block, places, weights, sums)
    else:
        field.pull(a, p, pull * field.slope(to_p), sums)
    field.pull(a, n, -pull * field.slope(to_n), sums)


def _picked(squared: Tensor, positive: Tensor, farthest: bool) -> Tensor:
    """The place of the farthest or the nearest positive of each anchor, (anchors, 1); the first of equals.

    Class-mates stand in the order of the references. Of duplicates the last digits may differ.
    """
    if farthest:
        ends = squared >= squared.masked_fill(~positive, -1).amax(1, keepdim=True) * (1 - _EQUAL)
    else:
        ends = squared <= squared.masked_fill(~positive, torch.inf).amin(1, keepdim=True) * (1 + _EQUAL)
    return (ends & positive).byte().argmax(1, keepdim=True)
