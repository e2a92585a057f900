"""Exact search in memory over the records of a store, kept up to date by what changed.

The records lie in two segments, each searched by `trine.neighbours.ExactSearch`: a large one that stands
still, and a small one that takes what is enrolled, so that one new record costs no new preparation of all
the others. A record that was replaced or removed is struck out where it lies, until a merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trine.distances import Distance, pairwise_distances
from trine.gallery.entries import Hit
from trine.gallery.store import Scope
from trine.neighbours import ExactSearch
from trine.shapes import Bool, Float32, Int64

RECENT = 4096
"""How many new records are searched apart from the others before they are merged."""


@dataclass(frozen=True, eq=False)
class Changes:
    """What a store wrote since a reader last looked.

    Attributes:
        removed: Keys that left.
        keys: Keys of records that are new or replaced, in any order.
        items: Their names.
        identities: The identity of each.
        embeddings: Their rows.
    """

    removed: Int64[np.ndarray, " r"]
    keys: Int64[np.ndarray, " n"]
    items: Sequence[str]
    identities: Sequence[str]
    embeddings: Float32[np.ndarray, "n d"]


class Segment:
    """Records that are searched together; fixed but for the ones struck out."""

    def __init__(
        self,
        keys: Int64[np.ndarray, " n"],
        items: Sequence[str],
        codes: Int64[np.ndarray, " n"],
        rows: Float32[np.ndarray, "n d"],
    ) -> None:
        """Takes records with ascending keys; `codes` stand for the identities."""
        self.keys = keys
        self.items = items
        self.codes = codes
        self.rows = rows
        self.alive = np.ones(len(keys), dtype=bool)
        self._search: ExactSearch | None = None

    def strike(self, keys: Int64[np.ndarray, " r"]) -> None:
        """Strikes out the records of these keys, where they are here."""
        if len(self.keys) and len(keys):
            at = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
            self.alive[at[self.keys[at] == keys]] = False

    def nearest(
        self,
        queries: Float32[np.ndarray, "q d"],
        *,
        k: int,
        barred: Sequence[int],
        distance: Distance,
    ) -> list[list[tuple[float, int]]]:
        """Finds the `k` nearest records of each query, with every further one as near as the last."""
        allowed: Bool[np.ndarray, " n"] = self.alive
        if barred:
            allowed = allowed & ~np.isin(self.codes, barred)
        found: list[list[tuple[float, int]]] = [[] for _ in queries]
        if not allowed.any():
            return found
        if self._search is None:
            self._search = ExactSearch(self.rows, distance=distance)
        unsettled = np.arange(len(queries))
        width = k
        while len(unsettled):
            # One more than asked for shows whether a tie goes on; a multiple, whether struck ones hid some.
            width = min(width + 1, len(self.keys))
            hits = self._search.nearest(queries[unsettled], k=width)
            again = []
            for query, scores, rows in zip(unsettled, hits.distances, hits.indices, strict=True):
                kept = allowed[rows]
                full = int(kept.sum()) >= k and scores[-1] > scores[kept][k - 1]
                if full or width == len(self.keys):
                    pairs = zip(scores[kept].tolist(), rows[kept].tolist(), strict=True)
                    found[query] = list(pairs)
                else:
                    again.append(query)
            unsettled = np.array(again, dtype=np.int64)
            width *= 4
        return found


class Index:
    """All records of a gallery, searched exactly.

    Args:
        dimension: The length of an embedding.
        distance: How embeddings are compared.
    """

    def __init__(self, *, dimension: int, distance: Distance) -> None:
        """Starts empty."""
        self.dimension = dimension
        self.distance = distance
        self._names: list[str] = []
        self._codes: dict[str, int] = {}
        self._settled = self._segment([])
        self._recent = self._segment([])

    def __len__(self) -> int:
        return int(self._settled.alive.sum() + self._recent.alive.sum())

    def apply(self, changes: Changes) -> None:
        """Takes in what changed: first what left, then what is new or replaced."""
        for segment in (self._settled, self._recent):
            segment.strike(changes.removed)
            segment.strike(changes.keys)
        if len(changes.keys):
            arrived = Segment(changes.keys, changes.items, self._code(changes.identities), changes.embeddings)
            self._recent = self._segment([self._recent, arrived])
        struck = len(self._settled.alive) - int(self._settled.alive.sum())
        if len(self._recent.keys) > RECENT or struck > max(RECENT, len(self._settled.keys) // 8):
            self._settled = self._segment([self._settled, self._recent])
            self._recent = self._segment([])

    def search(self, queries: Float32[np.ndarray, "q d"], *, k: int, scope: Scope) -> list[list[Hit]]:
        """Returns the `k` nearest records of each query in the scope, nearest first, then by name."""
        found: list[list[Hit]] = [[] for _ in queries]
        barred = [self._codes[name] for name in scope.without if name in self._codes]
        for segment in (self._settled, self._recent):
            if scope.only is None:
                rows = segment.nearest(queries, k=k, barred=barred, distance=self.distance)
            else:
                wanted = [self._codes[n] for n in scope.only - scope.without if n in self._codes]
                rows = self._measure(segment, queries, wanted)
            for hits, pairs in zip(found, rows, strict=True):
                hits += [self._hit(segment, score, row) for score, row in pairs]
        return [sorted(hits, key=lambda hit: (hit.score, hit.item))[:k] for hits in found]

    def _hit(self, segment: Segment, score: float, row: int) -> Hit:
        return Hit(segment.items[row], self._names[segment.codes[row]], score)

    def _measure(
        self, segment: Segment, queries: Float32[np.ndarray, "q d"], codes: Sequence[int]
    ) -> list[list[tuple[float, int]]]:
        rows = np.flatnonzero(segment.alive & np.isin(segment.codes, codes))
        scores = scores_between(queries, segment.rows[rows], distance=self.distance)
        return [list(zip(line.tolist(), rows.tolist(), strict=True)) for line in scores]

    def _code(self, identities: Iterable[str]) -> Int64[np.ndarray, " n"]:
        codes = []
        for name in identities:
            if name not in self._codes:
                self._codes[name] = len(self._names)
                self._names.append(name)
            codes.append(self._codes[name])
        return np.array(codes, dtype=np.int64)

    def _segment(self, parts: Sequence[Segment]) -> Segment:
        """One segment of the records of several that are not struck out."""
        kept = [np.flatnonzero(part.alive) for part in parts]
        keys = [part.keys[rows] for part, rows in zip(parts, kept, strict=True)]
        codes = [part.codes[rows] for part, rows in zip(parts, kept, strict=True)]
        rows = [part.rows[at] for part, at in zip(parts, kept, strict=True)]
        items = [part.items[i] for part, at in zip(parts, kept, strict=True) for i in at.tolist()]
        nothing = np.empty(0, dtype=np.int64)
        joined = np.concatenate([nothing, *keys])
        order = np.argsort(joined)
        return Segment(
            joined[order],
            [items[i] for i in order.tolist()],
            np.concatenate([nothing, *codes])[order],
            np.concatenate([np.empty((0, self.dimension), dtype=np.float32), *rows])[order],
        )


def scores_between(
    x: Float32[np.ndarray, "n d"], y: Float32[np.ndarray, "m d"], *, distance: Distance
) -> Float32[np.ndarray, "n m"]:
    """Returns the score of every row of `x` with every row of `y`, as a search would give it.

    Computed in float64 and rounded to float32, so that a verification and an identification of the same
    two embeddings agree to the last bit.

    Example:
        >>> scores_between(np.eye(2, dtype="f4"), np.eye(2, dtype="f4"), distance="cosine").tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    scores = pairwise_distances(torch.from_numpy(x).double(), torch.from_numpy(y).double(), distance=distance)
    return scores.numpy().astype(np.float32)
