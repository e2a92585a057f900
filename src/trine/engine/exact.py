"""Float64 blocks: any rule and any relations, a block of anchors at a time against all references.

One block of float64 distances is held at a time, on any device. The tiled losses compute the same faster for
the common case.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from trine.engine.float64_distances import Float64Distances
from trine.engine.objective import Objective, Tally, reduce, triplet_weights
from trine.engine.plan import DEFAULT_PLAN, Plan
from trine.engine.relations import RelationRows, Relations
from trine.shapes import Int64

_AT_ONCE = 1 << 16  # triplets compared in one call: with fewer, the call overhead dominates


def blocks(
    anchors: Int64[Tensor, " n"], references: int, pairs: int = DEFAULT_PLAN.block_pairs
) -> Iterator[Int64[Tensor, " h"]]:
    """Splits a list of anchors into parts of about `pairs` pairs."""
    yield from torch.split(anchors, max(1, pairs // max(1, references)))


def exact_loss(
    x: Tensor,
    y: Tensor | None,
    relations: Relations,
    objective: Objective,
    needs_grad: tuple[bool, bool],
    plan: Plan = DEFAULT_PLAN,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss and the gradients needed; see `EarlyLoss`."""
    distances = Float64Distances(x, y, objective.distance)
    gx, gy = distances.gradients(*needs_grad)
    tally = Tally()
    for anchors in blocks(torch.arange(len(x), device=x.device), len(distances.y), plan.block_pairs):
        tally.add(exact_block(distances, relations, objective, anchors, gx, gy))
    loss, gx, gy = reduce(tally, objective, x, gx, gy)
    return loss, distances.pulled_back(gx, x), distances.pulled_back(gy, y)


def exact_block(
    distances: Float64Distances,
    relations: Relations,
    objective: Objective,
    anchors: Int64[Tensor, " h"],
    gx: Tensor | None,
    gy: Tensor | None,
) -> Tally:
    """Adds the gradient of a block of anchors, and returns its sums."""
    d, rows = distances.distances(anchors), relations.rows(anchors)
    if objective.mining.keeps_all:
        return _all_triplets(distances, d, rows, objective, gx, gy)
    chosen = objective.choose(d, rows)
    a, p, n = chosen.anchor, chosen.positive, chosen.negative
    weight, tally = triplet_weights(d[a, p], d[a, n], a, len(anchors), objective)
    if gx is not None or gy is not None:
        w_ap, w_an = weight * distances.slope(d[a, p]), weight * distances.slope(d[a, n])
        if 4 * len(a) < d.numel():
            live = weight > 0
            a, p, n, w_ap, w_an = a[live], p[live], n[live], w_ap[live], w_an[live]
            distances.add_pairs(anchors[a], p, w_ap, gx, gy)
            distances.add_pairs(anchors[a], n, -w_an, gx, gy)
        else:
            dense = torch.zeros(d.shape, dtype=torch.float64, device=d.device)
            dense.index_put_((a, p), w_ap, accumulate=True)
            dense.index_put_((a, n), -w_an, accumulate=True)
            distances.add_dense(anchors, dense, gx, gy)
    return tally


def _all_triplets(
    distances: Float64Distances,
    d: Tensor,
    rows: RelationRows,
    objective: Objective,
    gx: Tensor | None,
    gy: Tensor | None,
) -> Tally:
    """All triplets of a block without listing them: the weight of a pair is a sum over its thresholds."""
    negatives = rows.negative.sum(1)
    row, column = (rows.positive & (negatives > 0)[:, None]).nonzero(as_tuple=True)
    positives = torch.bincount(row, minlength=len(d))
    triplets = positives * negatives
    # The positives of each anchor in a row; empty slots are below every negative.
    place = torch.arange(len(row), device=d.device) - (positives.cumsum(0) - positives)[row]
    thresholds = d.new_full((len(d), int(positives.max()) if len(d) else 0), -torch.inf)
    thresholds[row, place] = d[row, column] if objective.margin is None else d[row, column] + objective.margin
    d_an = d.masked_fill(~rows.negative, torch.inf)
    value, active, of_positive, of_negative = (soft_margin if objective.margin is None else hinge_counts)(
        d_an, thresholds
    )
    if objective.reduction == "anchor":
        share = 1.0 / triplets.clamp(min=1).double()
        value, of_positive, of_negative = (
            value * share,
            of_positive * share[:, None],
            of_negative * share[:, None],
        )
    if gx is not None or gy is not None:
        weights = -of_negative * distances.slope(d)
        weights[row, column] = of_positive[row, place] * distances.slope(d[row, column])
        distances.add_dense(rows.anchors, weights, gx, gy)
    return Tally(float(value.sum()), int(active), int(triplets.sum()), int((triplets > 0).sum()))


def hinge_counts(d_an: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The hinge by counting: a negative at d is active against exactly the positives with d_ap + α > d.

    Args:
        d_an: The distances of each anchor (in rows) to its negatives, ∞ elsewhere.
        thresholds: d_ap + α of each positive of each anchor; −∞ in empty places.

    Returns:
        Σ ℓ of each anchor; the number of active triplets; how many of them each positive is in; how many
        each negative is in.
    """
    width = thresholds.shape[1]
    n = torch.zeros(thresholds.shape, dtype=torch.float64, device=d_an.device)
    if d_an.numel() * width <= _AT_ONCE:
        active = (d_an[:, None, :] < thresholds[:, :, None]).float()
        n, c = active.sum(2).double(), active.sum(1).double()
    elif width <= 128:
        c = torch.zeros(d_an.shape, dtype=torch.float32, device=d_an.device)
        below = torch.empty_like(c)
        for k in range(width):
            torch.lt(d_an, thresholds[:, k : k + 1], out=below)
            c += below
            n[:, k] = below.sum(1)
        c = c.double()
    else:
        in_order, rank = thresholds.sort(1)
        first = torch.searchsorted(in_order, d_an.contiguous(), right=True)  # thresholds ≤ d: not active
        c = (width - first).double()
        slot = first + torch.arange(len(first), device=first.device)[:, None] * (width + 1)
        starts = torch.bincount(slot.flatten(), minlength=len(first) * (width + 1))
        n.scatter_(1, rank, starts.view(-1, width + 1).cumsum(1)[:, :width].double())
    value = (n * thresholds.masked_fill(n == 0, 0)).sum(1) - (c * d_an.masked_fill(c == 0, 0)).sum(1)
    return value, n.sum(), n, c


def soft_margin(d_an: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The soft margin, positive by positive; as `hinge_counts`, with Σ σ(d_ap − d_an) in place of counts."""
    n = torch.zeros(thresholds.shape, dtype=torch.float64, device=d_an.device)
    c = torch.zeros(d_an.shape, dtype=torch.float64, device=d_an.device)
    value = n.new_zeros(len(d_an))
    active = torch.zeros((), dtype=torch.int64, device=d_an.device)
    if d_an.numel() * thresholds.shape[1] <= _AT_ONCE // 4:
        gap = thresholds[:, :, None] - d_an[:, None, :]
        losses, weight = F.softplus(gap), torch.sigmoid(gap)
        return losses.sum((1, 2)), torch.count_nonzero(losses), weight.sum(2), weight.sum(1)
    for k in range(thresholds.shape[1]):
        gap = thresholds[:, k : k + 1] - d_an
        losses, weight = F.softplus(gap), torch.sigmoid(gap)
        value += losses.sum(1, dtype=torch.float64)
        active += (losses > 0).sum()
        c += weight
        n[:, k] = weight.sum(1, dtype=torch.float64)
    return value, active, n, c
