"""Compares several runs on the same items: their differences with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trine.report.difference import Difference, difference
from trine.report.metrics_table import Shown, console_lines
from trine.report.report import EvaluatedPart, Report


@dataclass(frozen=True)
class Comparison:
    """The results of several runs on the same items.

    Attributes:
        folder: The folder it is written to.
        data: The name of the data.
        part: The evaluated part of the data.
        reports: The report of each run, by its name, in the order given.
        notes: Further notes for the reader.
    """

    folder: Path
    data: str
    part: EvaluatedPart
    reports: Mapping[str, Report]
    notes: tuple[str, ...] = ()

    @cached_property
    def differences(self) -> Mapping[str, Mapping[str, Difference]]:
        """For each run but the first, its metrics minus those of the first, by `MetricLine.key`."""
        first, *others = self.reports.values()
        return {
            name: {
                line.key: delta
                for group in first.groups
                for line in group.lines
                if (delta := difference(line, first.after, other.after)) is not None
            }
            for name, other in zip(list(self.reports)[1:], others, strict=True)
        }

    def to_json(self) -> dict[str, object]:
        """Everything as JSON values."""
        return {
            "data": self.data,
            "part": str(self.part),
            "runs": {name: report.to_json() for name, report in self.reports.items()},
            "differences": {
                name: {key: delta.to_json() for key, delta in of.items()}
                for name, of in self.differences.items()
            },
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        first = next(iter(self.reports.values()))
        lines = console_lines(first.after, first.far)
        width = max(map(len, lines))
        columns = [max(len(name), 5) for name in self.reports]
        names = "   ".join(f"{name:>{size}}" for name, size in zip(self.reports, columns, strict=True))
        rows = [f"{self.data}, {self.part}", f"{'':{width}}   {names}"]
        for name, line in lines.items():
            values = (line.value(report.after) for report in self.reports.values())
            row = "   ".join(f"{value:>{size}.3f}" for value, size in zip(values, columns, strict=True))
            rows.append(f"{name:{width}}   {row}")
        for other, differences in self.differences.items():
            rows.append(f"{other} minus {next(iter(self.reports))} (95 % paired bootstrap interval):")
            for name, line in lines.items():
                if len(self.differences) > 1 and line.shown < Shown.HEADLINE:
                    continue  # Several runs take more than a screen otherwise.
                delta = differences[line.key]
                ends = delta.interval
                interval = "" if ends is None else f"  {ends.brackets(signed=True)}".rstrip()
                rows.append(f"{name:{width}}   {delta.value:+.3f}{interval}")
        for name, report in self.reports.items():
            if sentence := report.cluster_sentence():
                rows.append(f"{name}: {sentence}")
        return "\n".join([*rows, *self.notes])
