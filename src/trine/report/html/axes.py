"""Axes of a chart: where a value stands, and which values are written beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_TICKS = 6


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        title: What it shows.
        low: The value at its beginning; above 0 on a logarithmic one.
        high: The value at its end, above `low`.
        log: Whether equal steps are equal ratios.
        percent: Whether its values are shares, to be written as percentages.

    Example:
        >>> axis = Axis("FAR", 0.001, 1, log=True, percent=True)
        >>> axis.ticks()
        [(0.001, '0.1 %'), (0.01, '1 %'), (0.1, '10 %'), (1.0, '100 %')]
        >>> [round(axis.place(value), 3) for value in (0.001, 0.1, 0)]
        [0.0, 0.667, 0.0]
    """

    title: str
    low: float
    high: float
    log: bool = False
    percent: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"an axis must run upwards, given {self.low} to {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic axis begins above 0, given {self.low}")

    def place(self, value: float) -> float:
        """Where a value stands, from 0 to 1; values beyond an end stand at it."""
        if self.log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """The values to write beside the axis, ascending, and how they are written."""
        values = self._decades() if self.log else self._round_steps()
        return [(value, self._written(value)) for value in values]

    def _decades(self) -> list[float]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        every = max(1, math.ceil((last - first + 1) / MOST_TICKS))
        return [10.0**power for power in range(last, first - 1, -every)][::-1]

    def _round_steps(self) -> list[float]:
        rough = (self.high - self.low) / (MOST_TICKS - 1)
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]

    def _written(self, value: float) -> str:
        return f"{100 * value:.10g} %" if self.percent else f"{value:,.10g}"
