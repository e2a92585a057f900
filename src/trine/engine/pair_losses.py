"""Losses of pairs: one value per pair, over all pairs of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trine.distances import Distance
from trine.engine.exact import blocks
from trine.engine.float64_distances import Space
from trine.engine.objective import loss_dtype
from trine.engine.relations import Relations


@dataclass(frozen=True)
class PairObjective:
    """The contrastive loss that a pass computes.

    Attributes:
        margin: How far apart negatives are to be.
        distance: The name of the distance.
        squared: ½d² and ½max(0, m − d)², or d and max(0, m − d).
        reduction: `mean`, `sum` or `active`.
        whole: From the sums and numbers of these anchors to those of all, where other processes have the
            others.
    """

    margin: float
    distance: Distance
    squared: bool
    reduction: str
    whole: Callable[[list[float]], list[float]] | None = None


def pair_pass(
    x: Tensor, y: Tensor | None, relations: Relations, objective: PairObjective, asks_x: bool, asks_y: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss of all pairs and the gradients asked for; see `Pass`."""
    space = Space(x, y, objective.distance)
    # Positives and negatives are divided by numbers of their own where the reduction is `active`.
    gradients = [space.gradients(asks_x, asks_y) for _ in range(2)]
    # Of positives and negatives each: Σ, how many pairs, how many of them above 0.
    sums, numbers, active = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
    for anchors in blocks(torch.arange(len(x), device=x.device), len(space.y)):
        d, rows = space.distances(anchors), relations.rows(anchors)
        short = (objective.margin - d).clamp(min=0)
        for i, (mask, reach, sign) in enumerate(((rows.positive, d, 1.0), (rows.negative, short, -1.0))):
            reach = reach.double().masked_fill(~mask, 0)
            values = reach.square() / 2 if objective.squared else reach
            sums[i] += float(values.sum())
            numbers[i] += int(mask.sum())
            active[i] += int((values > 0).sum())
            if asks_x or asks_y:
                pull = reach if objective.squared else (reach > 0).double()
                space.add_dense(anchors, sign * pull * space.slope(d), *gradients[i])
    if objective.whole is not None:
        joined = objective.whole([*sums, *numbers, *active])
        sums, numbers, active = joined[:2], joined[2:4], joined[4:]
    if objective.reduction == "active":
        divisors = [max(1.0, number) for number in active]
    elif objective.reduction == "mean":
        divisors = [max(1.0, sum(numbers))] * 2
    else:
        # A pair of a set with itself is seen from both ends, and counts once.
        divisors = [2.0 if relations.own or relations.offset is not None else 1.0] * 2
    loss = sum(total / divisor for total, divisor in zip(sums, divisors, strict=True))
    combined: list[Tensor | None] = []
    for side in range(2):
        positive, negative = gradients[0][side], gradients[1][side]
        whole = None
        if positive is not None and negative is not None:
            whole = positive / divisors[0] + negative / divisors[1]
        combined.append(whole)
    value = torch.tensor(loss, dtype=loss_dtype(x), device=x.device)
    return value, space.pulled_back(combined[0], x), space.pulled_back(combined[1], y)
