"""All triplets of anchors × references: the hinge by counting, the soft margin directly.

As `counting` and `soft` do it, but for the anchors alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from trine.engine.layout import Block
from trine.engine.objective import Objective, Tally
from trine.engine.one_sided import one_sided
from trine.engine.rectangle.field import Rectangle, Sums
from trine.engine.soft import log1p_, short

MANY = 128  # positives from which a search for the rank of a distance is faster than comparing with each
_TOGETHER = 4  # factors 1 + w of a product that takes one logarithm


@dataclass
class Anchors:
    """A block of anchors while the references pass by.

    Attributes:
        block: Where they are.
        share: What each triplet of an anchor counts, (anchors, 1).
        limits: What the negatives are compared with for each positive, (anchors, positives).
        weights: The weight of each positive so far, laid out as the limits are, or as the look needs it.
        value: The loss of each anchor so far, or the negatives' part of it.
        rising: The limits of each anchor in order, where distances are looked up among them.
    """

    block: Block
    share: Tensor
    limits: Tensor
    weights: Tensor
    value: Tensor
    rising: Tensor | None = None


class Look(ABC):
    """The part of the pass that looks into a tile.

    Args:
        field: Anchors and references.
    """

    def __init__(self, field: Rectangle) -> None:
        self.field = field

    @abstractmethod
    def begin(self, block: Block, share: Tensor, d_ap: Tensor, positive: Tensor) -> Anchors:
        """Returns a block of anchors of which no tile has been seen."""

    @abstractmethod
    def tile(self, anchors: Anchors, j: Block, sums: Sums) -> Tensor | None:
        """Adds the tile with a block of references; returns the weights of its pairs unless it used them."""

    def weights(self, anchors: Anchors) -> Tensor:
        """Returns the finished weights of the positives as (anchors, positives)."""
        return anchors.weights


class Hinge(Look):
    """Counts in plain torch, on any device."""

    def __init__(self, field: Rectangle, margin: float) -> None:
        super().__init__(field)
        self.margin = margin

    def begin(self, block: Block, share: Tensor, d_ap: Tensor, positive: Tensor) -> Anchors:
        """Returns a block of anchors of which no tile has been seen."""
        limits = torch.where(positive, self.field.squared(d_ap + self.margin), -1.0).float()
        return Anchors(block, share, limits, torch.zeros_like(limits), share.new_zeros(len(block)).double())

    def tile(self, anchors: Anchors, j: Block, sums: Sums) -> Tensor | None:
        """Adds a tile; see `Look`."""
        field, i = self.field, anchors.block
        tile, below, c = (sums.buffer(number, i, j) for number in range(3))
        field.tile(i, j, tile)
        if anchors.limits.shape[1] > MANY:
            _by_rank(tile, anchors, c)
        else:
            c.zero_()
            for k, limit in enumerate(anchors.limits.T[:, :, None]):
                torch.lt(tile, limit, out=below)
                c += below
                anchors.weights[:, k] += below.sum(1)
        c *= anchors.share
        if field.distance == "euclidean":
            torch.sqrt(tile, out=below).mul_(c)
            anchors.value -= below.sum(1)
            # c/d as c·d/d², and 0 at d = 0.
            return torch.div(below, tile.add_(1e-30), out=c)
        anchors.value -= field.measured(torch.mul(c, tile, out=below).sum(1))
        return c.mul_(2) if field.distance == "squared_euclidean" else c


def _by_rank(tile: Tensor, anchors: Anchors, c: Tensor) -> None:
    """The same where the positives are many: each distance is looked up among the limits."""
    in_order, place = anchors.limits.sort(1)
    width = in_order.shape[1]
    rank = torch.searchsorted(in_order, tile, right=True, out_int32=True)  # limits ≤ d: not active
    torch.sub(width, rank, out=c)
    rank += torch.arange(len(rank), dtype=torch.int32, device=rank.device)[:, None] * (width + 1)
    starts = torch.bincount(rank.flatten(), minlength=len(rank) * (width + 1)).view(-1, width + 1)
    anchors.weights.scatter_add_(1, place, starts.cumsum(1)[:, :width].float())


class Soft(Look):
    """The soft margin in plain torch, on any device and at any distance; see `soft`."""

    def begin(self, block: Block, share: Tensor, d_ap: Tensor, positive: Tensor) -> Anchors:
        """Returns a block of anchors of which no tile has been seen."""
        limits = torch.where(positive, d_ap, -torch.inf).float()
        return Anchors(block, share, limits, torch.zeros_like(limits), share.new_zeros(len(block)).double())

    def tile(self, anchors: Anchors, j: Block, sums: Sums) -> Tensor | None:
        """Adds a tile; see `Look`."""
        field, i = self.field, anchors.block
        tile, d, c, w, q = (sums.buffer(number, i, j) for number in range(5))
        d.copy_(field.measured(field.tile(i, j, tile)))
        c.zero_()
        if short(field):
            _by_products(torch.exp(-d), anchors, c, w, q)
        else:
            _directly(d, anchors, c)
        c *= anchors.share
        if field.distance == "euclidean":
            return torch.where(d > 0, c / d, 0.0)
        return c.mul_(2) if field.distance == "squared_euclidean" else c


def _by_products(v: Tensor, anchors: Anchors, c: Tensor, w: Tensor, q: Tensor) -> None:
    u = anchors.limits.exp().T[:, :, None]
    for start in range(0, len(u), _TOGETHER):
        q.zero_()
        for k in range(start, min(start + _TOGETHER, len(u))):
            torch.mul(v, u[k], out=w)
            torch.addcmul(q, q, w, out=q).add_(w)  # ∏(1 + w) − 1, without the 1 that would swallow it
            w.div_(w + 1)
            c += w
            anchors.weights[:, k] += w.sum(1)
        anchors.value += log1p_(q, w).sum(1) * anchors.share[:, 0]


def _directly(d: Tensor, anchors: Anchors, c: Tensor) -> None:
    for k, d_ap in enumerate(anchors.limits.T[:, :, None]):
        gap = d_ap - d
        pull = torch.sigmoid(gap)
        anchors.value += F.softplus(gap).sum(1) * anchors.share[:, 0]
        c += pull
        anchors.weights[:, k] += pull.sum(1)


def every_triplet(
    field: Rectangle, look: Look, objective: Objective, asks: tuple[bool, bool], workers: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the loss over all triplets and the gradients asked for.

    Args:
        field: Anchors and references.
        look: What looks into the tiles.
        objective: The loss; its rule selects all triplets.
        asks: Whether the gradients at the anchors and at the references are asked for.
        workers: How many threads share the anchors.
    """
    return one_sided(
        field,
        objective,
        lambda: field.sums(asks),
        lambda block, sums: _add(field, look, objective, block, sums),
        workers,
    )


def _add(field: Rectangle, look: Look, objective: Objective, block: Block, sums: Sums) -> None:
    places, positive = field.layout.mates(block)
    squared = field.squares(block, places, positive)
    d_ap = field.measured(squared)
    triplets = positive.sum(1) * field.layout.negatives(block)
    share = torch.ones(len(block), 1, device=places.device)
    if objective.reduction == "anchor":
        share /= triplets.clamp(min=1)[:, None]
    anchors = look.begin(block, share, d_ap, positive)
    n, width = field.layout.anchors, field.width + 1
    for j in field.layout.reference_blocks(len(block)):
        w = look.tile(anchors, j, sums)
        if w is not None and sums.x is not None:
            sums.x[block.rows].addmm_(w, field.right[j.rows, :width])
        if w is not None and sums.y is not None:
            sums.y[j.start - n : j.stop - n].addmm_(w.T, field.right[block.rows, :width])
    weights = look.weights(anchors)
    tally = Tally(float(anchors.value.sum()), 0, int(triplets.sum()), int((triplets > 0).sum()))
    if objective.margin is not None:
        tally.active = int(weights.sum(dtype=torch.float64))
        tally.value += float((weights * share * (d_ap + objective.margin)).sum())
    sums.tally.add(tally)
    if sums.asked:
        field.pull_mates(block, places, weights * share * field.slope(squared), sums)
