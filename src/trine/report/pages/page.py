"""Assembles pages from their sections."""

from __future__ import annotations

from collections.abc import Sequence

from trine.report.comparison import Comparison
from trine.report.html.document import Section, Stat, document
from trine.report.html.markup import element
from trine.report.html.tables import table
from trine.report.html.tiles import neighbour_rows
from trine.report.label_error_report import LabelErrorReport
from trine.report.metrics_table import MetricLine
from trine.report.pages.context import PageContext, TileFactory
from trine.report.pages.curves import comparison_curves_section, curves_section, margins_section
from trine.report.pages.items import (
    contradicted_section,
    disagreements_section,
    hardest_section,
    map_section,
    neighbours_section,
)
from trine.report.pages.tables import (
    comparison_metrics_section,
    identities_section,
    metrics_section,
    model_facts,
    model_section,
    verdict_section,
)
from trine.report.report import Report


def report_page(context: PageContext) -> str:
    """Writes a report as one HTML page.

    Args:
        context: The report with the items that the page shows.
    """
    report, items = context.report, context.items
    sections = [
        verdict_section(report),
        metrics_section(report),
        curves_section(report),
        margins_section(report),
    ]
    if items is not None:
        tiles = TileFactory(items.dataset)
        sections += [
            contradicted_section(report, tiles),
            neighbours_section(items, tiles),
            hardest_section(items, report.calibration, tiles),
            map_section(items),
            identities_section(report, items),
        ]
    sections.append(model_section(context))
    return document(
        f"{context.name} on {report.data}",
        [section for section in sections if section is not None],
        lead=str(report.part),
        stats=[_stat(report, line) for line in report.headline_lines],
        notes=report.warnings,
        foot=f"Made by trine. metrics.json next to this page in {report.folder} holds the same metrics.",
    )


def comparison_page(contexts: Sequence[PageContext], comparison: Comparison) -> str:
    """Writes the reports of several runs on the same items as one HTML page.

    Args:
        contexts: The reports with the items that the page shows.
        comparison: The same reports, compared.
    """
    *most, last = comparison.reports
    models = [element("div", element("h3", each.name), model_facts(each)) for each in contexts]
    sections = [
        comparison_metrics_section(comparison),
        comparison_curves_section(comparison.reports),
        disagreements_section(contexts),
        Section("models", "Models", "", element("div", *models, class_="beside")),
    ]
    return document(
        f"{', '.join(most)} and {last} on {comparison.data}",
        sections,
        lead=str(comparison.part),
        notes=comparison.notes,
        foot=f"Made by trine. metrics.json next to this page in {comparison.folder} holds the same metrics.",
    )


def label_error_page(report: LabelErrorReport) -> str:
    """Writes the suspicious labels next to the items most similar to them as one HTML page.

    Args:
        report: The audit.
    """
    errors, tiles = report.found, TileFactory(report.dataset)
    rows = []
    for suspect in report.suspects:
        positions, distances = zip(*report.neighbours(suspect), strict=True)
        query = tiles.tile(suspect.row, note=f"{suspect.looks_like}? {suspect.score:.2f}")
        rows.append((query, tiles.neighbours(suspect.row, positions, distances)))
    listed = [[s.item, s.label, s.looks_like, f"{s.score:.2f}", s.evidence] for s in report.suspects]
    sections = [
        Section(
            "suspects",
            "Suspects",
            "Each row starts with an item, the label it looks like and the score. Its nearest items follow: "
            "✓ same label, ✗ other label. A near-duplicate comes first.",
            neighbour_rows(rows),
        ),
        Section(
            "evidence",
            "Evidence",
            "Why each label is suspicious. Labels with a score of at least 0.5 are probably wrong.",
            table(["item", "label", "looks like", "score", "evidence"], listed, words=5),
        ),
    ]
    memorised = (
        "Some of these items were trained on. An encoder memorises wrong labels and then hides them; to find "
        "the others, audit the test part, or train on other items.",
    )
    return document(
        f"Labels of {report.data}",
        sections,
        lead=str(report.part),
        stats=[
            Stat("probably wrong", f"{errors.likely:,}", (f"of {len(errors.labels):,} labels",)),
            Stat("shown here", f"{len(report.suspects):,}", ("the most suspicious",)),
        ],
        notes=memorised if report.part.trained_on else (),
        foot="Made by trine. Whether a label is wrong, and which label of a pair, is for you to decide.",
    )


def _stat(report: Report, line: MetricLine) -> Stat:
    value, interval = line.value(report.after), line.interval(report.after)
    was = None if report.before is None else line.value(report.before)
    ends = "" if interval is None else interval.brackets()
    notes = [ends.strip(" ()")] if ends else []
    if was is not None:
        notes.append(f"before {was:.3f}")
    return Stat(line.name, f"{value:.3f}", tuple(notes))
