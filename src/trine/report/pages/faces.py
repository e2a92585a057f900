"""The page of the faces that were found in photos: what was kept, what was left out, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from trine.data import read_items
from trine.data.load_report import count
from trine.faces import FacesReport, FoundFace
from trine.report.html.document import Section, Stat, document
from trine.report.html.markup import Markup
from trine.report.html.tables import table
from trine.report.html.thumbnails import Thumbnails
from trine.report.html.tiles import Tile, tile_grid

MOST_KEPT, MOST_LEFT_OUT, MOST_NAMES = 300, 200, 200
"""How many of each a page shows at most."""


def faces_page(report: FacesReport, folder: Path) -> str:
    """Builds the page.

    Args:
        report: What was found.
        folder: Where the crops are.
    """
    kept, others = report.kept, tuple(face for face in report.faces if not face.kept)
    return document(
        "Faces",
        list(_sections(report, folder, kept, others)),
        lead=f"{count(len(report.faces), 'face', 'faces')} on {count(len(report.photos), 'photo', 'photos')}",
        stats=[
            Stat("kept", f"{len(kept):,}"),
            Stat(
                "left out", f"{len(others):,}", tuple(f"{n:,} {kind}" for kind, n in report.left_out.items())
            ),
            Stat("photos without a face", f"{len(report.without):,}"),
        ],
        foot="Made by trine. faces.csv next to this page lists every face.",
    )


def _sections(
    report: FacesReport, folder: Path, kept: Sequence[FoundFace], others: Sequence[FoundFace]
) -> Iterator[Section]:
    for anchor, title, lead, faces, most in (
        ("kept", "Kept", "Aligned as the encoder will see them.", kept, MOST_KEPT),
        (
            "left-out",
            "Left out",
            "Each with what it lacks. Lower the requirement to keep it.",
            others,
            MOST_LEFT_OUT,
        ),
    ):
        if faces:
            yield Section(anchor, title, _first(lead, len(faces), most), _grid(faces[:most], folder))
    lists = (
        (
            "without",
            "Photos without a face",
            "Nothing was found on these.",
            [[name] for name in report.without],
        ),
        (
            "repeated",
            "Repeated photos",
            "Their pixels are those of another photo.",
            list(report.repeated.items()),
        ),
        ("unreadable", "Photos that cannot be read", "", list(report.unreadable.items())),
    )
    for anchor, title, lead, rows in lists:
        if rows:
            shown = [list(row) for row in rows[:MOST_NAMES]]
            head = ["photo", {"repeated": "same as", "unreadable": "why"}.get(anchor, "")][: len(shown[0])]
            yield Section(
                anchor, title, _first(lead, len(rows), MOST_NAMES), table(head, shown, words=len(head))
            )


def _first(lead: str, number: int, most: int) -> str:
    return lead if number <= most else f"{lead} The first {most:,} of {number:,}.".strip()


def _grid(faces: Sequence[FoundFace], folder: Path) -> Markup:
    thumbnails = Thumbnails(read_items([folder / face.crop for face in faces]))
    return tile_grid(
        [
            Tile(
                face.photo,
                face.crop,
                thumbnails.show(at, about=face.photo),
                note="; ".join(f"{kind}: {why}" for kind, why in face.failures.items())
                or f"{face.face.size:.0f} pixels wide",
            )
            for at, face in enumerate(faces)
        ]
    )
