"""The rules that choose triplets, on a matrix of distances.

Every rule reads distances and relations and returns indices; nothing here is differentiated. Triplets
come sorted by anchor, then positive, then negative, and ties go to the lowest index.

`_positives` and `_negatives` define every rule. `mine` uses them, and so does the loss in float64, through
`Objective.choose` (`engine/exact.py`, `engine/small_batch.py`). The common rules are also computed faster:
every triplet in `engine/all_triplets.py`; the nearest negative in `engine/small_batch.py` and
`engine/one_negative.py`; semi-hard ones of large classes in `_nearest_beyond` and
`engine/semihard_sorted.py`. A new rule needs none of these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from trine.distances import PROPERTIES, Distance
from trine.engine.relations import RelationRows
from trine.errors import InputError, check_count
from trine.mining.hash_random import choose, uniform
from trine.shapes import Bool, Float, Int64
from trine.triplets import Mining, Triplets

_BLOCK = 1 << 20  # distances compared at once: about 4 MB of float32
_MANY = 16  # positives from which sorting the row once is faster than a pass for each
_POSITIVE_STREAM, _NEGATIVE_STREAM = (
    1,
    2,
)  # positives and negatives are drawn from different streams


@dataclass(frozen=True)
class Draw:
    """What a rule needs besides distances and relations.

    Attributes:
        margin: α of the rules that use it; `None` for the others.
        seed: The seed of random rules.
        width: The number of columns of the embeddings, for `weighted`.
    """

    margin: float | None
    seed: int
    width: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_count("seed", self.seed, at_least=-(2**63)))


def select(distances: Float[Tensor, "n m"], relations: RelationRows, mining: Mining, draw: Draw) -> Triplets:
    """Chooses triplets by the rule.

    Args:
        distances: Anchors (all, or some) in rows, references in columns; smaller is closer.
        relations: Which pairs are positive and which negative, for these anchors.
        mining: The rule.
        draw: Margin, seed and width.

    Returns:
        The triplets, anchors counted by row; without a positive or a negative an anchor selects nothing.
    """
    usable = relations.negative.any(1)
    anchor, positive = _positives(distances, relations, mining, draw, usable)
    if mining.negative in ("semihard", "semihard-strict") and len(anchor) > _MANY * len(distances):
        return _nearest_beyond(distances, relations, mining, anchor, positive)
    parts = []
    rows = max(1, _BLOCK // max(distances.shape[1], 1))
    for start in range(0, len(anchor), rows):
        a, p = anchor[start : start + rows], positive[start : start + rows]
        row, negative = _negatives(distances, relations, mining, draw, a, p)
        parts.append((a[row], p[row], negative))
    if not parts:
        return Triplets(anchor, positive, positive)
    return Triplets(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _positives(
    distances: Tensor, relations: RelationRows, mining: Mining, draw: Draw, usable: Tensor
) -> tuple[Tensor, Tensor]:
    """The (anchor, positive) pairs of the rule, sorted."""
    rule, allowed = mining.positive, relations.positive & usable[:, None]
    if rule == "all":
        return _pairs(allowed)
    if rule == "unordered":
        if relations.places is not None:
            allowed &= torch.arange(allowed.shape[1], device=allowed.device) > relations.places[:, None]
        return _pairs(allowed)
    anchors = allowed.any(1).nonzero()[:, 0]
    if not len(anchors):
        return anchors, anchors
    allowed, distances = allowed[anchors], distances[anchors]
    if rule == "hard":
        return anchors, _farthest(distances, allowed)
    if rule == "easy":
        return anchors, _nearest(distances, allowed)
    if rule == "moderate":
        allowed = _without_extremes(distances, allowed)
    elif rule != "random":
        assert_never(rule)
    stream = torch.full_like(anchors, _POSITIVE_STREAM)
    u = uniform(draw.seed, stream, relations.anchor_ids[anchors])
    return anchors, _nth(allowed, choose(u, allowed.sum(1)))


def _negatives(
    distances: Tensor, relations: RelationRows, mining: Mining, draw: Draw, a: Tensor, p: Tensor
) -> tuple[Tensor, Tensor]:
    """For each pair the chosen negatives: (row of the pair, negative), sorted."""
    d_an, allowed = distances[a], relations.negative[a]
    d_ap = distances[a, p][:, None]
    rule, margin = mining.negative, draw.margin
    if rule == "all":
        return _pairs(allowed)
    if rule == "semihard-band":
        assert margin is not None
        return _pairs(allowed & (d_an > d_ap) & (d_an <= d_ap + margin))
    row = torch.arange(len(a), device=a.device)
    if rule == "hard":
        return row, _nearest(d_an, allowed)
    if rule == "semihard":
        beyond = allowed & (d_an > d_ap)
        return row, torch.where(beyond.any(1), _nearest(d_an, beyond), _farthest(d_an, allowed))
    if rule == "semihard-strict":
        beyond = allowed & (d_an > d_ap)
        row = beyond.any(1).nonzero()[:, 0]
        return row, _nearest(d_an[row], beyond[row])
    stream = torch.full_like(a, _NEGATIVE_STREAM)
    u = uniform(draw.seed, stream, relations.anchor_ids[a], relations.reference_ids[p])
    if rule == "weighted":
        return row, _by_distance(d_an, allowed, u, draw.width, mining.cutoffs)
    if rule == "violating":
        assert margin is not None
        allowed = allowed & (d_an < d_ap + margin)
        row = allowed.any(1).nonzero()[:, 0]
        allowed, u = allowed[row], u[row]
    elif rule != "random":
        assert_never(rule)
    return row, _nth(allowed, choose(u, allowed.sum(1)))


def _nearest_beyond(
    distances: Tensor, relations: RelationRows, mining: Mining, a: Tensor, p: Tensor
) -> Triplets:
    """The semi-hard negatives of many positives, by their place in the sorted row of the anchor."""
    far = distances.masked_fill(~relations.negative, math.inf)
    in_order, column = torch.sort(far, dim=1, stable=True)  # equal distances stay in the order of their index
    counts = torch.bincount(a, minlength=len(distances))
    place = torch.arange(len(a), device=a.device) - (counts.cumsum(0) - counts)[a]
    bounds = distances.new_full((len(distances), int(counts.max())), math.inf)
    bounds[a, place] = distances[a, p]
    first = torch.searchsorted(in_order, bounds, right=True)[a, place]
    found = first < relations.negative.sum(1)[a]
    if mining.negative == "semihard-strict":
        a, p, first = a[found], p[found], first[found]
        return Triplets(a, p, column[a, first])
    last = _farthest(distances, relations.negative)[a]
    return Triplets(a, p, torch.where(found, column[a, first.clamp(max=column.shape[1] - 1)], last))


def _pairs(mask: Bool[Tensor, "r c"]) -> tuple[Tensor, Tensor]:
    row, column = mask.nonzero(as_tuple=True)
    return row, column


def _nearest(distances: Float[Tensor, "r c"], allowed: Bool[Tensor, "r c"]) -> Int64[Tensor, " r"]:
    # torch.argmin and argmax return the first of equal values, which is the lowest index.
    return distances.masked_fill(~allowed, math.inf).argmin(1)


def _farthest(distances: Float[Tensor, "r c"], allowed: Bool[Tensor, "r c"]) -> Int64[Tensor, " r"]:
    return distances.masked_fill(~allowed, -math.inf).argmax(1)


def _nth(allowed: Bool[Tensor, "r c"], rank: Int64[Tensor, " r"]) -> Int64[Tensor, " r"]:
    """The column of the allowed one of that rank (from 0), by index."""
    return (allowed.cumsum(1) == rank[:, None] + 1).byte().argmax(1)


def _without_extremes(distances: Tensor, allowed: Tensor) -> Tensor:
    """Takes away the nearest and the farthest where three or more are allowed."""
    row = torch.arange(len(allowed), device=allowed.device)
    inner = allowed.clone()
    inner[row, _nearest(distances, allowed)] = False
    inner[row, _farthest(distances, allowed)] = False
    return torch.where((allowed.sum(1) >= 3)[:, None], inner, allowed)


def _by_distance(d: Tensor, allowed: Tensor, u: Tensor, width: int, cutoffs: tuple[float, float]) -> Tensor:
    """Draws ∝ 1/q(d), q(d) = d^(D−2)·(1 − d²/4)^((D−3)/2) (Wu et al. 2017, eq. 2-3)."""
    nearest, farthest = cutoffs
    clipped = d.double().clamp(min=nearest, max=farthest)
    log_q = (width - 2) * clipped.log() + (width - 3) / 2 * torch.log1p(-clipped.square() / 4)
    within = allowed & (d <= farthest)
    # If every negative is beyond the second cut-off, draw one of them uniformly.
    log_weight = torch.where(within.any(1, keepdim=True), -log_q.masked_fill(~within, math.inf), 0.0)
    log_weight = log_weight.masked_fill(~allowed, -math.inf)
    weight = (log_weight - log_weight.amax(1, keepdim=True)).exp()
    mass = weight.cumsum(1)
    # The first column whose mass exceeds the draw has a weight above 0.
    return (mass > (u * mass[:, -1])[:, None]).byte().argmax(1)


def check_weighted(rows: Float[Tensor, "n d"], distance: Distance, mining: Mining) -> None:
    """Raises an `InputError` if `weighted` is not used with Euclidean distances between unit rows."""
    if mining.negative != "weighted":
        return
    if PROPERTIES[distance].squared:
        raise InputError(
            f"mining='weighted' is defined for distance='euclidean' between unit rows, given {distance!r}"
        )
    norms = torch.linalg.vector_norm(rows.detach().float(), dim=1)
    if len(norms) and float((norms - 1).abs().max()) > 1e-2:
        raise InputError(
            "mining='weighted' is defined between unit rows, given rows with norms from "
            f"{float(norms.min()):.3g} to {float(norms.max()):.3g}: normalise the embeddings first"
        )
