"""The page of an audit: each suspect beside the items that it is most like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trine.evaluation import SuspectLabel
from trine.pipelines.split_record import name_of
from trine.report.html import Section, Stat, document, neighbour_rows, table
from trine.report.pages.context import Shelf, distance_note

if TYPE_CHECKING:
    from trine.pipelines.audit import AuditReport


def audit_page(
    report: AuditReport, suspects: Sequence[tuple[SuspectLabel, Sequence[tuple[int, float]]]]
) -> str:
    """Makes the page.

    Args:
        report: What was found.
        suspects: Each suspect with the items nearest to it and their distances.

    Returns:
        HTML that holds its pictures.
    """
    found, shelf = report.audit, Shelf(report.dataset)
    rows = []
    for one, near in suspects:
        query = shelf.tile(one.row, note=f"{one.looks_like}? {one.score:.2f}")
        own = found.labels[one.row]
        marks = ["right" if found.labels[at] == own else "wrong" for at, _ in near]
        tiles = [
            shelf.tile(at, note=distance_note(away), mark=mark)
            for (at, away), mark in zip(near, marks, strict=True)
        ]
        rows.append((query, tiles))
    listed = [[s.item, s.label, s.looks_like, f"{s.score:.2f}", s.evidence] for s, _ in suspects]
    stats = [
        Stat("likelier wrong than right", f"{found.likely:,}", (f"of {len(found.labels):,} labels",)),
        Stat("shown here", f"{len(suspects):,}", ("the most suspicious",)),
    ]
    sections = [
        Section(
            "suspects",
            "Suspects",
            "Each row is an item as it is labelled, with the label that it looks like and its score, and the "
            "items nearest to it: ✓ where these carry the same label, ✗ where they carry another. A nearly "
            "identical item stands first.",
            neighbour_rows(rows),
        ),
        Section(
            "evidence",
            "Evidence",
            "Why each of them is here. From a score of 0.5 on, a wrong label is likelier than a right one.",
            table(["item", "label", "looks like", "score", "evidence"], listed, words=5),
        ),
    ]
    return document(
        f"Labels of {name_of(report.dataset)}",
        sections,
        lead=report.items,
        stats=stats,
        notes=_notes(report),
        foot="Made by trine. Which label of a pair is wrong, if one is, a person must say.",
    )


def _notes(report: AuditReport) -> list[str]:
    if "trained on" not in report.items:
        return []
    return [
        "Some of these items were trained on. An encoder hides the wrong labels that it has memorised; "
        "audit the test part, or train on other items, to see the rest."
    ]
