"""The distances that rank: float64, from differences, the same to the last bit wherever they are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trine.cosine import directions, settle_cosine
from trine.distances import PROPERTIES, Distance, check_distance
from trine.errors import InputError
from trine.neighbours.candidates import Frame, TiledProduct
from trine.neighbours.rows import TILE, as_rows
from trine.shapes import Bool, Float, Int64

Queries = Float[np.ndarray, "n d"] | Float[Tensor, "n d"]
References = Float[np.ndarray, "m d"] | Float[Tensor, "m d"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Queries as they are measured.

    Attributes:
        rows: One row per query, in float64; unit rows for cosine.
        zero: For cosine which of them are zero.
        whole: For cosine the rows that are whole, as in `trine.cosine.Directions`; None where none is.
    """

    rows: Float[Tensor, "n d"]
    zero: Bool[Tensor, " n"] | None = None
    whole: Float[Tensor, "n d"] | None = None

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.rows.device

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, some: Tensor | slice) -> Prepared:
        """Some of them."""
        zero, whole = (None if side is None else side[some] for side in (self.zero, self.whole))
        return Prepared(self.rows[some], zero, whole)


class ExactDistances:
    """References, and the distance of a query to any of them.

    Args:
        references: One row per item.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        tile: The most numbers in a tile; an eighth of them are gathered at once and stay in the cache.

    Raises:
        InputError: The rows are not a finite matrix, or the distance is unknown.
    """

    def __init__(self, references: References, distance: Distance, *, tile: int = TILE) -> None:
        check_distance(distance)
        rows = as_rows(references, name="references")
        self.distance = distance
        self.tile = tile
        self.narrow = np.float64 if rows.dtype == torch.float64 else np.float32
        self._cosine = directions(rows) if PROPERTIES[distance].of_directions else None
        self.rows = rows if self._cosine is None else self._cosine.unit
        self.frame = Frame(self.rows, unit=self._cosine is not None)
        self._products: dict[torch.dtype, TiledProduct] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def product(self, dtype: torch.dtype) -> TiledProduct:
        """The tiled matrix product in this precision, prepared on first use."""
        if dtype not in self._products:
            self._products[dtype] = TiledProduct(self.rows, self.frame, dtype, tile=self.tile)
        return self._products[dtype]

    def check(self, queries: Queries) -> Float[Tensor, "n d"]:
        """Checks that queries are rows as wide as the references."""
        x = as_rows(queries, name="queries").to(self.rows.device)
        given, expected = x.shape[1], self.rows.shape[1]
        if given != expected:
            raise InputError(
                f"queries must be as wide as the references, given {given} and {expected} columns"
            )
        return x

    def query(self, x: Tensor) -> Prepared:
        """Prepares checked queries for measuring."""
        if self._cosine is None:
            return Prepared(x.double())
        found = directions(x)
        return Prepared(found.unit, found.zero, found.whole)

    def listed(self, queries: Prepared, indices: Int64[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """The distance of each query to each reference in its list."""
        x = queries.rows
        count, width = indices.shape[1], self.rows.shape[1]
        step = max(1, min(len(x), self.tile // 8 // max(count * width, 1)))
        # Fresh memory for every gather would cost ten times the arithmetic.
        taken = self.rows.new_empty(step * count, width)
        y = taken if taken.dtype == torch.float64 else torch.empty_like(taken, dtype=torch.float64)
        values = x.new_empty(indices.shape)
        for start in range(0, len(x), step):
            part = x[start : start + step]
            size = len(part) * count
            torch.index_select(self.rows, 0, indices[start : start + step].flatten(), out=taken[:size])
            if y is not taken:
                y[:size].copy_(taken[:size])
            near = self._measured(part[:, None], y[:size].view(len(part), count, width))
            some = slice(start, start + step)
            values[some] = self._settle(near[:, 0], queries[some], indices[some])
        return values

    def shared(self, queries: Prepared, indices: Int64[Tensor, " c"]) -> Float[Tensor, "n c"]:
        """The distance of each query to each reference of one list."""
        return self._settle(self._measured(queries.rows, self.rows[indices].double()), queries, indices)

    def everything(self, queries: Prepared) -> Float[Tensor, "n m"]:
        """The distance of each query to all references."""
        return self._settle(self._measured(queries.rows, self.rows.double()), queries, slice(None))

    def squared(self, values: Tensor) -> Tensor:
        """The squared Euclidean distance, in the frame's scale, that corresponds to a distance."""
        properties = PROPERTIES[self.distance]
        squares = values if properties.squared else values.square()
        return squares * (self.frame.scale**2 / properties.factor)

    def _measured(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")

    def _settle(self, d: Tensor, queries: Prepared, indices: Tensor | slice) -> Float[Tensor, "n c"]:
        """Converts the Euclidean distance, to references listed for all queries or for each, in place."""
        properties = PROPERTIES[self.distance]
        if properties.squared:
            d = d.square_()
        if self._cosine is None:
            return d
        assert queries.zero is not None
        _, zero, whole, slack = self._cosine
        d = d.mul_(properties.factor).clamp_(max=4 * properties.factor)
        d.masked_fill_(queries.zero[:, None] | zero[indices], 1)
        if queries.whole is None or whole is None:
            return settle_cosine(d, slack, None, None)
        x, y = queries.whole, whole[indices]
        if y.ndim == 3:  # a list for each query
            x = x.repeat_interleave(y.shape[1], dim=0)
            return settle_cosine(d.flatten(), slack, x, y.flatten(0, 1)).view(d.shape)
        return settle_cosine(d, slack, x, y)
