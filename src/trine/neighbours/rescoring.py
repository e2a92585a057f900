"""The distances that rank: float64, from differences, the same to the last bit wherever they are computed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance, check_distance, unit_rows
from trine.errors import InputError
from trine.neighbours.candidates import Frame, TiledProduct
from trine.neighbours.rows import TILE, as_rows
from trine.shapes import Float, Int64

Queries = Float[np.ndarray, "n d"] | Float[Tensor, "n d"]
References = Float[np.ndarray, "m d"] | Float[Tensor, "m d"]


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
        self._zero = ~rows.any(1)
        self.rows = unit_rows(rows.double()) if distance == "cosine" else rows
        self.frame = Frame(self.rows, unit=distance == "cosine")
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

    def query(self, x: Tensor) -> Float[Tensor, "n d"]:
        """Prepares checked queries for measuring."""
        return unit_rows(x.double()) if self.distance == "cosine" else x.double()

    def listed(self, x: Tensor, indices: Int64[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """The distance of each query to each reference in its list."""
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
            values[start : start + step] = near[:, 0]
        return self._settle(values, x, self._zero[indices])

    def shared(self, x: Tensor, indices: Int64[Tensor, " c"]) -> Float[Tensor, "n c"]:
        """The distance of each query to each reference of one list."""
        return self._settle(self._measured(x, self.rows[indices].double()), x, self._zero[indices])

    def everything(self, x: Tensor) -> Float[Tensor, "n m"]:
        """The distance of each query to all references."""
        return self._settle(self._measured(x, self.rows.double()), x, self._zero)

    def squared(self, values: Tensor) -> Tensor:
        """The squared Euclidean distance, in the frame's scale, that corresponds to a distance."""
        if self.distance == "cosine":
            return values * 2
        return (values.square() if self.distance == "euclidean" else values) * self.frame.scale**2

    def _measured(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")

    def _settle(self, d: Tensor, x: Tensor, zero: Tensor) -> Float[Tensor, "n c"]:
        """Converts the Euclidean distance to the requested one, in place."""
        if self.distance == "euclidean":
            return d
        if self.distance == "squared_euclidean":
            return d.square_()
        return d.square_().div_(2).clamp_(max=2).masked_fill_(~x.any(1)[:, None] | zero, 1)
