"""The charts of a page: ROC, CMC, distances and margins, of one report or of several in one frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from trine.evaluation import Identification, Retrieval, Verification
from trine.report.html import (
    Axis,
    Line,
    Markup,
    Section,
    element,
    histogram_chart,
    join,
    line_chart,
    side_by_side,
)
from trine.report.metrics import Metrics
from trine.report.pages.sections import census_card
from trine.report.report import Report

RANKS, FEWEST_RANKS = 50, 10
LEAST_FAR = 1e-6
BINS = 60


def curves_section(report: Report) -> Section | None:
    """Shows ROC, CMC and distances of pairs, and the census of triplets; None without pairs."""
    after, known = report.after, report.calibration
    if after.verification is None:
        return None
    shown = {"after training": (after, False)}
    if report.before is not None:
        shown["before"] = (report.before, True)
    who = "queries" if after.identification is None else "probes, across cameras,"
    threshold = "Each kind of pair as shares of its own number."
    if known is not None:
        threshold = (
            f"The threshold accepts {after.verification.tar_at(known.threshold):.1%} of the pairs of one "
            f"identity and {after.verification.far_at(known.threshold):.2%} of the pairs of two."
        )
    charts = [
        _card(
            "ROC",
            _roc_chart(shown),
            "Share of genuine pairs accepted (TAR) by share of impostor pairs accepted (FAR).",
        ),
        _card("CMC", _rank_chart(shown), f"Share of {who} with their identity among the nearest k."),
        _card(
            "Distances of pairs",
            distance_chart(after.verification, None if known is None else known.threshold),
            threshold,
        ),
    ]
    census = census_card(report)
    return Section("curves", "Curves", "", side_by_side(*charts, *([] if census is None else [census])))


def comparison_curves_section(reports: Mapping[str, Report]) -> Section:
    """Shows ROC and CMC of several runs in one frame, and the distances of pairs of each.

    Args:
        reports: The report of each run, by its name.
    """
    shown = {name: (report.after, False) for name, report in reports.items()}
    cards = [_card("ROC", _roc_chart(shown)), _card("CMC", _rank_chart(shown))]
    for name, report in reports.items():
        known, measured = report.calibration, report.after.verification
        if measured is not None:
            chart = distance_chart(measured, None if known is None else known.threshold)
            cards.append(_card(f"Distances of pairs: {name}", chart))
    return Section("curves", "Curves", "", side_by_side(*cards))


def margins_section(report: Report) -> Section | None:
    """Shows by how much each triplet judgement is met or missed; None if judgements are not all there is."""
    found = report.after.triplet_accuracy
    if found is None or report.after.retrieval is not None:
        return None
    counted = found.histogram(BINS)
    chart = histogram_chart(
        counted.edges,
        [("agrees", "right", counted.agree), ("disagrees", "wrong", counted.disagree)],
        title=f"margin ({found.distance.replace('_', ' ')} distance)",
        threshold=None,
        about="Histogram of the margins of the judgements",
        counted="judgements",
    )
    lead = "d(anchor, negative) − d(anchor, positive) of every judgement; the encoder disagrees below 0."
    return Section("margins", "Margins", lead, element("div", chart, class_="card half"))


def _card(title: str, chart: Markup, lead: str | None = None) -> Markup:
    return join(element("h3", title), None if lead is None else element("p", lead), chart)


def _roc_chart(shown: Mapping[str, tuple[Metrics, bool]]) -> Markup:
    measured = ((name, metrics.verification, pale) for name, (metrics, pale) in shown.items())
    return roc_chart([(name, found, pale) for name, found, pale in measured if found is not None])


def _rank_chart(shown: Mapping[str, tuple[Metrics, bool]]) -> Markup:
    """Of the identification across cameras where there is one, else of the retrieval."""
    measured = (
        (name, metrics.identification or metrics.retrieval, pale) for name, (metrics, pale) in shown.items()
    )
    return rank_chart([(name, found, pale) for name, found, pale in measured if found is not None])


def roc_chart(entries: Sequence[tuple[str, Verification, bool]]) -> Markup:
    """Draws ROC curves on a logarithmic axis of FAR.

    Args:
        entries: For each curve its name, what was measured, and whether to draw it paler.
    """
    pairs = max(measured.impostor_pairs for _, measured, _ in entries)
    low = max(LEAST_FAR, min(0.1, 10.0 ** math.floor(math.log10(1 / pairs))))
    return line_chart(
        [
            Line(name, *_roc(measured, low), colour=_colour(entries, at), stepped=True, dotted=pale)
            for at, (name, measured, pale) in enumerate(entries)
        ],
        x=Axis("false-accept rate (FAR)", low, 1.0, log=True, percent=True),
        y=Axis("true-accept rate (TAR)", 0.0, 1.0, percent=True),
        about="ROC: the true-accept rate over the false-accept rate, on a logarithmic axis",
    )


def rank_chart(entries: Sequence[tuple[str, Retrieval | Identification, bool]]) -> Markup:
    """Draws the share of queries with their identity among the nearest k: CMC, or recall@k.

    Args:
        entries: For each curve its name, what was measured, and whether to draw it paler.
    """
    last = max(2, min(RANKS, max(_ranked(measured) for _, measured, _ in entries)))
    known = [np.array([_found(measured, k) for k in range(1, last + 1)]) for _, measured, _ in entries]
    # All curves end at 1: the rest is a flat line.
    full = max(int((height < 1).sum()) + 2 for height in known)
    most = min(max(full, FEWEST_RANKS), last)
    ranks, heights = np.arange(1, most + 1), [height[:most] for height in known]
    lowest = min(float(height[0]) for height in heights)
    return line_chart(
        [
            Line(name, ranks.astype(float), height, colour=_colour(entries, at), dotted=pale)
            for at, ((name, _, pale), height) in enumerate(zip(entries, heights, strict=True))
        ],
        x=Axis("rank k", 1.0, float(most)),
        y=Axis(
            "queries with a positive in the nearest k",
            max(0.0, math.floor(10 * lowest - 1) / 10),
            1.0,
            percent=True,
        ),
        about="The share of queries with a positive among the nearest k, over k",
    )


def distance_chart(measured: Verification, threshold: float | None) -> Markup:
    """Draws a histogram of the distances of each kind of pairs.

    Args:
        measured: The pairs.
        threshold: The calibrated threshold, to be marked.
    """
    counted = measured.histogram(BINS)
    return histogram_chart(
        counted.edges,
        [
            ("same identity", "right", counted.genuine),
            ("different identities", "wrong", counted.impostor),
        ],
        title=f"{measured.distance.replace('_', ' ')} distance",
        threshold=threshold,
        about="Histogram of the distances of pairs of one identity and of two",
    )


def _ranked(measured: Retrieval | Identification) -> int:
    return measured.references - 1 if isinstance(measured, Retrieval) else measured.gallery


def _found(measured: Retrieval | Identification, k: int) -> float:
    return measured.recall_at(k) if isinstance(measured, Retrieval) else measured.cmc(k)


def _roc(measured: Verification, low: float) -> tuple[np.ndarray, np.ndarray]:
    """The curve from the edge of the axis on, which stands for all lower rates."""
    points = measured.roc()
    far, tar = np.append(0.0, points.far), np.append(0.0, points.tar)
    first = int(np.searchsorted(far, low, side="right")) - 1
    return np.maximum(far[first:], low), tar[first:]


def _colour(entries: Sequence[tuple[str, object, bool]], at: int) -> int:
    """Pale curves are grey; the others are numbered."""
    return 5 if entries[at][2] else sum(not pale for _, _, pale in entries[:at])
