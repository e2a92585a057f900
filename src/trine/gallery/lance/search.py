"""Nearest-neighbour search: exact in memory for a gallery that is not large, else through LanceDB's index.

The index in memory follows the table by the stamps of its rows, so it also sees what other machines write.
LanceDB's index is approximate; its candidates are scored the way every store does.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from trine.distances import PROPERTIES
from trine.gallery.entries import Hit, metadata_of
from trine.gallery.errors import unreadable
from trine.gallery.filters import Among, Filter, Kind
from trine.gallery.index import Changes, Index, IndexSettings, scores_between
from trine.gallery.lance.database import Snapshot
from trine.gallery.lance.index import kind
from trine.gallery.lance.rows import AT_ONCE, ITEMS, among, numbers, quoted
from trine.gallery.lance.settings import LanceSettings
from trine.gallery.store import Binding, Scope
from trine.shapes import Float32, Int64

WIDEST = 4096
"""The largest number of candidates to ask of LanceDB's index; more are found exactly."""


class MemoryIndex:
    """The items of a gallery, indexed in memory.

    Args:
        address: The gallery, for messages.
        binding: Its binding.
        settings: How the index is merged and searched.
    """

    def __init__(self, address: str, binding: Binding, settings: IndexSettings) -> None:
        """Starts without reading the table."""
        self._address = address
        self._binding = binding
        self._settings = settings
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        bound = self._binding
        self._index = Index(dimension=bound.dimension, distance=bound.distance, settings=self._settings)
        self._known = np.empty(0, dtype=np.int64)
        self._seen = -1

    def search(
        self,
        snapshot: Snapshot,
        queries: Float32[np.ndarray, "q d"],
        *,
        k: int,
        offset: int,
        scope: Scope,
        metadata: bool,
    ) -> list[list[Hit]]:
        """Follows the gallery up to a moment, and searches it."""

        def read(keys: Int64[np.ndarray, " n"]) -> Iterator[tuple[int, dict[str, Any]]]:
            return self._metadata(snapshot, keys)

        with self._lock:
            try:
                self._follow(snapshot)
            except BaseException:
                self._start()
                raise
            return self._index.search(queries, k=k, offset=offset, scope=scope, read=read, metadata=metadata)

    def _follow(self, snapshot: Snapshot) -> None:
        state = snapshot.state
        if state.stamp == self._seen:
            return
        if state.stamp < self._seen:  # another thread is ahead
            self._start()
        columns = ["number", "item", "identity", "embedding"]
        rows = snapshot.rows(f"{ITEMS} AND changed > {self._seen}", columns)
        keys = rows["number"].to_numpy().astype(np.int64)
        removed = np.empty(0, dtype=np.int64)
        if state.removed > self._seen >= 0:
            there = snapshot.rows(ITEMS, ["number"])["number"].to_numpy()
            removed = np.setdiff1d(self._known, there)
        self._known = np.setdiff1d(np.union1d(self._known, keys), removed)
        try:
            embeddings = numbers(rows["embedding"], self._binding.dimension)
        except ValueError as error:
            raise unreadable(self._address, error) from error
        # LanceDB may hold an item twice, if somebody else wrote to its table.
        unique = np.unique(keys, return_index=True)[1]
        items, identities = rows["item"].to_pylist(), rows["identity"].to_pylist()
        self._index.apply(
            Changes(
                removed,
                keys[unique],
                [items[i] for i in unique.tolist()],
                [identities[i] for i in unique.tolist()],
                embeddings[unique],
            )
        )
        self._seen = state.stamp

    def _metadata(
        self, snapshot: Snapshot, keys: Int64[np.ndarray, " n"]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        wanted = set(keys.tolist())
        where = ITEMS
        if len(keys) <= AT_ONCE:
            where = f"{ITEMS} AND number IN ({', '.join(map(str, wanted))})" if wanted else "false"
        for batch in snapshot.batches(where, ["number", "metadata"]):
            columns = (batch.column(name).to_pylist() for name in ("number", "metadata"))
            for key, text in zip(*columns, strict=True):
                if key in wanted:
                    yield key, metadata_of(text, self._address)


def approximately(
    snapshot: Snapshot,
    binding: Binding,
    query: Float32[np.ndarray, " d"],
    *,
    k: int,
    scope: Scope,
    settings: LanceSettings,
    address: str,
) -> list[Hit]:
    """Returns about the `k` nearest items of a query in the scope, by LanceDB's index.

    Candidates are scored exactly. If the index finds too few in the scope, all items of it are compared.
    """
    where, width = condition(scope), k + len(scope.exclude)
    of_directions = PROPERTIES[binding.distance].of_directions
    # A few identities are compared one by one; a row of zeros has no direction that the index knows.
    through = scope.only is None and (query.any() or not of_directions)
    lists = max(1, snapshot.state.indexed // settings.lists)
    while width <= WIDEST:
        search = (
            snapshot.table.search(query, vector_column_name="embedding")
            .distance_type(kind(binding))
            .where(where, prefilter=True)
            .select(["item", "identity", "embedding", "metadata", "_distance"])
            .limit(width)
        )
        if through:
            search = search.nprobes(max(30, math.ceil(settings.probed * lists)))
            search = search.refine_factor(max(2, min(settings.refine, 1000 // width)))
        else:
            search = search.bypass_vector_index()
        rows = search.to_arrow()
        hits = _hits(rows, binding, query, scope, address)
        if len(hits) >= k or (not through and rows.num_rows < width and not of_directions):
            return hits[:k]
        if rows.num_rows < width:  # all that the condition lets through in the lists that were visited
            break
        width *= 8
    return _compared(snapshot, binding, query, k=k, scope=scope, address=address)


def _compared(
    snapshot: Snapshot,
    binding: Binding,
    query: Float32[np.ndarray, " d"],
    *,
    k: int,
    scope: Scope,
    address: str,
) -> list[Hit]:
    """Compares every item in the scope."""
    best: list[Hit] = []
    for batch in snapshot.batches(condition(scope), ["item", "identity", "embedding", "metadata"]):
        best += _hits(batch, binding, query, scope, address)
        best = sorted(best, key=lambda hit: (hit.score, hit.item))[:k]
    return best


def _hits(
    rows: Any, binding: Binding, query: Float32[np.ndarray, " d"], scope: Scope, address: str
) -> list[Hit]:
    if not rows.num_rows:
        return []
    embeddings = numbers(rows.column("embedding"), binding.dimension)
    scores = scores_between(query[None], embeddings, distance=binding.distance)[0].tolist()
    columns = (rows.column(name).to_pylist() for name in ("item", "identity", "metadata"))
    hits = [
        Hit(item, identity, score, metadata_of(text, address))
        for score, item, identity, text in zip(scores, *columns, strict=True)
        if item not in scope.exclude
    ]
    if scope.where:
        hits = [hit for hit in hits if scope.where.matches(hit.metadata)]
    return sorted(hits, key=lambda hit: (hit.score, hit.item))


def condition(scope: Scope) -> str:
    """Returns a condition that all items in the scope meet, and perhaps others: metadata is text in it."""
    parts = [ITEMS]
    if scope.only is not None:
        parts.append(among("identity", sorted(scope.only)))
    if scope.without:
        parts.append(f"NOT ({among('identity', sorted(scope.without))})")
    return " AND ".join([*parts, *_about(scope.where)])


def _written(kind: Kind, value: Any) -> Iterator[str]:
    """The texts with which a value that equals this one begins in metadata."""
    if kind != "number":
        yield json.dumps(value, ensure_ascii=False)
        return
    if value == 0:
        yield from ("0", "-0")
        return
    if isinstance(value, int) or value.is_integer():
        yield str(int(value))
    with contextlib.suppress(OverflowError):  # too large for a float
        yield repr(float(value))


def _about(where: Filter) -> Iterator[str]:
    """The texts that must be in the metadata of an item that passes a filter."""
    for one in where.conditions:
        key = f"{json.dumps(one.key, ensure_ascii=False)}: "
        texts = [key]
        if isinstance(one, Among):
            if not one.values:
                yield "false"
                continue
            texts = [key + text for kind, value in one.values for text in _written(kind, value)]
        yield "(" + " OR ".join(f"contains(metadata, {quoted(text)})" for text in texts) + ")"
