"""The curves of a page: ROC, ranks and distances, of one encoder or of several in one frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trine.evaluation import Identification, Retrieval, Verification
from trine.report.evaluation_report import Metrics
from trine.report.html import Axis, Line, Markup, histogram_chart, line_chart

RANKS, FEWEST_RANKS = 50, 10
LEAST_FAR = 1e-6
BINS = 60


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
    """Draws how many find their identity among the nearest k: the CMC of probes, or recall@k of a retrieval.

    Args:
        entries: For each curve its name, what was measured, and whether to draw it paler.
    """
    last = max(2, min(RANKS, max(_ranked(measured) for _, measured, _ in entries)))
    known = [np.array([_found(measured, k) for k in range(1, last + 1)]) for _, measured, _ in entries]
    # Nothing happens any more where all have found everything.
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
        y=Axis("found among the nearest k", max(0.0, math.floor(10 * lowest - 1) / 10), 1.0, percent=True),
        about="The share of queries with a positive among the nearest k, over k",
    )


def ranked_report(figures: Metrics) -> Retrieval | Identification:
    """What the CMC is drawn of: the identification across cameras where there is one, else the retrieval."""
    return figures.identification or figures.retrieval


def distance_chart(measured: Verification, threshold: float | None) -> Markup:
    """Draws how the distances of both kinds of pairs are distributed.

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
        about="How the distances of pairs of one identity and of two are distributed",
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
