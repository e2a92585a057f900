"""The exact search: candidates, measured again in float64 and ranked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance
from trine.errors import InputError, check_choice, check_count, require, shown
from trine.interruption import check_interruption
from trine.labels import as_array
from trine.neighbours.candidates import CandidateSearch, FaissProduct
from trine.neighbours.rescoring import ExactDistances, Prepared, Queries, References
from trine.neighbours.rows import TILE, as_rows
from trine.shapes import Bool, Float, Int64

Backend = Literal["auto", "faiss", "torch"]
"""What proposes the neighbours: `"auto"` is FAISS where it is installed, torch otherwise."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest references of each query, nearest first.

    Attributes:
        indices: Rows of the references; -1 where a query has fewer references than columns.
        distances: Ascending in each row; infinite where the index is -1.
    """

    indices: Int64[np.ndarray, "n k"]
    distances: Float[np.ndarray, "n k"]

    def __len__(self) -> int:
        return len(self.indices)


def nearest_neighbours(
    queries: Queries,
    references: References | None = None,
    *,
    k: int,
    distance: Distance = "euclidean",
    exclude: Int64[np.ndarray, " n"] | None = None,
    backend: Backend = "auto",
) -> Neighbours:
    """Finds the `k` nearest references of every query, exactly.

    Args:
        queries: One row per item.
        references: The rows to search; by default the queries search each other, and no row finds itself.
        k: How many to find, at least 1; a smaller set of references gives fewer columns.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`; smaller is closer.
        exclude: For each query the one reference that it must not find (itself, as a rule), or -1.
        backend: `"auto"`, `"faiss"` or `"torch"`; the answer is the same.

    Returns:
        Indices and distances, nearest first and equal distances by index. The distances are those that
        `pairwise_distances` gives in float64, in the precision of the references (at least float32).

    Raises:
        InputError: A row is not finite, the widths differ, or `k` or `exclude` is out of range.
        MissingDependencyError: `backend="faiss"` without FAISS.

    Example:
        >>> points = np.array([[0.0], [1.0], [1.5], [9.0]])
        >>> found = nearest_neighbours(points, k=2)
        >>> found.indices.tolist()
        [[1, 2], [2, 0], [1, 0], [2, 1]]
        >>> found.distances[0].tolist()
        [1.0, 1.5]
    """
    if references is None:
        if exclude is not None:
            raise InputError("exclude needs references; without references no row finds itself")
        queries = as_rows(queries, name="queries")
        references, exclude = queries, np.arange(len(queries))
    search = ExactSearch(references, distance=distance, backend=backend)
    return search.nearest(queries, k=k, exclude=exclude)


class ExactSearch:
    """References that are prepared once and searched many times.

    Args:
        references: One row per item.
        distance: As for `nearest_neighbours`.
        backend: As for `nearest_neighbours`.
        tile: The most numbers to hold at once.

    Example:
        >>> search = ExactSearch(np.array([[0.0, 1.0], [1.0, 0.0]]), distance="cosine")
        >>> search.nearest(np.array([[2.0, 0.1]]), k=1).indices.tolist()
        [[1]]
    """

    def __init__(
        self,
        references: References,
        *,
        distance: Distance = "euclidean",
        backend: Backend = "auto",
        tile: int = TILE,
    ) -> None:
        self.distance = distance
        self._exact = ExactDistances(references, distance, tile=tile)
        self._backend = resolve_backend(backend, self._exact.rows.device)

    def __len__(self) -> int:
        return len(self._exact)

    def nearest(
        self, queries: Queries, *, k: int, exclude: Int64[np.ndarray, " n"] | None = None
    ) -> Neighbours:
        """Finds the `k` nearest references of every query; see `nearest_neighbours`."""
        k = check_count("k", k)
        x, left_out = self._check(queries, exclude)
        everyone_excludes = exclude is not None and len(x) > 0 and bool((left_out >= 0).all())
        k = min(k, len(self) - everyone_excludes)
        indices = np.full((len(x), k), -1, dtype=np.int64)
        distances = np.full((len(x), k), np.inf)
        width = min(k + 16 + k // 8, len(self))
        rows = min(max(self._exact.tile // (8 * max(width, 1)), 64), 2048)
        for start in range(0, len(x) if k else 0, rows):
            check_interruption()
            part = slice(start, start + rows)
            found = self._block(self._exact.query(x[part]), left_out[part], k, width)
            distances[part], indices[part] = found[0].cpu().numpy(), found[1].cpu().numpy()
        indices[np.isinf(distances)] = -1
        return Neighbours(indices, distances.astype(self._exact.narrow, copy=False))

    def distances(self, queries: Queries, indices: Int64[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
        """Measures each query against its own list of references, exactly as the search does.

        Args:
            queries: One row per item.
            indices: For each query the rows of the references to measure.

        Returns:
            The distances, identical to the last bit to those of `nearest`.

        Raises:
            InputError: As for `nearest_neighbours`, or an index is out of range.

        Example:
            >>> search = ExactSearch(np.array([[0.0], [1.0], [2.0]]))
            >>> search.distances(np.array([[0.5]]), np.array([[2, 0]])).tolist()
            [[1.5, 0.5]]
        """
        x, _ = self._check(queries, None)
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise InputError(f"indices must be from 0 to {len(self) - 1}, the rows of the references")
        measured = self._exact.listed(self._exact.query(x), torch.as_tensor(indices, device=x.device))
        return measured.cpu().numpy().astype(self._exact.narrow, copy=False)

    def _check(self, queries: Queries, exclude: np.ndarray | None) -> tuple[Tensor, Tensor]:
        x = self._exact.check(queries)
        if exclude is None:
            return x, torch.full((len(x),), -1, device=x.device)
        rows = as_array(exclude)
        if rows.shape != (len(x),) or rows.dtype.kind not in "iu":
            raise InputError(f"exclude must hold a whole number for each query, given {shown(exclude)}")
        if len(rows) and (rows.min() < -1 or rows.max() >= len(self)):
            raise InputError(f"exclude must hold rows of the {len(self)} references, or -1")
        return x, torch.as_tensor(rows.astype(np.int64), device=x.device)

    def _block(
        self, x: Prepared, left_out: Tensor, k: int, width: int
    ) -> tuple[Float[Tensor, "n k"], Int64[Tensor, "n k"]]:
        searches = self._candidate_searches(width)
        values, candidates, sure = self._rescored(next(searches), x, left_out, k, width)
        if bool(sure.all()):
            return values[:, :k], candidates[:, :k]
        distances, indices = values[:, :k].clone(), candidates[:, :k].clone()
        unsure = (~sure).nonzero()[:, 0]
        for search in searches:
            if not len(unsure):
                break
            values, candidates, sure = self._rescored(search, x[unsure], left_out[unsure], k, width)
            distances[unsure[sure]] = values[sure, :k]
            indices[unsure[sure]] = candidates[sure, :k]
            unsure = unsure[~sure]
        step = max(1, self._exact.tile // max(len(self), 1))
        for start in range(0, len(unsure), step):
            check_interruption()
            rows = unsure[start : start + step]
            values = self._exact.everything(x[rows])
            columns = torch.arange(len(self), device=x.device)
            values.masked_fill_(columns == left_out[rows, None], torch.inf)
            values, order = values.sort(dim=1, stable=True)
            distances[rows], indices[rows] = values[:, :k], order[:, :k]
        return distances, indices

    def _rescored(
        self, search: CandidateSearch, x: Prepared, left_out: Tensor, k: int, width: int
    ) -> tuple[Float[Tensor, "n w"], Int64[Tensor, "n w"], Bool[Tensor, " n"]]:
        """Candidates measured and ranked, and for which queries nothing else can be among the `k` nearest."""
        bounds, candidates = search.propose(x.rows, width)
        # By index first: the stable sort by distance then leaves equal distances in that order.
        candidates = candidates.sort(dim=1).values
        values = self._exact.listed(x, candidates)
        values.masked_fill_(candidates == left_out[:, None], torch.inf)
        values, order = values.sort(dim=1, stable=True)
        sure = (self._exact.squared(values[:, k - 1]) < bounds) | (width == len(self))
        return values, candidates.gather(1, order), sure

    def _candidate_searches(self, width: int) -> Iterator[CandidateSearch]:
        # If torch may round matrix products to TF32 or bfloat16, this uses double precision.
        if width < len(self) and torch.get_float32_matmul_precision() == "highest":
            yield self._faiss if self._backend == "faiss" else self._exact.product(torch.float32)
        yield self._exact.product(torch.float64)

    @cached_property
    def _faiss(self) -> FaissProduct:
        return FaissProduct(self._exact.rows, self._exact.frame)


def resolve_backend(backend: str, device: torch.device) -> str:
    """Returns `"faiss"` or `"torch"`; `"auto"` is FAISS for rows on the CPU where it is installed.

    Args:
        backend: `"auto"`, `"faiss"` or `"torch"`.
        device: Where the references are.

    Raises:
        InputError: The backend is unknown.
        MissingDependencyError: `"faiss"` without FAISS.
    """
    check_choice("backend", backend, get_args(Backend))
    if backend == "torch" or (backend == "auto" and device.type != "cpu"):
        return "torch"
    try:
        require("faiss", extra="gallery")
    except ImportError:
        if backend == "faiss":
            raise
        return "torch"
    return "faiss"
