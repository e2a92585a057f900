"""The ranks of the relevant references of a query, without ranking all the others.

Every metric of a ranked list follows from the ranks of its relevant items, and a rank is a count: how many
references are nearer. A tile of a matrix product, sorted along its rows, gives the counts of all relevant
items by bisection. Where rounding leaves a count open, the references concerned are measured in float64; a
row with too many of those is counted again from a product in double precision, and at last from distances
to every reference. So the ranks are those of a stable sort of all distances: equal distances by index.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance
from trine.errors import InputError
from trine.neighbours.candidates import TiledProduct
from trine.neighbours.rescoring import ExactDistances, Prepared, Queries, References
from trine.neighbours.rows import TILE, tiles
from trine.shapes import Bool, Float, Int64

NEVER = np.iinfo(np.int64).max
"""The rank of a missing reference: pads rows with fewer relevant references than others."""

COLUMNS = 2048  # of a tile: a row of it is sorted in the cache
ROWS = 2048
MANY = 256
_CROWDED = 16  # a row with more than one undecided reference in this many is counted again


class RankSearch:
    """References that are prepared once, to count the ranks of given ones.

    Args:
        references: One row per item.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`; smaller is closer.
        columns: The most references in a tile of a product.
        rows: The most queries in a block.
        many: Longer lists of references are counted in double precision alone.
        tile: The most numbers to hold at once.

    Raises:
        InputError: The rows are not a finite matrix, or the distance is unknown.

    Example:
        >>> search = RankSearch(np.array([[0.0], [1.0], [2.0], [3.0]]))
        >>> search.ranks(np.array([[0.2]]), np.array([[1, 3]])).tolist()
        [[2, 4]]
        >>> search.ranks(np.array([[0.2]]), np.array([[0, 3]]), counted=np.array([[False, True]])).min()
        np.int64(3)
    """

    def __init__(
        self,
        references: References,
        *,
        distance: Distance = "euclidean",
        columns: int = COLUMNS,
        rows: int = ROWS,
        many: int = MANY,
        tile: int = TILE,
    ) -> None:
        self._exact = ExactDistances(references, distance, tile=tile)
        self._columns, self._rows, self._many = columns, rows, many

    def __len__(self) -> int:
        return len(self._exact)

    def ranks(
        self,
        queries: Queries,
        listed: Int64[np.ndarray, "n p"],
        *,
        counted: Bool[np.ndarray, "n p"] | None = None,
    ) -> Int64[np.ndarray, "n p"]:
        """The ranks, from 1, of listed references among all references of each query.

        Args:
            queries: One row per item.
            listed: For each query rows of the references, ascending; -1 where it has fewer than others.
            counted: Which of them to rank; the others are ignored, as if they were not there. By default all
                that are not -1.

        Returns:
            Ascending ranks in each row, padded with `NEVER`.

        Raises:
            InputError: A row is not finite, the widths differ, or `listed` is malformed.
        """
        x = self._exact.check(queries)
        present = listed >= 0
        counted = present if counted is None else counted & present
        _check_list(listed, len(x), len(self))
        ranks = np.full(listed.shape, NEVER)
        width = min(len(self), max(self._columns, 8 * listed.shape[1]))
        step = max(1, min(self._rows, self._exact.tile // max(width, 1)))
        for start in range(0, len(x) if listed.size else 0, step):
            part = slice(start, start + step)
            ranks[part] = self._block(self._exact.query(x[part]), listed[part], counted[part], width)
        return ranks

    def _block(self, x: Prepared, listed: np.ndarray, counted: np.ndarray, width: int) -> np.ndarray:
        device = x.device
        values, members = self._relevant(x, listed, counted)
        limits, at = torch.from_numpy(values).to(device), torch.from_numpy(members).to(device)
        own = torch.from_numpy(listed).to(device)
        nearer = torch.zeros(limits.shape, dtype=torch.int64, device=device)
        rows = torch.arange(len(x), device=device)
        for product in self._products(listed.shape[1]):
            if not len(rows):
                break
            count = _Count(self._exact, product, x[rows], limits[rows], at[rows], own[rows], width)
            nearer[rows], crowded = count.run()
            rows = rows[crowded]
        for some in tiles(rows[:, None], width=len(self)):
            i = some[:, 0]
            nearer[i] = self._in_full(x[i], limits[i], at[i], own[i])
        places = np.arange(1, listed.shape[1] + 1)
        return np.where(members >= 0, places + nearer.cpu().numpy(), NEVER)

    def _relevant(
        self, x: Prepared, listed: np.ndarray, counted: np.ndarray
    ) -> tuple[Float[np.ndarray, "n p"], Int64[np.ndarray, "n p"]]:
        """Distances and rows of the listed references to rank, nearest first; padded with infinity and -1."""
        indices = torch.from_numpy(listed).to(x.device)
        if len(x) > 1 and listed.min() >= 0 and (listed == listed[0]).all():
            measured = self._exact.shared(x, indices[0])
        else:
            measured = self._exact.listed(x, indices.clamp(min=0))
        values = np.where(counted, measured.cpu().numpy(), np.inf)
        order = np.argsort(values, axis=1)  # by vector instructions, which a stable sort does not have
        ascending = np.take_along_axis(values, order, 1)
        tied = ((ascending[:, 1:] == ascending[:, :-1]) & np.isfinite(ascending[:, 1:])).any(1)
        order[tied] = np.argsort(values[tied], axis=1, kind="stable")
        members = np.take_along_axis(np.where(counted, listed, -1), order, 1)
        return ascending, members

    def _products(self, listed: int) -> Iterator[TiledProduct]:
        # If torch may round matrix products to TF32 or bfloat16, this uses double precision; so
        # do long lists: among many listed references, few others are clear of all of them.
        single = listed <= self._many and torch.get_float32_matmul_precision() == "highest"
        for dtype in (torch.float32, torch.float64) if single else (torch.float64,):
            yield self._exact.product(dtype)

    def _in_full(self, x: Prepared, limits: Tensor, at: Tensor, own: Tensor) -> Int64[Tensor, "n p"]:
        """Counts by ranking every reference."""
        order = self._exact.everything(x).argsort(dim=1, stable=True)
        others = torch.ones(len(x), len(self), dtype=torch.bool, device=x.device)
        row, slot = (own >= 0).nonzero().unbind(1)
        others[row, own[row, slot]] = False
        before = others.gather(1, order).cumsum(1)
        places = torch.empty_like(order).scatter_(1, order, before)
        return places.gather(1, at.clamp(min=0))


class _Count:
    """Counts the references outside each list that are nearer than what is on it, from one product."""

    def __init__(
        self,
        measure: ExactDistances,
        product: TiledProduct,
        x: Prepared,
        limits: Float[Tensor, "n p"],
        at: Int64[Tensor, "n p"],
        own: Int64[Tensor, "n p"],
        width: int,
    ) -> None:
        self.measure, self.product, self.x, self.width = measure, product, x, width
        self.limits, self.at = limits, at
        self.listed, slot = (own >= 0).nonzero().unbind(1)
        self.column = own[self.listed, slot]
        self.query, squares = product.query(x.rows)
        self.nearer = torch.zeros_like(at)
        # Beyond the range of the product's dtype nothing is known.
        self.crowded = ~squares[:, 0].isfinite()

    def run(self) -> tuple[Int64[Tensor, "n p"], Bool[Tensor, " n"]]:
        """The counts, and the rows where they are not known."""
        buffer = self.query.new_empty(len(self.x), self.width)
        for start in range(0, len(self.measure), self.width):
            if self.crowded.all():
                break
            self._tile(start, min(start + self.width, len(self.measure)), buffer)
        return self.nearer, self.crowded

    def _tile(self, start: int, stop: int, buffer: Tensor) -> None:
        tile = self.product.product(self.query, start, stop, buffer)
        inside = (self.column >= start) & (self.column < stop)
        tile[self.listed[inside], self.column[inside] - start] = -torch.inf
        low, high = self.product.window(self.query, self.measure.squared(self.limits), start, stop)
        ascending = _ascending(tile)
        place = torch.searchsorted(ascending, high, right=True)
        self.nearer += (stop - start) - place
        below = ascending.gather(1, (place - 1).clamp_(min=0))
        unsure = (place > 0) & (below >= low) & (self.at >= 0)
        some = unsure.any(1).nonzero()[:, 0]
        # A listed reference counts once for each other that is too close to it.
        open_ = (place[some] - torch.searchsorted(ascending[some], low[some])).masked_fill_(~unsure[some], 0)
        self.crowded[some] |= open_.sum(1) > (stop - start) // _CROWDED
        row, slot = (unsure & ~self.crowded[:, None]).nonzero().unbind(1)
        self._look(tile, row, slot, low, high, start)

    def _look(self, tile: Tensor, row: Tensor, slot: Tensor, low: Tensor, high: Tensor, start: int) -> None:
        """Finds the references of a tile that are too close to a listed one, and measures them."""
        step = max(1, self.measure.tile // (4 * tile.shape[1]))
        for some in (slice(i, i + step) for i in range(0, len(row), step)):
            r, p = row[some], slot[some]
            values = tile[r]
            pair, column = ((values >= low[r, p, None]) & (values <= high[r, p, None])).nonzero().unbind(1)
            self._settle(r[pair], p[pair], column + start)

    def _settle(self, row: Tensor, slot: Tensor, column: Tensor) -> None:
        for part in tiles(torch.stack([row, slot, column], 1), width=self.x.rows.shape[1]):
            r, p, j = part.unbind(1)
            value, limit = self.measure.listed(self.x[r], j[:, None])[:, 0], self.limits[r, p]
            near = (value < limit) | ((value == limit) & (j < self.at[r, p]))
            self.nearer.index_put_((r, p), near.long(), accumulate=True)


def _ascending(tile: Tensor) -> Tensor:
    if tile.device.type == "cpu":  # numpy sorts by vector instructions where torch does not
        return torch.from_numpy(np.sort(tile.numpy(), axis=1))
    return tile.sort(dim=1).values


def _check_list(listed: np.ndarray, queries: int, references: int) -> None:
    if len(listed) != queries:
        raise InputError(f"listed must have a row for each of the {queries} queries, given {len(listed)}")
    if listed.size and (listed.min() < -1 or listed.max() >= references):
        raise InputError(f"listed must hold rows of the {references} references, or -1")
    before, after = listed[:, :-1], listed[:, 1:]
    if not ((after > before) | (after < 0)).all():
        row = int((~((after > before) | (after < 0))).any(1).argmax())
        raise InputError(f"listed must ascend in each row, row {row} does not; sort it and put -1 at the end")
