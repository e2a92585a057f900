"""Small batches in float64: a batch of up to a few hundred rows, all of its distances at once.

The arithmetic is that of the float64 blocks, in as few operations as possible: below some two hundred rows
the number of calls decides the time, not what they compute. Distances come from differences, each pair by
itself, and no sum is shared between threads, so a batch gives the same bits on any number of them.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from trine.cosine import directions, settle_cosine
from trine.distances import Distance
from trine.engine.exact import hinge_counts, soft_margin
from trine.engine.float64_distances import through_unit_rows
from trine.engine.objective import Objective, Tally, loss_dtype, values_and_weights
from trine.engine.plan import DEFAULT_PLAN, Plan
from trine.engine.relations import RelationRows, Relations
from trine.shapes import Float, Int64
from trine.triplets import Mining


def small_batch_loss(
    x: Float[Tensor, "n d"],
    relations: Relations,
    objective: Objective,
    needs_grad: bool,
    plan: Plan = DEFAULT_PLAN,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss of a small batch that is its own reference, and its gradient; see `EarlyLoss`."""
    if not len(x):
        return x.new_zeros((), dtype=loss_dtype(x)), torch.zeros_like(x) if needs_grad else None, None
    related = relations.whole()
    rows = x.double()
    proposed = _proposed(x, related, objective, plan)
    if proposed is not None:
        tally, gradient = _one_each(rows, *proposed, objective)
        divisor = tally.divisor(objective.reduction)
        loss = torch.tensor(tally.value / divisor, dtype=loss_dtype(x), device=x.device)
        return loss, gradient.div_(divisor).to(loss.dtype) if needs_grad else None, None
    rows, d = _measured(rows, objective.distance)
    compute = _all_triplets if objective.mining.keeps_all else _chosen
    tally, weights = compute(d, related, objective, needs_grad)
    divisor = tally.divisor(objective.reduction)
    loss = torch.tensor(tally.value / divisor, dtype=loss_dtype(x), device=x.device)
    if weights is None:
        return loss, None, None
    weights = weights + weights.T
    gradient = torch.addmm(rows * weights.sum(1, keepdim=True), weights, rows, alpha=-1).div_(divisor)
    if objective.distance == "cosine":
        gradient = through_unit_rows(gradient, x, rows)
    return loss, gradient.to(loss.dtype), None


def all_distances(x: Float[Tensor, "n d"], distance: Distance) -> Float[Tensor, "n n"]:
    """Returns the float64 distances of a small batch, as `small_batch_loss` compares them."""
    return _measured(x.double(), distance)[1]


def _measured(rows: Tensor, distance: Distance) -> tuple[Tensor, Tensor]:
    """The rows that the distance is between, and the distances."""
    if distance != "cosine":
        pairs = torch.pdist(rows)
        return rows, _square(pairs.square_() if distance == "squared_euclidean" else pairs, len(rows))
    unit, zero, whole, slack = directions(rows)
    d = _square(torch.pdist(unit).square_().div_(2).clamp_(max=2), len(rows))
    if slack >= 0:
        d.masked_fill_(zero | zero[:, None], 1)
    return unit, settle_cosine(d, slack, whole, whole)


def _square(pairs: Tensor, n: int) -> Float[Tensor, "n n"]:
    return torch.cat([pairs, pairs.new_zeros(1)])[_places(n, str(pairs.device))]


@lru_cache(maxsize=8)
def _places(n: int, device: str) -> Int64[Tensor, "n n"]:
    """Where each pair stands among the pairs i < j; the last place for a row and itself."""
    i, j = torch.triu_indices(n, n, 1)
    places = torch.full((n, n), len(i))
    places[i, j] = places[j, i] = torch.arange(len(i))
    return places.to(device)


def _proposed(
    x: Tensor, related: RelationRows, objective: Objective, plan: Plan
) -> tuple[Tensor, Tensor] | None:
    """(p, n) of each anchor for rules with one of each; None unless float32 is sure of all of them."""
    rule = objective.mining
    if rule.positive not in ("hard", "easy") or rule.negative != "hard":
        return None
    if x.dtype == torch.float64 or objective.distance == "cosine" or len(x) < plan.propose_from:
        return None
    d = _square(torch.pdist(x.float()), len(x))
    d_an, n = torch.where(related.negative, d, torch.inf).min(1, keepdim=True)
    if rule.positive == "hard":
        d_ap, p = torch.where(related.positive, d, -torch.inf).max(1, keepdim=True)
    else:
        d_ap, p = torch.where(related.positive, d, torch.inf).min(1, keepdim=True)
    ends = torch.cat([d_ap, d_an])
    # Beyond these, squares overflow or underflow in float32; ±∞ marks a side without a candidate.
    if not (float(ends.min()) > 1e-12 and float(ends.max()) < 1e12):
        return None
    # A difference of two rows, its square and D sums each have a rounding error of at most 2⁻²⁴.
    slack = (x.shape[1] + 8) * 2.0**-24
    close = (d <= d_an * (1 + slack)) & related.negative
    if rule.positive == "hard":
        close |= (d >= d_ap * (1 - slack)) & related.positive
    else:
        close |= (d <= d_ap * (1 + slack)) & related.positive
    if int(torch.count_nonzero(close)) > 2 * len(x):
        return None
    return p[:, 0], n[:, 0]


def _one_each(rows: Tensor, p: Tensor, n: Tensor, objective: Objective) -> tuple[Tally, Tensor]:
    """The loss of one triplet of each anchor, and its gradient."""
    margin, squared = objective.margin, objective.distance == "squared_euclidean"
    to_p, to_n = rows - rows[p], rows - rows[n]
    d_ap, d_an = (torch.linalg.vector_norm(to, dim=1) for to in (to_p, to_n))
    near, far = (d_ap.square(), d_an.square()) if squared else (d_ap, d_an)
    values, weight = values_and_weights(near, far, margin)
    tally = Tally(float(values.sum()), int(torch.count_nonzero(values)), len(rows), len(rows))
    to_p *= (weight * 2 if squared else weight / d_ap)[:, None]
    to_n *= (weight * 2 if squared else weight / d_an)[:, None]
    gradient = to_p - to_n
    return tally, gradient.index_add_(0, p, to_p, alpha=-1).index_add_(0, n, to_n)


def _slope(d: Tensor, distance: Distance) -> Tensor | float:
    """Returns s with ∂d/∂x = s·(x − y); 0 at distance 0."""
    if distance == "euclidean":
        return d.reciprocal().masked_fill_(d == 0, 0)
    return 2.0 if distance == "squared_euclidean" else 1.0


def _packed(d: Tensor, related: RelationRows) -> tuple[Tensor, Tensor]:
    """(d_ap, p) of the positives of each anchor side by side; empty places have d_ap = −∞ and p = 0."""
    row, p = related.positive.nonzero(as_tuple=True)
    counts = related.positive.sum(1)
    width = int(counts.max())
    if len(row) == width * len(d):
        p = p.view(len(d), width)
        return d.gather(1, p), p
    place = torch.arange(len(row), device=d.device) - (counts.cumsum(0) - counts)[row] + row * width
    shape = (len(d), width)
    index = torch.zeros(shape, dtype=torch.int64, device=d.device)
    index.view(-1)[place] = p
    d_ap = d.new_full(shape, -torch.inf)
    d_ap.view(-1)[place] = d[row, p]
    return d_ap, index


def _all_triplets(
    d: Tensor, related: RelationRows, objective: Objective, needs_grad: bool
) -> tuple[Tally, Tensor | None]:
    margin = objective.margin
    d_ap, p = _packed(d, related)
    d_an = d.masked_fill(~related.negative, torch.inf)
    if margin is None:
        value, active, n, c = soft_margin(d_an, d_ap)
    else:
        value, active, n, c = hinge_counts(d_an, d_ap + margin)
    tally = Tally(active=int(active))
    if objective.reduction in ("mean", "anchor"):
        triplets = (d_ap >= 0).sum(1) * related.negative.sum(1)
        tally.triplets, tally.anchors = int(triplets.sum()), int((triplets > 0).sum())
        if objective.reduction == "anchor":
            share = 1.0 / triplets.clamp(min=1).double()
            value = value * share
            n, c = n * share[:, None], c * share[:, None]
    tally.value = float(value.sum())
    if not needs_grad:
        return tally, None
    slope = _slope(d, objective.distance)
    if isinstance(slope, Tensor):
        return tally, (c * slope).neg_().scatter_add_(1, p, n * slope.gather(1, p))
    return tally, c.neg().scatter_add_(1, p, n).mul_(slope)


def _chosen(
    d: Tensor, related: RelationRows, objective: Objective, needs_grad: bool
) -> tuple[Tally, Tensor | None]:
    """Rules that choose: what is listed of them has one place for each anchor and positive, or is a list."""
    margin, rule = objective.margin, objective.mining
    if rule.takes_nearest_negative:
        d_ap, p, d_an, n = _nearest(d, related, rule)
        a = torch.arange(len(d), device=d.device)[:, None]
    else:
        chosen = objective.choose(d, related)
        a, p, n = chosen.anchor, chosen.positive, chosen.negative
        d_ap, d_an = d[a, p], d[a, n]
    # −∞ where there is no positive or no negative.
    values, weight = values_and_weights(d_ap, d_an, margin)
    tally = Tally(active=int(torch.count_nonzero(values)))
    if objective.reduction in ("mean", "anchor"):
        selected = d_ap - d_an > -torch.inf
        tally.triplets = int(torch.count_nonzero(selected))
        if objective.reduction == "anchor":
            number = _by_anchor(selected.double(), a, len(d))
            tally.anchors = int(torch.count_nonzero(number))
            share = 1.0 / number.clamp(min=1)
            share = share[:, None] if values.ndim == 2 else share[a]
            values, weight = values * share, weight * share
    # Sum by anchor first: torch splits a long sum by the number of threads.
    tally.value = float(_by_anchor(values, a, len(d)).sum())
    if not needs_grad:
        return tally, None
    weights = torch.zeros_like(d)
    flat, base = weights.view(-1), a * len(d)
    for other, d_ao, sign in ((p, d_ap, 1), (n, d_an, -1)):
        amount = weight * _slope(d_ao, objective.distance)
        flat.index_add_(0, (base + other).flatten(), amount.flatten(), alpha=sign)
    return tally, weights


def _by_anchor(values: Tensor, a: Tensor, anchors: int) -> Tensor:
    return values.sum(1) if values.ndim == 2 else values.new_zeros(anchors).index_add_(0, a, values)


def _nearest(d: Tensor, related: RelationRows, rule: Mining) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(d_ap, p, d_an, n), (anchors, positives) each, of a rule that takes one negative for a positive."""
    # torch gives the first of equal values, which is the lowest index.
    if rule.positive == "all":
        d_ap, p = _packed(d, related)
    elif rule.positive == "hard":
        d_ap, p = torch.where(related.positive, d, -torch.inf).max(1, keepdim=True)
    else:
        d_ap, p = torch.where(related.positive, d, torch.inf).min(1, keepdim=True)
        d_ap = d_ap.masked_fill(d_ap == torch.inf, -torch.inf)
    d_an = torch.where(related.negative, d, torch.inf)
    if rule.negative == "hard":
        nearest, n = d_an.min(1, keepdim=True)
        return d_ap, p, nearest.expand_as(d_ap), n.expand_as(p)
    found = [torch.where(d_an > d_ap[:, k, None], d_an, torch.inf).min(1) for k in range(p.shape[1])]
    if not found:
        return d_ap, p, d_ap, p
    nearest, n = torch.stack([f.values for f in found], 1), torch.stack([f.indices for f in found], 1)
    missing = nearest == torch.inf
    if rule.negative == "semihard" and bool(missing.any()):
        farthest, last = torch.where(related.negative, d, -torch.inf).max(1, keepdim=True)
        farthest = farthest.masked_fill(farthest < 0, torch.inf)
        nearest, n = torch.where(missing, farthest, nearest), torch.where(missing, last, n)
    return d_ap, p, nearest, n
