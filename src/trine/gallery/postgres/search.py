"""Nearest-neighbour search on a PostgreSQL server, exactly or through an HNSW index.

The server computes distances in float32, with its own order of summation. So the query requests some more
items than needed, and rescores all of them the way every store does. An exact search requests more until no
other item could be nearer than those it returns.

HNSW (Malkov and Yashunin, 2018) is approximate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from trine.distances import PROPERTIES
from trine.errors import require
from trine.gallery.entries import MOST_DIGITS, Hit
from trine.gallery.index import scores_between
from trine.gallery.postgres.conditions import condition
from trine.gallery.postgres.database import Session
from trine.gallery.postgres.schema import kind
from trine.gallery.quantization import Dtype
from trine.gallery.store import Binding, Scope
from trine.plain_json import parse_json
from trine.shapes import Float32

AT_ONCE = 64
"""The number of queries sent together."""

WIDEST = 400
"""The largest number of hits requested from an index; more are found exactly."""

EXPLORED = 200
"""The smallest candidate list of the index, `hnsw.ef_search`; more for many hits, up to 1000."""

SAMPLE = 2000
"""The sample size for estimating the share of items in a scope."""

SCANNED = 40_000
"""The largest number of items that the index visits under a filter, `hnsw.max_scan_tuples`."""


def index_kind(binding: Binding) -> str | None:
    """Returns the type of embeddings in the index; `None` if they are too long for an index."""
    if binding.dimension > 4000:
        return None
    return "halfvec" if binding.dtype == "float16" or binding.dimension > 2000 else "vector"


def index_expression(binding: Binding) -> str:
    """Returns the indexed expression: rows whose Euclidean distances are in the order of the scores."""
    of_directions = PROPERTIES[binding.distance].of_directions
    rows = "l2_normalize(embedding)" if of_directions else "embedding"
    if not of_directions and index_kind(binding) == kind(binding.dtype):
        return "embedding"
    return f"(({rows})::{index_kind(binding)}({binding.dimension}))"


def numbers(packed: Sequence[bytes], *, dtype: Dtype, dimension: int) -> Float32[np.ndarray, "n d"]:
    """Decodes embeddings sent by the server."""
    rows = np.frombuffer(b"".join(packed), dtype=">f2" if dtype == "float16" else ">f4")
    return rows.reshape(len(packed), dimension).astype(np.float32)


def search(
    session: Session,
    binding: Binding,
    queries: Float32[np.ndarray, "q d"],
    *,
    k: int,
    scope: Scope,
    price: int | None,
    metadata: bool = False,
) -> list[list[Hit]]:
    """Returns the `k` nearest items of each query in the scope, nearest first, ties by name.

    Args:
        session: A read transaction.
        binding: The binding of the gallery.
        queries: One row each.
        k: The number of hits, at least 1.
        scope: Which items may be found.
        price: The number of items scanned in the time that the index takes per candidate; `None` to scan
            every item although there is an index.
        metadata: Whether hits include their metadata.
    """
    request = _Query(session, binding, scope, metadata)
    kept = np.arange(len(queries))
    results: list[list[Hit]] = [[] for _ in queries]
    if price is not None and session.indexed and k <= WIDEST and request.for_index(k, price):
        kept = request.approximately(queries, k=k, results=results)
    request.exactly(queries, kept, k=k, results=results)
    return results


class _Query:
    """One search: its statement and its parameters, without the query embeddings."""

    def __init__(self, session: Session, binding: Binding, scope: Scope, metadata: bool) -> None:
        self._session = session
        self._binding = binding
        self._of_directions = PROPERTIES[binding.distance].of_directions
        self._condition, self._values = condition(scope)
        self._metadata = "metadata" if metadata else "NULL::jsonb AS metadata"
        self._share = 1.0

    def for_index(self, k: int, price: int) -> bool:
        """Returns whether to use the index: not if scanning every item in the scope is faster."""
        if self._condition == "true":
            return True
        run = self._session.run
        items = run("SELECT coalesce(max(id), 0) FROM items").fetchall()[0][0]
        percent = min(100.0, 100.0 * SAMPLE / max(items, 1))
        ((sampled, passing),) = run(
            f"SELECT count(*), count(*) FILTER (WHERE {self._condition}) FROM items"
            f" TABLESAMPLE SYSTEM ({percent}) REPEATABLE (0)",
            self._values,
        ).fetchall()
        if not passing:
            return False
        self._share = passing / sampled
        return bool(price * max(k / self._share, self._explored(k) / 2) <= items)

    def _explored(self, width: int) -> int:
        """The candidate list of the index, of which only a share is in the scope."""
        return min(1000, round(max(EXPLORED, 4 * width) / self._share))

    def approximately(
        self, queries: Float32[np.ndarray, "q d"], *, k: int, results: list[list[Hit]]
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Searches the index, and returns the queries that it could not answer."""
        expression, of = index_expression(self._binding), index_kind(self._binding)
        width = k + max(8, k // 4) if self._share > 0.5 else 2 * k + 8
        settings = {
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.ef_search": str(self._explored(width)),
            "hnsw.max_scan_tuples": str(SCANNED),
            "enable_seqscan": "off",
        }
        for name, value in settings.items():
            self._session.run("SELECT set_config(%s, %s, true)", (name, value))
        probes = self._probes(queries)
        reach = 65504.0 if of == "halfvec" else math.inf
        able = (np.abs(probes).max(axis=1, initial=0) <= reach) & probes.any(axis=1)
        rows = self._ask(f"{expression} <-> %(probe)s::{of}", probes, np.flatnonzero(able), width=width)
        left = [np.flatnonzero(~able)]
        for query, candidates in rows:
            # Fewer than requested: the rest may be beyond what the index visits.
            if len(candidates) < k:
                left.append(np.array([query]))
            else:
                results[query] = self._measured(queries[query], candidates)[:k]
        self._session.run("SET LOCAL enable_seqscan = on")
        return np.concatenate(left)

    def exactly(
        self,
        queries: Float32[np.ndarray, "q d"],
        wanted: np.ndarray[Any, np.dtype[np.int64]],
        *,
        k: int,
        results: list[list[Hit]],
    ) -> None:
        """Compares every item in the scope."""
        probes, width = self._probes(queries), k + 8
        slack = (self._binding.dimension + 4) * 2.0**-23
        apart = 2.0**-21 if self._of_directions else 1e-18
        while len(wanted):
            again = []
            for query, candidates in self._ask(self._exact_order(), probes, wanted, width=width):
                distances = [row[3] for row in candidates]
                # No other item is as near as the k-th, even after float32 rounding.
                if len(candidates) < width or distances[-1] > distances[k - 1] * (1 + slack) + apart:
                    results[query] = self._measured(queries[query], candidates)[:k]
                else:
                    again.append(query)
            wanted = np.array(again, dtype=np.int64)
            width *= 4

    def _exact_order(self) -> str:
        rows = (
            f"embedding::vector({self._binding.dimension})"
            if self._binding.dtype == "float16"
            else "embedding"
        )
        if not self._of_directions:
            return f"({rows} <-> %(probe)s) + 0"  # + 0 prevents the use of an index
        # A zero row is at cosine distance 1, so at √2 from a unit row.
        distance = f"l2_normalize({rows}) <-> %(probe)s"
        return f"CASE vector_norm({rows}) WHEN 0 THEN sqrt(2::float8) ELSE {distance} END"

    def _probes(self, queries: Float32[np.ndarray, "q d"]) -> Float32[np.ndarray, "q d"]:
        if not self._of_directions:
            return queries
        wide = queries.astype(np.float64)
        norms = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
        return (wide / np.where(norms > 0, norms, 1)).astype(np.float32)

    def _ask(
        self,
        order: str,
        probes: Float32[np.ndarray, "q d"],
        wanted: np.ndarray[Any, np.dtype[np.int64]],
        *,
        width: int,
    ) -> list[tuple[int, list[tuple[Any, ...]]]]:
        vector = require("pgvector", extra="pgvector").Vector
        statement = (
            "SELECT item, name, embedding, distance, metadata FROM"
            f" (SELECT item, identity, embedding, {self._metadata}, {order} AS distance FROM items"
            f" WHERE {self._condition} ORDER BY distance LIMIT {width})"
            " AS near JOIN identities ON identities.id = identity ORDER BY distance"
        )
        answers = []
        for start in range(0, len(wanted), AT_ONCE):
            part = wanted[start : start + AT_ONCE].tolist()
            values = [{**self._values, "probe": vector(probes[query])} for query in part]
            answers += list(zip(part, self._session.each(statement, values), strict=True))
        return answers

    def _measured(self, query: Float32[np.ndarray, " d"], rows: Sequence[tuple[Any, ...]]) -> list[Hit]:
        if not rows:
            return []
        embeddings = numbers([row[2] for row in rows], dtype=self._binding.dtype, dimension=len(query))
        scores = scores_between(query[None], embeddings, distance=self._binding.distance)[0].tolist()
        hits = [
            Hit(row[0], row[1], score, parse_json(row[4] or "{}", digits=MOST_DIGITS))
            for row, score in zip(rows, scores, strict=True)
        ]
        return sorted(hits, key=lambda hit: (hit.score, hit.item))
