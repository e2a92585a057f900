"""What a fast search proposes: candidates, and a lower bound on the distance of everything else.

With u the unit roundoff, the error of ‖x‖² + ‖y‖² − 2⟨x, y⟩ as a matrix product computes it is below
γ(‖x‖² + ‖y‖²) with γ = 2(D + 16)u, whatever the order of summation. So
L = (1 − γ)(‖x‖² + ‖y‖²) − 2⟨x, y⟩ is a lower bound, and its part that varies with y is one inner product:
that of (x, −1) and (2y, (1 − γ)‖y‖²). For cosine the rows are unit rows, and a zero row, by the same
formula with ‖y‖² = 1, has squared distance 2, as it should.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trine.cosine import right_angle
from trine.errors import require
from trine.neighbours.rows import CACHED, TILE, tiles
from trine.shapes import Float, Int64

# Below the normal numbers of float32 a product may vanish altogether.
FLOOR = 1e-30


class Frame:
    """Centres and scales rows for the product: this keeps distances and reduces the rounding error."""

    def __init__(self, rows: Float[Tensor, "n d"], *, unit: bool) -> None:
        self.unit = unit
        # A distance of exactly 1 may stand for one that differs by rounding, from either side.
        self.floor = FLOOR + 4 * right_angle(rows.shape[1]) if unit else FLOOR
        self.centre = rows.new_zeros(rows.shape[1], dtype=torch.float64)
        self.scale = 1.0
        if not unit and rows.numel():
            self.centre = rows.sum(0, dtype=torch.float64) / len(rows)
            largest = max(
                float((part.double() - self.centre).abs().amax()) for part in tiles(rows, numbers=CACHED)
            )
            self.scale = 1 / largest if largest > 0 else 1.0

    def place(self, rows: Tensor, dtype: torch.dtype) -> Float[Tensor, "n d"]:
        """Centres and scales rows."""
        return rows.to(dtype) if self.unit else ((rows.double() - self.centre) * self.scale).to(dtype)

    def squares(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
        """The squared norm of placed rows."""
        if self.unit:
            return rows.new_ones(len(rows), 1)
        return rows.double().square().sum(1, keepdim=True).to(rows.dtype)


class CandidateSearch(Protocol):
    """A fast search."""

    def propose(self, x: Tensor, width: int) -> tuple[Float[Tensor, " n"], Int64[Tensor, "n w"]]:
        """Finds candidates for each query.

        Returns:
            A lower bound on the squared distance (in the frame's scale) of every reference that is not a
            candidate, and the candidates.
        """
        ...


class TiledProduct:
    """Proposes by tiles of a matrix product."""

    def __init__(
        self, rows: Float[Tensor, "n d"], frame: Frame, dtype: torch.dtype, *, tile: int = TILE
    ) -> None:
        self.frame = frame
        self.dtype = dtype
        self.tile = tile
        self.width = rows.shape[1]
        self.error = (rows.shape[1] + 16) * torch.finfo(dtype).eps
        self._references = rows.new_empty(len(rows), rows.shape[1] + 1, dtype=dtype)
        places = tiles(self._references, width=self.width, numbers=CACHED)
        for part, into in zip(tiles(rows, numbers=CACHED), places, strict=True):
            y = self.frame.place(part, dtype)
            torch.mul(y, 2, out=into[:, :-1])
            into[:, -1:] = (1 - self.error) * self.frame.squares(y)

    def propose(self, x: Tensor, width: int) -> tuple[Float[Tensor, " n"], Int64[Tensor, "n w"]]:
        """Keeps the best `width` of every tile; see `CandidateSearch`."""
        queries, squares = self.query(x)
        best = queries.new_empty((len(x), 0))
        at = torch.empty((len(x), 0), dtype=torch.int64, device=x.device)
        step = max(1, self.tile // len(x))
        for start in range(0, len(self._references), step):
            tile = queries @ self._references[start : start + step].T
            values, columns = tile.topk(min(width, tile.shape[1]), dim=1)
            best, at = torch.cat([best, values], 1), torch.cat([at, columns + start], 1)
            best, order = best.topk(min(width, best.shape[1]), dim=1)
            at = at.gather(1, order)
        return (squares[:, 0] - best[:, -1]).double() - self.frame.floor, at

    def product(self, queries: Tensor, start: int, stop: int, out: Tensor) -> Float[Tensor, "n w"]:
        """The inner products of queries from `query` with the references of a tile: larger is nearer."""
        return torch.mm(queries, self._references[start:stop].T, out=out[: len(queries), : stop - start])

    def window(
        self, queries: Tensor, limits: Float[Tensor, "n p"], start: int, stop: int
    ) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n p"]]:
        """What the product of a reference says about squared distances, in the frame's scale.

        The sum of D + 1 products is off by at most (D + 1)u(‖x‖² + 2‖y‖²), in any order; that both rows were
        rounded to their places, and norms to numbers of their kind, adds a few u.

        Args:
            queries: From `query`.
            limits: Squared distances, measured in float64.
            start: First reference of a tile.
            stop: Behind its last.

        Returns:
            Two thresholds: a product below the first means a reference beyond the limit, above the second a
            nearer one.
        """
        squares = self.frame.squares(queries[:, :-1].double())
        least, most = (float(end) for end in self._references[start:stop, -1].aminmax())
        unit = torch.finfo(self.dtype).eps / 2 + 2.0**-50  # distances and norms are rounded to float64, too
        slack = (self.width + 16) * unit * (squares + 2.01 * most) + FLOOR
        low = squares - limits - slack + self.error * least
        high = squares - limits + slack + self.error * 1.01 * most
        infinity = limits.new_tensor(torch.inf).to(self.dtype)
        return low.to(self.dtype).nextafter(-infinity), high.to(self.dtype).nextafter(infinity)

    def query(self, x: Tensor) -> tuple[Float[Tensor, "n e"], Float[Tensor, "n 1"]]:
        """The left side of the product, and the part of the bound that varies with the query alone."""
        x = self.frame.place(x, self.dtype)
        return torch.cat([x, x.new_full((len(x), 1), -1)], 1), (1 - self.error) * self.frame.squares(x)


@contextmanager
def one_thread(faiss: ModuleType) -> Iterator[None]:
    """Keeps FAISS to one thread: its pool and torch's, side by side in one process, slow each other down."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


class FaissProduct:
    """Proposes by FAISS's flat index of inner products."""

    def __init__(self, rows: Float[Tensor, "n d"], frame: Frame) -> None:
        self._faiss = require("faiss", extra="gallery")
        self._floor = frame.floor
        tiled = TiledProduct(rows, frame, torch.float32)
        self._query = tiled.query
        self._index = self._faiss.IndexFlatIP(rows.shape[1] + 1)
        self._index.add(tiled._references.numpy())

    def propose(self, x: Tensor, width: int) -> tuple[Float[Tensor, " n"], Int64[Tensor, "n w"]]:
        """Searches the index; see `CandidateSearch`."""
        queries, squares = self._query(x)
        with one_thread(self._faiss):
            best, at = self._index.search(queries.numpy(), width)
        # FAISS returns no neighbour (-1) where a product overflowed: such a row has no bound.
        last = np.where((at < 0).any(1), np.inf, best[:, -1].astype(np.float64))
        bounds = squares[:, 0].double() - torch.from_numpy(last) - self._floor
        return bounds, torch.from_numpy(at).clamp_(min=0)
