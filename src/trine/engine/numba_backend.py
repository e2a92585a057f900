"""The tiled passes with compiled kernels, where numba is installed and the batch is on the CPU."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trine.engine.all_triplets import Kernel, Sums, Witness
from trine.engine.layout import Block, Group
from trine.engine.sorted_batch import FAR, Field
from trine.shapes import Float, Int64

KINDS = {"cosine": 0, "squared_euclidean": 1, "euclidean": 2}
_DIRECT = 64  # rows of a class up to which its pairs are taken one by one and not as a product
_SPARSE = 16  # of so many pairs at most one active: then only the active ones are touched


@functools.cache
def installed() -> bool:
    """Whether numba can be imported; it is, at the first batch that uses it."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("trine.engine.compiled.rows")
    except ImportError:  # numba lags behind a new numpy or Python now and then, and says so here
        return False
    return True


class CompiledField(Field):
    """A field whose work on listed pairs is compiled."""

    def positives(self, group: Group) -> Float[Tensor, "r p"]:
        """Returns the squared distances of each row of a group to its class-mates, itself left out."""
        if group.size > _DIRECT:
            return super().positives(group)
        from trine.engine.compiled.rows import class_squares

        out = torch.empty(group.stop - group.start, group.size - 1)
        class_squares(self.plain.numpy(), group.start, group.classes, group.size, out.numpy())
        return out

    def pull_positives(self, group: Group, weights: Float[Tensor, "r p"], gradient: Tensor) -> None:
        """Adds the gradient of ½ Σ w‖x − y‖² over the positive pairs of a group."""
        if group.size > _DIRECT:
            super().pull_positives(group, weights, gradient)
            return
        from trine.engine.compiled.rows import pull_classes

        pull_classes(
            self.plain.numpy(),
            group.start,
            group.classes,
            group.size,
            weights.float().numpy(),
            gradient.numpy(),
        )

    def squared_pairs(self, a: Int64[Tensor, " t"], b: Int64[Tensor, " t"]) -> Float[Tensor, " t"]:
        """Returns the squared distances of listed pairs of places, from differences."""
        from trine.engine.compiled.rows import pair_squares

        out = torch.empty(len(a))
        pair_squares(self.plain.numpy(), a.numpy(), b.numpy(), out.numpy())
        return out

    def pull_pairs(
        self, a: Int64[Tensor, " t"], b: Int64[Tensor, " t"], weights: Float[Tensor, " t"], gradient: Tensor
    ) -> None:
        """Adds the gradient of ½ Σ w‖x_a − x_b‖² over listed pairs of places."""
        from trine.engine.compiled.rows import pull_pairs

        pull_pairs(self.plain.numpy(), a.numpy(), b.numpy(), weights.float().numpy(), gradient.numpy())

    def farthest(self, anchors: Int64[Tensor, " r"]) -> Int64[Tensor, " r"]:
        """Returns the farthest negative of each of these places."""
        from trine.engine.compiled.winners import farthest_rows

        layout = self.layout
        out = torch.empty_like(anchors)
        for start in range(0, len(anchors), 128):
            some = slice(start, start + 128)
            rows = self.right[:, : self.width]
            farthest_rows(
                (rows[anchors[some]] @ rows.T).numpy(),
                anchors[some].numpy(),
                self.norms.numpy(),
                self.plain.numpy(),
                layout.first.numpy(),
                layout.last.numpy(),
                self.tolerance.numpy(),
                layout.order.numpy(),
                out[some].numpy(),
            )
        return out

    def sides(self, i: Block, j: Block) -> tuple[Any, ...]:
        """Returns what a kernel has to know of the two blocks of a tile."""
        norms, plain = self.norms.numpy(), self.plain.numpy()
        first, last = self.layout.first.numpy(), self.layout.last.numpy()
        return (
            norms[i.rows],
            norms[j.rows],
            plain[i.rows],
            plain[j.rows],
            first[i.rows],
            last[i.rows],
            j.start,
        )


class CompiledCount(Kernel):
    """Counts by a compiled look at each tile.

    Blocks with few positives compare with each of them; those with many look up ranks among them, which
    is done along rows: such a block is the left one of a tile, and of two such each has its turn.
    """

    buffers = 2

    def __init__(
        self, field: Field, blocks: list[Block], thresholds: list[Tensor], witness: Witness | None
    ) -> None:
        from trine.engine.compiled.counting import MANY

        super().__init__(field, blocks, thresholds, witness)
        self.kind = KINDS[field.distance]
        self.many = [block.positives > MANY for block in blocks]
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

    def counted(self, counts: list[Tensor]) -> list[Tensor]:
        """Returns finished counts as (positives, rows) of each block."""
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

    def tile(self, sums: Sums, i: int, j: int) -> Tensor | None:
        """Adds a tile; see `Kernel`."""
        from trine.engine.compiled.counting import sparse_products

        left, right = (j, i) if self.many[j] else (i, j)
        a, b = self.blocks[left], self.blocks[right]
        s = self._side(sums, left, right, 0)
        if self.many[right] and i != j:
            s += self._side(sums, right, left, 1).T
        if sums.gradient is None:
            return None
        rows, g = self.field.right[:, : self.field.width + 1].numpy(), sums.gradient.numpy()
        done = sparse_products(
            s.numpy(),
            s.numpy().view(np.int32),
            rows[a.rows],
            rows[b.rows],
            g[a.rows],
            g[b.rows],
            s.numel() // _SPARSE,
        )
        if done:
            return None
        return s if left == i else s.T

    def _side(self, sums: Sums, left: int, right: int, buffer: int) -> Tensor:
        from trine.engine.compiled.counting import count_tile

        field = self.field
        assert isinstance(field, CompiledField)
        a, b = self.blocks[left], self.blocks[right]
        s = field.product(a, b, sums.buffer(buffer, a, b))
        if buffer == 0:
            self.show(sums, left, right, s)
        # Each side has two places to count in, of which one is empty.
        nowhere = np.empty((0, 0), np.int32)
        many, few = sums.counts[left].numpy(), nowhere
        if not self.many[left]:
            many, few = few, many
        columns = nowhere if self.many[right] else sums.counts[right].numpy()
        value = count_tile(
            s.numpy(),
            *field.sides(a, b),
            self.few[left].numpy(),
            self.few[right].numpy(),
            few,
            columns,
            self.rising[left].numpy(),
            many,
            self.kind,
            left == right or self.many[right],
        )
        sums.value -= value / 2 if field.distance == "cosine" else value
        return s


class CompiledSoft(Kernel):
    """The soft margin by a compiled look at each tile, for batches that are `short`."""

    def __init__(
        self, field: Field, blocks: list[Block], thresholds: list[Tensor], witness: Witness | None
    ) -> None:
        super().__init__(field, blocks, thresholds, witness)
        self.exponentials = [_padded(torch.where(t >= 0, t.exp(), 0.0), 0.0) for t in self.laid]

    def counts(self) -> list[Tensor]:
        """Returns zeros to count in."""
        return [torch.zeros_like(u) for u in self.exponentials]

    def counted(self, counts: list[Tensor]) -> list[Tensor]:
        """Returns finished counts as (positives, rows) of each block."""
        return [c[: len(t)] for c, t in zip(counts, self.laid, strict=True)]

    def tile(self, sums: Sums, i: int, j: int) -> Tensor:
        """Adds a tile; see `Kernel`."""
        from trine.engine.compiled.soft import soft_tile

        field, u = self.field, self.exponentials
        assert isinstance(field, CompiledField)
        a, b = self.blocks[i], self.blocks[j]
        s = field.product(a, b, sums.buffer(0, a, b))
        self.show(sums, i, j, s)
        sides = (u[i].numpy(), u[j].numpy(), sums.counts[i].numpy(), sums.counts[j].numpy())
        sums.value += soft_tile(s.numpy(), *field.sides(a, b), *sides, KINDS[field.distance], i == j)
        return s


def _padded(values: Tensor, empty: float) -> Tensor:
    missing = -len(values) % 4
    if not missing:
        return values.contiguous()
    return torch.cat([values, values.new_full((missing, values.shape[1]), empty)])


class CompiledSearch:
    """The nearest negatives by a compiled look at each tile; nothing that it finds is left unsure.

    Args:
        field: The sorted batch.
        blocks: Its blocks.
        bounds: What negatives must be beyond, (searches, rows) of each block.
        positives: The rows the bounds were measured to; −1 for no bound.
    """

    def __init__(
        self, field: CompiledField, blocks: list[Block], bounds: list[Tensor], positives: list[Tensor]
    ) -> None:
        self.field, self.blocks = field, blocks
        self.searches = [len(b) for b in bounds]
        self.bounds = [_padded(b, torch.inf).numpy() for b in bounds]
        self.positives = [_padded(p, -1).numpy() for p in positives]

    def start(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns (squared distances, rows) with nothing found."""
        return [(np.full(b.shape, FAR, np.float32), np.full(b.shape, -1)) for b in self.bounds]

    def tile(self, found: list[tuple[np.ndarray, np.ndarray]], buffer: Tensor, i: int, j: int) -> None:
        """Looks at a tile from both ends."""
        from trine.engine.compiled.winners import nearest_tile

        field, layout, a, b = self.field, self.field.layout, self.blocks[i], self.blocks[j]
        s = field.product(a, b, buffer[: len(a) * len(b)].view(len(a), len(b)))
        # Columns need no padding; those of a tile on the diagonal have been seen as rows.
        searches = self.searches[j] if i != j else 0
        nearest_tile(
            s.numpy(),
            a.start,
            b.start,
            field.norms.numpy(),
            field.plain.numpy(),
            layout.first.numpy(),
            layout.last.numpy(),
            self.bounds[i],
            self.bounds[j][:searches],
            self.positives[i],
            self.positives[j],
            field.tolerance.numpy(),
            layout.order.numpy(),
            *(side for pair in zip(found[i], found[j], strict=True) for side in pair),
        )
