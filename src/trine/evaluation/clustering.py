"""Clustering: how well clusters agree with identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from trine.clustering import Method, cluster
from trine.distances import Distance
from trine.errors import InputError, check_choice
from trine.evaluation.contingency import Contingency
from trine.evaluation.intervals import RESAMPLES, multiplicities
from trine.evaluation.merge_scores import trivial_scores
from trine.evaluation.metric_report import Asked, MetricReport, check_bootstrap
from trine.labels import Labels, codes
from trine.neighbours import Backend
from trine.shapes import Float, Int64

__all__ = ["Clustering", "clustering", "clustering_from_assignment"]

PAIRWISE = ("pairwise_precision", "pairwise_recall", "pairwise_f")
BCUBED = ("bcubed_precision", "bcubed_recall", "bcubed_f")
INTERVALS = (*PAIRWISE, *BCUBED, "ari")
ENTROPIES = ("nmi", "ami")
TRIVIAL = tuple(
    f"{metric}_{what}" for metric in ("bcubed_f", "pairwise_f") for what in ("alone", "all_in_one")
)
NOT_ABOVE = "not better than both, so these embeddings cannot be clustered usefully"


@dataclass(frozen=True, eq=False)
class Clustering(MetricReport):
    """How well clusters agree with identities.

    Attributes:
        assignment: The cluster of each item, numbered from 0.
        labels: The identity of each item, numbered from 0.
        table: How many items each identity and cluster share.
        how: How the clusters were made: method, threshold and distance; empty if the assignment was given.
    """

    assignment: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]
    table: Contingency
    how: dict[str, object]

    @property
    def protocol(self) -> str:
        """What was clustered, and what was given."""
        given = "at a distance threshold, their number not given" if self.how else "given clusters"
        return f"clustering: {given}, over all items"

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return len(self.table.cluster_sizes)

    @property
    def identities(self) -> int:
        """How many identities there are."""
        return len(self.table.identity_sizes)

    @property
    def pairwise_precision(self) -> float:
        """The share of pairs in one cluster that are of one identity; NaN if no two share a cluster."""
        return _ratio(self._pairs[0], self._pairs[1])

    @property
    def pairwise_recall(self) -> float:
        """The share of pairs of one identity that are in one cluster; NaN where no two share an identity."""
        return _ratio(self._pairs[0], self._pairs[2])

    @property
    def pairwise_f(self) -> float:
        """2 TP / (2 TP + FP + FN) over pairs; NaN where no pair shares a cluster or an identity."""
        both, together, alike, _ = self._pairs
        return _ratio(2 * both, together + alike)

    @property
    def bcubed_precision(self) -> float:
        """The mean share of an item's cluster, itself included, that is of its identity."""
        sizes = self.table.cluster_sizes[self.table.cluster]
        return float((self.table.count**2 / sizes).sum() / self.table.items)

    @property
    def bcubed_recall(self) -> float:
        """The mean share of an item's identity, itself included, that is in its cluster."""
        sizes = self.table.identity_sizes[self.table.identity]
        return float((self.table.count**2 / sizes).sum() / self.table.items)

    @property
    def bcubed_f(self) -> float:
        """The harmonic mean of BCubed precision and recall (Amigó et al. 2009)."""
        return _harmonic(self.bcubed_precision, self.bcubed_recall)

    @property
    def bcubed_f_alone(self) -> float:
        """BCubed F with every item alone."""
        return trivial_scores(self.table.identity_sizes, "bcubed_f")[0]

    @property
    def bcubed_f_all_in_one(self) -> float:
        """BCubed F with all items in one cluster."""
        return trivial_scores(self.table.identity_sizes, "bcubed_f")[1]

    @property
    def pairwise_f_alone(self) -> float:
        """Pairwise F with every item alone: 0."""
        return trivial_scores(self.table.identity_sizes, "pairwise_f")[0]

    @property
    def pairwise_f_all_in_one(self) -> float:
        """Pairwise F with all items in one cluster."""
        return trivial_scores(self.table.identity_sizes, "pairwise_f")[1]

    @property
    def above_both(self) -> bool:
        """Whether BCubed F is above that of every item alone and that of all items in one cluster."""
        return self.bcubed_f > max(self.bcubed_f_alone, self.bcubed_f_all_in_one)

    def sentence(self) -> str:
        """The clusters in one sentence, beside what takes no embedding: every item alone, and all in one."""
        interval = self.interval("bcubed_f").brackets() if self.resamples else ""
        how = f", {self.how['method']} linkage at {self.how['threshold']:.3f}" if self.how else ""
        clusters = f"{self.clusters:,} clusters" if self.clusters > 1 else "1 cluster"
        words = (
            f"{clusters} of {self.identities:,} identities{how}: BCubed F "
            f"{self.bcubed_f:.3f}{interval}; every item alone {self.bcubed_f_alone:.3f}, all in one "
            f"{self.bcubed_f_all_in_one:.3f}"
        )
        return words if self.above_both else f"{words}; {NOT_ABOVE}"

    @property
    def nmi(self) -> float:
        """The mutual information over the arithmetic mean of both entropies, in [0, 1]."""
        if self.table.same:
            return 1.0
        return _over(self.table.mutual_information, sum(self.table.entropies) / 2)

    @property
    def ami(self) -> float:
        """(I − E[I]) / (mean of both entropies − E[I]) (Vinh, Epps, Bailey 2010); 0 by chance, 1 at best."""
        if self.table.same:
            return 1.0
        if 1 in (self.clusters, self.identities):
            return 0.0
        expected = self.table.expected_mutual_information
        return _over(self.table.mutual_information - expected, sum(self.table.entropies) / 2 - expected)

    @property
    def ari(self) -> float:
        """The adjusted Rand index (Hubert, Arabie 1985); 0 by chance, 1 at best."""
        return _adjusted_rand(*self._pairs)

    def _facts(self) -> dict[str, object]:
        return {
            "protocol": self.protocol,
            **self.how,
            "items": len(self.assignment),
            "clusters": self.clusters,
            "identities": self.identities,
        }

    def _listed(self) -> list[Asked]:
        return [(name, ()) for name in (*INTERVALS, *ENTROPIES, *TRIVIAL)]

    def _with_interval(self) -> list[Asked]:
        return [(name, ()) for name in INTERVALS if self.resamples]

    def _interval_facts(self) -> dict[str, object]:
        return dict.fromkeys((*ENTROPIES, *TRIVIAL))

    def _check(self, metric: str, arguments: tuple[float, ...]) -> None:
        if metric in ENTROPIES:
            raise InputError(
                f"{metric} has no interval: entropies grow with the number of identities, and a bootstrap "
                "sample has fewer different ones; use the interval of ari or bcubed_f"
            )
        if metric in TRIVIAL:
            raise InputError(f"{metric} has no interval: it follows from the sizes of the identities alone")
        check_choice("metric", metric, INTERVALS)
        if arguments:
            raise InputError(f"{metric} takes no argument, given {arguments}")

    def _resampled(self, asked: Sequence[Asked]) -> Sequence[Float[np.ndarray, " r"]]:
        return [self._drawn[metric] for metric, _ in asked]

    @cached_property
    def _pairs(self) -> tuple[int, int, int, int]:
        """Pairs in one cluster and of one identity; in one cluster; of one identity; all. Exact integers."""
        table = self.table
        parts = table.count, table.cluster_sizes, table.identity_sizes
        both, together, alike = (int((sizes * (sizes - 1) // 2).sum()) for sizes in parts)
        return both, together, alike, table.items * (table.items - 1) // 2

    @cached_property
    def _drawn(self) -> dict[str, Float[np.ndarray, " r"]]:
        """The metrics in each bootstrap sample."""
        table, found = self.table, np.empty((self.resamples, len(INTERVALS)))
        owner, place, count = table.identity, table.cluster, table.count.astype(float)
        sizes = table.identity_sizes.astype(float)
        both = np.bincount(owner, weights=count * (count - 1) / 2)
        alike = sizes * (sizes - 1) / 2
        recalled = np.bincount(owner, weights=count**2 / sizes[owner])
        # Two draws are of two identities in (C − 1) / C of all cases.
        scale = self.identities / max(self.identities - 1, 1)
        drawn = multiplicities(self.identities, resamples=self.resamples, seed=self.seed)
        for row, times in enumerate(drawn):
            many = times[owner] * count
            whole = np.bincount(place, weights=many)
            mixed = whole**2 - np.bincount(place, weights=many**2)
            apart = scale * ((times @ sizes) ** 2 - (times**2) @ (sizes**2)) / 2
            items, wrong = times @ sizes, scale * mixed.sum() / 2
            own, of_one = float(times @ both), float(times @ alike)
            precision = float((many * count / (count + scale * (whole[place] - many))).sum()) / items
            recall = float(times @ recalled) / items
            found[row] = (
                _ratio(own, own + wrong),
                _ratio(own, of_one),
                _ratio(2 * own, own + wrong + of_one),
                precision,
                recall,
                _harmonic(precision, recall),
                _adjusted_rand(own, own + wrong, of_one, of_one + apart),
            )
        return dict(zip(INTERVALS, found.T, strict=True))


def clustering(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels,
    *,
    threshold: float,
    method: Method = "connected",
    distance: Distance = "euclidean",
    neighbours: int = 32,
    backend: Backend = "auto",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Clustering:
    """Clusters items at a distance threshold, and measures their agreement with the identities.

    Args:
        embeddings: One row per item.
        labels: The identity of each item: integers of up to 64 bits, or strings.
        threshold: As for `trine.clustering.cluster`: chosen on other identities with
            `choose_cluster_threshold`. That of a verification rate is the wrong one.
        method: `"connected"`, `"average"` or `"complete"`, as for `trine.clustering.cluster`.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        neighbours: As for `trine.clustering.cluster`.
        backend: As for `nearest_neighbours`.
        resamples: The number of bootstrap samples; 0 for no intervals.
        seed: The seed of the bootstrap.

    Returns:
        The metrics and the clusters.

    Raises:
        InputError: There are no items, or too many for the method, a row is not finite, or an
            argument does not fit.
        MissingDependencyError: scipy is not installed.

    Example:
        >>> report = clustering(np.array([[0.0], [0.1], [1.0], [1.1]]), ["a", "a", "b", "c"], threshold=0.3)
        >>> report.clusters, report.pairwise_precision, report.bcubed_precision, round(report.ari, 3)
        (2, 0.5, 0.75, 0.571)
    """
    assignment = cluster(
        embeddings,
        threshold=threshold,
        method=method,
        distance=distance,
        neighbours=neighbours,
        backend=backend,
    )
    how: dict[str, object] = {"method": method, "threshold": threshold, "distance": distance}
    return _report(assignment, labels, how, resamples, seed)


def clustering_from_assignment(
    assignment: Int64[np.ndarray, " n"] | Int64[Tensor, " n"] | Sequence[int] | Sequence[str],
    labels: Labels,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Clustering:
    """Measures how well given clusters agree with the identities.

    Args:
        assignment: The cluster of each item: integers or strings. A −1, which some tools use for noise, is a
            cluster like any other: give each such item a unique number first.
        labels: The identity of each item: integers of up to 64 bits, or strings.
        resamples: The number of bootstrap samples; 0 for no intervals.
        seed: The seed of the bootstrap.

    Returns:
        The metrics.

    Raises:
        InputError: There are no items, or the arguments do not fit.

    Example:
        >>> clustering_from_assignment([0, 0, 1, 1], ["a", "a", "b", "b"]).bcubed_f
        1.0
    """
    return _report(codes(assignment, name="assignment"), labels, {}, resamples, seed)


def _report(
    assignment: Int64[np.ndarray, " n"], labels: Labels, how: dict[str, object], resamples: int, seed: int
) -> Clustering:
    check_bootstrap(resamples, seed)
    identity = codes(labels, items=len(assignment))
    if not len(identity):
        raise InputError("clustering needs at least one item, given none")
    table = Contingency.of(identity, assignment)
    return Clustering(assignment, identity, table, how, resamples=resamples, seed=seed)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else np.nan


def _harmonic(a: float, b: float) -> float:
    return _ratio(2 * a * b, a + b)


def _over(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _adjusted_rand(both: float, together: float, alike: float, pairs: float) -> float:
    # (RI − E[RI]) / (1 − E[RI]) with both sides times the pairs: integers stay exact.
    if both == together == alike:
        return 1.0
    numerator = 2 * (both * pairs - together * alike)
    return numerator / ((together + alike) * pairs - 2 * together * alike)
