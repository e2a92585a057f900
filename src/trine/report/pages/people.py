"""The page of a library of photos: each person with faces, and those who were seen once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from trine.data import read_items
from trine.data.load_report import count
from trine.faces import FoundFace
from trine.faces.people import LibraryReport, Person
from trine.report.html.document import Section, Stat, document
from trine.report.html.markup import Markup, element, join
from trine.report.html.tables import table
from trine.report.html.thumbnails import Thumbnails
from trine.report.html.tiles import Tile, tile_grid

MOST_PEOPLE, FACES_EACH, MOST_ONCE, MOST_LISTED = 80, 6, 120, 1000
"""How many of each a page shows at most."""


def people_page(report: LibraryReport, folder: Path, root: Path) -> str:
    """Builds the page.

    Args:
        report: Who is on the photos.
        folder: The library, where the page will be.
        root: The folder of the photos.
    """
    once = report.seen_once
    several = tuple(person for person in report.people if not person.seen_once)
    left = len(report.found.faces) - len(report.found.kept)
    shown = [face for person in several[:MOST_PEOPLE] for face in _best(person)]
    shown += [person.faces[0] for person in once[:MOST_ONCE]]
    faces = _Faces(shown, folder, root)
    return document(
        "Who is on the photos",
        list(_sections(report, several, once, faces)),
        lead=f"{count(len(report.found.kept), 'face', 'faces')} on "
        f"{count(len(report.found.photos), 'photo', 'photos')}",
        stats=[
            Stat("people", f"{len(several):,}", (f"{sum(person.named for person in several):,} named",)),
            Stat("seen once", f"{len(once):,}"),
            Stat(
                "left out",
                f"{left:,}",
                tuple(f"{number:,} {kind}" for kind, number in report.found.left_out.items()),
            ),
            Stat("photos without a face", f"{len(report.found.without):,}"),
        ],
        foot="Made by trine. people.csv takes names, faces.csv corrections; the same command again brings "
        "everything up to date.",
    )


class _Faces:
    """The crops that a page shows, with links to their photos."""

    def __init__(self, faces: Sequence[FoundFace], folder: Path, root: Path) -> None:
        self._at = {face.crop: at for at, face in enumerate(faces)}
        self._folder, self._root = folder.absolute(), root.absolute()
        paths = [folder / "faces" / face.crop for face in faces]
        self._thumbnails = Thumbnails(read_items(paths)) if paths else None

    def tile(self, face: FoundFace, name: str, note: str = "") -> Tile:
        assert self._thumbnails is not None
        image = self._thumbnails.show(self._at[face.crop], about=face.photo)
        return Tile(name, face.crop, image, note, link=_url(self._root / face.photo, self._folder))


def _sections(
    report: LibraryReport, several: Sequence[Person], once: Sequence[Person], faces: _Faces
) -> Iterator[Section]:
    if several:
        lead = "Write each name into people.csv, beside the number of the cluster, and run the command again."
        cards = (_card(person, faces) for person in several[:MOST_PEOPLE])
        yield Section(
            "people",
            "People",
            _first(lead, len(several), MOST_PEOPLE),
            element("div", *cards, class_="people"),
        )
    if len(several) > MOST_PEOPLE:
        rows = [
            [person.label, f"{len(person.faces):,}", f"{len(person.photos):,}", _links(person)]
            for person in several[MOST_PEOPLE:MOST_LISTED]
        ]
        lead = _first("", len(several) - MOST_PEOPLE, MOST_LISTED - MOST_PEOPLE)
        yield Section("others", "More people", lead, table(["person", "faces", "photos", ""], rows))
    if once:
        tiles = [
            faces.tile(one.faces[0], one.label, PurePosixPath(one.photos[0]).name) for one in once[:MOST_ONCE]
        ]
        lead = _first("One face each, without a name.", len(once), MOST_ONCE)
        yield Section("once", "Seen once", lead, tile_grid(tiles))
    if report.found.left_out:
        rows = [[kind, f"{number:,}"] for kind, number in report.found.left_out.items()]
        yield Section(
            "left-out",
            "Left out",
            "These faces belong to no person; faces.csv says why for each.",
            join(
                table(["what they lack", "faces"], rows),
                element("p", element("a", "all faces that were found", href="faces/index.html")),
            ),
        )


def _card(person: Person, faces: _Faces) -> Markup:
    clusters = ", ".join(map(str, person.clusters))
    said = (
        f"{count(len(person.faces), 'face', 'faces')} on {count(len(person.photos), 'photo', 'photos')}, "
        f"{'cluster' if len(person.clusters) == 1 else 'clusters'} {clusters}"
    )
    return element(
        "div",
        element("h3", person.label),
        element("p", said, " · ", _links(person)),
        tile_grid([faces.tile(face, PurePosixPath(face.photo).name) for face in _best(person)]),
        class_="card",
    )


def _links(person: Person) -> Markup:
    return element("a", "photos", href=quote(person.folder) + "/")


def _best(person: Person) -> list[FoundFace]:
    """The faces of a person that can be seen best."""
    return sorted(person.faces, key=lambda face: (-face.quality, face.crop))[:FACES_EACH]


def _url(path: Path, folder: Path) -> str:
    """The address of a file from a page in a folder."""
    try:
        return quote(Path(os.path.relpath(path, folder)).as_posix())
    except ValueError:  # on another drive of Windows
        return path.as_uri()


def _first(lead: str, number: int, most: int) -> str:
    return lead if number <= most else f"{lead} The first {most:,} of {number:,}.".strip()
