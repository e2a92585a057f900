"""Inverted lists on disk: the search among rows that do not fit in memory.

The rows are a memory-mapped array. Their lists are built shard by shard, each within the memory that is
allowed; the operating system reads their files as they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from trine.distances import PROPERTIES, Distance
from trine.errors import InputError, check_count, require
from trine.neighbours.candidates import CandidateSearch, Frame, one_thread
from trine.neighbours.inverted import PROBED, SAMPLE, InvertedLists
from trine.neighbours.rescoring import Queries
from trine.neighbours.rows import tiles
from trine.neighbours.search import ExactSearch, Neighbours, resolve_backend
from trine.shapes import Float, Float32, Int64

GIB = 1 << 30

LEAST_MEMORY = 1 << 26
"""The least memory that a search is built in, in bytes."""


class DiskSearch(ExactSearch):
    """An approximate search by inverted lists on disk, for rows that lie in clusters; see `InvertedSearch`.

    Neighbours are measured as in the exact search, from the rows themselves.

    Args:
        references: A writable memory-mapped array of float32; for `cosine` its rows must have length 1.
        folder: An existing folder for the lists, which take as much as the rows; the caller removes it.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        memory: The memory for building the lists, in bytes; searching takes less.
        probed: One list in so many is searched; 1 searches all, which is exact.

    Raises:
        InputError: The rows are not finite; for `cosine` one has another length than 1.
        MissingDependencyError: FAISS is not installed.
    """

    def __init__(
        self,
        references: Float32[np.ndarray, "n d"],
        *,
        folder: Path,
        distance: Distance = "euclidean",
        memory: Annotated[int, "bytes"] = GIB,
        probed: int = PROBED,
    ) -> None:
        check_count("memory", memory, at_least=LEAST_MEMORY)
        check_count("probed", probed)
        resolve_backend("faiss", torch.device("cpu"))
        of_directions = PROPERTIES[distance].of_directions
        # Unit rows are as far apart by cosine as half their squared distance.
        super().__init__(references, distance="squared_euclidean" if of_directions else distance)
        self._factor = PROPERTIES[distance].factor if of_directions else 1.0
        if of_directions:
            _check_unit(self._exact.rows)
        self._folder, self._memory, self._probed = folder, memory, probed

    def nearest(
        self, queries: Queries, *, k: int, exclude: Int64[np.ndarray, " n"] | None = None
    ) -> Neighbours:
        """Finds the nearest references of every query; see `ExactSearch.nearest`."""
        found = super().nearest(queries, k=k, exclude=exclude)
        return Neighbours(found.indices, found.distances * found.distances.dtype.type(self._factor))

    def distances(self, queries: Queries, indices: Int64[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
        """Measures each query against its own list of references; see `ExactSearch.distances`."""
        measured = super().distances(queries, indices)
        measured *= measured.dtype.type(self._factor)
        return measured

    @cached_property
    def _lists(self) -> DiskLists:
        return DiskLists(self._exact.rows, self._exact.frame, self._folder, self._memory, self._probed)

    def _candidate_searches(self, width: int) -> Iterator[CandidateSearch]:
        if width < len(self):
            yield self._lists
        yield _AllLists(self._lists)  # for queries whose lists hold too few


class DiskLists(InvertedLists):
    """Proposes by FAISS's inverted lists in a file."""

    def __init__(
        self, rows: Float[Tensor, "n d"], frame: Frame, folder: Path, memory: int, probed: int
    ) -> None:
        self._faiss = require("faiss", extra="gallery")
        self._frame = frame
        # Rows are placed in float64 first: a shard takes four times its bytes in float32.
        at_once = max(1, memory // (16 * max(rows.shape[1], 1)))
        self._index = self._empty(len(rows), rows.shape[1], probed)
        with one_thread(self._faiss):
            count = min(len(rows), at_once, SAMPLE * self.count)
            sampled = np.random.default_rng(0).choice(len(rows), count, replace=False, shuffle=False)
            self._index.train(self._placed(rows[torch.from_numpy(np.sort(sampled))]))
            shards = [
                self._shard(rows[start : start + at_once], start, folder)
                for start in range(0, len(rows), at_once)
            ]
            self._index.ntotal = len(rows)
            self._index.replace_invlists(self._joined(shards))

    def _joined(self, shards: list[Path]) -> Any:
        """The lists of all shards, read from their files as they are asked for."""
        self._shards = [self._faiss.read_index(str(path), self._faiss.IO_FLAG_MMAP) for path in shards]
        if len(shards) == 1:
            return self._shards[0].invlists
        pointers = self._faiss.InvertedListsPtrVector()
        for shard in self._shards:
            pointers.push_back(shard.invlists)
        self._stack = self._faiss.HStackInvertedLists(pointers.size(), pointers.data())
        return self._stack

    def _shard(self, rows: Float[Tensor, "n d"], first: int, folder: Path) -> Path:
        """Writes the lists of some rows to a file."""
        shard = self._faiss.clone_index(self._index)
        for part in tiles(rows):
            shard.add_with_ids(self._placed(part), np.arange(first, first + len(part)))
            first += len(part)
        path = folder / f"{first}.faiss"
        self._faiss.write_index(shard, str(path))
        return path

    def propose_of_all(self, x: Tensor, width: int) -> tuple[Float[Tensor, " n"], Int64[Tensor, "n w"]]:
        """Searches all lists, so that nothing is left out; see `CandidateSearch`."""
        # Not by the parameters of a search: pytorch-metric-learning has FAISS replaced by what lacks them.
        usual, self._index.nprobe = self._index.nprobe, self.count
        try:
            return self.propose(x, width)
        finally:
            self._index.nprobe = usual


class _AllLists:
    """Proposes from all lists."""

    def __init__(self, lists: DiskLists) -> None:
        self.propose = lists.propose_of_all


def _check_unit(rows: Float[Tensor, "n d"]) -> None:
    """Raises an `InputError` for a row whose length is not 1."""
    start = 0
    for part in tiles(rows):
        off = (part.double().square().sum(1) - 1).abs() > 1e-5
        if bool(off.any()):
            row = start + int(off.to(torch.uint8).argmax())
            raise InputError(f"rows must have length 1 to be compared by cosine, row {row} has not")
        start += len(part)
