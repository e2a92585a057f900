"""The difference of two runs, and its interval over the same draws of identities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trine.evaluation.intervals import Interval, percentile_interval
from trine.report.evaluation_report import Metrics
from trine.report.metrics_table import Headline


@dataclass(frozen=True)
class Difference:
    """How much a figure of one run is above that of another.

    Attributes:
        value: The difference.
        interval: Its interval; None where the figure has none.
        larger_is_better: Whether it is better to be above.
    """

    value: float
    interval: Interval | None
    larger_is_better: bool = True

    @property
    def better(self) -> bool | None:
        """Whether the run is better; None where the interval holds 0 or is not known."""
        if self.interval is None or not (self.interval.low > 0 or self.interval.high < 0):
            return None
        return (self.interval.low > 0) == self.larger_is_better

    def to_json(self) -> dict[str, object]:
        """The difference and the ends of its interval, as values that JSON knows."""
        ends = None if self.interval is None else self.interval.to_json()
        return {"difference": self.value, "interval": ends}


def difference(line: Headline, first: Metrics, other: Metrics) -> Difference | None:
    """Subtracts a figure of one run from that of another on the same items.

    Both are computed on the same draws of identities, so what the identities do to both alike falls out of
    the interval: it is narrower than two intervals side by side suggest.

    Args:
        line: Which figure.
        first: What to subtract.
        other: What to subtract it from.

    Returns:
        The difference; None where a run does not have the figure.
    """
    values = line.value(first), line.value(other)
    if values[0] is None or values[1] is None:
        return None
    known = line.interval(first) is not None and line.interval(other) is not None
    interval = _interval(line, getattr(first, line.report), getattr(other, line.report)) if known else None
    return Difference(values[1] - values[0], interval, line.larger_is_better)


def _interval(line: Headline, first: Any, other: Any) -> Interval:
    was, now = (report.resampled(line.figure, *line.arguments) for report in (first, other))
    return percentile_interval(now - was)
