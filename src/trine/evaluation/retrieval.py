"""Retrieval: every item asks for the others of its identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance, pairwise_distances
from trine.errors import InputError
from trine.evaluation.labels import Labels, codes
from trine.neighbours import Backend, ExactSearch, as_rows
from trine.neighbours.rows import TILE
from trine.ranking import first_hit, map_at_r, r_precision, reciprocal_rank
from trine.shapes import Float, Int64

__all__ = ["Retrieval", "retrieval"]


@dataclass(frozen=True, eq=False)
class Retrieval:
    """What `retrieval` measured: one entry for each query that has a positive, and their means.

    Attributes:
        queries: The rows that asked.
        labels: The identity of each query, numbered from 0.
        first_ranks: The rank, from 1, of the nearest positive of each query among all references.
        r_precisions: R-precision of each query.
        maps_at_r: MAP@R of each query.
        excluded: How many queries had no positive; they count in no figure.
        references: How many items were ranked.
        distance: What ranked them.
        at: The k of the recall@k that `to_json` lists.
    """

    queries: Int64[np.ndarray, " q"]
    labels: Int64[np.ndarray, " q"]
    first_ranks: Int64[np.ndarray, " q"]
    r_precisions: Float[np.ndarray, " q"]
    maps_at_r: Float[np.ndarray, " q"]
    excluded: int
    references: int
    distance: Distance
    at: tuple[int, ...]

    protocol = "retrieval: each item against all others; without a positive excluded"

    def recall_at(self, k: int) -> float:
        """The share of queries with a positive among the nearest `k` (recall@k), for any `k`."""
        return float((self.first_ranks <= k).mean())

    @property
    def precision_at_1(self) -> float:
        """The share of queries whose nearest neighbour is of their identity."""
        return self.recall_at(1)

    @property
    def r_precision(self) -> float:
        """The mean share of positives among the nearest R, R the number of positives of each query."""
        return float(self.r_precisions.mean())

    @property
    def map_at_r(self) -> float:
        """MAP@R (Musgrave, Belongie, Lim 2020)."""
        return float(self.maps_at_r.mean())

    @property
    def mrr(self) -> float:
        """The mean of one over the rank of the nearest positive, over the whole ranking."""
        return float(reciprocal_rank(self.first_ranks).mean())

    def to_json(self) -> dict[str, object]:
        """The figures, what stands behind them and the protocol, as values that JSON knows."""
        return {
            "protocol": self.protocol,
            "distance": self.distance,
            "queries": len(self.queries),
            "queries_without_positive": self.excluded,
            "references": self.references,
            "identities": len(np.unique(self.labels)),
            "precision_at_1": self.precision_at_1,
            "recall_at": {str(k): self.recall_at(k) for k in self.at},
            "r_precision": self.r_precision,
            "map_at_r": self.map_at_r,
            "mrr": self.mrr,
        }


def retrieval(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels,
    *,
    distance: Distance = "euclidean",
    at: tuple[int, ...] = (1, 2, 4, 8, 10, 100),
    backend: Backend = "auto",
) -> Retrieval:
    """Ranks all other items for every item, and says how well its identity comes first.

    Nothing is normalised (give unit rows, or the cosine distance, for that); an item never finds itself,
    and finds its exact duplicates; equal distances rank by index.

    Args:
        embeddings: One row per item.
        labels: The identity of each item: integers of up to 64 bits, or strings.
        distance: `"squared_euclidean"` (ranks as `"euclidean"`), `"euclidean"` or `"cosine"`.
        at: The k of the recall@k to list in the report's JSON.
        backend: As for `nearest_neighbours`.

    Returns:
        The figures of all queries that have a positive; the others are excluded and counted.

    Raises:
        InputError: No two items share a label, a row is not finite, or the labels do not fit.

    Example:
        >>> report = retrieval(np.array([[0.0], [1.0], [1.2], [9.0]]), ["a", "b", "a", "c"])
        >>> report.precision_at_1, report.recall_at(2), report.excluded
        (0.0, 1.0, 2)
    """
    if any(k < 1 for k in at):
        raise InputError(f"at must hold ranks of at least 1, given {at}")
    rows = as_rows(embeddings, name="embeddings")
    identity = codes(labels, items=len(rows))
    positives = np.bincount(identity, minlength=1)[identity] - 1
    queries = np.flatnonzero(positives)
    if not len(queries):
        raise InputError(
            f"retrieval needs two items of one identity, given {len(rows)} items of "
            f"{len(np.unique(identity))} identities; give labels that repeat"
        )
    positives = positives[queries]
    search = ExactSearch(rows, distance=distance, backend=backend)
    ranks = np.empty(len(queries), dtype=np.int64)
    r_precisions, maps = np.empty(len(queries)), np.empty(len(queries))
    depth = max(int(positives.max()), 10)
    step = max(1, TILE // depth)
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        asked = queries[part]
        found = search.nearest(rows[torch.from_numpy(asked)], k=depth, exclude=asked)
        hits = (identity[found.indices] == identity[asked, None]) & (found.indices >= 0)
        ranks[part] = first_hit(hits)
        r_precisions[part] = r_precision(hits, positives[part])
        maps[part] = map_at_r(hits, positives[part])
    missing = ranks == 0
    if missing.any():
        asked = queries[missing]
        target = _nearest_positive(rows, identity, asked, distance)
        ranks[missing] = search.position(rows[torch.from_numpy(asked)], target, exclude=asked)
    return Retrieval(
        queries,
        identity[queries],
        ranks,
        r_precisions,
        maps,
        len(rows) - len(queries),
        len(rows),
        distance,
        at,
    )


def _nearest_positive(
    rows: Float[Tensor, "n d"],
    identity: Int64[np.ndarray, " n"],
    queries: Int64[np.ndarray, " q"],
    distance: Distance,
) -> Int64[np.ndarray, " q"]:
    """The nearest other item of the same identity, equal distances by index."""
    members = np.argsort(identity, kind="stable")
    begins = np.searchsorted(identity[members], np.arange(identity.max() + 2))
    nearest = np.empty(len(queries), dtype=np.int64)
    for i, query in enumerate(queries):
        own = members[begins[identity[query]] : begins[identity[query] + 1]]
        own = own[own != query]
        x, y = rows[query : query + 1].double(), rows[torch.from_numpy(own)].double()
        nearest[i] = own[pairwise_distances(x, y, distance=distance).cpu().numpy().argmin()]
    return nearest
