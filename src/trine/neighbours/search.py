"""The exact search: proposals, measured again and ranked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance, check_distance, unit_rows
from trine.errors import InputError, nearest, require
from trine.neighbours.proposals import Faiss, Frame, Proposer, Tiles
from trine.neighbours.rows import TILE, as_rows, tiles
from trine.shapes import Bool, Float, Int64

Backend = Literal["auto", "faiss", "torch"]
"""What proposes the neighbours: `"auto"` is FAISS where it is installed, torch otherwise."""

Queries = Float[np.ndarray, "n d"] | Float[Tensor, "n d"]
References = Float[np.ndarray, "m d"] | Float[Tensor, "m d"]

# Rows gathered for a second look stay in the cache.
GATHER = 1 << 19


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
        references: The rows to search; left out, the queries search each other and no row finds itself.
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
            raise InputError("exclude goes with references; without them no row finds itself anyway")
        references, exclude = queries, np.arange(len(queries))
    search = ExactSearch(references, distance=distance, backend=backend)
    return search.nearest(queries, k=k, exclude=exclude)


class ExactSearch:
    """References made ready once, to be searched many times.

    Args:
        references: One row per item.
        distance: As for `nearest_neighbours`.
        backend: As for `nearest_neighbours`.

    Example:
        >>> search = ExactSearch(np.array([[0.0, 1.0], [1.0, 0.0]]), distance="cosine")
        >>> search.nearest(np.array([[2.0, 0.1]]), k=1).indices.tolist()
        [[1]]
    """

    def __init__(
        self, references: References, *, distance: Distance = "euclidean", backend: Backend = "auto"
    ) -> None:
        check_distance(distance)
        rows = as_rows(references, name="references")
        self.distance = distance
        self._narrow = np.float64 if rows.dtype == torch.float64 else np.float32
        self._zero = ~rows.any(1)
        self._rows = unit_rows(rows.double()) if distance == "cosine" else rows
        self._frame = Frame(self._rows, unit=distance == "cosine")
        self._backend = _resolve(backend, rows.device)
        self._fast: Proposer | None = None
        self._wide: Tiles | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def nearest(
        self, queries: Queries, *, k: int, exclude: Int64[np.ndarray, " n"] | None = None
    ) -> Neighbours:
        """Finds the `k` nearest references of every query; see `nearest_neighbours`."""
        if k < 1:
            raise InputError(f"k must be at least 1, given {k}")
        x, left_out = self._check(queries, exclude)
        everyone_excludes = len(x) > 0 and bool((left_out >= 0).all())
        k = min(k, len(self) - everyone_excludes)
        indices = np.full((len(x), k), -1, dtype=np.int64)
        distances = np.full((len(x), k), np.inf)
        width = min(k + 16 + k // 8, len(self))
        rows = min(max(TILE // (8 * max(width, 1)), 64), 2048)
        for start in range(0, len(x) if k else 0, rows):
            part = slice(start, start + rows)
            found = self._block(self._query(x[part]), left_out[part], k, width)
            distances[part], indices[part] = found[0].cpu().numpy(), found[1].cpu().numpy()
        indices[np.isinf(distances)] = -1
        return Neighbours(indices, distances.astype(self._narrow, copy=False))

    def distances(self, queries: Queries, indices: Int64[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
        """Measures each query against references of its own, by the arithmetic of the search.

        Args:
            queries: One row per item.
            indices: For each query the rows of the references to measure.

        Returns:
            The distances, to the last bit those that `nearest` gives.

        Raises:
            InputError: As for `nearest_neighbours`, or an index is no row of the references.

        Example:
            >>> search = ExactSearch(np.array([[0.0], [1.0], [2.0]]))
            >>> search.distances(np.array([[0.5]]), np.array([[2, 0]])).tolist()
            [[1.5, 0.5]]
        """
        x, _ = self._check(queries, None)
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise InputError(f"indices must be rows of the {len(self)} references")
        measured = self._gathered(self._query(x), torch.as_tensor(indices, device=x.device))
        return measured.cpu().numpy().astype(self._narrow, copy=False)

    def position(
        self,
        queries: Queries,
        targets: Int64[np.ndarray, " n"],
        *,
        exclude: Int64[np.ndarray, " n"] | None = None,
    ) -> Int64[np.ndarray, " n"]:
        """Says at which position, from 1, a given reference stands among all neighbours of each query.

        Args:
            queries: One row per item.
            targets: For each query, the row of the reference to look for.
            exclude: As for `nearest_neighbours`; never the target.

        Returns:
            For each query 1 + the number of references that are nearer, or as near with a lower index.

        Raises:
            InputError: As for `nearest_neighbours`, or a target is no row of the references.

        Example:
            >>> search = ExactSearch(np.array([[0.0], [1.0], [2.0]]))
            >>> search.position(np.array([[0.2]]), np.array([2])).tolist()
            [3]
        """
        x, left_out = self._check(queries, exclude)
        if len(targets) and (targets.min() < 0 or targets.max() >= len(self)):
            raise InputError(f"targets must be rows of the {len(self)} references")
        goals = torch.as_tensor(targets, device=x.device)
        positions = np.empty(len(x), dtype=np.int64)
        rows = max(1, TILE // max(len(self), 1))
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            found = self._positions(self._query(x[part]), left_out[part], goals[part])
            positions[part] = found.cpu().numpy()
        return positions

    def _check(self, queries: Queries, exclude: np.ndarray | None) -> tuple[Tensor, Tensor]:
        x = as_rows(queries, name="queries").to(self._rows.device)
        if x.shape[1] != self._rows.shape[1]:
            raise InputError(
                f"queries and references must have equal width, "
                f"given {x.shape[1]} and {self._rows.shape[1]} columns"
            )
        left_out = np.full(len(x), -1) if exclude is None else exclude
        if len(left_out) and (left_out.min() < -1 or left_out.max() >= len(self)):
            raise InputError(f"exclude must hold rows of the {len(self)} references, or -1")
        return x, torch.as_tensor(left_out, device=x.device)

    def _block(
        self, x: Tensor, left_out: Tensor, k: int, width: int
    ) -> tuple[Float[Tensor, "n k"], Int64[Tensor, "n k"]]:
        proposers = self._proposers(width)
        values, candidates, sure = self._proposed(next(proposers), x, left_out, k, width)
        if bool(sure.all()):
            return values[:, :k], candidates[:, :k]
        distances, indices = values[:, :k].clone(), candidates[:, :k].clone()
        unsure = (~sure).nonzero()[:, 0]
        for proposer in proposers:
            if not len(unsure):
                break
            values, candidates, sure = self._proposed(proposer, x[unsure], left_out[unsure], k, width)
            distances[unsure[sure]] = values[sure, :k]
            indices[unsure[sure]] = candidates[sure, :k]
            unsure = unsure[~sure]
        step = max(1, TILE // max(len(self), 1))
        for start in range(0, len(unsure), step):
            rows = unsure[start : start + step]
            values = self._everything(x[rows])
            columns = torch.arange(len(self), device=x.device)
            values.masked_fill_(columns == left_out[rows, None], torch.inf)
            values, order = values.sort(dim=1, stable=True)
            distances[rows], indices[rows] = values[:, :k], order[:, :k]
        return distances, indices

    def _proposed(
        self, proposer: Proposer, x: Tensor, left_out: Tensor, k: int, width: int
    ) -> tuple[Float[Tensor, "n w"], Int64[Tensor, "n w"], Bool[Tensor, " n"]]:
        """Candidates measured and ranked, and for which queries nothing else can be among the `k` nearest."""
        bounds, candidates = proposer.propose(x, width)
        # By index first: the stable sort by distance then leaves equal distances in that order.
        candidates = candidates.sort(dim=1).values
        values = self._gathered(x, candidates)
        values.masked_fill_(candidates == left_out[:, None], torch.inf)
        values, order = values.sort(dim=1, stable=True)
        sure = (self._squared(values[:, k - 1]) < bounds) | (width == len(self))
        return values, candidates.gather(1, order), sure

    def _positions(self, x: Tensor, left_out: Tensor, goals: Tensor) -> Int64[Tensor, " n"]:
        goal = self._gathered(x, goals[:, None])
        low, high = self._double_product().bounds(x)
        limit = self._squared(goal)
        nearer = high < limit
        unsure = (~nearer & (low <= limit)).nonzero()
        if 8 * len(unsure) > nearer.numel():  # a gather costs several times a tile
            columns = torch.arange(len(self), device=x.device)
            values = self._everything(x)
            nearer = (values < goal) | ((values == goal) & (columns < goals[:, None]))
        else:
            for pairs in tiles(unsure, width=self._rows.shape[1]):
                row, column = pairs.unbind(1)
                value, at = self._gathered(x[row], column[:, None])[:, 0], goal[row, 0]
                nearer[row, column] = (value < at) | ((value == at) & (column < goals[row]))
        nearer &= torch.arange(len(self), device=x.device) != left_out[:, None]
        return nearer.sum(1) + 1

    def _proposers(self, width: int) -> Iterator[Proposer]:
        # A user who lets torch round matrix products to TF32 or bfloat16 gets double precision here.
        if width < len(self) and torch.get_float32_matmul_precision() == "highest":
            if self._fast is None and self._backend == "faiss":
                self._fast = Faiss(self._rows, self._frame)
            elif self._fast is None:
                self._fast = Tiles(self._rows, self._frame, torch.float32)
            yield self._fast
        yield self._double_product()

    def _double_product(self) -> Tiles:
        if self._wide is None:
            self._wide = Tiles(self._rows, self._frame, torch.float64)
        return self._wide

    def _query(self, x: Tensor) -> Float[Tensor, "n d"]:
        return unit_rows(x.double()) if self.distance == "cosine" else x.double()

    def _gathered(self, x: Tensor, candidates: Int64[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """The distance of each query to each of its own candidates."""
        count, width = candidates.shape[1], self._rows.shape[1]
        step = max(1, min(len(x), GATHER // max(count * width, 1)))
        # Fresh memory for every gather would cost ten times the arithmetic.
        taken = self._rows.new_empty(step * count, width)
        y = taken if taken.dtype == torch.float64 else torch.empty_like(taken, dtype=torch.float64)
        values = x.new_empty(candidates.shape)
        for start in range(0, len(x), step):
            part = x[start : start + step]
            size = len(part) * count
            torch.index_select(self._rows, 0, candidates[start : start + step].flatten(), out=taken[:size])
            if y is not taken:
                y[:size].copy_(taken[:size])
            near = self._measured(part[:, None], y[:size].view(len(part), count, width))
            values[start : start + step] = near[:, 0]
        return self._settle(values, x, self._zero[candidates])

    def _everything(self, x: Tensor) -> Float[Tensor, "n m"]:
        """The distance of each query to all references."""
        return self._settle(self._measured(x, self._rows.double()), x, self._zero)

    def _measured(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")

    def _settle(self, d: Tensor, x: Tensor, zero: Tensor) -> Float[Tensor, "n c"]:
        """From the Euclidean distance to the one that was asked for, in place."""
        if self.distance == "euclidean":
            return d
        if self.distance == "squared_euclidean":
            return d.square_()
        return d.square_().div_(2).clamp_(max=2).masked_fill_(~x.any(1)[:, None] | zero, 1)

    def _squared(self, values: Tensor) -> Tensor:
        """The squared Euclidean distance, in the frame's scale, that a distance stands for."""
        if self.distance == "cosine":
            return values * 2
        return (values.square() if self.distance == "euclidean" else values) * self._frame.scale**2


def _resolve(backend: str, device: torch.device) -> str:
    if backend not in get_args(Backend):
        raise InputError(f"unknown backend {backend!r}: {nearest(backend, get_args(Backend))}")
    if backend == "auto":
        try:
            require("faiss", extra="gallery")
        except ImportError:
            return "torch"
        return "faiss" if device.type == "cpu" else "torch"
    if backend == "faiss":
        require("faiss", extra="gallery")
    return backend
