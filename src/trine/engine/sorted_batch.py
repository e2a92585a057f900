"""A sorted batch in float32, for the tiled passes: products for the many, differences for the near.

Everything is in squared distances between the rows as `Space` prepares them, so that thresholds are
squared once and no tile takes a root before it has to.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from trine.distances import Distance, unit_rows
from trine.engine.float64_distances import through_unit_rows
from trine.engine.layout import Block, Group, Layout
from trine.engine.tiles import tile_height
from trine.shapes import Float, Int64

FAR = 1e30  # stands for ∞ in a tile: finite, so that 0 · FAR is 0
_NEAR = 1e-2  # of the squared norms: below it a float32 product has lost too many digits
_ROUNDING = 2.0**-24
_CHUNK = 1 << 20  # coordinates handled at once in float64
_BLOCK = 1 << 18  # pairs of class-mates handled at once in float64


class Field:
    """The rows of a batch that is its own reference, in the order of a layout.

    Attributes:
        layout: The order.
        distance: The name of the distance.
        plain: The rows as the distance takes them, not centred; float64 where they were normalised.
        right: Rows [x, 1, ‖x‖²], x the centred row.
        norms: ‖x‖² of each row.
        zero_rows: Whether any row is 0 where that has a meaning of its own, with cosine.
        tolerance: By how much two products of a row may be apart and their distances equal.
    """

    def __init__(self, raw: Float[Tensor, "n d"], layout: Layout, distance: Distance) -> None:
        self.raw, self.layout, self.distance = raw, layout, distance
        n, width = raw.shape
        self.width = width
        self.plain = self._plain()
        # A centre of few digits is taken away from most rows without rounding.
        centre = torch.zeros(width, dtype=torch.float64, device=raw.device)
        for places in self.chunks(0, n):
            centre += self.plain[places].sum(0, dtype=torch.float64)
        centre = (centre / max(1, n)).bfloat16().to(self.plain.dtype)
        self.right = torch.empty(n, width + 2, device=raw.device)
        rows = self.right[:, :width]
        for places in self.chunks(0, n):
            rows[places] = self.plain[places] - centre
        self.norms = torch.linalg.vector_norm(rows, dim=1).square_()
        self.zero_rows = False
        if distance == "cosine":
            zero = (self.plain == 0).all(1)
            self.zero_rows = bool(zero.any())
            # A zero row is at squared distance 2 from every row.
            self.norms += zero
        self.right[:, width] = 1
        self.right[:, width + 1] = self.norms
        self.largest = float(self.norms.max())
        self.tolerance = (12 + width**0.5) * _ROUNDING * (self.norms + self.largest)

    def _plain(self) -> Tensor:
        rows = self.raw[self.layout.order]
        # Unit rows are rounded to float64 only: near rows would lose what they differ in.
        return unit_rows(rows.double()) if self.distance == "cosine" else rows.float()

    @cached_property
    def blocks(self) -> list[Block]:
        """The rows cut into the sides of tiles."""
        return self.layout.blocks(tile_height(self.layout.rows))

    @cached_property
    def left(self) -> Float[Tensor, "n d2"]:
        """Rows [−2x, ‖x‖², 1]: a product with `right` is a squared distance."""
        ones = self.right[:, self.width : self.width + 1]
        return torch.cat([self.right[:, : self.width] * -2, self.norms[:, None], ones], 1)

    def chunks(self, start: int, stop: int, step: int = 1) -> list[slice]:
        """Cuts places into parts, of whole classes of `step` rows, that fit in the memory of a pass."""
        size = max(1, _CHUNK // max(1, self.width) // step) * step
        return [slice(i, min(i + size, stop)) for i in range(start, stop, size)]

    def precise(self, places: slice | Int64[Tensor, " r"]) -> Float[Tensor, "r d"]:
        """Returns the plain rows at these places in float64."""
        return self.plain[places].double()

    def tile(self, i: Block, j: Block, out: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
        """Writes the squared distances of two blocks; class-mates, and a row and itself, are `FAR`."""
        torch.mm(self.left[i.rows], self.right[j.rows].T, out=out)
        self.mask(i, j, out, FAR)
        reach = float(out.min())
        if reach < 2 * _NEAR * self.largest:
            norms = self.norms[i.rows, None] + self.norms[None, j.rows]
            a, b = (out < _NEAR * norms).nonzero(as_tuple=True)
            if 32 * len(a) > out.numel():
                exact: Tensor = torch.cdist(
                    self.precise(i.rows),
                    self.precise(j.rows),
                    compute_mode="donot_use_mm_for_euclid_dist",
                )
                out[a, b] = exact.square_().float()[a, b]
            elif len(a):
                out[a, b] = self.squared_pairs(a + i.start, b + j.start)
        return out

    def product(self, i: Block, j: Block, out: Tensor) -> Tensor:
        """Writes the products of the centred rows of two blocks."""
        width = self.width
        return torch.mm(self.right[i.rows, :width], self.right[j.rows, :width].T, out=out)

    def mask(self, i: Block, j: Block, tile: Tensor, value: float) -> None:
        """Fills the places of class-mates in a tile."""
        if int(self.layout.last[i.stop - 1]) <= j.start:
            return
        columns = torch.arange(j.start, j.stop, device=tile.device)
        mates = (columns >= self.layout.first[i.rows, None]) & (columns < self.layout.last[i.rows, None])
        tile[mates] = value

    def squared_pairs(self, a: Int64[Tensor, " t"], b: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        """Returns the squared distances of listed pairs of places, from differences, in float32."""
        return self.exact_pairs(a, b).float()

    def exact_pairs(self, a: Int64[Tensor, " t"], b: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        """Returns the squared distances of listed pairs of places, from differences, in float64."""
        out = torch.empty(len(a), dtype=torch.float64, device=a.device)
        size = max(1, _CHUNK // max(1, self.width))
        for start in range(0, len(a), size):
            part = slice(start, start + size)
            out[part] = (self.precise(a[part]) - self.precise(b[part])).square_().sum(1)
        if self.distance == "cosine":
            zero = (self.raw == 0).all(1)[self.layout.order]
            out.masked_fill_(zero[a] | zero[b], 2.0)
        return out

    def positives(self, group: Group) -> Float[Tensor, "r p"]:
        """Returns the squared distances of each row of a group to its class-mates, itself left out.

        From class-centred rows in float64: within a class of radius 1e-4 nothing is lost.
        """
        out = torch.empty(group.stop - group.start, group.size - 1, device=self.raw.device)
        if group.size == 1:
            return out
        for places in self.chunks(group.start, group.stop, group.size):
            u = self._centred_class(places, group.size)
            norms = u.square().sum(2)
            part = out[places.start - group.start : places.stop - group.start].view(*u.shape[:2], -1)
            for rows in _rows_of(u):
                both = norms[:, rows, None] + norms[:, None, :]
                squared = torch.baddbmm(both, u[:, rows], u.transpose(1, 2), alpha=-2)
                c, p, q = (squared < 1e-6 * both).nonzero(as_tuple=True)
                self._redo(squared, u, c, p, q, rows.start)
                part[:, rows] = without_diagonal(squared.clamp_(min=0).float(), rows.start)
        if self.distance == "cosine":
            zero = (self.raw == 0).all(1)[self.layout.order[group.start : group.stop]]
            mates = zero.view(group.classes, 1, group.size).expand(-1, group.size, -1)
            out[without_diagonal(mates.contiguous()).flatten(0, 1) | zero[:, None]] = 2.0
        return out

    def _centred_class(self, places: slice, size: int) -> Tensor:
        u = self.precise(places).view(-1, size, self.width)
        return u - u.mean(1, keepdim=True)

    def _redo(self, squared: Tensor, u: Tensor, c: Tensor, p: Tensor, q: Tensor, first: int) -> None:
        size = max(1, _CHUNK // max(1, self.width))
        for start in range(0, len(c), size):
            i, j, k = c[start : start + size], p[start : start + size], q[start : start + size]
            squared[i, j, k] = (u[i, first + j] - u[i, k]).square_().sum(1)

    def pull_positives(self, group: Group, weights: Float[Tensor, "r p"], gradient: Tensor) -> None:
        """Adds the gradient of ½ Σ w‖x − y‖² over the positive pairs of a group, on class-centred rows."""
        for places in self.chunks(group.start, group.stop, group.size):
            u = self._centred_class(places, group.size)
            part = weights[places.start - group.start : places.stop - group.start].view(*u.shape[:2], -1)
            square, pull = with_diagonal(part), torch.empty_like(u)
            for rows in _rows_of(u):
                w = (square[:, rows] + square[:, :, rows].transpose(1, 2)).double()
                pull[:, rows] = (w.sum(2, keepdim=True) * u[:, rows]).baddbmm_(w, u, alpha=-1)
            gradient[places] += pull.flatten(0, 1).to(gradient.dtype)

    def pull_pairs(
        self, a: Int64[Tensor, " t"], b: Int64[Tensor, " t"], weights: Float[Tensor, " t"], gradient: Tensor
    ) -> None:
        """Adds the gradient of ½ Σ w‖x_a − x_b‖² over listed pairs of places."""
        live = weights != 0
        a, b, weights = a[live], b[live], weights[live]
        size = max(1, _CHUNK // max(1, self.width))
        for start in range(0, len(a), size):
            i, j = a[start : start + size], b[start : start + size]
            pull = (self.plain[i] - self.plain[j]).float().mul_(weights[start : start + size, None])
            gradient.index_add_(0, i, pull)
            gradient.index_add_(0, j, pull, alpha=-1)

    def slope(self, squared: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns s with ∂d/∂x = s·(x − y), from squared distances; 0 at distance 0."""
        if self.distance == "euclidean":
            return squared.rsqrt().masked_fill_(squared == 0, 0)
        return torch.full_like(squared, 2.0 if self.distance == "squared_euclidean" else 1.0)

    def measured(self, squared: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Turns squared distances into distances."""
        if self.distance == "euclidean":
            return squared.sqrt()
        return squared / 2 if self.distance == "cosine" else squared

    def squared(self, d: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Turns distances, at least 0, into squared ones."""
        if self.distance == "euclidean":
            return d.square()
        return d * 2 if self.distance == "cosine" else d

    def by_block(self, blocks: list[Block], values: list[Tensor], empty: float) -> list[Tensor]:
        """Lays values of groups, (rows, places), out for blocks as (places, rows)."""
        laid = []
        for block in blocks:
            members = [
                (group, v)
                for group, v in zip(self.layout.groups, values, strict=True)
                if group.start < block.stop and group.stop > block.start
            ]
            width = max(v.shape[1] for _, v in members)
            out = torch.full((width, len(block)), empty, dtype=values[0].dtype, device=self.raw.device)
            for group, v in members:
                start, stop = max(block.start, group.start), min(block.stop, group.stop)
                part = v[start - group.start : stop - group.start]
                out[: part.shape[1], start - block.start : stop - block.start] = part.T
            laid.append(out)
        return laid

    def to_groups(self, blocks: list[Block], laid: list[Tensor], places: list[int]) -> list[Tensor]:
        """Undoes `by_block`, for groups of so many places."""
        parts: list[list[Tensor]] = [[] for _ in self.layout.groups]
        for block, values in zip(blocks, laid, strict=True):
            for index, group in enumerate(self.layout.groups):
                start, stop = max(block.start, group.start), min(block.stop, group.stop)
                if start < stop:
                    columns = slice(start - block.start, stop - block.start)
                    parts[index].append(values[: places[index], columns].T)
        return [torch.cat(part) for part in parts]

    def in_batch_order(self, gradient: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Returns a gradient at the sorted, prepared rows as one at the rows as given."""
        place = torch.empty_like(self.layout.order)
        place[self.layout.order] = torch.arange(len(place), device=place.device)
        out = gradient[place]
        return through_unit_rows(out, self.raw) if self.distance == "cosine" else out


def _rows_of(u: Tensor) -> list[slice]:
    """Cuts the rows of classes so that a block of all their pairs stays in the cache."""
    classes, size, _ = u.shape
    step = max(1, _BLOCK // (classes * size))
    return [slice(i, min(i + step, size)) for i in range(0, size, step)]


def without_diagonal(pairs: Tensor, first: int = 0) -> Tensor:
    """(c, h, k) ↦ (c, h, k − 1): rows from the `first` of a class, each without itself."""
    c, h, k = pairs.shape
    flat = pairs.reshape(c, h * k)
    # From one row's place for itself to the next row's there are k places.
    last = first + (h - 1) * (k + 1)
    between = flat[:, first + 1 : last + 1].view(c, h - 1, k + 1)[:, :, :-1].reshape(c, (h - 1) * k)
    return torch.cat([flat[:, :first], between, flat[:, last + 1 :]], 1).view(c, h, k - 1)


def with_diagonal(rows: Tensor) -> Tensor:
    """(c, k, k − 1) ↦ (c, k, k): each row of a class with a 0 at itself."""
    c, k, _ = rows.shape
    square = rows.new_zeros(c, k * k)
    if k > 1:
        square[:, 1:].view(c, k - 1, k + 1)[:, :, :-1] = rows.reshape(c, k - 1, k)
    return square.view(c, k, k)
