"""The difference between two runs on the same items, with its paired bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trine.evaluation.intervals import Interval, percentile_interval
from trine.report.metrics import Metrics
from trine.report.metrics_table import MetricLine


@dataclass(frozen=True)
class Difference:
    """How much a metric of one run exceeds that of another.

    Attributes:
        value: The difference.
        interval: Its interval; None if the metric has none.
        larger_is_better: False for error rates.
    """

    value: float
    interval: Interval | None
    larger_is_better: bool = True

    @property
    def better(self) -> bool | None:
        """Whether the run is better; None if the interval contains 0 or is not known."""
        if self.interval is None or not (self.interval.low > 0 or self.interval.high < 0):
            return None
        return (self.interval.low > 0) == self.larger_is_better

    def to_json(self) -> dict[str, object]:
        """The difference and the ends of its interval, as JSON values."""
        ends = None if self.interval is None else self.interval.to_json()
        return {"difference": self.value, "interval": ends}


def difference(line: MetricLine[Any], first: Metrics, other: Metrics) -> Difference | None:
    """Subtracts a metric of one run from that of another on the same items.

    Both are resampled with the same draws of identities. What an identity does to both cancels out, so the
    interval is narrower than the two separate intervals suggest.

    Args:
        line: The metric.
        first: What is subtracted.
        other: What it is subtracted from.

    Returns:
        The difference; None if a run lacks the metric.
    """
    before, after = line.value(first), line.value(other)
    if before is None or after is None:
        return None
    return Difference(after - before, _interval(line, first, other), line.larger_is_better)


def _interval(line: MetricLine[Any], first: Metrics, other: Metrics) -> Interval | None:
    if line.interval(first) is None or line.interval(other) is None:
        return None
    was, now = (line.resampled(metrics) for metrics in (first, other))
    return percentile_interval(now - was)
