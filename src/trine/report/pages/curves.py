"""The charts of a page: ROC, CMC, distances and margins, of one report or of several in one frame."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from trine.calibration import Calibration
from trine.evaluation import Identification, Retrieval, Verification
from trine.report.html.charts import Axis, Line, histogram_chart, line_chart
from trine.report.html.document import Section, side_by_side
from trine.report.html.markup import Markup, element, join
from trine.report.metrics import Metrics
from trine.report.pages.tables import census_card
from trine.report.report import Report
from trine.shapes import Float

T = TypeVar("T")

RANKS, FEWEST_RANKS = 50, 10
LEAST_FAR = 1e-6
BINS = 60
GREY = 5


Shown = Mapping[str, tuple[Metrics, bool]]
"""The metrics of each curve by its name, and whether to draw it paler."""


def curves_section(report: Report) -> Section | None:
    """Shows ROC, CMC and distances of pairs, and the census of triplets; None without pairs."""
    after, known = report.after, report.calibration
    if after.verification is None:
        return None
    shown: dict[str, tuple[Metrics, bool]] = {"after training": (after, False)}
    if report.before is not None:
        shown["before"] = (report.before, True)
    who = "queries" if after.identification is None else "probes, across cameras,"
    roc = "Share of genuine pairs accepted (TAR) over the share of impostor pairs accepted (FAR)."
    threshold = "Each kind of pair as shares of its total."
    if known is not None:
        shares = after.verification.tar_at(known.threshold), after.verification.far_at(known.threshold)
        threshold = "The threshold accepts {:.1%} of the same and {:.2%} of the different.".format(*shares)
    cards = [
        _card("ROC", _roc_chart(shown), roc),
        _card("CMC", _rank_chart(shown), f"Share of {who} with their identity among the nearest k."),
        _card("Distances of pairs", _distance_chart(after.verification, known), threshold),
        census_card(report),
    ]
    return Section("curves", "Curves", "", side_by_side(*(card for card in cards if card is not None)))


def comparison_curves_section(reports: Mapping[str, Report]) -> Section:
    """Shows ROC and CMC of several runs in one frame, and the distances of pairs of each.

    Args:
        reports: The report of each run, by its name.
    """
    shown = {name: (report.after, False) for name, report in reports.items()}
    cards = [_card("ROC", _roc_chart(shown)), _card("CMC", _rank_chart(shown))]
    for name, report in reports.items():
        if report.after.verification is not None:
            chart = _distance_chart(report.after.verification, report.calibration)
            cards.append(_card(f"Distances of pairs: {name}", chart))
    return Section("curves", "Curves", "", side_by_side(*cards))


def margins_section(report: Report) -> Section | None:
    """Shows the margin of each triplet judgement; None unless only judgements were measured."""
    judged = report.judged
    if judged is None:
        return None
    counted = judged.histogram(BINS)
    chart = histogram_chart(
        counted.edges,
        [("agrees", "right", counted.agree), ("disagrees", "wrong", counted.disagree)],
        title=f"margin ({judged.distance.replace('_', ' ')} distance)",
        threshold=None,
        about="Histogram of the margins of the judgements",
        counted="judgements",
    )
    lead = "d(anchor, negative) − d(anchor, positive) of every judgement; the encoder disagrees below 0."
    return Section("margins", "Margins", lead, element("div", chart, class_="card half"))


def _card(title: str, chart: Markup, lead: str | None = None) -> Markup:
    return join(element("h3", title), None if lead is None else element("p", lead), chart)


def _roc_chart(shown: Shown) -> Markup:
    """ROC curves on a logarithmic axis of FAR."""
    measured = {name: (m.verification, pale) for name, (m, pale) in shown.items() if m.verification}
    pairs = max(result.impostor_pairs for result, _ in measured.values())
    low = max(LEAST_FAR, min(0.1, 10.0 ** math.floor(math.log10(1 / pairs))))
    return line_chart(
        [
            Line(name, *_roc(result, low), colour=colour, stepped=True, dotted=pale)
            for colour, (name, (result, pale)) in _coloured(measured)
        ],
        x=Axis("false-accept rate (FAR)", low, 1.0, log=True, percent=True),
        y=Axis("true-accept rate (TAR)", 0.0, 1.0, percent=True),
        about="ROC: the true-accept rate over the false-accept rate, on a logarithmic axis",
    )


def _rank_chart(shown: Shown) -> Markup:
    """The share found among the nearest k: across cameras if that was measured, else among all items."""
    measured = {
        name: (m.identification or m.retrieval, pale)
        for name, (m, pale) in shown.items()
        if m.identification or m.retrieval
    }
    sizes = [
        result.references - 1 if isinstance(result, Retrieval) else result.gallery
        for result, _ in measured.values()
        if result is not None
    ]
    last = max(2, min(RANKS, max(sizes)))
    heights = {name: _found(result, last) for name, (result, _) in measured.items() if result is not None}
    # Beyond this rank, all curves stay at 1.
    full = max(int((height < 1).sum()) + 2 for height in heights.values())
    most = min(max(full, FEWEST_RANKS), last)
    lowest = min(float(height[0]) for height in heights.values())
    ranks = np.arange(1, most + 1).astype(float)
    return line_chart(
        [
            Line(name, ranks, heights[name][:most], colour=colour, dotted=pale)
            for colour, (name, (_, pale)) in _coloured(measured)
        ],
        x=Axis("rank k", 1.0, float(most)),
        y=Axis("found among the nearest k", max(0.0, math.floor(10 * lowest - 1) / 10), 1.0, percent=True),
        about="The share of queries with a positive among the nearest k, over k",
    )


def _distance_chart(measured: Verification, calibration: Calibration | None) -> Markup:
    """The histogram of the distances of each kind of pairs, with the threshold."""
    counted = measured.histogram(BINS)
    kinds = [("same identity", "right", counted.genuine), ("different identities", "wrong", counted.impostor)]
    return histogram_chart(
        counted.edges,
        kinds,
        title=f"{measured.distance.replace('_', ' ')} distance",
        threshold=None if calibration is None else calibration.threshold,
        about="Histogram of the distances of pairs of one identity and of two",
    )


def _found(measured: Retrieval | Identification, last: int) -> Float[np.ndarray, " k"]:
    at = measured.recall_at if isinstance(measured, Retrieval) else measured.cmc
    return np.array([at(k) for k in range(1, last + 1)])


def _roc(measured: Verification, low: float) -> tuple[np.ndarray, np.ndarray]:
    """The curve from the start of the axis, whose first point represents all lower rates."""
    points = measured.roc()
    far, tar = np.append(0.0, points.far), np.append(0.0, points.tar)
    first = int(np.searchsorted(far, low, side="right")) - 1
    return np.maximum(far[first:], low), tar[first:]


def _coloured(curves: Mapping[str, tuple[T, bool]]) -> list[tuple[int, tuple[str, tuple[T, bool]]]]:
    """Curves with the number of their colour; pale curves are grey."""
    return [(GREY if curve[1] else at, (name, curve)) for at, (name, curve) in enumerate(curves.items())]
