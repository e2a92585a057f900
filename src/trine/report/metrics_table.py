"""The lines of the tables: which figure of which report, its value and its interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trine.errors import InputError
from trine.evaluation.intervals import Interval

if TYPE_CHECKING:
    from trine.report.evaluation_report import Metrics


FPIR = (0.01, 0.05, 0.1)
"""The rates of strangers who are taken for somebody, at which the others are counted."""


@dataclass(frozen=True)
class Headline:
    """One line of a table of figures.

    Attributes:
        name: What the figure is called.
        report: The report of `Metrics` that has it.
        figure: Its name there.
        arguments: What it takes.
        larger_is_better: Whether it is; false for error rates.
    """

    name: str
    report: str
    figure: str
    arguments: tuple[float, ...] = ()
    larger_is_better: bool = True

    @property
    def key(self) -> str:
        """A name that no other line has."""
        return f"{self.report}: {self.name}"

    def value(self, figures: Metrics) -> float | None:
        """The figure; None where there is no such report, or it has none."""
        report = getattr(figures, self.report)
        if report is None:
            return None
        found: float | Callable[..., float] | None = getattr(report, self.figure)
        value = found(*self.arguments) if callable(found) else found
        return None if value is None or math.isnan(value) else value

    def interval(self, figures: Metrics) -> Interval | None:
        """Its interval; None where the report knows none."""
        if self.value(figures) is None:
            return None
        report: Any = getattr(figures, self.report)
        try:
            found: Interval = report.interval(self.figure, *self.arguments)
        except InputError:  # the report says why; a table leaves the place empty
            return None
        return found if found.known else None


NEIGHBOURS = 5
"""How many of the training part vote on who an item is."""


def short_lines(far: float) -> tuple[Headline, ...]:
    """The figures of the short table: all in [0, 1], larger is better; a run may lack the last.

    Args:
        far: The false-accept rate to show beside 1 %.
    """
    return (
        Headline("recall@1", "retrieval", "recall_at", (1,)),
        Headline("MAP@R", "retrieval", "map_at_r"),
        Headline("ROC AUC", "verification", "roc_auc"),
        *(_tar(rate) for rate in sorted({0.01, far}, reverse=True)),
        _KNN,
    )


_JUDGED = "accuracy at the threshold of the validation pairs"
_PRINTED = {
    "identification": ("across cameras", ("CMC rank 1", "mAP")),
    "open_set": ("among strangers", tuple(f"DIR at FPIR {100 * rate:g} %" for rate in FPIR)),
    "pairs": ("listed pairs", ("accuracy", _JUDGED, "ROC AUC", "TAR at FAR 1 %")),
    "triplet_accuracy": ("judged", ("triplet accuracy",)),
}


def printed_lines(figures: Metrics, far: float) -> dict[str, Headline]:
    """The lines of the table that is printed, by what they are called there.

    These are the short ones, and the first ones of what cameras, strangers or a list of pairs add.

    Args:
        figures: What was measured.
        far: The false-accept rate to show beside 1 %.
    """
    lines = {line.name: line for line in short_lines(far)}
    for report, (words, names) in _PRINTED.items():
        lines |= {f"{words}: {line.name}": line for line in long_lines(far)[report] if line.name in names}
    return {words: line for words, line in lines.items() if line.value(figures) is not None}


def long_lines(far: float) -> dict[str, tuple[Headline, ...]]:
    """The figures of the page, by the report they are of; all in [0, 1].

    Args:
        far: A false-accept rate to list among others.
    """
    return {
        "retrieval": (
            *(Headline(f"recall@{k}", "retrieval", "recall_at", (k,)) for k in (1, 4, 10)),
            Headline("MAP@R", "retrieval", "map_at_r"),
            Headline("R-precision", "retrieval", "r_precision"),
            Headline("MRR", "retrieval", "mrr"),
        ),
        "verification": (
            Headline("ROC AUC", "verification", "roc_auc"),
            Headline("EER", "verification", "eer", larger_is_better=False),
            *(_tar(rate) for rate in sorted({0.1, 0.01, 0.001, far}, reverse=True)),
        ),
        "identification": (
            *(Headline(f"CMC rank {k}", "identification", "cmc", (k,)) for k in (1, 5, 10, 20)),
            Headline("mAP", "identification", "mean_average_precision"),
        ),
        "open_set": tuple(
            Headline(f"DIR at FPIR {100 * rate:g} %", "open_set", "dir_at_fpir", (rate,)) for rate in FPIR
        ),
        "knn_classification": (
            _KNN,
            Headline("the same, each identity alike", "knn_classification", "balanced_accuracy"),
        ),
        "pairs": (
            Headline("accuracy", "pairs", "accuracy"),
            Headline(_JUDGED, "pairs_at_threshold", "accuracy"),
            Headline("ROC AUC", "pairs", "roc_auc"),
            Headline("EER", "pairs", "eer", larger_is_better=False),
            *(_tar(rate, "pairs") for rate in sorted({0.01, far}, reverse=True)),
        ),
        "clustering": (
            *(
                Headline(f"{name} {part}", "clustering", f"{key}_{part.lower()}")
                for name, key in (("pairwise", "pairwise"), ("BCubed", "bcubed"))
                for part in ("precision", "recall", "F")
            ),
            *(Headline(name, "clustering", name.lower()) for name in ("ARI", "NMI", "AMI")),
        ),
        "triplet_accuracy": (Headline("triplet accuracy", "triplet_accuracy", "accuracy"),),
    }


_KNN = Headline(f"kNN accuracy (k={NEIGHBOURS}, against the training part)", "knn_classification", "accuracy")


def _tar(rate: float, report: str = "verification") -> Headline:
    return Headline(f"TAR at FAR {100 * rate:g} %", report, "tar_at_far", (rate,))
