"""The page of one evaluation."""

from __future__ import annotations

from trine.report.evaluation_report import Metrics, Report
from trine.report.html import Section, Stat, document, element, join, side_by_side
from trine.report.metrics_table import Headline, short_lines
from trine.report.pages.context import Shelf, Subject
from trine.report.pages.curves import distance_chart, rank_chart, ranked_report, roc_chart
from trine.report.pages.items import hardest_section, map_section, neighbours_section
from trine.report.pages.sections import card_section, census_card, figures_section, identities_section


def evaluation_page(subject: Subject) -> str:
    """Writes what an evaluation found as one page.

    Args:
        subject: The encoder, its items, and the report.

    Returns:
        HTML.
    """
    report, shelf = subject.report, Shelf(subject.dataset)
    sections = [
        figures_section(subject),
        _curves(report),
        neighbours_section(subject.dataset, subject.view, shelf),
        hardest_section(subject, shelf),
        map_section(subject.dataset, subject.view),
        identities_section(subject),
        card_section(subject),
    ]
    return document(
        f"{subject.name} on {report.data}",
        [section for section in sections if section is not None],
        lead=report.part,
        stats=[
            _stat(report, line) for line in short_lines(report.far) if line.value(report.after) is not None
        ],
        notes=warnings(report),
        foot=f"Made by trine. The figures stand in metrics.json beside this page, in {report.folder}.",
    )


def warnings(report: Report) -> list[str]:
    """What must not be overlooked."""
    notes = [str(found) for found in report.doctor]
    if "trained on" in report.part:
        notes.append(
            "Some of these items were trained on, so the figures look better than the encoder is; "
            "the test part shows what it does on items it has never seen."
        )
    return [*notes, *report.notes]


def _stat(report: Report, line: Headline) -> Stat:
    value, interval = line.value(report.after), line.interval(report.after)
    was = None if report.before is None else line.value(report.before)
    words = [] if interval is None else [str(interval)]
    if was is not None:
        words.append(f"before {was:.3f}")
    return Stat(line.name, f"{value:.3f}", tuple(words))


def _curves(report: Report) -> Section:
    after, before = report.after, report.before
    known = report.calibration
    roc = [("after training", after.verification, False)]
    ranks = [("after training", ranked_report(after), False)]
    if before is not None:
        roc.append(("before", before.verification, True))
        ranks.append(("before", ranked_report(before), True))
    census = census_card(report)
    charts = side_by_side(
        join(
            element("h3", "ROC"),
            element("p", "How many of the same are accepted (TAR) while a share of the different is (FAR)."),
            roc_chart(roc),
        ),
        join(
            element("h3", "CMC"),
            element("p", f"How many {_who(after)} have their identity among the nearest k."),
            rank_chart(ranks),
        ),
        join(
            element("h3", "Distances of pairs"),
            element("p", _threshold_words(report)),
            distance_chart(after.verification, None if known is None else known.threshold),
        ),
        *([] if census is None else [census]),
    )
    return Section("curves", "Curves", "", charts)


def _who(figures: Metrics) -> str:
    return "queries" if figures.identification is None else "probes, across cameras,"


def _threshold_words(report: Report) -> str:
    known, measured = report.calibration, report.after.verification
    if known is None:
        return "Each kind of pair as shares of its own number."
    return (
        f"The threshold accepts {measured.tar_at(known.threshold):.1%} of the same and "
        f"{measured.far_at(known.threshold):.2%} of the different."
    )
