"""The exact pass: every rule, a block of anchors at a time against all references.

It takes any relations, any rule and any device, and holds one block of float64 distances. The faster
passes beside it do the same for the common case, and hand it the anchors they are not sure of.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from trine.engine.float64_distances import Space
from trine.engine.objective import Objective, Tally, finished, weighed
from trine.engine.relations import RelationRows, Relations
from trine.shapes import Int64

BLOCK = 1 << 19  # pairs held at once: about 30 MB with everything that is made of them
_AT_ONCE = 1 << 16  # triplets compared in one call: below it the number of calls decides


def blocks(anchors: Int64[Tensor, " n"], references: int) -> Iterator[Int64[Tensor, " h"]]:
    """Cuts a list of anchors so that each part has about `BLOCK` pairs."""
    yield from torch.split(anchors, max(1, BLOCK // max(1, references)))


def exact_pass(
    x: Tensor, y: Tensor | None, relations: Relations, objective: Objective, asks_x: bool, asks_y: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss and the gradients asked for; see `Pass`."""
    space = Space(x, y, objective.distance)
    gx, gy = space.gradients(asks_x, asks_y)
    tally = Tally()
    for anchors in blocks(torch.arange(len(x), device=x.device), len(space.y)):
        tally.add(exact_block(space, relations, objective, anchors, gx, gy))
    loss, gx, gy = finished(tally, objective, x, gx, gy)
    return loss, space.pulled_back(gx, x), space.pulled_back(gy, y)


def exact_block(
    space: Space,
    relations: Relations,
    objective: Objective,
    anchors: Int64[Tensor, " h"],
    gx: Tensor | None,
    gy: Tensor | None,
) -> Tally:
    """Adds the gradient of a block of anchors, and returns its sums."""
    d, rows = space.distances(anchors), relations.rows(anchors)
    if objective.mining.keeps_all:
        return _every_triplet(space, d, rows, objective, gx, gy)
    chosen = objective.choose(d, rows)
    a, p, n = chosen.anchor, chosen.positive, chosen.negative
    weight, tally = weighed(d[a, p], d[a, n], a, len(anchors), objective)
    if gx is not None or gy is not None:
        w_ap, w_an = weight * space.slope(d[a, p]), weight * space.slope(d[a, n])
        if 4 * len(a) < d.numel():
            live = weight > 0
            a, p, n, w_ap, w_an = a[live], p[live], n[live], w_ap[live], w_an[live]
            space.add_pairs(anchors[a], p, w_ap, gx, gy)
            space.add_pairs(anchors[a], n, -w_an, gx, gy)
        else:
            dense = torch.zeros(d.shape, dtype=torch.float64, device=d.device)
            dense.index_put_((a, p), w_ap, accumulate=True)
            dense.index_put_((a, n), -w_an, accumulate=True)
            space.add_dense(anchors, dense, gx, gy)
    return tally


def _every_triplet(
    space: Space,
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
    # The positives of each anchor side by side; the empty places are below every negative.
    place = torch.arange(len(row), device=d.device) - (positives.cumsum(0) - positives)[row]
    thresholds = d.new_full((len(d), int(positives.max()) if len(d) else 0), -torch.inf)
    thresholds[row, place] = d[row, column] if objective.margin is None else d[row, column] + objective.margin
    d_an = d.masked_fill(~rows.negative, torch.inf)
    value, active, of_positive, of_negative = (softly if objective.margin is None else counted)(
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
        weights = -of_negative * space.slope(d)
        weights[row, column] = of_positive[row, place] * space.slope(d[row, column])
        space.add_dense(rows.anchors, weights, gx, gy)
    return Tally(float(value.sum()), int(active), int(triplets.sum()), int((triplets > 0).sum()))


def counted(d_an: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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


def softly(d_an: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The soft margin, positive by positive; as `counted`, with Σ σ(d_ap − d_an) in place of counts."""
    n = torch.zeros(thresholds.shape, dtype=torch.float64, device=d_an.device)
    c = torch.zeros(d_an.shape, dtype=torch.float64, device=d_an.device)
    value = n.new_zeros(len(d_an))
    active = torch.zeros((), dtype=torch.int64, device=d_an.device)
    if d_an.numel() * thresholds.shape[1] <= _AT_ONCE // 4:
        gap = thresholds[:, :, None] - d_an[:, None, :]
        losses, pull = F.softplus(gap), torch.sigmoid(gap)
        return losses.sum((1, 2)), torch.count_nonzero(losses), pull.sum(2), pull.sum(1)
    for k in range(thresholds.shape[1]):
        gap = thresholds[:, k : k + 1] - d_an
        losses, pull = F.softplus(gap), torch.sigmoid(gap)
        value += losses.sum(1, dtype=torch.float64)
        active += (losses > 0).sum()
        c += pull
        n[:, k] = pull.sum(1, dtype=torch.float64)
    return value, active, n, c
