"""Finding the nearest items on a PostgreSQL server: every one of them exactly, or through an HNSW index.

The server measures in float32, in its own order of sums. So it is asked for some more than are wanted, and
all of these are measured again as every store measures them. In an exact search it is asked for more until
none that it did not name could be nearer than one it named.

HNSW: Malkov and Yashunin, 2018. It answers approximately.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from trine.errors import require
from trine.gallery.entries import Hit
from trine.gallery.index import scores_between
from trine.gallery.postgres.conditions import condition
from trine.gallery.postgres.database import Session
from trine.gallery.postgres.schema import kind
from trine.gallery.quantization import Dtype
from trine.gallery.store import Binding, Scope
from trine.shapes import Float32

AT_ONCE = 64
"""How many questions are on their way together."""

WIDEST = 400
"""How many hits an index is asked for at most; more are found exactly."""

EXPLORED = 200
"""How many candidates the index keeps in view at least, `hnsw.ef_search`; more for many hits, up to 1000."""

SAMPLE = 2000
"""In how many items it is looked which share of all is in a scope."""

SCANNED = 40_000
"""How many items the index goes through at most to find some that pass a filter, `hnsw.max_scan_tuples`."""


def index_kind(binding: Binding) -> str | None:
    """Returns in which type the index holds embeddings; `None` where they are too long for any."""
    if binding.dimension > 4000:
        return None
    return "halfvec" if binding.dtype == "float16" or binding.dimension > 2000 else "vector"


def index_expression(binding: Binding) -> str:
    """Returns what the index is over: rows among which the Euclidean distance has the order of the scores."""
    rows = "l2_normalize(embedding)" if binding.distance == "cosine" else "embedding"
    if binding.distance != "cosine" and index_kind(binding) == kind(binding.dtype):
        return "embedding"
    return f"(({rows})::{index_kind(binding)}({binding.dimension}))"


def numbers(packed: Sequence[bytes], *, dtype: Dtype, dimension: int) -> Float32[np.ndarray, "n d"]:
    """Reads embeddings from the bytes that the server sends."""
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
    """Returns the `k` nearest items of each query in the scope, nearest first, then by name.

    Args:
        session: A transaction that reads.
        binding: What the gallery is bound to.
        queries: One row each.
        k: How many, at least 1.
        scope: Which items may be found.
        price: How many items are measured in a row in the time that the index takes for one candidate; `None`
            to measure every item though there is an index.
        metadata: Whether hits bring their metadata.
    """
    question = _Question(session, binding, scope, metadata)
    kept = np.arange(len(queries))
    found: list[list[Hit]] = [[] for _ in queries]
    if price is not None and session.indexed and k <= WIDEST and question.for_index(k, price):
        kept = question.approximately(queries, k=k, found=found)
    question.exactly(queries, kept, k=k, found=found)
    return found


class _Question:
    """One search: its statement and its values, without the rows that are asked about."""

    def __init__(self, session: Session, binding: Binding, scope: Scope, metadata: bool) -> None:
        self._session = session
        self._binding = binding
        self._condition, self._values = condition(scope)
        self._metadata = "metadata" if metadata else "NULL::jsonb AS metadata"
        self._share = 1.0

    def for_index(self, k: int, price: int) -> bool:
        """Says whether the index is asked: not where measuring every item in the scope is faster."""
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
        """Candidates that the index keeps in view, of which only a share is in the scope."""
        return min(1000, round(max(EXPLORED, 4 * width) / self._share))

    def approximately(
        self, queries: Float32[np.ndarray, "q d"], *, k: int, found: list[list[Hit]]
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Asks the index, and returns which queries it could not answer."""
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
            # Fewer than were asked for: the rest may lie beyond what the index goes through.
            if len(candidates) < k:
                left.append(np.array([query]))
            else:
                found[query] = self._measured(queries[query], candidates)[:k]
        self._session.run("SET LOCAL enable_seqscan = on")
        return np.concatenate(left)

    def exactly(
        self,
        queries: Float32[np.ndarray, "q d"],
        wanted: np.ndarray[Any, np.dtype[np.int64]],
        *,
        k: int,
        found: list[list[Hit]],
    ) -> None:
        """Measures every item in the scope."""
        probes, width = self._probes(queries), k + 8
        slack = (self._binding.dimension + 4) * 2.0**-23
        apart = 2.0**-21 if self._binding.distance == "cosine" else 1e-18
        while len(wanted):
            again = []
            for query, candidates in self._ask(self._exact_order(), probes, wanted, width=width):
                distances = [row[3] for row in candidates]
                # Beyond float32's rounding, nothing that was not named is as near as the k-th.
                if len(candidates) < width or distances[-1] > distances[k - 1] * (1 + slack) + apart:
                    found[query] = self._measured(queries[query], candidates)[:k]
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
        if self._binding.distance != "cosine":
            return f"({rows} <-> %(probe)s) + 0"  # which no index is over
        # A zero row is at cosine distance 1, where unit rows are √2 apart.
        distance = f"l2_normalize({rows}) <-> %(probe)s"
        return f"CASE vector_norm({rows}) WHEN 0 THEN sqrt(2::float8) ELSE {distance} END"

    def _probes(self, queries: Float32[np.ndarray, "q d"]) -> Float32[np.ndarray, "q d"]:
        if self._binding.distance != "cosine":
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
            Hit(row[0], row[1], score, json.loads(row[4] or "{}"))
            for row, score in zip(rows, scores, strict=True)
        ]
        return sorted(hits, key=lambda hit: (hit.score, hit.item))
