"""The tables of a page: metrics with intervals, identities, the triplet census, the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import torch

from trine.encoders import Encoder, TwoTower
from trine.evaluation import Retrieval
from trine.neighbours import nearest_neighbours
from trine.report.comparison import Comparison
from trine.report.difference import Difference
from trine.report.html.charts import range_bar
from trine.report.html.document import Section
from trine.report.html.markup import Child, Markup, element, join
from trine.report.html.tables import facts, metric_cell, table
from trine.report.metrics_table import MetricLine
from trine.report.pages.context import PageContext, ShownItems
from trine.report.report import Report

INTERVALS = "Intervals are 95 % confidence intervals over identities."
IDENTITIES, ASKED, AMONG = 12, 2000, 10


def metrics_section(report: Report) -> Section:
    """Shows every metric with its interval, and its value before training."""
    after, before = report.after, report.before

    def cells(line: MetricLine) -> list[Child]:
        value, interval = line.value(after), line.interval(after)
        was = None if before is None else line.value(before)
        ends = (None, None) if interval is None else (interval.low, interval.high)
        row: list[Child] = [range_bar(value or 0.0, *ends, before=was), metric_cell(value, interval)]
        return row if before is None else [*row, metric_cell(was, line.interval(before))]

    head = ["metric", "0 to 1", "after training"]
    leads = [INTERVALS]
    if report.after.retrieval is None and report.after.triplet_accuracy is not None:
        leads = [
            "The share of judgements whose positive is nearer to the anchor than the negative; chance is "
            "0.5. The interval is a 95 % confidence interval over anchors.",
            f"{report.consistency_sentence()}.",
        ]
    if report.after.recommendation is not None:
        leads = ["Intervals are 95 % confidence intervals over users."]
    if clusters := report.cluster_sentence():
        leads.append(f"Clusters: {clusters}.")
    if before is not None and report.baseline is not None:
        head.append("before")
        leads.append(f"Before: {report.baseline.description} (the ring on the bar).")
    return Section("metrics", "Metrics", " ".join(leads), table(head, _metric_rows(report, cells), words=2))


def verdict_section(report: Report) -> Section | None:
    """Shows what the model is fit for, and whether training helped; None if nothing can be said."""
    verdict = report.verdict
    if not str(verdict):
        return None
    rows: list[list[Child] | str] = [
        [each.use, each.fitness.value, each.finding, metric_cell(each.value, each.interval)]
        for each in verdict.uses
    ]
    sentences = [str(each) for each in (verdict.learning, verdict.caution, verdict.advice) if each]
    said = [element("p", f"{each[:1].upper()}{each[1:]}.") for each in sentences]
    shown = [table(["use", "verdict", "because", "share"], rows, words=3)] if rows else []
    lead = (
        "What these items show the model to be fit for. Fit: at least nine of ten answers are right. Unfit: "
        "fewer than half are, or no more than without an embedding."
    )
    return Section("verdict", "Verdict", lead if rows else "", element("div", *shown, *said))


def comparison_metrics_section(comparison: Comparison) -> Section:
    """Shows every metric of several runs, and the differences from the first one."""
    first, *others = comparison.reports
    reports = comparison.reports.values()

    def cells(line: MetricLine) -> list[Child]:
        values = [metric_cell(line.value(report.after), line.interval(report.after)) for report in reports]
        return [*values, *(_difference(comparison.differences[other].get(line.key)) for other in others)]

    head = ["metric", *comparison.reports, *(f"{other} minus {first}" for other in others)]
    lead = (
        f"{INTERVALS} Differences are paired: both runs are resampled with the same draws. A run is better "
        "(▲) or worse (▼) if that interval excludes 0, even where the two separate intervals overlap."
    )
    for name, report in comparison.reports.items():
        if clusters := report.cluster_sentence():
            lead += f" Clusters of {name}: {clusters}."
    rows = _metric_rows(comparison.reports[first], cells)
    return Section("metrics", "Metrics", lead, table(head, rows))


def _metric_rows(report: Report, cells: Callable[[MetricLine], list[Child]]) -> list[list[Child] | str]:
    """One row for each metric that a report has, below the title of its protocol."""
    rows: list[list[Child] | str] = []
    for group in report.groups:
        title = group.title(report.after)
        if title is not None:
            rows.append(title)
            rows += [
                [_named(line), *cells(line)] for line in group.lines if line.value(report.after) is not None
            ]
    return rows


def _named(line: MetricLine) -> Child:
    if line.larger_is_better:
        return line.name
    return join(line.name, " ", element("small", "smaller is better"))


def _difference(difference: Difference | None) -> Markup:
    if difference is None:
        return metric_cell(None)
    written = metric_cell(difference.value, difference.interval, signed=True)
    if difference.better is None:
        return written
    sign, kind, word = ("▲", "right", "better") if difference.better else ("▼", "wrong", "worse")
    mark = element("span", sign, class_=f"verdict {kind}", role="img", aria_label=word, title=word)
    return join(mark, " ", written)


def identities_section(report: Report, items: ShownItems) -> Section | None:
    """Shows the identities with the worst metrics and their confusions; None below two identities."""
    data, retrieval = items.dataset, report.after.retrieval
    if retrieval is None:
        return None
    names, sizes, means = _by_identity(retrieval, data.labels)
    if len(names) < 2:
        return None
    order = np.argsort(means["MAP@R"], kind="stable")[:IDENTITIES]
    confused = _confused_with(items, names[order])
    rows = [
        [
            data.identities[names[at]],
            confused.get(int(names[at]), "–"),
            f"{sizes[at]:,}",
            *(metric_cell(float(values[at])) for values in means.values()),
        ]
        for at in order.tolist()
    ]
    more = f": the worst {len(order)} of {len(names):,}" if len(order) < len(names) else ""
    return Section(
        "identities",
        "Identities",
        f"Sorted by MAP@R{more}. An identity far below the others may hold wrong labels or items of another "
        "kind. Confused with: the other identity that is most frequent among the nearest R of its items (R "
        "is the number of its other items, at most 10).",
        table(["identity", "confused with", "items", *means], rows, words=2),
    )


def census_card(report: Report) -> Markup | None:
    """Shows the triplet census."""
    counted = report.census
    if counted is None or not counted.census.triplets:
        return None
    census = counted.census
    of = f"{counted.items:,} random items" if counted.sampled else f"all {counted.items:,} items"
    rows: list[list[Child] | str] = [
        [name, meaning, f"{count:,}", f"{count / census.triplets:.2%}"]
        for name, meaning, count in (
            ("easy", "d(a,n) ≥ d(a,p) + α", census.easy),
            ("semi-hard", "d(a,p) < d(a,n) < d(a,p) + α", census.semihard),
            ("hard", "d(a,n) ≤ d(a,p)", census.hard),
            ("active", "loss > 0", census.active),
        )
    ]
    lead = (
        f"All {census.triplets:,} triplets of {of} (not of training batches) at margin "
        f"α = {counted.margin:g}. Mean distance of positives {census.mean_positive_distance:.3f}, of "
        f"negatives {census.mean_negative_distance:.3f}."
    )
    head = ["triplets", "where", "number", "share"]
    return join(element("h3", "Triplets"), element("p", lead), table(head, rows, words=2))


def model_section(context: PageContext) -> Section:
    """Describes the model."""
    return Section("model", "Model", "", model_facts(context))


def model_facts(context: PageContext) -> Markup:
    """Lists the properties of a model and the basis of its threshold."""
    model, report = context.model, context.report
    entries: list[tuple[str, Child]] = [
        ("folder", element("code", str(context.run))),
        ("trained on", context.trained_on or "unknown"),
        ("network", _network(model)),
        ("embedding", f"{model.settings.dimension} dimensions{', unit length' * model.settings.normalise}"),
        ("distance", f"{model.distance.replace('_', ' ')} (smaller is closer)"),
    ]
    if isinstance(model, Encoder):
        entries.append(("threshold", _threshold(report)))
    entries.append(("fingerprint", element("code", model.fingerprint)))
    return facts([*entries, *(("doctor", str(diagnosis)) for diagnosis in report.doctor)])


def _network(model: Encoder | TwoTower) -> str:
    if isinstance(model, Encoder):
        settings = model.settings
        return f"{settings.network}, for {settings.kind} of shape {'×'.join(map(str, settings.shape))}"
    return f"two towers: {len(model.settings.users):,} users, {len(model.settings.items):,} items"


def _threshold(report: Report) -> str:
    if report.after.retrieval is None:
        return "none: triplet judgements compare similarities, not identities"
    return report.threshold_sentence() or "none: the model is not calibrated"


def _by_identity(
    retrieval: Retrieval, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The identities with a query, their items, and the means of their queries."""
    names, own, sizes = np.unique(labels[retrieval.queries], return_inverse=True, return_counts=True)
    means = {
        name: np.bincount(own, weights=values) / sizes
        for name, values in (
            ("recall@1", retrieval.first_ranks <= 1),
            ("R-precision", retrieval.r_precisions),
            ("MAP@R", retrieval.maps_at_r),
        )
    }
    return names, sizes, means


def _confused_with(items: ShownItems, identities: np.ndarray) -> dict[int, Markup]:
    """For some identities, the other identity that is most frequent among the nearest of their items."""
    data = items.dataset
    asked = np.flatnonzero(np.isin(data.labels, identities))[:ASKED]
    rows = torch.from_numpy(items.embeddings)
    others = np.bincount(data.labels)[data.labels[asked]] - 1
    nearest = nearest_neighbours(
        rows[torch.from_numpy(asked)],
        rows,
        k=int(min(max(others.max(), 1), AMONG)),
        distance=items.distance,
        exclude=asked,
    )
    taken: dict[int, Counter[int]] = {}
    for own, near, most in zip(data.labels[asked].tolist(), nearest.indices, others.tolist(), strict=True):
        wrong = data.labels[near[:most]]
        taken.setdefault(own, Counter()).update(wrong[wrong != own].tolist())
    return {
        identity: join(data.identities[other], " ", element("small", f"×{times:,}"))
        for identity, counts in taken.items()
        for other, times in counts.most_common(1)
    }
