"""The difference of a metric between two measurements of the same items, with its paired interval."""

from __future__ import annotations

from dataclasses import dataclass

from trine.evaluation.intervals import Interval, percentile_interval
from trine.report.metrics import Metrics
from trine.report.metrics_table import MetricLine


@dataclass(frozen=True)
class Difference:
    """How much a metric of one measurement exceeds that of another.

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
        """Whether the other is better; None if the interval contains 0 or is unknown."""
        if self.interval is None or not (self.interval.low > 0 or self.interval.high < 0):
            return None
        return (self.interval.low > 0) == self.larger_is_better

    def to_json(self) -> dict[str, object]:
        """The difference and the ends of its interval, as JSON values."""
        ends = None if self.interval is None else self.interval.to_json()
        return {"difference": self.value, "interval": ends}


def difference(line: MetricLine, first: Metrics, other: Metrics) -> Difference | None:
    """Subtracts a metric of one measurement from that of another of the same items.

    Both are resampled with the same draws of identities. The effect of an identity on both cancels out, so
    the interval is narrower than the two separate intervals suggest.

    Args:
        line: The metric.
        first: The metrics to subtract.
        other: The metrics to subtract from.

    Returns:
        The difference; None if one lacks the metric.
    """
    before, after = line.value(first), line.value(other)
    if before is None or after is None:
        return None
    interval = None
    if line.interval(first) is not None and line.interval(other) is not None:
        interval = percentile_interval(line.resampled(other) - line.resampled(first))
    return Difference(after - before, interval, line.larger_is_better)
