"""A sorted batch in float32: products for the many pairs, differences for the near ones.

Everything is in squared distances between the rows as `Float64Distances` prepares them: thresholds are
squared once, and tiles take roots only where necessary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from trine.cosine import directions, settle_cosine
from trine.distances import Distance
from trine.engine.float64_distances import through_unit_rows
from trine.engine.layout import Block, Group, Layout, Part
from trine.engine.objective import Tally
from trine.engine.plan import DEFAULT_PLAN, Plan
from trine.shapes import Float, Int64

FAR = 1e30  # represents ∞ in a tile: finite, so that 0 · FAR is 0
_NEAR = 1e-2  # relative to the squared norms: below this a float32 product has lost too many digits
_ROUNDING = 2.0**-24
_CHUNK = 1 << 20  # coordinates handled at once in float64
_BLOCK = 1 << 18  # pairs of class-mates handled at once in float64


@dataclass
class Accumulator:
    """The sums of one worker.

    Attributes:
        tally: The sums of the loss.
        gradient: The gradient so far of the places from `first` on; nothing where none is needed. Over all
            triplets Σ w·[y, 1] of each row, from which Σ w·(x − y) is made at the end.
        first: The first place that has a gradient.
        buffers: Room for tiles.
    """

    tally: Tally
    gradient: Tensor | None
    first: int
    buffers: dict[int, Tensor] = field(default_factory=dict)

    def part(self, places: slice) -> Tensor | None:
        """Returns the gradient of anchors, or of references; nothing where it is not needed."""
        if self.gradient is None or not 0 <= places.start - self.first < len(self.gradient):
            return None
        return self.gradient[places.start - self.first : places.stop - self.first]

    def buffer(self, number: int, like: Tensor, i: Block, j: Block) -> Tensor:
        """Returns a float32 buffer in the shape of a tile."""
        pairs, room = len(i) * len(j), self.buffers.get(number)
        if room is None or len(room) < pairs:
            room = self.buffers[number] = like.new_empty(pairs, dtype=torch.float32)
        return room[:pairs].view(len(i), len(j))

    def add(self, other: Accumulator) -> None:
        """Adds what another worker added up."""
        self.tally.add(other.tally)
        if self.gradient is not None and other.gradient is not None:
            self.gradient += other.gradient


class SortedBatch:
    """Anchors and references in the order of a layout.

    Args:
        x: The anchors.
        y: The references; `None` where the anchors are their own.
        layout: The order.
        distance: The name of the distance.
        plan: The sizes of tiles.

    Attributes:
        plain: The rows as the distance takes them, not centred; float64 where they were normalised.
        right: Rows [x, 1, ‖x‖²], x the centred row.
        norms: ‖x‖² of each row.
        zero_rows: With cosine, whether any row is 0, which is a special case.
        cosine: With cosine, the directions of the rows.
        tolerance: How much two products of a row can differ although their distances are equal.
    """

    ranks_from = 128  # positives above which a search for the rank of a distance beats comparing with each
    search_pairs = 1 << 19  # distances in a tile that is searched, where anchors and references differ
    census_positives = 32  # positives of an anchor up to which comparing with each beats sorting its row

    def __init__(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "m d"] | None,
        layout: Layout,
        distance: Distance,
        plan: Plan = DEFAULT_PLAN,
    ) -> None:
        self.x, self.y, self.layout, self.distance, self.plan = x, y, layout, distance, plan
        self.raw = raw = x if layout.square else torch.cat([x, x if y is None else y])
        n, width = raw.shape
        self.width = width
        # Unit rows stay float64: float32 would lose the differences of near rows.
        self.cosine = directions(raw[layout.order]) if distance == "cosine" else None
        self.plain = raw[layout.order].float() if self.cosine is None else self.cosine.unit
        # A centre of few digits is subtracted from most rows without rounding.
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
        if self.cosine is not None:
            self.zero_rows = bool(self.cosine.zero.any())
            # A zero row is at squared distance 2 from every row.
            self.norms += self.cosine.zero
        self.right[:, width] = 1
        self.right[:, width + 1] = self.norms
        self.largest = float(self.norms.max())
        self.tolerance = (12 + width**0.5) * _ROUNDING * (self.norms + self.largest)

    def parts(self, workers: int, groups: list[Group] | None = None, tile_pairs: int = 1 << 17) -> list[Part]:
        """Splits the anchors, or those of some groups, into parts that are finished together.

        Args:
            workers: How many threads share the parts.
            groups: Which anchors; `None` for all.
            tile_pairs: Distances in a tile, where anchors and references differ and the plan says nothing.
        """
        layout, plan = self.layout, self.plan
        height = plan.height or (256 if layout.rows <= 2048 or not layout.square else 512)
        if not layout.square:
            height = min(height, -(-layout.anchors // workers))
        groups = layout.groups if groups is None else groups
        return layout.parts(height, groups, plan.tile_pairs or tile_pairs, plan.positive_pairs)

    def accumulator(
        self, needs_grad: tuple[bool, bool], columns: int, dtype: torch.dtype = torch.float32
    ) -> Accumulator:
        """Returns zeros to add to.

        Args:
            needs_grad: Whether the gradients at the anchors and at the references are needed.
            columns: Columns of the gradient.
            dtype: Its dtype.
        """
        start, stop = 0, self.layout.rows
        if self.y is not None:
            start = 0 if needs_grad[0] else self.layout.anchors
            stop = stop if needs_grad[1] else self.layout.anchors
        gradient = None
        if any(needs_grad):
            gradient = self.right.new_zeros(stop - start, columns, dtype=dtype)
        return Accumulator(Tally(), gradient, start)

    @cached_property
    def left(self) -> Float[Tensor, "n d2"]:
        """Rows [−2x, ‖x‖², 1]: a product with `right` is a squared distance."""
        ones = self.right[:, self.width : self.width + 1]
        return torch.cat([self.right[:, : self.width] * -2, self.norms[:, None], ones], 1)

    def chunks(self, start: int, stop: int, step: int = 1) -> list[slice]:
        """Splits places into parts, of whole classes of `step` rows, that fit in the memory of a pass."""
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
        layout = self.layout
        start = max(int(layout.first[i.start]), j.start)
        stop = min(int(layout.last[i.stop - 1]), j.stop)
        if start >= stop:
            return
        columns = torch.arange(start, stop, device=tile.device)
        mates = (columns >= layout.first[i.rows, None]) & (columns < layout.last[i.rows, None])
        tile[:, start - j.start : stop - j.start].masked_fill_(mates, value)

    def squared_pairs(self, a: Int64[Tensor, " t"], b: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        """Returns the squared distances of listed pairs of places, from differences, in float32."""
        return self.exact_pairs(a, b).float()

    def exact_pairs(self, a: Int64[Tensor, " t"], b: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        """Returns the squared distances of listed pairs of places, from differences, in float64."""
        out = torch.empty(len(a), dtype=torch.float64, device=a.device)
        size = max(1, _CHUNK // max(1, self.width))
        for start in range(0, len(a), size):
            i, j = a[start : start + size], b[start : start + size]
            squared = (self.precise(i) - self.precise(j)).square_().sum(1)
            if self.cosine is not None:
                _, zero, whole, slack = self.cosine
                squared.masked_fill_(zero[i] | zero[j], 2.0)
                ends = (None, None) if whole is None else (whole[i], whole[j])
                squared = settle_cosine(squared.div_(2), slack, *ends).mul_(2)
            out[start : start + size] = squared
        return out

    def positives(self, group: Group) -> Float[Tensor, "r p"]:
        """Returns the squared distances of each anchor of a group to its class-mates, itself left out.

        From class-centred rows in float64: within a class of radius 1e-4 nothing is lost.
        """
        out = torch.empty(group.stop - group.start, group.positives, device=self.raw.device)
        if not group.positives:
            return out
        if self.cosine is not None and self.cosine.whole is not None:
            mates = self.layout.mates(group)
            anchors = torch.arange(group.start, group.stop, device=mates.device)[:, None].expand_as(mates)
            return self.squared_pairs(anchors.flatten(), mates.flatten()).view_as(out)
        for piece in self._class_chunks(group):
            u, v = self._centred_classes(piece)
            to_u, to_v = u.square().sum(2), v.square().sum(2)
            part = out[piece.start - group.start : piece.stop - group.start].view(*u.shape[:2], -1)
            for rows in _rows_of(u, v):
                both = to_u[:, rows, None] + to_v[:, None, :]
                squared = torch.baddbmm(both, u[:, rows], v.transpose(1, 2), alpha=-2)
                if self.layout.square:  # left out below: nothing to compute again
                    squared.diagonal(rows.start, 1, 2).fill_(torch.inf)
                c, p, q = (squared < 1e-6 * both).nonzero(as_tuple=True)
                self._recompute(squared, u[:, rows], v, c, p, q)
                near = squared.clamp_(min=0).float()
                part[:, rows] = without_diagonal(near, rows.start) if self.layout.square else near
        if self.cosine is not None and self.zero_rows:
            zero = self.cosine.zero
            out[zero[group.start : group.stop, None] | zero[self.layout.mates(group)]] = 2.0
        return out

    def _class_chunks(self, group: Group) -> list[Group]:
        size = max(1, _CHUNK // max(1, self.width) // max(group.anchors, group.references))
        return [
            group.part(group.start + c * group.anchors, min(size, group.classes - c), group.anchors)
            for c in range(0, group.classes, size)
        ]

    def _centred_classes(self, group: Group) -> tuple[Tensor, Tensor]:
        """(classes, anchors, width) and (classes, references, width), each class around its own centre."""
        mates = slice(group.mates, group.mates + group.classes * group.references)
        v = self.precise(mates).view(-1, group.references, self.width)
        centre = v.mean(1, keepdim=True)
        if self.layout.square:
            u = v - centre
            return u, u
        return self.precise(slice(group.start, group.stop)).view(-1, group.anchors, self.width) - centre, (
            v - centre
        )

    def _recompute(self, squared: Tensor, u: Tensor, v: Tensor, c: Tensor, p: Tensor, q: Tensor) -> None:
        size = max(1, _CHUNK // max(1, self.width))
        for start in range(0, len(c), size):
            i, j, k = c[start : start + size], p[start : start + size], q[start : start + size]
            squared[i, j, k] = (u[i, j] - v[i, k]).square_().sum(1)

    def pull_positives(self, group: Group, weights: Float[Tensor, "r p"], total: Accumulator) -> None:
        """Adds the gradient of ½ Σ w‖x − y‖² over the positive pairs of a group, on class-centred rows."""
        if not group.positives:
            return
        for piece in self._class_chunks(group):
            u, v = self._centred_classes(piece)
            part = weights[piece.start - group.start : piece.stop - group.start].view(*u.shape[:2], -1)
            mates = slice(piece.mates, piece.mates + piece.classes * piece.references)
            if self.layout.square:
                part, grad_weight = with_diagonal(part), torch.empty_like(u)
                for rows in _rows_of(u, v):
                    w = (part[:, rows] + part[:, :, rows].transpose(1, 2)).double()
                    grad_weight[:, rows] = (w.sum(2, keepdim=True) * u[:, rows]).baddbmm_(w, u, alpha=-1)
                self._add(total, mates, grad_weight)
                continue
            w = part.double()
            self._add(
                total, slice(piece.start, piece.stop), (w.sum(2, keepdim=True) * u).baddbmm_(w, v, alpha=-1)
            )
            back = (w.sum(1)[:, :, None] * v).baddbmm_(w.transpose(1, 2), u, alpha=-1)
            self._add(total, mates, back)

    def _add(self, total: Accumulator, places: slice, gradient: Tensor) -> None:
        part = total.part(places)
        if part is not None:
            part[:, : self.width] += gradient.flatten(0, -2).to(part.dtype)

    def pull_pairs(
        self,
        a: Int64[Tensor, " t"],
        b: Int64[Tensor, " t"],
        weights: Float[Tensor, " t"],
        total: Accumulator,
    ) -> None:
        """Adds the gradient of ½ Σ w‖x_a − x_b‖² over listed pairs of places."""
        live = weights != 0
        a, b, weights = a[live], b[live], weights[live].float()
        layout, width = self.layout, self.width
        mine = total.part(slice(0, layout.anchors))
        other = total.part(slice(layout.references.start, layout.rows))
        size = max(1, _CHUNK // max(1, width))
        for start in range(0, len(a), size):
            i, j = a[start : start + size], b[start : start + size]
            weighted = (self.plain[i] - self.plain[j]).float().mul_(weights[start : start + size, None])
            if mine is not None:
                mine[:, :width].index_add_(0, i, weighted.to(mine.dtype))
            if other is not None:
                j = j - layout.references.start
                other[:, :width].index_add_(0, j, weighted.to(other.dtype), alpha=-1)

    def add_weights(
        self, weights: Float[Tensor, "h w"], i: Block, j: Block, total: Accumulator, *, sparse: bool
    ) -> None:
        """Adds Σ w·[y, 1] of a tile's pairs to its rows and columns; `sparse` if few may have a weight."""
        a = total.part(i.rows)
        b = a if i is j else total.part(j.rows)
        if sparse and self._added_one_by_one(weights, i, j, a, b):
            return
        rows = self.right[:, : self.width + 1]
        if i is j and a is not None:
            a.addmm_(weights + weights.T, rows[i.rows])
            return
        if a is not None:
            a.addmm_(weights, rows[j.rows])
        if b is not None:
            b.addmm_(weights.T, rows[i.rows])

    def _added_one_by_one(
        self, weights: Tensor, i: Block, j: Block, a: Tensor | None, b: Tensor | None
    ) -> bool:
        """Adds the pairs with a weight one by one, if few enough that this is faster."""
        return False

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

    def by_block(self, part: Part, values: list[Tensor], empty: float) -> list[Tensor]:
        """Lays values of groups, (anchors, places), out for blocks as (places, anchors)."""
        laid = []
        for block in part.blocks:
            members = [
                (group, v)
                for group, v in zip(part.groups, values, strict=True)
                if group.start < block.stop and group.stop > block.start
            ]
            width = max(v.shape[1] for _, v in members)
            out = torch.full((width, len(block)), empty, dtype=values[0].dtype, device=self.raw.device)
            for group, v in members:
                start, stop = max(block.start, group.start), min(block.stop, group.stop)
                rows = v[start - group.start : stop - group.start]
                out[: rows.shape[1], start - block.start : stop - block.start] = rows.T
            laid.append(out)
        return laid

    def to_groups(self, part: Part, laid: list[Tensor], places: list[int]) -> list[Tensor]:
        """Undoes `by_block`, for groups of this many places."""
        parts: list[list[Tensor]] = [[] for _ in part.groups]
        for block, values in zip(part.blocks, laid, strict=True):
            for index, group in enumerate(part.groups):
                start, stop = max(block.start, group.start), min(block.stop, group.stop)
                if start < stop:
                    columns = slice(start - block.start, stop - block.start)
                    parts[index].append(values[: places[index], columns].T)
        return [torch.cat(part) for part in parts]

    def in_batch_order(self, total: Accumulator) -> tuple[Tensor | None, Tensor | None]:
        """Returns the gradients at the anchors and at the references as given, in float32."""
        n, rows = self.layout.anchors, self.layout.rows
        ends: list[Tensor | None] = []
        for places in (slice(0, n), slice(n, rows)):
            gradient = total.part(places)
            if gradient is None or (places.start and self.layout.square):
                ends.append(None)
                continue
            if gradient.shape[1] > self.width:
                gradient = gradient.float()
                weight, gradient = gradient[:, self.width :], gradient[:, : self.width]
                gradient = gradient - weight * self.right[places, : self.width]
            gradient = gradient.float()[self.layout.place[places] - places.start]
            if self.distance == "cosine":
                gradient = through_unit_rows(gradient, self.raw[places])
            ends.append(gradient)
        x, y = ends
        if self.y is None and x is not None and y is not None:
            return x + y, None
        return x, y


def _rows_of(u: Tensor, v: Tensor) -> list[slice]:
    """Splits the rows of classes so that a block of all their pairs stays in the cache."""
    classes, size, _ = u.shape
    step = max(1, _BLOCK // (classes * v.shape[1]))
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
