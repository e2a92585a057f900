"""Batch-all with the soft margin: a direct pass, as softplus does not separate into counts.

softplus(d_ap − d_an) = log(1 + u·v) with u = exp(d_ap), v = exp(−d_an): one exponential per distance. The
product of 1 + u·v over four triplets is kept as q = ∏ − 1, so that a small term stays whole, and takes one
log1p. Where a distance is too large for that, softplus is taken as it stands.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from trine.engine.all_triplets import Kernel, Sums, Witness
from trine.engine.layout import Block
from trine.engine.sorted_batch import Field

LONGEST = 20.0  # the product of four exponentials of it is still a float32
_TOGETHER = 4


class SoftKernel(Kernel):
    """The soft margin in plain torch, on any device and at any distance."""

    buffers = 5

    def __init__(
        self, field: Field, blocks: list[Block], thresholds: list[Tensor], witness: Witness | None
    ) -> None:
        super().__init__(field, blocks, thresholds, witness)
        self.in_products = short(field)

    def tile(self, sums: Sums, i: int, j: int) -> Tensor:
        """Adds a tile; see `Kernel`."""
        field, a, b = self.field, self.blocks[i], self.blocks[j]
        tile, d, c, w, q = (sums.buffer(number, a, b) for number in range(5))
        self.show(sums, i, j, field.tile(a, b, tile))
        _distances(field, tile, d)
        c.zero_()
        sides = [(d, self.laid[i], sums.counts[i], w, q, c)]
        if i != j:
            sides.append((d.T, self.laid[j], sums.counts[j], w.T, q.T, c.T))
        if self.in_products:
            v = torch.exp(-d)
            for end, (_, d_ap, counts, *scratch) in zip((v, v.T), sides, strict=False):
                sums.value += _by_products(end, d_ap, counts, *scratch)
        else:
            for side, d_ap, counts, _, _, out in sides:
                sums.value += _directly(side, d_ap, counts, out)
        if field.distance == "euclidean":
            return torch.where(d > 0, c / d, 0.0)
        return c


def short(field: Field) -> bool:
    """Whether every distance of the batch is short enough for products of exponentials."""
    return float(field.measured(field.norms.max() * 4)) < LONGEST


def _distances(field: Field, tile: Tensor, out: Tensor) -> None:
    if field.distance == "euclidean":
        torch.sqrt(tile, out=out)
    elif field.distance == "cosine":
        torch.div(tile, 2, out=out)
    else:
        out.copy_(tile)


def _by_products(v: Tensor, d_ap: Tensor, counts: Tensor, w: Tensor, q: Tensor, c: Tensor) -> float:
    u = torch.where(d_ap >= 0, d_ap.exp(), 0.0)  # empty places are below 0
    value = 0.0
    for start in range(0, len(u), _TOGETHER):
        q.zero_()
        for k in range(start, min(start + _TOGETHER, len(u))):
            torch.mul(v, u[k, :, None], out=w)
            torch.addcmul(q, q, w, out=q).add_(w)  # ∏(1 + w) − 1, without the 1 that would swallow it
            w.div_(w + 1)
            c += w
            counts[k] += w.sum(1)
        value += float(log1p_(q, w).sum(1).sum(dtype=torch.float64))
    return value


def log1p_(q: Tensor, scratch: Tensor) -> Tensor:
    """log(1 + q) in place, q ≥ 0; torch's own log1p, which is not vectorised, takes ten times as long."""
    u = torch.add(q, 1, out=scratch)
    q.sub_(u - 1).div_(u)  # what 1 + q has rounded away
    return q.add_(u.log_())


def _directly(d: Tensor, d_ap: Tensor, counts: Tensor, c: Tensor) -> float:
    value = 0.0
    for k in range(len(d_ap)):
        here = d_ap[k] >= 0
        gap = torch.where(here, d_ap[k], -torch.inf)[:, None] - d
        pull = torch.sigmoid(gap)
        value += float(F.softplus(gap).sum(1).sum(dtype=torch.float64))
        c += pull
        counts[k] += pull.sum(1)
    return value
