"""The page of judgements: how many the embeddings agree with, and which they contradict most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trine.data import Dataset
from trine.encoders import Encoder
from trine.report.html import (
    Child,
    Markup,
    Section,
    Stat,
    document,
    element,
    figure,
    histogram_chart,
    neighbour_rows,
    range_bar,
    table,
)
from trine.report.pages.context import Shelf, distance_note
from trine.report.pages.items import map_section, neighbours_section
from trine.report.pages.sections import model_facts
from trine.report.selection import View
from trine.report.triplet_judgements_report import FIGURE, JudgedReport

SHOWN, BINS = 8, 60


@dataclass(frozen=True, eq=False)
class JudgedSubject:
    """An encoder that learned from judgements, on its page.

    Attributes:
        name: What it is called.
        run: The run folder.
        report: What was found; its triplets are positions among the items.
        dataset: The items, without identities.
        encoder: What embedded them.
        trained_on: What it was trained on, in words; empty where that is not known.
        view: What to show of the items.
    """

    name: str
    run: Path
    report: JudgedReport
    dataset: Dataset
    encoder: Encoder
    trained_on: str
    view: View


def judged_page(subject: JudgedSubject) -> str:
    """Writes what was found of judgements as one page.

    Args:
        subject: The encoder, its items, and the report.

    Returns:
        HTML.
    """
    report, shelf = subject.report, Shelf(subject.dataset)
    sections = [
        _figures(report),
        _margins(report),
        _missed(subject, shelf),
        neighbours_section(subject.dataset, subject.view, shelf),
        map_section(subject.dataset, subject.view),
        Section("model", "Model", "", _model(subject)),
    ]
    return document(
        f"{subject.name} on {report.data}",
        [section for section in sections if section is not None],
        lead=report.part,
        stats=[_stat(report)],
        notes=[*map(str, report.doctor), *report.notes],
        foot=f"Made by trine. The figures stand in metrics.json beside this page, in {report.folder}.",
    )


def _stat(report: JudgedReport) -> Stat:
    interval = report.interval()
    words = [] if interval is None else [str(interval)]
    if report.before is not None:
        words.append(f"before {report.before.accuracy:.3f}")
    return Stat(FIGURE, f"{report.after.accuracy:.3f}", tuple(words))


def _figures(report: JudgedReport) -> Section:
    after, before, interval = report.after, report.before, report.interval()
    ends = (None, None) if interval is None else (interval.low, interval.high)
    bar = range_bar(after.accuracy, *ends, before=None if before is None else before.accuracy)
    row: list[Child] = [FIGURE, bar, figure(after.accuracy, interval)]
    head = ["figure", "0 to 1", "after training, 95 % interval"]
    lead = (
        "How many judgements have the positive nearer to the anchor than the negative; by chance a half. "
        f"The interval comes from drawing anchors again. {report.consistency_sentence()}."
    )
    if before is not None:
        head.append("before")
        known = before.interval("accuracy")
        row.append(figure(before.accuracy, known if known.known else None))
        lead += f" Before training: {report.how} (the ring on the bar)."
    return Section("figures", "Metrics", lead, table(head, [row], words=2))


def _margins(report: JudgedReport) -> Section:
    after = report.after
    counted = after.histogram(BINS)
    chart = histogram_chart(
        counted.edges,
        [("agrees", "right", counted.agree), ("disagrees", "wrong", counted.disagree)],
        title=f"how much farther the negative is ({after.distance.replace('_', ' ')} distance)",
        threshold=None,
        about="How much farther than the positive the negative of each judgement is",
        counted="judgements",
    )
    lead = (
        "d(anchor, negative) − d(anchor, positive) of every judgement: below 0 the encoder says the opposite."
    )
    return Section("margins", "Margins", lead, element("div", chart, class_="card half"))


def _missed(subject: JudgedSubject, shelf: Shelf) -> Section | None:
    after = subject.report.after
    order = np.argsort(after.margins, kind="stable")
    wrong = order[after.margins[order] <= 0]
    # One of each anchor: the worst of one item would fill the page.
    first = np.sort(np.unique(after.triplets[wrong, 0], return_index=True)[1])[:SHOWN]
    if not len(first):
        return None
    rows = []
    for at in wrong[first].tolist():
        anchor, positive, negative = after.triplets[at].tolist()
        by = distance_note(-float(after.margins[at]))
        rows.append(
            (
                shelf.tile(anchor, note="anchor"),
                [
                    shelf.tile(positive, note=f"nearer? {by} farther"),
                    shelf.tile(negative, note="farther?"),
                ],
            )
        )
    lead = "The judgements that the encoder contradicts most, one of each anchor: it or the judge is wrong."
    return Section("missed", "Contradicted judgements", lead, neighbour_rows(rows))


def _model(subject: JudgedSubject) -> Markup:
    return model_facts(
        subject.encoder,
        run=subject.run,
        trained_on=subject.trained_on,
        threshold="none: judgements say what is more alike, not what is the same",
        doctor=subject.report.doctor,
    )
