"""The metrics that reports show, grouped by protocol: names, values and intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

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
from trine.evaluation.metric_report import MetricReport
from trine.report.metrics import Metrics
from trine.shapes import Float

FPIR = (0.01, 0.05, 0.1)
"""The false-positive identification rates at which open-set identification is reported."""

NEIGHBOURS = 5
"""The number of training items that vote on the identity of an item."""


class Shown(IntEnum):
    """Where a metric is shown; each place also shows the metrics of the places below it."""

    PAGE = 0
    CONSOLE = 1
    HEADLINE = 2


PAGE, CONSOLE, HEADLINE = Shown


@dataclass(frozen=True)
class Source:
    """The result that metrics come from.

    Attributes:
        key: The name of the result in `Metrics`.
        of: Gets the result.
    """

    key: str
    of: Callable[[Metrics], MetricReport | None]

    def line(
        self,
        name: str,
        metric: str,
        *arguments: float,
        shown: Shown = PAGE,
        larger_is_better: bool = True,
    ) -> MetricLine:
        """Returns one of its metrics as a line of a table."""
        return MetricLine(name, self, metric, arguments, shown, larger_is_better)


RETRIEVAL = Source("retrieval", lambda metrics: metrics.retrieval)
VERIFICATION = Source("verification", lambda metrics: metrics.verification)
PAIRS = Source("pairs", lambda metrics: metrics.pairs)
PAIRS_AT_THRESHOLD = Source("pairs_at_threshold", lambda metrics: metrics.pairs_at_threshold)
IDENTIFICATION = Source("identification", lambda metrics: metrics.identification)
OPEN_SET = Source("open_set", lambda metrics: metrics.open_set)
LEFT_OUT = Source("left_out", lambda metrics: metrics.left_out)
KNN = Source("knn_classification", lambda metrics: metrics.knn_classification)
CLUSTERING = Source("clustering", lambda metrics: metrics.clustering)
TRIPLETS = Source("triplet_accuracy", lambda metrics: metrics.triplet_accuracy)
RECOMMENDATION = Source("recommendation", lambda metrics: metrics.recommendation)


@dataclass(frozen=True)
class MetricLine:
    """One metric as one line of a table; a value in [0, 1].

    Attributes:
        name: The displayed name.
        source: The result that holds it.
        metric: The name of its method or attribute.
        arguments: The arguments of the method.
        shown: Where it is shown.
        larger_is_better: False for error rates.
    """

    name: str
    source: Source
    metric: str
    arguments: tuple[float, ...] = ()
    shown: Shown = PAGE
    larger_is_better: bool = True

    @property
    def key(self) -> str:
        """A unique name."""
        return f"{self.source.key}: {self.name}"

    def value(self, metrics: Metrics) -> float | None:
        """The value; None if it was not measured."""
        result = self.source.of(metrics)
        value = None if result is None else result.value(self.metric, *self.arguments)
        return None if value is None or math.isnan(value) else value

    def interval(self, metrics: Metrics) -> Interval | None:
        """The interval; None if the metric has none."""
        result = self.source.of(metrics)
        if result is None or self.value(metrics) is None:
            return None
        try:
            interval = result.interval(self.metric, *self.arguments)
        except InputError:  # not every metric has an interval
            return None
        return interval if interval.known else None

    def resampled(self, metrics: Metrics) -> Float[np.ndarray, " r"]:
        """The metric in each bootstrap sample; see `MetricReport.resampled`."""
        result = self.source.of(metrics)
        assert result is not None, "only measured metrics are resampled"
        return result.resampled(self.metric, *self.arguments)


@dataclass(frozen=True)
class MetricGroup:
    """The metrics of one protocol.

    Attributes:
        source: The result.
        prefix: The prefix of metric names on the console; empty for none.
        size: Describes how many queries or pairs the result is based on.
        lines: The metrics.
    """

    source: Source
    prefix: str
    size: Callable[[Any], str]
    lines: tuple[MetricLine, ...]

    def title(self, metrics: Metrics) -> str | None:
        """The protocol and the number of queries or pairs; None if nothing was measured."""
        result: Any = self.source.of(metrics)
        if result is None:
            return None
        name, _, rules = result.protocol.partition(": ")
        return f"{name[:1].upper()}{name[1:]}: {rules}; {self.size(result)}"


def metric_groups(far: float, k: int = 10) -> tuple[MetricGroup, ...]:
    """Lists the metrics of a report in the order of its page.

    Args:
        far: A false-accept rate to report in addition to 0.1 %, 1 % and 10 %.
        k: The number of recommendations counted.
    """
    verification = _of_pairs(VERIFICATION, {0.1, 0.01, 0.001, far}, HEADLINE, shown_rates={0.01, far})
    at_threshold = "accuracy at the threshold of the validation pairs"
    pairs = (
        PAIRS.line("accuracy", "accuracy", shown=CONSOLE),
        PAIRS_AT_THRESHOLD.line(at_threshold, "accuracy", shown=CONSOLE),
        *_of_pairs(PAIRS, {0.01, far}, CONSOLE, shown_rates={0.01}),
    )
    ranked = (
        RECOMMENDATION.line(f"HR@{k}", "hit_rate_at", k, shown=HEADLINE),
        RECOMMENDATION.line(f"NDCG@{k}", "ndcg_at", k, shown=HEADLINE),
        RECOMMENDATION.line("MRR", "mrr", shown=HEADLINE),
    )
    return (
        MetricGroup(RETRIEVAL, "", _queries, _RETRIEVAL),
        MetricGroup(VERIFICATION, "", _pairs, verification),
        MetricGroup(IDENTIFICATION, "across cameras", _camera_probes, _IDENTIFICATION),
        MetricGroup(OPEN_SET, "open set", _open_set_probes, _OPEN_SET),
        MetricGroup(LEFT_OUT, "left out", _left_out_probes, _LEFT_OUT),
        MetricGroup(KNN, "", _knn_probes, _KNN),
        MetricGroup(PAIRS, "listed pairs", _pairs, pairs),
        MetricGroup(CLUSTERING, "", _clusters, _CLUSTERING),
        MetricGroup(TRIPLETS, "triplet judgements", _triplets, _TRIPLETS),
        MetricGroup(RECOMMENDATION, "", _users, ranked),
    )


_RETRIEVAL = (
    RETRIEVAL.line("recall@1", "recall_at", 1, shown=HEADLINE),
    *(RETRIEVAL.line(f"recall@{rank}", "recall_at", rank) for rank in (4, 10)),
    RETRIEVAL.line("MAP@R", "map_at_r", shown=HEADLINE),
    RETRIEVAL.line("R-precision", "r_precision"),
    RETRIEVAL.line("MRR", "mrr"),
)
_IDENTIFICATION = (
    IDENTIFICATION.line("CMC rank 1", "cmc", 1, shown=CONSOLE),
    *(IDENTIFICATION.line(f"CMC rank {rank}", "cmc", rank) for rank in (5, 10, 20)),
    IDENTIFICATION.line("mAP", "mean_average_precision", shown=CONSOLE),
)
_OPEN_SET = tuple(
    OPEN_SET.line(f"DIR at FPIR {100 * rate:g} %", "dir_at_fpir", rate, shown=CONSOLE) for rate in FPIR
)
_LEFT_OUT = tuple(LEFT_OUT.line(f"DIR at FPIR {100 * rate:g} %", "dir_at_fpir", rate) for rate in FPIR)
_KNN = (
    KNN.line(f"kNN accuracy (k={NEIGHBOURS}, training part as gallery)", "accuracy", shown=HEADLINE),
    KNN.line("balanced kNN accuracy (mean over identities)", "balanced_accuracy"),
)
_CLUSTERING = (
    *(
        CLUSTERING.line(f"{name} {part}", f"{name.lower()}_{part.lower()}")
        for name in ("pairwise", "BCubed")
        for part in ("precision", "recall", "F")
    ),
    *(CLUSTERING.line(name, name.lower()) for name in ("ARI", "NMI", "AMI")),
    *(
        CLUSTERING.line(f"{name} F of {words}", f"{name.lower()}_f_{what}")
        for name in ("BCubed", "pairwise")
        for what, words in (("alone", "every item alone"), ("all_in_one", "all items in one cluster"))
    ),
)
_TRIPLETS = (TRIPLETS.line("triplet accuracy", "accuracy", shown=CONSOLE),)


def _of_pairs(
    source: Source, rates: set[float], shown: Shown, *, shown_rates: set[float]
) -> tuple[MetricLine, ...]:
    """The metrics of a verification."""
    tars = (
        source.line(
            f"TAR at FAR {100 * rate:g} %", "tar_at_far", rate, shown=shown if rate in shown_rates else PAGE
        )
        for rate in sorted(rates, reverse=True)
    )
    auc = source.line("ROC AUC", "roc_auc", shown=shown)
    return (auc, source.line("EER", "eer", larger_is_better=False), *tars)


def headline_lines(metrics: Metrics, far: float, k: int = 10) -> list[MetricLine]:
    """The few metrics that sum up a report, for the top of its page and the model card.

    Args:
        metrics: The results.
        far: As for `metric_groups`.
        k: As for `metric_groups`.
    """
    lines = [line for _, line in _printable(metrics, far, k)]
    highest = max((line.shown for line in lines), default=Shown.PAGE)
    return [line for line in lines if line.shown == highest]


def headline(metrics: Metrics, far: float = 0.01, k: int = 10) -> dict[str, float]:
    """The values of `headline_lines` by name.

    Args:
        metrics: The results.
        far: As for `metric_groups`.
        k: As for `metric_groups`.
    """
    values = {line.name: line.value(metrics) for line in headline_lines(metrics, far, k)}
    return {name: value for name, value in values.items() if value is not None}


def console_lines(metrics: Metrics, far: float, k: int = 10) -> dict[str, MetricLine]:
    """The metrics printed on the console, by their names there.

    Args:
        metrics: The results.
        far: As for `metric_groups`.
        k: As for `metric_groups`.
    """
    printed = {line.name: line for line in headline_lines(metrics, far, k)}
    if any(line.shown == Shown.HEADLINE for line in printed.values()):
        for group, line in _printable(metrics, far, k):
            if line.shown == Shown.CONSOLE:
                printed[f"{group.prefix}: {line.name}"] = line
    return printed


def _printable(metrics: Metrics, far: float, k: int) -> Iterator[tuple[MetricGroup, MetricLine]]:
    for group in metric_groups(far, k):
        for line in group.lines:
            # Metrics shown only on the page may take long to compute.
            if line.shown > PAGE and line.value(metrics) is not None:
                yield group, line


def _queries(result: Retrieval) -> str:
    left_out = f", {result.excluded:,} without a positive left out" if result.excluded else ""
    return f"{len(result.queries):,} queries among {result.references:,} items{left_out}"


def _pairs(result: Verification) -> str:
    pairs = f"{result.genuine_pairs:,} pairs of one identity, {result.impostor_pairs:,} of two"
    if result.folds is None:
        return pairs
    spread = f"{result.accuracy:.4f} ± {result.accuracy_standard_error:.4f}"
    return f"{pairs}; accuracy {spread} (standard error over {len(result.folds.accuracies)} folds)"


def _camera_probes(result: Identification) -> str:
    alone = f", {result.unmatched:,} seen by one camera only left out" if result.unmatched else ""
    return f"{len(result.probes):,} probes among {result.gallery:,} items{alone}"


def _open_set_probes(result: OpenSet) -> str:
    known = f"{len(result.distances):,} probes of {result.identities:,} known identities"
    return f"{known} and {len(result.unknowns):,} of unknown ones, {result.gallery:,} items enrolled"


def _left_out_probes(result: OpenSet) -> str:
    known = f"{len(result.distances):,} probes of {result.identities:,} identities among {result.gallery:,}"
    return f"{known} other items, {len(result.unknowns):,} probes as strangers"


def _knn_probes(result: KnnClassification) -> str:
    alone = (
        f", {result.unmatched:,} of identities without training items left out" if result.unmatched else ""
    )
    return f"{len(result.probes):,} items among {result.gallery:,} training items{alone}"


def _clusters(result: Clustering) -> str:
    how = f", {result.how['method']} linkage at distance {result.how['threshold']:.3f}" if result.how else ""
    return f"{result.clusters:,} clusters of {result.identities:,} identities{how}"


def _triplets(result: TripletAccuracy) -> str:
    return f"{len(result.triplets):,} triplets, {result.contradictions:,} of which contradict others"


def _users(result: Recommendation) -> str:
    return f"{len(result.users):,} users, {result.items:,} items"
