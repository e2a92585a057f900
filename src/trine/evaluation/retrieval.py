"""Retrieval: every item is a query for the other items of its identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from trine import ranking
from trine.distances import Distance
from trine.errors import InputError
from trine.evaluation.intervals import RESAMPLES
from trine.evaluation.metric_report import Columns, PerQueryReport, check_bootstrap, check_ranks
from trine.evaluation.relevance import RankMetric, measure_ranks
from trine.labels import Labels, checked, joint_codes
from trine.neighbours import RankSearch, as_rows
from trine.shapes import Float, Int64, Shaped

__all__ = ["Retrieval", "retrieval"]


@dataclass(frozen=True, eq=False)
class Retrieval(PerQueryReport):
    """The result of `retrieval`: one entry for each query that has a positive, and the means over them.

    Attributes:
        queries: The rows of the queries.
        labels: The identity of each query, numbered from 0.
        names: The label of each number.
        first_ranks: The rank, from 1, of the nearest positive of each query among all references.
        r_precisions: R-precision of each query.
        maps_at_r: MAP@R of each query.
        average_precisions: Average precision of each query over the whole ranking.
        precisions_at: Precision at each k of `at`, one column each.
        ndcgs_at: NDCG at each k of `at`, one column each.
        excluded: How many queries have no positive; no metric counts them.
        references: How many items were ranked.
        distance: The distance that ranked them.
        protocol: Which items were queries, and which references.

    Example:
        >>> report = retrieval(np.array([[0.0], [1.0], [1.2], [1.3]]), ["a", "b", "a", "b"], at=(2,))
        >>> report.per_query("recall_at", 2).tolist()
        [1.0, 1.0, 0.0, 1.0]
        >>> print(report.interval("recall_at", 2))
        0.061 to 1.000
        >>> print(str(report).splitlines()[-1])
        ndcg_at 2               0.473  (0.010 to 0.984)
    """

    queries: Int64[np.ndarray, " q"]
    labels: Int64[np.ndarray, " q"]
    names: Shaped[np.ndarray, " c"]
    first_ranks: Int64[np.ndarray, " q"]
    r_precisions: Float[np.ndarray, " q"]
    maps_at_r: Float[np.ndarray, " q"]
    average_precisions: Float[np.ndarray, " q"]
    precisions_at: Float[np.ndarray, "q k"]
    ndcgs_at: Float[np.ndarray, "q k"]
    excluded: int
    references: int
    distance: Distance
    protocol: str

    def recall_at(self, k: int) -> float:
        """Recall@k: the share of queries with a positive among the nearest `k`, for any `k`."""
        return self._mean("recall_at", k)

    def precision_at(self, k: int) -> float:
        """Precision@k: the mean share of positives among the nearest `k`, for a `k` of `at`."""
        return self._mean("precision_at", k)

    def ndcg_at(self, k: int) -> float:
        """NDCG@k with gains 1 and 0 (Järvelin, Kekäläinen 2002), for a `k` of `at`."""
        return self._mean("ndcg_at", k)

    @property
    def precision_at_1(self) -> float:
        """The share of queries whose nearest neighbour has their identity."""
        return self._mean("precision_at_1")

    @property
    def r_precision(self) -> float:
        """The mean share of positives among the nearest R, with R the number of positives of the query."""
        return self._mean("r_precision")

    @property
    def map_at_r(self) -> float:
        """MAP@R (Musgrave, Belongie, Lim 2020)."""
        return self._mean("map_at_r")

    @property
    def mrr(self) -> float:
        """The mean reciprocal rank of the nearest positive, over the whole ranking."""
        return self._mean("mrr")

    @property
    def mean_average_precision(self) -> float:
        """mAP: the mean of the average precision over the whole ranking."""
        return self._mean("mean_average_precision")

    def per_class(self) -> dict[object, dict[str, float]]:
        """Returns the metrics of each identity.

        Returns:
            For each label (a string or an integer) the number of queries and the means over them.

        Example:
            >>> report = retrieval(np.array([[0.0], [1.0], [1.2], [1.3]]), ["a", "b", "a", "b"])
            >>> of_b = report.per_class()["b"]
            >>> of_b["mrr"]
            0.5
        """
        own, counts = np.unique(self.labels, return_counts=True)
        plain = [name for name, column in self._columns().items() if not callable(column)]
        means = {name: self._identity_means(name)[1] for name in plain}
        return {
            label: {"queries": int(counts[i])} | {name: float(column[i]) for name, column in means.items()}
            for i, label in enumerate(self.names[own].tolist())
        }

    def _columns(self) -> Columns:
        return {
            "precision_at_1": ranking.recall_at_k(self.first_ranks[:, None], k=1),
            "r_precision": self.r_precisions,
            "map_at_r": self.maps_at_r,
            "mrr": ranking.reciprocal_rank(self.first_ranks),
            "mean_average_precision": self.average_precisions,
            "recall_at": lambda k: ranking.recall_at_k(self.first_ranks[:, None], k=k),
            "precision_at": lambda k: self.precisions_at[:, self._column("precision", k)],
            "ndcg_at": lambda k: self.ndcgs_at[:, self._column("NDCG", k)],
        }

    def _facts(self) -> dict[str, object]:
        return {
            "protocol": self.protocol,
            "distance": self.distance,
            "queries": len(self.queries),
            "queries_without_positive": self.excluded,
            "references": self.references,
            "identities": len(np.unique(self.labels)),
        }

    def _column(self, metric: str, k: int) -> int:
        if k not in self.at:
            raise InputError(
                f"{metric} was measured at {', '.join(map(str, self.at))} and not at {k}; give at=({k}, ...)"
            )
        return self.at.index(k)


def retrieval(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels,
    *,
    references: Float[np.ndarray, "m d"] | Float[Tensor, "m d"] | None = None,
    reference_labels: Labels | None = None,
    distance: Distance = "euclidean",
    at: tuple[int, ...] = (1, 2, 4, 8, 10, 100),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Retrieval:
    """Ranks all other items for each item and measures how high those of its identity rank.

    Embeddings are not normalised; pass unit rows or `distance="cosine"`. An item never retrieves itself, but
    does retrieve exact duplicates; ties rank by index.

    Args:
        embeddings: One row per item.
        labels: The identity of each item: integers of up to 64 bits, or strings.
        references: The set to search; by default the items themselves.
        reference_labels: The identity of each reference.
        distance: `"squared_euclidean"` (ranks as `"euclidean"`), `"euclidean"` or `"cosine"`.
        at: The k at which precision and NDCG are measured; the report's JSON lists the recall there, too.
        resamples: The number of bootstrap samples; 0 for no interval.
        seed: The seed of the bootstrap.

    Returns:
        The metrics over all queries that have a positive; the others are excluded and counted.

    Raises:
        InputError: No query has a positive, a row is not finite, or the labels do not fit.

    Example:
        >>> report = retrieval(np.array([[0.0], [1.0], [1.2], [9.0]]), ["a", "b", "a", "c"])
        >>> report.precision_at_1, report.recall_at(2), report.excluded
        (0.0, 1.0, 2)
    """
    check_ranks(at)
    check_bootstrap(resamples, seed)
    rows = as_rows(embeddings, name="embeddings")
    own = checked(labels, items=len(rows), name="labels")
    if references is None and reference_labels is None:
        protocol = "retrieval: each item against all others; queries without a positive are excluded"
        ranked, theirs = rows, own
    elif references is None or reference_labels is None:
        raise InputError("references and reference_labels go together; give both, or neither")
    else:
        protocol = "retrieval: queries against references; queries without a positive are excluded"
        ranked = as_rows(references, name="references")
        theirs = checked(reference_labels, items=len(ranked), name="reference_labels")
    names, identity, groups = joint_codes(own, theirs, names=("labels", "reference_labels"))
    queries, columns = measure_ranks(
        RankSearch(ranked, distance=distance),
        (rows, identity),
        groups,
        _rank_metrics(at),
        left_out=(lambda query, listed: listed == query[:, None]) if references is None else None,
    )
    if not len(queries):
        if references is not None:
            raise InputError("no query shares a label with a reference; check reference_labels")
        raise InputError(
            f"retrieval needs two items of one identity, given {len(rows)} items of "
            f"{len(np.unique(identity))} identities; give labels that repeat"
        )
    return Retrieval(
        queries=queries,
        labels=identity[queries],
        names=names,
        **columns,
        excluded=len(rows) - len(queries),
        references=len(ranked),
        distance=distance,
        at=at,
        protocol=protocol,
        resamples=resamples,
        seed=seed,
    )


def _rank_metrics(at: tuple[int, ...]) -> dict[str, RankMetric]:
    """The metrics of the ranks of each query, by field of the report."""

    def at_each(metric: Callable[..., np.ndarray]) -> RankMetric:
        return lambda ranks: np.array([metric(ranks, k=k) for k in at]).reshape(len(at), len(ranks)).T

    return {
        "first_ranks": lambda ranks: ranks.min(axis=1),
        "r_precisions": ranking.r_precision,
        "maps_at_r": ranking.map_at_r,
        "average_precisions": ranking.average_precision,
        "precisions_at": at_each(ranking.precision_at_k),
        "ndcgs_at": at_each(ranking.ndcg_at_k),
    }
