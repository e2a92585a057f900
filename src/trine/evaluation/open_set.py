"""Open-set identification: some probes are of identities outside the gallery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance
from trine.errors import InputError, check_choice, check_count
from trine.evaluation.intervals import RESAMPLES, Interval, multiplicities
from trine.evaluation.metric_report import Asked, MetricReport, check_bootstrap, check_rates, key
from trine.evaluation.pairs import Distances
from trine.evaluation.rate_intervals import ObservedRate, combined, compatible_counts, correlation, reach
from trine.evaluation.relevance import relevant_blocks
from trine.evaluation.roc import accepts_within, threshold_at_rate
from trine.labels import Labels, checked, joint_codes
from trine.neighbours import NEVER, ExactSearch, as_rows
from trine.shapes import Bool, Float, Int64

__all__ = ["OpenSet", "OpenSetCurve", "open_set"]

_TAKES = {
    "dir_at_fpir": ("a rate and an optional rank (default 1)", 2),
    "fpir_at": ("one threshold", 1),
    "dir_at": ("a threshold and an optional rank (default 1)", 2),
}
"""The metrics that have an interval, with what each takes, and how much of it at most."""


@dataclass(frozen=True, eq=False)
class OpenSetCurve:
    """Corners of the curve of the detection-and-identification rate, by ascending threshold.

    Attributes:
        fpir: The share of unknown probes that the threshold accepts, in [0, 1].
        dir: The share of known probes that it finds and names, in [0, 1].
        threshold: The distance up to which a probe is accepted.
    """

    fpir: Float[np.ndarray, " c"]
    dir: Float[np.ndarray, " c"]
    threshold: Float[np.ndarray, " c"]


@dataclass(frozen=True, eq=False)
class OpenSet(MetricReport):
    """The result of `open_set`: the distances of known and unknown probes, and their metrics.

    An identity is as far from a probe as the nearest of its embeddings. A probe is accepted when the
    nearest identity is at most a threshold away.

    Attributes:
        distances: Of each known probe, the distance to its own identity.
        ranks: The rank of its true identity among all, from 1; the largest 64-bit integer beyond `depth`.
        labels: Its identity, numbered from 0.
        unknowns: Of each probe whose identity is not in the gallery, the distance to the nearest identity.
        unknown_labels: Its identity; the numbering continues.
        gallery: How many rows the gallery has.
        identities: How many identities.
        depth: The largest rank that was searched.
        distance: The distance that was measured.
        protocol: How it was measured.
    """

    distances: Float[np.ndarray, " g"]
    ranks: Int64[np.ndarray, " g"]
    labels: Int64[np.ndarray, " g"]
    unknowns: Float[np.ndarray, " i"]
    unknown_labels: Int64[np.ndarray, " i"]
    gallery: int
    identities: int
    depth: int
    distance: Distance
    protocol: str = "open-set identification: an identity scored by its nearest embedding"

    def threshold_at_fpir(self, rate: float) -> float | None:
        """The largest observed distance that accepts at most a share `rate` of the unknown probes.

        Args:
            rate: The false-positive-identification rate, in [0, 1].

        Returns:
            The threshold; None where even the smallest observed distance accepts too many.

        Raises:
            InputError: The rate is not in [0, 1].
        """
        known, unknown = (Distances(np.sort(side)) for side in (self.distances, self.unknowns))
        return threshold_at_rate(rate, known, unknown, name="rate")

    def dir_at_fpir(self, rate: float, rank: int = 1) -> float:
        """The share of known probes that are detected and identified, at a rate of accepted unknown probes.

        Detected: the probe's own identity is within the largest threshold that accepts at most a share `rate`
        of the unknown probes. Identified: it is among the nearest `rank` identities. Nothing is interpolated
        (Phillips, Grother, Micheals 2011).

        Args:
            rate: The false-positive-identification rate (FPIR), in [0, 1].
            rank: Up to `depth`.

        Returns:
            The detection-and-identification rate (DIR), in [0, 1].

        Raises:
            InputError: The rate is not in [0, 1], or the rank not in 1 to `depth`.
        """
        self._check_rank(rank)
        threshold = self.threshold_at_fpir(rate)
        return 0.0 if threshold is None else self.dir_at(threshold, rank)

    def fpir_at(self, threshold: float) -> float:
        """The share of unknown probes that a threshold accepts: its false-positive-identification rate.

        Args:
            threshold: The distance up to which a probe is accepted.

        Returns:
            The rate, in [0, 1].
        """
        return float((self.unknowns <= threshold).mean())

    def dir_at(self, threshold: float, rank: int = 1) -> float:
        """The share of known probes that a threshold accepts and that are identified.

        Args:
            threshold: The distance up to which a probe is accepted.
            rank: Up to `depth`.

        Returns:
            The detection-and-identification rate, in [0, 1].

        Raises:
            InputError: The rank is not in 1 to `depth`.
        """
        self._check_rank(rank)
        return float(((self.distances <= threshold) & (self.ranks <= rank)).mean())

    def curve(self, rank: int = 1) -> OpenSetCurve:
        """The detection-and-identification rate over the false-positive-identification rate.

        Args:
            rank: Up to `depth`.

        Returns:
            A point for each observed distance at which one of the rates changes.

        Raises:
            InputError: The rank is not in 1 to `depth`.
        """
        self._check_rank(rank)
        named = np.sort(self.distances[self.ranks <= rank])
        unknown = np.sort(self.unknowns)
        thresholds = np.unique(np.concatenate([named, unknown]))
        return OpenSetCurve(
            np.searchsorted(unknown, thresholds, side="right") / len(unknown),
            np.searchsorted(named, thresholds, side="right") / len(self.distances),
            thresholds.astype(np.float64),
        )

    def _facts(self) -> dict[str, object]:
        return {
            "protocol": self.protocol,
            "distance": self.distance,
            "known_probes": len(self.distances),
            "unknown_probes": len(self.unknowns),
            "identities": self.identities,
            "gallery": self.gallery,
            "threshold_at_fpir": {key(rate): self.threshold_at_fpir(rate) for rate in self.at},
        }

    def _listed(self) -> list[Asked]:
        return [("dir_at_fpir", (rate,)) for rate in self.at]

    def _check(self, metric: str, arguments: tuple[float, ...]) -> None:
        check_choice("metric", metric, _TAKES)
        takes, most = _TAKES[metric]
        if not 1 <= len(arguments) <= most:
            raise InputError(f"{metric} takes {takes}, given {arguments}")
        if "rate" in takes:
            accepts_within(arguments[0], len(self.unknowns), name="rate")
        self._check_rank(*arguments[1:])

    def _interval(self, metric: str, arguments: tuple[float, ...]) -> Interval:
        at, rank = arguments[0], int(arguments[1]) if len(arguments) > 1 else 1
        if metric == "fpir_at":
            return self._unknown_within(int((self.unknowns <= at).sum())).interval()
        if metric == "dir_at":
            return self._identified(at, rank).interval()
        threshold = self.threshold_at_fpir(at)
        accepted = 0 if threshold is None else int((self.unknowns <= threshold).sum())
        named = self._identified(-1.0 if threshold is None else threshold, rank)
        lowest, highest = self._compatible(at)
        ends = 0.0 if lowest is None else self.dir_at(lowest, rank), self.dir_at(highest, rank)
        # An identity that is often accepted as a stranger lowers the threshold. Where no identity has probes
        # of both kinds, this correlation is 0.
        together = -correlation(named, self._unknown_within(accepted))
        moved = reach(named.rate, Interval(*ends))
        return combined(named.rate, reach(named.rate, named.interval()), moved, together)

    def _resampled(self, asked: Sequence[Asked]) -> Sequence[Float[np.ndarray, " r"]]:
        return [np.fromiter(self._drawn(metric, *arguments), np.float64) for metric, arguments in asked]

    def _drawn(self, metric: str, at: float, rank: float = 1) -> Iterator[float]:
        count, known, unknown = self._owners
        order = np.argsort(self.unknowns)
        # A known probe is found where its own distance, as a threshold, accepts few enough unknown probes.
        before = np.searchsorted(self.unknowns[order], self.distances, side="right")
        named, accepts = self.ranks <= rank, self.unknowns <= at
        for times in multiplicities(count, resamples=self.resamples, seed=self.seed):
            accepted = np.concatenate([[0], np.cumsum(times[unknown[order]])])
            weight = times[known]
            if metric == "fpir_at":
                yield _share(times[unknown], accepts)
            elif metric == "dir_at":
                yield _share(weight, named & (self.distances <= at))
            elif not accepted[-1]:
                yield np.nan
            else:
                yield _share(weight, named & (accepted[before] / accepted[-1] <= at))

    def _identified(self, threshold: float, rank: float) -> ObservedRate:
        found = (self.distances <= threshold) & (self.ranks <= rank)
        count, known, _ = self._owners
        trials = np.bincount(known, minlength=count).astype(np.float64)
        return ObservedRate.of_identities(np.bincount(known, weights=found, minlength=count), trials)

    def _unknown_within(self, count: int) -> ObservedRate:
        """The FPIR of accepting the nearest so many unknown probes."""
        identities, _, unknown = self._owners
        nearest = unknown[np.argsort(self.unknowns, kind="stable")[:count]]
        accepted, trials = (
            np.bincount(owner, minlength=identities).astype(np.float64) for owner in (nearest, unknown)
        )
        return ObservedRate.of_identities(accepted, trials)

    @cached_property
    def _owners(self) -> tuple[int, Int64[np.ndarray, " g"], Int64[np.ndarray, " i"]]:
        """How many identities the probes have, and those of known and of unknown ones, numbered from 0."""
        own, owner = np.unique(np.concatenate([self.labels, self.unknown_labels]), return_inverse=True)
        return len(own), owner[: len(self.labels)], owner[len(self.labels) :]

    def _compatible(self, rate: float) -> tuple[float | None, float]:
        """The thresholds whose interval of the FPIR holds a rate; None where accepting no probe does, too."""
        ascending = np.sort(self.unknowns)
        low, high = compatible_counts(rate, len(ascending), self._unknown_within)
        highest = ascending[high] if high < len(ascending) else np.inf
        return float(ascending[low - 1]) if low else None, float(highest)

    def _check_rank(self, rank: float = 1) -> None:
        if check_count("rank", rank) > self.depth:
            raise InputError(
                f"rank must be from 1 to {self.depth}, given {rank}; measure with a larger depth"
            )


def _share(weights: Int64[np.ndarray, " p"], marked: Bool[np.ndarray, " p"]) -> float:
    whole = weights.sum()
    return float(weights @ marked / whole) if whole else np.nan


def open_set(
    probes: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    probe_labels: Labels,
    gallery: Float[np.ndarray, "m d"] | Float[Tensor, "m d"],
    gallery_labels: Labels,
    *,
    distance: Distance = "euclidean",
    depth: int = 20,
    at: tuple[float, ...] = (0.001, 0.01, 0.1),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> OpenSet:
    """Measures identification when some probes are of identities outside the gallery.

    A probe whose identity is not in the gallery is unknown. Equal distances rank by index.

    Args:
        probes: One row per probe.
        probe_labels: The identity of each: integers of up to 64 bits, or strings.
        gallery: One row per item of the gallery; no probe is among them.
        gallery_labels: The identity of each.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        depth: The largest rank of an identity to look for.
        at: The false-positive-identification rates to list in the report's JSON.
        resamples: The number of bootstrap samples; 0 for no interval.
        seed: The seed of the bootstrap.

    Returns:
        The distances of both kinds of probes and their metrics.

    Raises:
        InputError: There is no known or no unknown probe, a row is not finite, or the arguments do not fit.

    Example:
        >>> report = open_set(
        ...     np.array([[0.1], [1.3], [1.6]]), ["a", "b", "x"], np.array([[0.0], [1.0]]), ["a", "b"]
        ... )
        >>> report.dir_at_fpir(0.0), report.threshold_at_fpir(0.0)
        (1.0, 0.30000000000000004)
        >>> report.fpir_at(0.5), report.dir_at(0.5)
        (0.0, 1.0)
    """
    check_count("depth", depth)
    check_bootstrap(resamples, seed)
    check_rates(at)
    x, y = as_rows(probes, name="probes"), as_rows(gallery, name="gallery")
    own = checked(probe_labels, items=len(x), name="probe_labels")
    theirs = checked(gallery_labels, items=len(y), name="gallery_labels")
    _, identity, groups = joint_codes(own, theirs, names=("probe_labels", "gallery_labels"))
    known = np.isin(identity, groups)
    for kind, count in (("known probe", known.sum()), ("unknown probe", (~known).sum())):
        if not count:
            raise InputError(
                f"open-set identification needs probes of both kinds, given no {kind} among {len(x)} probes; "
                "split identities, not items, between the gallery and unknown probes"
            )
    search = ExactSearch(y, distance=distance)
    known_rows, unknown_rows = np.flatnonzero(known), np.flatnonzero(~known)
    x_known = x[torch.from_numpy(known_rows)]
    return OpenSet(
        _own_distances(search, x_known, identity[known_rows], groups),
        _identity_ranks(search, x_known, identity[known_rows], groups, depth),
        identity[known_rows],
        search.nearest(x[torch.from_numpy(unknown_rows)], k=1).distances[:, 0],
        identity[unknown_rows],
        gallery=len(y),
        identities=len(np.unique(groups)),
        depth=depth,
        distance=distance,
        at=at,
        resamples=resamples,
        seed=seed,
    )


def _own_distances(
    search: ExactSearch, x: Tensor, identity: Int64[np.ndarray, " n"], groups: Int64[np.ndarray, " m"]
) -> Float[np.ndarray, " n"]:
    queries, nearest = [], []
    for block in relevant_blocks(identity, groups):
        found = search.distances(x[torch.from_numpy(block.queries)], np.maximum(block.listed, 0))
        queries.append(block.queries)
        nearest.append(np.where(block.listed >= 0, found, np.inf).min(1))
    return np.concatenate(nearest)[np.argsort(np.concatenate(queries))]


def _identity_ranks(
    search: ExactSearch,
    x: Tensor,
    identity: Int64[np.ndarray, " n"],
    groups: Int64[np.ndarray, " m"],
    depth: int,
) -> Int64[np.ndarray, " n"]:
    """How many identities are at least as near as the probe's own, counting it; `NEVER` beyond `depth`."""
    ranks = np.full(len(x), NEVER)
    rows, k = np.arange(len(x)), 2 * depth
    while len(rows):
        k = min(k, len(search))
        identities = groups[search.nearest(x[torch.from_numpy(rows)], k=k).indices]
        own = identities == identity[rows, None]
        first = np.where(own.any(1), own.argmax(1), k)
        before = np.array([len(np.unique(row[:stop])) for row, stop in zip(identities, first, strict=True)])
        seen = own.any(1) & (before < depth)
        ranks[rows[seen]] = before[seen] + 1
        rows = rows[~own.any(1) & (before < depth)] if k < len(search) else rows[:0]
        k *= 4
    return ranks
