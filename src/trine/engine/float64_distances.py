"""Exact distances and gradients of a batch, in float64.

Distances are products of centred rows in float64: they do not move with the mean, and float32 rows leave
room for classes of radius 1e-4 that lie far apart. Where a squared distance is below 1e-6 of the norms it
was made from, it is computed again from differences. Equal rows share the distances of the first of them,
so that a tie is a tie. float64 rows, which leave no such room, are compared by differences alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trine.cosine import Directions, directions, settle_cosine, unit_rows
from trine.distances import Distance
from trine.shapes import Float, Int64

_NEAR = 1e-6  # relative to the squared norms: below this a product has lost half of its digits
_GATHERED = 1 << 21  # coordinates held at once where pairs are computed one by one


class Float64Distances:
    """Anchors and references of one batch, and the arithmetic between them.

    Args:
        x: The anchors, of any floating-point dtype.
        y: The references; `None` if the anchors are their own references.
        distance: The name of the distance.
    """

    def __init__(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"] | None, distance: Distance) -> None:
        self.distance = distance
        self.own = y is None
        self.by_differences = x.dtype == torch.float64
        self._raw_x, self._raw_y = x, x if y is None else y
        self._cosine: tuple[Directions, Directions] | None = None
        if distance == "cosine":
            left = directions(x)
            self._cosine = left, left if y is None else directions(y)
            self.x, self.y = self._cosine[0].unit, self._cosine[1].unit
        else:
            self.x = x.double()
            self.y = self.x if y is None else y.double()
        if len(self.y):
            # A centre of few digits is subtracted without rounding, so exact rows stay exact. Rows around 0
            # are not centred: nothing would be gained, and tiny differences would be lost.
            centre = self.y.mean(0).bfloat16().double()
            if float(centre.norm()) > float((self.y - centre).norm(dim=1).amax()):
                self.x = self.x - centre
                self.y = self.x if y is None else self.y - centre
        self._norms_x, self._norms_y = (rows.square().sum(1) for rows in (self.x, self.y))
        self._copies, self._originals = duplicates(self._raw_y)

    def distances(self, anchors: Int64[Tensor, " h"]) -> Float[Tensor, "h m"]:
        """Returns the float64 distances of these anchors to every reference."""
        if self.by_differences:
            return self._measured(self._by_differences(anchors), anchors)
        x, norms = self.x[anchors], self._norms_x[anchors]
        squared = torch.addmm(self._norms_y[None, :], x, self.y.T, alpha=-2).add_(norms[:, None])
        near = squared < _NEAR * (norms[:, None] + self._norms_y[None, :])
        pairs = near.nonzero(as_tuple=True)
        if 16 * len(pairs[0]) > squared.numel():
            squared = self._by_differences(anchors)
        else:
            squared[pairs] = self._squared_pairs(anchors[pairs[0]], pairs[1])
        if len(self._copies):
            squared[:, self._copies] = squared[:, self._originals]
        return self._measured(squared, anchors)

    def _by_differences(self, anchors: Tensor) -> Tensor:
        x, y = self._raw_x[anchors].double(), self._raw_y.double()
        if self.distance == "cosine":
            x, y = unit_rows(x), unit_rows(y)
        squared: Tensor = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square_()
        return squared

    def _squared_pairs(self, a: Tensor, b: Tensor) -> Tensor:
        rows = max(1, _GATHERED // max(1, self.x.shape[1]))
        parts = [
            (self.x[i] - self.y[j]).square_().sum(1)
            for i, j in zip(torch.split(a, rows), torch.split(b, rows), strict=True)
        ]
        return torch.cat(parts) if parts else self.x.new_zeros(0)

    def _measured(self, squared: Tensor, anchors: Tensor) -> Tensor:
        if self._cosine is not None:
            left, right = self._cosine
            d = squared.clamp_(0, 4).div_(2)
            if max(left.slack, right.slack) >= 0:  # a zero row has cosine 0 with every row
                d.masked_fill_(left.zero[anchors, None] | right.zero, 1)
            slack = min(left.slack, right.slack)
            return settle_cosine(d, slack, None if left.whole is None else left.whole[anchors], right.whole)
        squared = squared.clamp_(min=0)
        return squared.sqrt_() if self.distance == "euclidean" else squared

    def slope(self, d: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns s with ∂d/∂x = s·(x − y): 1/d, 2 and 1 for the three distances; 0 at distance 0."""
        if self.distance == "euclidean":
            return torch.where(d > 0, 1 / d, 0.0)
        return torch.full_like(d, 2.0 if self.distance == "squared_euclidean" else 1.0)

    def gradients(self, anchors: bool, references: bool) -> tuple[Tensor | None, Tensor | None]:
        """Returns zeroed float64 gradients of the sides that need them; one if both are the same rows."""
        if self.own:
            g = torch.zeros_like(self.x) if anchors else None
            return g, g
        return (
            torch.zeros_like(self.x) if anchors else None,
            torch.zeros_like(self.y) if references else None,
        )

    def add_dense(
        self, anchors: Tensor, weights: Float[Tensor, "h m"], gx: Tensor | None, gy: Tensor | None
    ) -> None:
        """Adds the gradient of ½ Σ w‖x − y‖² over a block of all pairs, w the given weights."""
        x = self.x[anchors]
        if gx is not None:
            own_part = weights.sum(1, keepdim=True) * x - weights @ self.y
            gx.index_add_(0, anchors, own_part)
        if gy is not None:
            gy.add_(weights.sum(0)[:, None] * self.y).addmm_(weights.T, x, alpha=-1)

    def add_pairs(self, a: Tensor, b: Tensor, weights: Tensor, gx: Tensor | None, gy: Tensor | None) -> None:
        """Adds the gradient of ½ Σ w‖x_a − y_b‖² over listed pairs."""
        rows = max(1, _GATHERED // max(1, self.x.shape[1]))
        for i, j, w in zip(*(torch.split(t, rows) for t in (a, b, weights)), strict=True):
            weighted = (self.x[i] - self.y[j]).mul_(w[:, None])
            if gx is not None:
                gx.index_add_(0, i, weighted)
            if gy is not None:
                gy.index_add_(0, j, weighted, alpha=-1)

    def pulled_back(self, gradient: Tensor | None, raw: Tensor | None) -> Tensor | None:
        """Turns a gradient at the prepared rows into one at the rows as given."""
        if gradient is None or raw is None:
            return None
        if self.distance == "cosine":
            gradient = through_unit_rows(gradient, raw)
        return gradient.to(torch.float64 if raw.dtype == torch.float64 else torch.float32)


def duplicates(rows: Float[Tensor, "n d"]) -> tuple[Int64[Tensor, " c"], Int64[Tensor, " c"]]:
    """Returns the rows that are copies of an earlier row, and the first row that each is a copy of."""
    keys = torch.linspace(1, 2, rows.shape[1], dtype=torch.float64, device=rows.device)
    sums, order = (rows.double() * keys).sum(1).sort(stable=True)
    # Equal rows have equal sums; rows of one sum are compared with the first of it.
    new = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    new[1:] = sums[1:] != sums[:-1]
    if bool(new.all()):
        return order[:0], order[:0]
    first = order[new][new.cumsum(0) - 1]
    same = ~new & (rows[order] == rows[first]).all(1)
    return order[same], first[same]


def through_unit_rows(
    gradient: Float[Tensor, "n d"], raw: Float[Tensor, "n d"], unit: Float[Tensor, "n d"] | None = None
) -> Float[Tensor, "n d"]:
    """Multiplies by the Jacobian of x ↦ x/‖x‖, which is (I − ûûᵀ)/‖x‖, and 0 at a zero row.

    Args:
        gradient: The gradient at the unit rows.
        raw: The rows as given.
        unit: The unit rows, if they are known.
    """
    rows = raw.to(gradient.dtype)
    unit = unit_rows(rows) if unit is None else unit
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    tangent = gradient - unit * (unit * gradient).sum(1, keepdim=True)
    return torch.where(norms > 0, tangent / norms, 0.0)
