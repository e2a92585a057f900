"""Losses of pairs: one value per pair, over all pairs of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trine.distances import Distance
from trine.engine.exact import blocks
from trine.engine.float64_distances import Float64Distances
from trine.engine.objective import loss_dtype
from trine.engine.relations import Relations


@dataclass(frozen=True)
class PairObjective:
    """The contrastive loss to compute.

    Attributes:
        margin: How far apart negatives are to be.
        distance: The name of the distance.
        squared: ½d² and ½max(0, m − d)², or d and max(0, m − d).
        reduction: `mean`, `sum` or `active`.
        join: Maps the sums and counts of these anchors to those of all processes.
    """

    margin: float
    distance: Distance
    squared: bool
    reduction: str
    join: Callable[[list[float]], list[float]] | None = None


def pair_loss(
    x: Tensor, y: Tensor | None, relations: Relations, objective: PairObjective, grad_x: bool, grad_y: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss of all pairs and the gradients needed; see `EarlyLoss`."""
    distances = Float64Distances(x, y, objective.distance)
    # With the reduction `active`, positives and negatives are averaged separately.
    gradients = [distances.gradients(grad_x, grad_y) for _ in range(2)]
    # Of positives and negatives each: Σ, how many pairs, how many of them above 0.
    sums, numbers, active = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
    for anchors in blocks(torch.arange(len(x), device=x.device), len(distances.y)):
        d, rows = distances.distances(anchors), relations.rows(anchors)
        short = (objective.margin - d).clamp(min=0)
        for i, (mask, reach, sign) in enumerate(((rows.positive, d, 1.0), (rows.negative, short, -1.0))):
            reach = reach.double().masked_fill(~mask, 0)
            values = reach.square() / 2 if objective.squared else reach
            sums[i] += float(values.sum())
            numbers[i] += int(mask.sum())
            active[i] += int((values > 0).sum())
            if grad_x or grad_y:
                weight = reach if objective.squared else (reach > 0).double()
                distances.add_dense(anchors, sign * weight * distances.slope(d), *gradients[i])
    if objective.join is not None:
        joined = objective.join([*sums, *numbers, *active])
        sums, numbers, active = joined[:2], joined[2:4], joined[4:]
    if objective.reduction == "active":
        divisors = [max(1.0, number) for number in active]
    elif objective.reduction == "mean":
        divisors = [max(1.0, sum(numbers))] * 2
    else:
        # A pair within one set appears twice, and counts once.
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
    return value, distances.pulled_back(combined[0], x), distances.pulled_back(combined[1], y)
