"""Which metrics are shown, grouped by protocol: their names, values and intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, TypeVar

import numpy as np

from trine.errors import InputError
from trine.evaluation import (
    Clustering,
    Identification,
    KnnClassification,
    OpenSet,
    Recommendation,
    Retrieval,
    TripletAccuracy,
    Verification,
)
from trine.evaluation.intervals import Interval
from trine.evaluation.listed_pairs import AtThreshold
from trine.evaluation.metric_report import MetricReport
from trine.report.metrics import Metrics
from trine.shapes import Float

FPIR = (0.01, 0.05, 0.1)
"""The false-positive identification rates at which open-set identification is reported."""

NEIGHBOURS = 5
"""How many training items vote on the identity of an item."""


R = TypeVar("R", bound=MetricReport)


@dataclass(frozen=True)
class Source(Generic[R]):
    """Where a metric comes from.

    Attributes:
        key: The name of the result in `Metrics`.
        of: Finds the result.
    """

    key: str
    of: Callable[[Metrics], R | None]


RETRIEVAL = Source[Retrieval]("retrieval", lambda metrics: metrics.retrieval)
VERIFICATION = Source[Verification]("verification", lambda metrics: metrics.verification)
PAIRS = Source[Verification]("pairs", lambda metrics: metrics.pairs)
PAIRS_AT_THRESHOLD = Source[AtThreshold]("pairs_at_threshold", lambda metrics: metrics.pairs_at_threshold)
IDENTIFICATION = Source[Identification]("identification", lambda metrics: metrics.identification)
OPEN_SET = Source[OpenSet]("open_set", lambda metrics: metrics.open_set)
KNN = Source[KnnClassification]("knn_classification", lambda metrics: metrics.knn_classification)
CLUSTERING = Source[Clustering]("clustering", lambda metrics: metrics.clustering)
TRIPLETS = Source[TripletAccuracy]("triplet_accuracy", lambda metrics: metrics.triplet_accuracy)
RECOMMENDATION = Source[Recommendation]("recommendation", lambda metrics: metrics.recommendation)


class Shown(IntEnum):
    """Where a metric is shown; each place also shows those of the places below it."""

    PAGE = 0
    CONSOLE = 1
    HEADLINE = 2


@dataclass(frozen=True)
class MetricLine(Generic[R]):
    """One metric as one line of a table; a value in [0, 1].

    Attributes:
        name: What the metric is called.
        source: The result that holds it.
        read: Reads it from the result.
        metric: Its name in the result's `interval`.
        arguments: What it takes there.
        shown: Where it is shown.
        larger_is_better: False for error rates.
    """

    name: str
    source: Source[R]
    read: Callable[[R], float | None]
    metric: str
    arguments: tuple[Any, ...] = ()
    shown: Shown = Shown.PAGE
    larger_is_better: bool = True

    @property
    def key(self) -> str:
        """A name that no other metric has."""
        return f"{self.source.key}: {self.name}"

    def value(self, metrics: Metrics) -> float | None:
        """The value; None where nothing was measured."""
        result = self.source.of(metrics)
        value = None if result is None else self.read(result)
        return None if value is None or math.isnan(value) else value

    def interval(self, metrics: Metrics) -> Interval | None:
        """The interval; None where the result has none."""
        result = self.source.of(metrics)
        if result is None or self.value(metrics) is None:
            return None
        try:
            found = result.interval(self.metric, *self.arguments)
        except InputError:  # not every metric has an interval
            return None
        return found if found.known else None

    def resampled(self, metrics: Metrics) -> Float[np.ndarray, " r"]:
        """The metric in each bootstrap sample; see `MetricReport.resampled`."""
        result = self.source.of(metrics)
        assert result is not None, "a metric is resampled where it was measured"
        return result.resampled(self.metric, *self.arguments)


@dataclass(frozen=True)
class MetricGroup(Generic[R]):
    """The metrics of one protocol.

    Attributes:
        source: The result.
        prefix: What stands before a metric's name on the console; empty for none.
        size: Says how many queries or pairs the result rests on.
        lines: The metrics.
    """

    source: Source[R]
    prefix: str
    size: Callable[[R], str]
    lines: tuple[MetricLine[Any], ...]

    def title(self, metrics: Metrics) -> str | None:
        """The protocol and the number of queries or pairs; None where nothing was measured."""
        result: Any = self.source.of(metrics)
        if result is None:
            return None
        name, _, rules = result.protocol.partition(": ")
        return f"{name.capitalize()}: {rules}; {self.size(result)}"


def metric_groups(far: float, k: int = 10) -> tuple[MetricGroup[Any], ...]:
    """Lists the metrics of a report in the order of its page.

    Args:
        far: A false-accept rate to report in addition to 0.1 %, 1 % and 10 %.
        k: How many recommendations are counted.
    """
    return (
        _retrieval(),
        _verification(far),
        _identification(),
        _open_set(),
        _knn(),
        _pairs(far),
        _clustering(),
        _triplets(),
        _recommendation(k),
    )


def headline_lines(metrics: Metrics, far: float, k: int = 10) -> list[MetricLine[Any]]:
    """The few metrics that sum up a report: they head its page and stand on the model's card.

    Args:
        metrics: What was measured.
        far: As for `metric_groups`.
        k: As for `metric_groups`.
    """
    lines = [line for _, line in _measured(metrics, far, k)]
    highest = max((line.shown for line in lines), default=Shown.PAGE)
    return [line for line in lines if line.shown == highest]


def headline(metrics: Metrics, far: float = 0.01, k: int = 10) -> dict[str, float]:
    """The values of `headline_lines` by name.

    Args:
        metrics: What was measured.
        far: As for `metric_groups`.
        k: As for `metric_groups`.
    """
    values = {line.name: line.value(metrics) for line in headline_lines(metrics, far, k)}
    return {name: value for name, value in values.items() if value is not None}


def console_lines(metrics: Metrics, far: float, k: int = 10) -> dict[str, MetricLine[Any]]:
    """The metrics that are printed, by the names they have there.

    Args:
        metrics: What was measured.
        far: As for `metric_groups`.
        k: As for `metric_groups`.
    """
    printed = {line.name: line for line in headline_lines(metrics, far, k)}
    if any(line.shown == Shown.HEADLINE for line in printed.values()):
        for group, line in _measured(metrics, far, k):
            if line.shown == Shown.CONSOLE:
                printed[f"{group.prefix}: {line.name}"] = line
    return printed


def _measured(metrics: Metrics, far: float, k: int) -> Iterator[tuple[MetricGroup[Any], MetricLine[Any]]]:
    for group in metric_groups(far, k):
        for line in group.lines:
            if line.value(metrics) is not None:
                yield group, line


def _retrieval() -> MetricGroup[Retrieval]:
    def size(found: Retrieval) -> str:
        left_out = f", {found.excluded:,} without a positive left out" if found.excluded else ""
        return f"{len(found.queries):,} queries among {found.references:,} items{left_out}"

    def recall(k: int, shown: Shown = Shown.PAGE) -> MetricLine[Retrieval]:
        return MetricLine(f"recall@{k}", RETRIEVAL, lambda r: r.recall_at(k), "recall_at", (k,), shown)

    lines = (
        recall(1, Shown.HEADLINE),
        recall(4),
        recall(10),
        MetricLine("MAP@R", RETRIEVAL, lambda r: r.map_at_r, "map_at_r", shown=Shown.HEADLINE),
        MetricLine("R-precision", RETRIEVAL, lambda r: r.r_precision, "r_precision"),
        MetricLine("MRR", RETRIEVAL, lambda r: r.mrr, "mrr"),
    )
    return MetricGroup(RETRIEVAL, "", size, lines)


def _verification(far: float) -> MetricGroup[Verification]:
    auc = MetricLine("ROC AUC", VERIFICATION, lambda r: r.roc_auc, "roc_auc", shown=Shown.HEADLINE)
    rates = sorted({0.1, 0.01, 0.001, far}, reverse=True)
    tars = (_tar(VERIFICATION, rate, Shown.HEADLINE if rate in (0.01, far) else Shown.PAGE) for rate in rates)
    return MetricGroup(VERIFICATION, "", _size_of_pairs, (auc, _eer(VERIFICATION), *tars))


def _pairs(far: float) -> MetricGroup[Verification]:
    printed = Shown.CONSOLE
    lines: tuple[MetricLine[Any], ...] = (
        MetricLine("accuracy", PAIRS, lambda r: r.accuracy, "accuracy", shown=printed),
        MetricLine(
            "accuracy at the threshold of the validation pairs",
            PAIRS_AT_THRESHOLD,
            lambda r: r.accuracy,
            "accuracy",
            shown=printed,
        ),
        MetricLine("ROC AUC", PAIRS, lambda r: r.roc_auc, "roc_auc", shown=printed),
        _eer(PAIRS),
        *(
            _tar(PAIRS, rate, printed if rate == 0.01 else Shown.PAGE)
            for rate in sorted({0.01, far}, reverse=True)
        ),
    )
    return MetricGroup(PAIRS, "listed pairs", _size_of_pairs, lines)


def _identification() -> MetricGroup[Identification]:
    def size(found: Identification) -> str:
        alone = f", {found.unmatched:,} seen by one camera only left out" if found.unmatched else ""
        return f"{len(found.probes):,} probes among {found.gallery:,} items{alone}"

    def cmc(rank: int, shown: Shown = Shown.PAGE) -> MetricLine[Identification]:
        return MetricLine(f"CMC rank {rank}", IDENTIFICATION, lambda r: r.cmc(rank), "cmc", (rank,), shown)

    lines = (
        cmc(1, Shown.CONSOLE),
        *(cmc(rank) for rank in (5, 10, 20)),
        MetricLine(
            "mAP",
            IDENTIFICATION,
            lambda r: r.mean_average_precision,
            "mean_average_precision",
            shown=Shown.CONSOLE,
        ),
    )
    return MetricGroup(IDENTIFICATION, "across cameras", size, lines)


def _open_set() -> MetricGroup[OpenSet]:
    def size(found: OpenSet) -> str:
        return (
            f"{len(found.distances):,} probes of {found.identities:,} known identities and "
            f"{len(found.unknowns):,} of unknown ones, {found.gallery:,} items enrolled"
        )

    def dir_at(rate: float) -> MetricLine[OpenSet]:
        return MetricLine(
            f"DIR at FPIR {100 * rate:g} %",
            OPEN_SET,
            lambda r: r.dir_at_fpir(rate),
            "dir_at_fpir",
            (rate,),
            Shown.CONSOLE,
        )

    return MetricGroup(OPEN_SET, "open set", size, tuple(map(dir_at, FPIR)))


def _knn() -> MetricGroup[KnnClassification]:
    def size(found: KnnClassification) -> str:
        alone = (
            f", {found.unmatched:,} of identities without training items left out" if found.unmatched else ""
        )
        return f"{len(found.probes):,} items among {found.gallery:,} training items{alone}"

    lines = (
        MetricLine(
            f"kNN accuracy (k={NEIGHBOURS}, training part as gallery)",
            KNN,
            lambda r: r.accuracy,
            "accuracy",
            shown=Shown.HEADLINE,
        ),
        MetricLine(
            "balanced kNN accuracy (mean over identities)",
            KNN,
            lambda r: r.balanced_accuracy,
            "balanced_accuracy",
        ),
    )
    return MetricGroup(KNN, "", size, lines)


def _clustering() -> MetricGroup[Clustering]:
    def size(found: Clustering) -> str:
        at = f" at distance {found.how['threshold']:.3f}" if found.how else ""
        return f"{found.clusters:,} clusters of {found.identities:,} identities{at}"

    lines = (
        MetricLine("pairwise precision", CLUSTERING, lambda r: r.pairwise_precision, "pairwise_precision"),
        MetricLine("pairwise recall", CLUSTERING, lambda r: r.pairwise_recall, "pairwise_recall"),
        MetricLine("pairwise F", CLUSTERING, lambda r: r.pairwise_f, "pairwise_f"),
        MetricLine("BCubed precision", CLUSTERING, lambda r: r.bcubed_precision, "bcubed_precision"),
        MetricLine("BCubed recall", CLUSTERING, lambda r: r.bcubed_recall, "bcubed_recall"),
        MetricLine("BCubed F", CLUSTERING, lambda r: r.bcubed_f, "bcubed_f"),
        MetricLine("ARI", CLUSTERING, lambda r: r.ari, "ari"),
        MetricLine("NMI", CLUSTERING, lambda r: r.nmi, "nmi"),
        MetricLine("AMI", CLUSTERING, lambda r: r.ami, "ami"),
    )
    return MetricGroup(CLUSTERING, "", size, lines)


def _triplets() -> MetricGroup[TripletAccuracy]:
    def size(found: TripletAccuracy) -> str:
        return f"{len(found.triplets):,} triplets, {found.contradictions:,} of which contradict others"

    line = MetricLine("triplet accuracy", TRIPLETS, lambda r: r.accuracy, "accuracy", shown=Shown.CONSOLE)
    return MetricGroup(TRIPLETS, "triplet judgements", size, (line,))


def _recommendation(k: int) -> MetricGroup[Recommendation]:
    def size(found: Recommendation) -> str:
        return f"{len(found.users):,} users, {found.items:,} items"

    shown = Shown.HEADLINE
    lines = (
        MetricLine(f"HR@{k}", RECOMMENDATION, lambda r: r.hit_rate_at(k), "hit_rate_at", (k,), shown),
        MetricLine(f"NDCG@{k}", RECOMMENDATION, lambda r: r.ndcg_at(k), "ndcg_at", (k,), shown),
        MetricLine("MRR", RECOMMENDATION, lambda r: r.mrr, "mrr", shown=shown),
    )
    return MetricGroup(RECOMMENDATION, "", size, lines)


def _tar(source: Source[Verification], rate: float, shown: Shown) -> MetricLine[Verification]:
    name = f"TAR at FAR {100 * rate:g} %"
    return MetricLine(name, source, lambda r: r.tar_at_far(rate), "tar_at_far", (rate,), shown)


def _eer(source: Source[Verification]) -> MetricLine[Verification]:
    return MetricLine("EER", source, lambda r: r.eer, "eer", larger_is_better=False)


def _size_of_pairs(found: Verification) -> str:
    pairs = f"{found.genuine_pairs:,} pairs of one identity, {found.impostor_pairs:,} of two"
    if found.folds is None:
        return pairs
    spread = f"{found.accuracy:.4f} ± {found.accuracy_standard_error:.4f}"
    return f"{pairs}; accuracy {spread} (standard error over {len(found.folds.accuracies)} folds)"
