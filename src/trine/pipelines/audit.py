"""The audit of a data set's labels, as the encoder of a run sees it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from trine.data import Dataset
from trine.encoders import load
from trine.errors import InputError
from trine.evaluation import LabelErrors, SuspectLabel, find_label_errors
from trine.io import output_file, write_text
from trine.pipelines.split_record import Part, check_part, counted, part_of

COLUMNS = ("item", "label", "looks_like", "score", "evidence")

SHOWN = 20
"""How many suspects the short table lists."""


@dataclass(frozen=True)
class AuditReport:
    """What the audit of a data set found.

    Attributes:
        items: Which items, in words.
        dataset: These items.
        audit: What was found about each label; its rows are positions in `dataset`.
        suspects: The most suspicious, as many as were asked for.
    """

    items: str
    dataset: Dataset
    audit: LabelErrors
    suspects: tuple[SuspectLabel, ...]

    def __str__(self) -> str:
        likely = self.audit.likely
        lines = [f"{self.items}: {likely:,} label{'' if likely == 1 else 's'} likelier wrong than right"]
        rows = [("score", "item", "label", "looks like", "evidence")]
        rows += [(f"{s.score:.2f}", s.item, s.label, s.looks_like, s.evidence) for s in self.suspects[:SHOWN]]
        widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
        if self.suspects:
            for *cells, last in rows:
                lines.append("  ".join([*map(str.ljust, cells, widths), last]))
        if len(self.suspects) > SHOWN:
            lines.append(f"and {len(self.suspects) - SHOWN:,} more")
        return "\n".join(lines)


def audit_run(run: str | Path, dataset: Dataset, *, part: Part = "all", top: int = 50) -> AuditReport:
    """Ranks the items of a data set by how likely their label is wrong.

    Args:
        run: The run folder, or a model folder.
        dataset: Labelled items.
        part: Which items; an encoder hides wrong labels that it has memorised, so those that it was not
            trained on show most.
        top: How many suspects to list.

    Returns:
        The suspects.

    Raises:
        ModelError: There is no model.
        DataError: The data has no such part.
        SettingError: The part is unknown.
        InputError: `top` is below 1, or the items are of one identity.
    """
    check_part(part)
    if top < 1:
        raise InputError(f"top must be at least 1, given {top}")
    encoder = load(run)
    positions, words = part_of(run, dataset, part)
    chosen = dataset.subset(positions)
    labels = [chosen.identity(at) for at in range(len(chosen))]
    found = find_label_errors(encoder.embed(chosen), labels, names=chosen.names, distance=encoder.distance)
    return AuditReport(f"{words} ({counted(chosen)})", chosen, found, found.suspects(top))


def write_suspects(report: AuditReport, *, out: str | Path) -> None:
    """Writes a CSV file with the columns item, label, looks_like, score and evidence.

    Args:
        report: What was found.
        out: The file.

    Raises:
        InputError: The file is no .csv, or cannot be written.
    """
    check_table(out)
    with output_file(Path(out)) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for one in report.suspects:
            table.writerow([one.item, one.label, one.looks_like, f"{one.score:.4f}", one.evidence])


def check_table(out: str | Path) -> None:
    """Raises an `InputError` unless the name is that of a .csv file."""
    if Path(out).suffix.lower() != ".csv":
        raise InputError(f"suspects are written as CSV, and {out} is no such name: end it with .csv")


def suspects_with_neighbours(
    report: AuditReport,
) -> list[tuple[SuspectLabel, list[tuple[int, float]]]]:
    """Each suspect with the positions, in the report's data, of the items nearest to it, and their distances.

    Args:
        report: What was found.

    Returns:
        The suspects in their order; a nearly identical item comes first.
    """
    found, shown = report.audit, []
    for one in report.suspects:
        distances = found.neighbours.distances[one.row].tolist()
        near = list(zip(one.neighbours, distances, strict=False))
        twin = int(found.twins[one.row])
        if twin >= 0:
            rest = [(at, away) for at, away in near if at != twin]
            near = [(twin, float(found.twin_distances[one.row])), *rest][: len(near)]
        shown.append((one, near))
    return shown


def write_audit_page(report: AuditReport, *, out: str | Path) -> None:
    """Writes one page of HTML that shows the suspects beside the items they are most like.

    Args:
        report: What was found.
        out: The file.

    Raises:
        InputError: The file is no .html, or cannot be written.
    """
    from trine.report.pages.label_errors import audit_page

    check_page(out)
    text = audit_page(report, suspects_with_neighbours(report))
    write_text(Path(out), text)


def check_page(out: str | Path) -> None:
    """Raises an `InputError` unless the name is that of a .html file."""
    if Path(out).suffix.lower() != ".html":
        raise InputError(f"the page is written as HTML, and {out} is no such name: end it with .html")
