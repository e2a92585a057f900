"""The labels of a data set that are probably wrong."""

from __future__ import annotations

from dataclasses import dataclass

from trine.data import Dataset
from trine.display import printable
from trine.evaluation import LabelErrors, SuspectLabel
from trine.report.report import EvaluatedPart

SHOWN = 20
"""The number of suspects printed."""


@dataclass(frozen=True)
class LabelErrorReport:
    """The result of auditing the labels of a data set.

    Attributes:
        data: The name of the data.
        part: The audited part of it.
        dataset: The audited items.
        found: The evidence for each label; its rows are positions in `dataset`.
        suspects: The most suspicious labels, up to the requested number.
    """

    data: str
    part: EvaluatedPart
    dataset: Dataset
    found: LabelErrors
    suspects: tuple[SuspectLabel, ...]

    def neighbours(self, suspect: SuspectLabel) -> list[tuple[int, float]]:
        """The positions and distances of the items nearest to a suspect; a near-duplicate comes first."""
        errors = self.found
        near = list(zip(suspect.neighbours, errors.neighbours.distances[suspect.row].tolist(), strict=False))
        twin = int(errors.twins[suspect.row])
        if twin < 0:
            return near
        rest = [(at, distance) for at, distance in near if at != twin]
        return [(twin, float(errors.twin_distances[suspect.row])), *rest][: len(near)]

    def __str__(self) -> str:
        likely = self.found.likely
        lines = [f"{self.part}: {likely:,} label{'s are' if likely != 1 else ' is'} probably wrong"]
        rows = [("score", "item", "label", "looks like", "evidence")]
        rows += [(f"{s.score:.2f}", s.item, s.label, s.looks_like, s.evidence) for s in self.suspects[:SHOWN]]
        widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
        if self.suspects:
            for *cells, last in rows:
                lines.append("  ".join([*map(str.ljust, cells, widths), last]))
        if len(self.suspects) > SHOWN:
            lines.append(f"and {len(self.suspects) - SHOWN:,} more")
        return "\n".join(map(printable, lines))
