"""An in-memory search index over the records of a store, updated incrementally.

The records are in segments, each searched by `trine.neighbours`: large ones that rarely change, and a small
one for new records, so that one new record does not make the index prepare all others again. Segments of
similar size are merged, so that there are few of them. A replaced or removed record is marked as deleted
until a merge drops it. Answers are exact, except for unfiltered queries to a segment of a million records or
more after many queries (`IndexSettings.patience`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trine.distances import Distance, pairwise_distances
from trine.gallery.columns import Column
from trine.gallery.entries import Hit
from trine.gallery.filters import Filter, Typed, typed
from trine.gallery.store import Scope
from trine.neighbours import ExactSearch, InvertedSearch, make_search
from trine.shapes import Bool, Float32, Int64


@dataclass(frozen=True)
class IndexSettings:
    """When segments are merged, and how a segment is searched.

    Attributes:
        recent: The largest number of new records in the small segment.
        growth: A segment is at least this many times as large as the next one; otherwise they are merged.
        few: Up to this many allowed records, or a sixteenth of a segment, are compared one by one.
        patience: The number of queries answered exactly before inverted lists are trained for a segment of
            a million records or more. Training takes about as long as a thousand exact answers, and most
            processes have fewer queries.
        make_search: Makes a search over rows, through inverted lists if there are enough rows.
    """

    recent: int = 4096
    growth: int = 8
    few: int = 4096
    patience: int = 1000
    make_search: Callable[..., ExactSearch] = make_search


Metadata = Callable[[Int64[np.ndarray, " n"]], Iterable[tuple[int, Mapping[str, Any]]]]
"""Yields the key and the metadata (JSON) of the records with these keys."""


@dataclass(frozen=True, eq=False)
class Changes:
    """The changes of a store since the last read.

    Attributes:
        removed: Keys of removed records.
        keys: Keys of new or replaced records, in any order.
        items: Their names.
        identities: Their identities.
        embeddings: Their rows.
    """

    removed: Int64[np.ndarray, " r"]
    keys: Int64[np.ndarray, " n"]
    items: Sequence[str]
    identities: Sequence[str]
    embeddings: Float32[np.ndarray, "n d"]


Match = tuple[float, str, str, int]
"""The score, item, identity and key of a record that a search found; they sort by score, then by item."""


class Segment:
    """Records that are searched together; immutable except for deletions."""

    def __init__(
        self,
        keys: Int64[np.ndarray, " n"],
        items: Sequence[str],
        codes: Int64[np.ndarray, " n"],
        rows: Float32[np.ndarray, "n d"],
        settings: IndexSettings,
    ) -> None:
        """Takes records with ascending keys; `codes` are the numbers of their identities."""
        self._settings = settings
        self.keys = keys
        self.items = items
        self.codes = codes
        self.rows = rows
        self.alive = np.ones(len(keys), dtype=bool)
        self.deleted = 0
        self._exact: ExactSearch | None = None
        self._lists: ExactSearch | None = None
        self._asked = 0
        self._columns: dict[str, Column] = {}

    def delete(self, keys: Int64[np.ndarray, " r"]) -> None:
        """Marks the records with these keys as deleted, if they are in this segment."""
        if len(self.keys) and len(keys):
            at = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
            self.alive[at[self.keys[at] == keys]] = False
            self.deleted = len(self.keys) - int(np.count_nonzero(self.alive))

    def matching(self, where: Filter, metadata: Metadata) -> Bool[np.ndarray, " n"]:
        """Returns which records match a filter; the values of a key are read once and cached."""
        matching = np.ones(len(self.keys), dtype=bool)
        missing = [c.key for c in where.conditions if c.key not in self._columns]
        if missing:
            values: dict[str, list[Typed | None]] = {key: [None] * len(self.keys) for key in missing}
            where_is = {key: row for row, key in enumerate(self.keys.tolist())}
            for number, known in metadata(self.keys):
                row = where_is.get(number)
                if row is None:
                    continue
                for key in missing:
                    if key in known:
                        values[key][row] = typed(known[key])
            self._columns |= {key: Column(column) for key, column in values.items()}
        for condition in where.conditions:
            matching &= self._columns[condition.key].matches(condition)
        return matching

    def nearest(
        self,
        queries: Float32[np.ndarray, "q d"],
        *,
        k: int,
        allowed: Bool[np.ndarray, " n"] | None,
        distance: Distance,
    ) -> list[list[tuple[float, int]]]:
        """Finds the `k` nearest allowed records of each query, and all that tie with the last.

        Args:
            queries: One row each.
            k: The number of records, at least 1.
            allowed: Which records may be found; `None` for all that are not deleted.
            distance: How rows are compared.
        """
        whole = allowed is None
        if allowed is not None:
            allowed = allowed & self.alive
        elif self.deleted:
            allowed = self.alive
        count = len(self.keys) if allowed is None else int(np.count_nonzero(allowed))
        if not count:
            return [[] for _ in queries]
        if allowed is not None and count <= max(self._settings.few, len(self.keys) // 16):
            return self._measured(queries, np.flatnonzero(allowed), k=k, distance=distance)
        search = self._search_of(distance, asked=len(queries) if whole else 0)
        return self._searched(search, queries, k=min(k, count), count=count, allowed=allowed)

    def _measured(
        self,
        queries: Float32[np.ndarray, "q d"],
        rows: Int64[np.ndarray, " m"],
        *,
        k: int,
        distance: Distance,
    ) -> list[list[tuple[float, int]]]:
        nearest = []
        taken = self.rows[rows]
        for query in queries:
            scores = scores_between(query[None], taken, distance=distance)[0]
            at = np.arange(len(rows))
            if k < len(rows):
                at = np.flatnonzero(scores <= np.partition(scores, k - 1)[k - 1])
            nearest.append(list(zip(scores[at].tolist(), rows[at].tolist(), strict=True)))
        return nearest

    def _searched(
        self,
        search: ExactSearch,
        queries: Float32[np.ndarray, "q d"],
        *,
        k: int,
        count: int,
        allowed: Bool[np.ndarray, " n"] | None,
    ) -> list[list[tuple[float, int]]]:
        results: list[list[tuple[float, int]]] = [[] for _ in queries]
        unsettled = np.arange(len(queries))
        # Enough if the allowed records are spread evenly.
        width = k if allowed is None else math.ceil(1.2 * k * len(self.keys) / count)
        while len(unsettled):
            # One more shows whether a tie continues; each retry widens past records that are not allowed.
            width = min(width + 1, len(self.keys))
            hits = search.nearest(queries[unsettled], k=width)
            again = []
            for query, scores, rows in zip(unsettled, hits.distances, hits.indices, strict=True):
                if allowed is not None:
                    kept = allowed[rows]
                    last, scores, rows = scores[-1], scores[kept], rows[kept]
                else:
                    last = scores[-1]
                if width == len(self.keys) or (len(scores) >= k and last > scores[k - 1]):
                    results[query] = list(zip(scores.tolist(), rows.tolist(), strict=True))
                else:
                    again.append(query)
            unsettled = np.array(again, dtype=np.int64)
            width *= 4
        return results

    def _search_of(self, distance: Distance, *, asked: int) -> ExactSearch:
        """Returns the exact search, or after many unfiltered queries the one through inverted lists."""
        if self._exact is None:
            self._exact = ExactSearch(self.rows, distance=distance)
        self._asked += asked
        if not asked or self._asked <= self._settings.patience:
            return self._exact
        if self._lists is None:
            made = self._settings.make_search(self.rows, distance=distance)
            self._lists = made if isinstance(made, InvertedSearch) else self._exact
        return self._lists


class Index:
    """All records of a gallery, searched exactly except in very large segments (inverted lists).

    Args:
        dimension: The length of an embedding.
        distance: How embeddings are compared.
        settings: When segments are merged, and how they are searched.
    """

    def __init__(self, *, dimension: int, distance: Distance, settings: IndexSettings | None = None) -> None:
        """Starts empty."""
        self.settings = settings or IndexSettings()
        self.dimension = dimension
        self.distance = distance
        self._names: list[str] = []
        self._codes: dict[str, int] = {}
        self._settled: list[Segment] = []
        self._recent = self._segment([])

    def __len__(self) -> int:
        return sum(len(part.keys) - part.deleted for part in (*self._settled, self._recent))

    def apply(self, changes: Changes) -> None:
        """Applies changes: first deletions, then new and replaced records."""
        for segment in (*self._settled, self._recent):
            segment.delete(changes.removed)
            segment.delete(changes.keys)
        if len(changes.keys):
            arrived = Segment(
                changes.keys, changes.items, self._code(changes.identities), changes.embeddings, self.settings
            )
            self._recent = self._segment([self._recent, arrived])
        if len(self._recent.keys) > self.settings.recent:
            self._settled.append(self._recent)
            self._recent = self._segment([])
        self._settled = [
            self._segment([part]) if part.deleted > max(self.settings.recent, len(part.keys) // 8) else part
            for part in self._settled
        ]
        while len(self._settled) > 1 and len(self._settled[-2].keys) < self.settings.growth * len(
            self._settled[-1].keys
        ):
            self._settled[-2:] = [self._segment(self._settled[-2:])]

    def search(
        self,
        queries: Float32[np.ndarray, "q d"],
        *,
        k: int,
        offset: int = 0,
        scope: Scope,
        read: Metadata,
        metadata: bool = False,
    ) -> list[list[Hit]]:
        """Returns the nearest records of each query in the scope, nearest first, ties by name.

        Args:
            queries: One row each.
            k: The number of hits, at least 1.
            offset: The number of nearest records to skip.
            scope: Which records may be found.
            read: Reads the metadata of records by key; it may yield other records too.
            metadata: Whether hits include their metadata.
        """
        results: list[list[Match]] = [[] for _ in queries]
        wanted = offset + k + len(scope.exclude)
        for segment in (*self._settled, self._recent):
            if not len(segment.keys):
                continue
            allowed = self._allowed(segment, scope, read)
            rows = segment.nearest(queries, k=wanted, allowed=allowed, distance=self.distance)
            for matches, pairs in zip(results, rows, strict=True):
                matches += [self._match(segment, score, row) for score, row in pairs]
        if scope.exclude:
            results = [[match for match in matches if match[1] not in scope.exclude] for matches in results]
        results = [sorted(matches)[offset : offset + k] for matches in results]
        if not metadata:
            return [
                [Hit(item, identity, score) for score, item, identity, _ in matches] for matches in results
            ]
        keys = {key for matches in results for *_, key in matches}
        about = dict(read(np.array(sorted(keys), dtype=np.int64)))
        return [
            [Hit(item, identity, score, about.get(key, {})) for score, item, identity, key in matches]
            for matches in results
        ]

    def _match(self, segment: Segment, score: float, row: int) -> Match:
        return score, segment.items[row], self._names[segment.codes[row]], int(segment.keys[row])

    def _allowed(self, segment: Segment, scope: Scope, read: Metadata) -> Bool[np.ndarray, " n"] | None:
        allowed = None
        if scope.only is not None or scope.without:
            of_code = np.full(len(self._names), scope.only is None)
            of_code[self._known(scope.only or ())] = True
            of_code[self._known(scope.without)] = False
            allowed = of_code[segment.codes]
        if scope.where:
            matching = segment.matching(scope.where, read)
            allowed = matching if allowed is None else allowed & matching
        return allowed

    def _known(self, identities: Iterable[str]) -> list[int]:
        return [self._codes[name] for name in identities if name in self._codes]

    def _code(self, identities: Iterable[str]) -> Int64[np.ndarray, " n"]:
        codes = []
        for name in identities:
            if name not in self._codes:
                self._codes[name] = len(self._names)
                self._names.append(name)
            codes.append(self._codes[name])
        return np.array(codes, dtype=np.int64)

    def _segment(self, parts: Sequence[Segment]) -> Segment:
        """Merges the records of several segments that are not deleted."""
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
            self.settings,
        )


def scores_between(
    x: Float32[np.ndarray, "n d"], y: Float32[np.ndarray, "m d"], *, distance: Distance
) -> Float32[np.ndarray, "n m"]:
    """Returns the score of every row of `x` with every row of `y`, as a search would give it.

    Computed in float64 and rounded to float32, so that verification and identification of the same two
    embeddings agree to the last bit.

    Example:
        >>> scores_between(np.eye(2, dtype="f4"), np.eye(2, dtype="f4"), distance="cosine").tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    scores = pairwise_distances(torch.from_numpy(x).double(), torch.from_numpy(y).double(), distance=distance)
    return scores.numpy().astype(np.float32)
