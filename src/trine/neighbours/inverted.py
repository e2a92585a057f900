"""Inverted lists: the approximate search for more rows than an exact one can handle in reasonable time.

Each row is in the list of its nearest centre, of some thousand, and a query searches the lists of the centres
nearest to it (Jégou, Douze, Schmid 2011, §IV). Candidates are measured and ranked in float64 as in the exact
search; a query that gets too few is searched exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance
from trine.errors import check_count, require
from trine.neighbours.candidates import CandidateSearch, Frame, one_thread
from trine.neighbours.rescoring import References
from trine.neighbours.rows import as_rows, tiles
from trine.neighbours.search import ExactSearch, resolve_backend
from trine.shapes import Float, Int64

MANY = 1_000_000
"""From this many rows on, a search goes through inverted lists, where FAISS is installed."""

SAMPLE = 64
"""How many rows a list are looked at to learn its centre."""

PROBED = 32
"""One list in this many is searched."""


def make_search(references: References, *, distance: Distance = "euclidean", many: int = MANY) -> ExactSearch:
    """Prepares a search: exact below a million rows, by inverted lists from there on.

    Args:
        references: One row per item.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        many: The number of rows from which the search is approximate; without FAISS it stays exact.

    Returns:
        The search; its distances are exact in either case, and so are the neighbours below `many` rows.

    Raises:
        InputError: The rows are not a finite matrix, or the distance is unknown.

    Example:
        >>> search = make_search(np.array([[0.0], [1.0], [1.2]]))
        >>> search.nearest(np.array([[0.9]]), k=2).indices.tolist()
        [[1, 2]]
    """
    device = references.device if isinstance(references, Tensor) else torch.device("cpu")
    check_count("many", many, at_least=0)
    if len(as_rows(references, name="references")) >= many and resolve_backend("auto", device) == "faiss":
        return InvertedSearch(references, distance=distance)
    return ExactSearch(references, distance=distance)


class InvertedSearch(ExactSearch):
    """An approximate search by inverted lists, for rows that lie in clusters.

    Of the ten nearest of a million rows in clusters, as an encoder maps identities, it finds 0.998. Rows
    without clusters are not its case: of a million normal or uniform ones it finds 0.50 to 0.76.

    Args:
        references: One row per item.
        distance: As for `nearest_neighbours`.
    """

    def __init__(self, references: References, *, distance: Distance = "euclidean") -> None:
        super().__init__(references, distance=distance)

    @cached_property
    def _lists(self) -> InvertedLists:
        return InvertedLists(self._exact.rows, self._exact.frame)

    def _candidate_searches(self, width: int) -> Iterator[CandidateSearch]:
        if width < len(self):
            yield self._lists
        yield from super()._candidate_searches(width)


class InvertedLists:
    """Proposes by FAISS's inverted lists, whose centres are learned from a sample of the rows."""

    def __init__(self, rows: Float[Tensor, "n d"], frame: Frame) -> None:
        self._faiss = require("faiss", extra="gallery")
        self._frame = frame
        self._index = self._empty(len(rows), rows.shape[1], PROBED)
        with one_thread(self._faiss):
            sampled = np.random.default_rng(0).permutation(len(rows))[: SAMPLE * self.count]
            self._index.train(self._placed(rows[torch.from_numpy(np.sort(sampled))]))
            for part in tiles(rows):
                self._index.add(self._placed(part))

    @property
    def count(self) -> int:
        """How many lists there are."""
        return int(self._index.nlist)

    def propose(self, x: Tensor, width: int) -> tuple[Float[Tensor, " n"], Int64[Tensor, "n w"]]:
        """Searches the lists; see `CandidateSearch`."""
        with one_thread(self._faiss):
            _, at = self._index.search(self._placed(x), width)
        # Rows outside the searched lists count as farther, unless the lists held too few.
        bounds = np.where((at < 0).any(1), -np.inf, np.inf)
        return torch.from_numpy(bounds), torch.from_numpy(at).clamp_(min=0)

    def _empty(self, rows: int, width: int, probed: int) -> Any:
        """An index without rows, for so many."""
        lists = max(1, round(4 * rows**0.5))
        index = self._faiss.IndexIVFFlat(self._faiss.IndexFlatL2(width), width, lists)
        index.nprobe = max(8, lists // probed)
        index.cp.min_points_per_centroid = 1  # only tests use small sets: silence the advice
        return index

    def _placed(self, rows: Tensor) -> np.ndarray:
        return self._frame.place(rows, torch.float32).numpy()
