"""The tiled losses with numba kernels, where numba is installed and the batch is on the CPU."""

from __future__ import annotations

import functools
import importlib.util
import warnings

import numpy as np
import torch
from torch import Tensor

from trine.engine.all_triplets import TileKernel, TileObserver, TileState
from trine.engine.layout import Block, Group, Part
from trine.engine.sorted_batch import FAR, Accumulator, SortedBatch
from trine.shapes import Float, Int64

KINDS = {"cosine": 0, "squared_euclidean": 1, "euclidean": 2}
_SPARSE = 16  # if at most one of this many pairs is active, only the active ones are touched


@functools.cache
def installed() -> bool:
    """Whether numba can be imported; the first batch that uses it imports it."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("trine.engine.compiled.rows")
    except ImportError:  # a numba that is too old for the installed numpy or Python raises this
        return False
    return True


class NumbaBatch(SortedBatch):
    """A sorted batch whose work on listed pairs is compiled."""

    ranks_from = 80
    search_pairs = 1 << 17
    census_positives = 256

    def positives(self, group: Group) -> Float[Tensor, "r p"]:
        """Returns the squared distances of each anchor of a group to its class-mates, itself left out."""
        if group.references > self.plan.dense_from:
            return super().positives(group)
        from trine.engine.compiled.rows import class_squares

        out = torch.empty(group.stop - group.start, group.positives)
        class_squares(self.plain.numpy(), *self._shape(group), out.numpy())
        return out

    def pull_positives(self, group: Group, weights: Float[Tensor, "r p"], total: Accumulator) -> None:
        """Adds the gradient of ½ Σ w‖x − y‖² over the positive pairs of a group."""
        if group.references > self.plan.dense_from:
            super().pull_positives(group, weights, total)
            return
        from trine.engine.compiled.rows import pull_classes

        mates = slice(group.mates, group.mates + group.classes * group.references)
        ends = self._arrays(total, slice(group.start, group.stop), mates)
        pull_classes(self.plain.numpy(), *self._shape(group), weights.float().numpy(), *ends)

    def _shape(self, group: Group) -> tuple[int | bool, ...]:
        shape = (group.start, group.classes, group.anchors, group.mates, group.references)
        return (*shape, self.layout.square)

    @staticmethod
    def _arrays(total: Accumulator, *parts: slice) -> list[np.ndarray]:
        """The gradients of these places, empty where they are not needed."""
        assert total.gradient is not None
        found = (total.part(places) for places in parts)
        return [(total.gradient[:0] if part is None else part).numpy() for part in found]

    def squared_pairs(self, a: Int64[Tensor, " t"], b: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        """Returns the squared distances of listed pairs of places, from differences, in float32."""
        return self._pairs(a, b, torch.empty(len(a)))

    def exact_pairs(self, a: Int64[Tensor, " t"], b: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        """Returns the squared distances of listed pairs of places, from differences, in float64."""
        return self._pairs(a, b, torch.empty(len(a), dtype=torch.float64))

    def _pairs(self, a: Tensor, b: Tensor, out: Tensor) -> Tensor:
        from trine.engine.compiled.rows import pair_squares

        pair_squares(self.plain.numpy(), a.numpy(), b.numpy(), out.numpy())
        return out

    def pull_pairs(
        self,
        a: Int64[Tensor, " t"],
        b: Int64[Tensor, " t"],
        weights: Float[Tensor, " t"],
        total: Accumulator,
    ) -> None:
        """Adds the gradient of ½ Σ w‖x_a − x_b‖² over listed pairs of places."""
        from trine.engine.compiled.rows import pull_pairs

        references = self.layout.references
        ends = self._arrays(total, slice(0, self.layout.anchors), references.rows)
        plain, w = self.plain.numpy(), weights.float().numpy()
        pull_pairs(plain, a.numpy(), b.numpy(), w, *ends, references.start)

    def _added_one_by_one(
        self, weights: Tensor, i: Block, j: Block, a: Tensor | None, b: Tensor | None
    ) -> bool:
        from trine.engine.compiled.counting import sparse_products

        if not weights.is_contiguous():
            weights, i, j, a, b = weights.T, j, i, b, a
        w, rows, none = weights.numpy(), self._rows, self._rows[:0]
        ends = none if a is None else a.numpy(), none if b is None else b.numpy()
        done = sparse_products(w, w.view(np.int32), rows[i.rows], rows[j.rows], *ends, w.size // _SPARSE)
        return bool(done)

    @functools.cached_property
    def _rows(self) -> np.ndarray:
        rows: np.ndarray = self.right[:, : self.width + 1].numpy()
        return rows

    def farthest(self, anchors: Int64[Tensor, " r"]) -> Int64[Tensor, " r"]:
        """Returns the farthest negative of each of these places."""
        from trine.engine.compiled.winners import farthest_rows

        out, rows, references = torch.empty_like(anchors), self.right[:, : self.width], self.layout.references
        for start in range(0, len(anchors), 128):
            some = slice(start, start + 128)
            s = (rows[anchors[some]] @ rows[references.rows].T).numpy()
            farthest_rows(s, anchors[some].numpy(), references.start, self.arrays, out[some].numpy())
        return out

    @functools.cached_property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """(squared norms, rows, where the class of each anchor starts and ends, tolerance, order)."""
        layout = self.layout
        known = (self.norms, self.plain, layout.first, layout.last, self.tolerance, layout.order)
        return tuple(each.numpy() for each in known)


class NumbaHinge(TileKernel):
    """Counts with a numba kernel.

    Blocks with few positives compare with each of them; those with many look up ranks among them, which
    is done along rows: such a block is the left side of a tile, and of two such blocks each in turn.
    """

    def __init__(
        self, batch: SortedBatch, part: Part, thresholds: list[Tensor], observer: TileObserver | None
    ) -> None:
        super().__init__(batch, part, thresholds, observer)
        self.many = [len(t) > (batch.plan.ranks_from or batch.ranks_from) for t in self.laid]
        none = torch.empty(0, 0)
        self.few = [
            t[:0].contiguous() if many else _padded(t, -1.0)
            for t, many in zip(self.laid, self.many, strict=True)
        ]
        # numpy sorts by vector instructions where torch does not.
        self.rising = [
            torch.from_numpy(np.sort(t.T.contiguous().numpy(), 1)) if many else none
            for t, many in zip(self.laid, self.many, strict=True)
        ]

    def counts(self) -> list[Tensor]:
        """Returns zeros to count in: (positives, rows) for few, histograms (rows, ranks) for many."""
        return [
            torch.zeros((len(rising), rising.shape[1] + 1) if len(rising) else few.shape, dtype=torch.int32)
            for few, rising in zip(self.few, self.rising, strict=True)
        ]

    def finished(self, counts: list[Tensor]) -> list[Tensor]:
        """Returns finished counts as (positives, anchors) of each block."""
        from trine.engine.compiled.counting import counts_of_ranks

        done = []
        for n, t, rising in zip(counts, self.laid, self.rising, strict=True):
            if len(rising):
                many = torch.empty(rising.shape)
                counts_of_ranks(t.T.contiguous().numpy(), rising.numpy(), n.numpy(), many.numpy())
                done.append(many.T)
            else:
                done.append(n[: len(t)].float())
        return done

    def tile(self, state: TileState, i: int, j: int) -> Tensor:
        """Adds a tile; see `TileKernel`."""
        if not self.part.both_ends(i, j):
            return self._side(state, i, j, 0, only_rows=True)
        left, right = (j, i) if self.many[j] else (i, j)
        s = self._side(state, left, right, 0, only_rows=self.many[right])
        if self.many[right]:
            s += self._side(state, right, left, 1, only_rows=True).T
        return s if left == i else s.T

    def _side(self, state: TileState, left: int, right: int, buffer: int, *, only_rows: bool) -> Tensor:
        from trine.engine.compiled.counting import count_tile

        batch = self.batch
        assert isinstance(batch, NumbaBatch)
        a, b = self.part.sides[left], self.part.sides[right]
        s = batch.product(a, b, state.total.buffer(buffer, batch.right, a, b))
        if buffer == 0:
            self.observe(state, left, right, s)
        # Each side has two accumulators, one of them empty.
        counts, nowhere = state.counts[left].numpy(), np.empty((0, 0), np.int32)
        few = self.few[left].numpy(), nowhere if self.many[left] else counts
        many = self.rising[left].numpy(), counts if self.many[left] else nowhere
        columns = np.empty((0, 0), np.float32), nowhere
        if not only_rows:
            columns = self.few[right].numpy(), state.counts[right].numpy()
        value, kind = self.values(state, a).numpy(), KINDS[batch.distance]
        count_tile(s.numpy(), a.start, b.start, batch.arrays, few, many, columns, value, kind)
        return s


class NumbaSoft(TileKernel):
    """The soft margin with a numba kernel, for batches with short distances."""

    def __init__(
        self, batch: SortedBatch, part: Part, thresholds: list[Tensor], observer: TileObserver | None
    ) -> None:
        super().__init__(batch, part, thresholds, observer)
        self.exponentials = [_padded(torch.where(t >= 0, t.exp(), 0.0), 0.0) for t in self.laid]

    def counts(self) -> list[Tensor]:
        """Returns zeros to count in."""
        return [torch.zeros_like(u) for u in self.exponentials]

    def finished(self, counts: list[Tensor]) -> list[Tensor]:
        """Returns finished counts as (positives, anchors) of each block."""
        return [c[: len(t)] for c, t in zip(counts, self.laid, strict=True)]

    def tile(self, state: TileState, i: int, j: int) -> Tensor:
        """Adds a tile; see `TileKernel`."""
        from trine.engine.compiled.soft import soft_tile

        batch, u = self.batch, self.exponentials
        assert isinstance(batch, NumbaBatch)
        a, b = self.part.sides[i], self.part.sides[j]
        s = batch.product(a, b, state.total.buffer(0, batch.right, a, b))
        self.observe(state, i, j, s)
        nowhere = np.empty((0, 0), np.float32)
        columns = nowhere, nowhere
        if self.part.both_ends(i, j):
            columns = u[j].numpy(), state.counts[j].numpy()
        side, value = (u[i].numpy(), state.counts[i].numpy()), self.values(state, a).numpy()
        soft_tile(s.numpy(), a.start, b.start, batch.arrays, side, columns, value, KINDS[batch.distance])
        return s


def _padded(values: Tensor, empty: float) -> Tensor:
    missing = -len(values) % 4
    if not missing:
        return values.contiguous()
    return torch.cat([values, values.new_full((missing, values.shape[1]), empty)])


class NumbaSearch:
    """Finds the nearest negatives with a numba kernel, which resolves near-ties itself.

    Args:
        batch: The sorted batch.
        part: The anchors.
        bounds: What negatives must be beyond, (searches, anchors) of each block.
        positives: The places the bounds were measured to; −1 for no bound.
    """

    def __init__(self, batch: NumbaBatch, part: Part, bounds: list[Tensor], positives: list[Tensor]) -> None:
        self.batch, self.part = batch, part
        self.searches = [len(b) for b in bounds]
        self.bounds = [_padded(b, torch.inf).numpy() for b in bounds]
        self.positives = [_padded(p, -1).numpy() for p in positives]

    def start(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns empty (squared distances, places)."""
        return [(np.full(b.shape, FAR, np.float32), np.full(b.shape, -1)) for b in self.bounds]

    def tile(self, found: list[tuple[np.ndarray, np.ndarray]], buffer: Tensor, i: int, j: int) -> None:
        """Searches a tile for its anchors."""
        from trine.engine.compiled.winners import nearest_tile

        batch, a, b = self.batch, self.part.sides[i], self.part.sides[j]
        s = batch.product(a, b, buffer[: len(a) * len(b)].view(len(a), len(b)))
        # Columns need no padding; where only rows search, they bring nothing.
        end, searches = (j, self.searches[j]) if self.part.both_ends(i, j) else (i, 0)
        side = (self.bounds[i], self.positives[i], *found[i])
        columns = tuple(t[:searches] for t in (self.bounds[end], self.positives[end])) + found[end]
        nearest_tile(s.numpy(), a.start, b.start, batch.arrays, side, columns)
