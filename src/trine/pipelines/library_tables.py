"""The two tables of a library of photos, which a person changes: who is who, and which face is whose.

people.csv  cluster, name, faces, photos: a name is kept, and two clusters with one name are one person
faces.csv   face, photo, cluster, name, move_to, left_out: `move_to` corrects a face, and is kept
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trine.data.columns import Columns
from trine.data.table_file import open_table
from trine.errors import InputError
from trine.faces import FacesReport
from trine.faces.people import Person, label_of, number_of
from trine.pipelines.export import write_csv

PEOPLE, FACES = "people.csv", "faces.csv"
FOUND = "faces"
"""The folder of the crops; tables name them from that of the library."""
UNKNOWN = "?"
"""What stands in `move_to` for a face of nobody that is known."""


@dataclass(frozen=True)
class Tables:
    """What the tables of a library say.

    Attributes:
        names: The name of each cluster that people.csv lists; "" for none.
        move_to: Where faces belong that were corrected, by the paths of their crops.
        clusters: The cluster of each face when the tables were written.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    move_to: Mapping[str, str] = field(default_factory=dict)
    clusters: Mapping[str, int] = field(default_factory=dict)


def read_tables(folder: Path) -> Tables:
    """Reads the tables of a library; one that is missing says nothing.

    Args:
        folder: The library.

    Raises:
        DataError: A table is damaged, or lacks a column.
        InputError: A number of a cluster is none, a cluster has two names, or a face that was left out is
            moved.
    """
    names: dict[int, str] = {}
    for row, (cluster, name) in enumerate(_rows(folder / PEOPLE, "cluster", "name"), 1):
        number = _number(cluster, f"{folder / PEOPLE}, row {row}")
        if names.get(number, _plain(name)) != _plain(name):
            raise InputError(
                f"{folder / PEOPLE}, row {row} names cluster {number} {name!r}, and another row "
                f"{names[number]!r}: keep one of them"
            )
        names[number] = "" if number_of(_plain(name)) == number else _plain(name)
    move_to: dict[str, str] = {}
    clusters: dict[str, int] = {}
    for row, (face, cluster, to) in enumerate(_rows(folder / FACES, "face", "cluster", "move_to"), 1):
        crop = face.removeprefix(f"{FOUND}/")
        if cluster:
            clusters[crop] = _number(cluster, f"{folder / FACES}, row {row}")
        if _plain(to) and not cluster:
            raise InputError(
                f"{folder / FACES}, row {row} moves {face} to {to!r}, but that face was left out and belongs "
                "to no cluster: clear the cell"
            )
        if _plain(to):
            move_to[crop] = _plain(to)
    return Tables(names, move_to, clusters)


def write_tables(
    folder: Path,
    people: Iterable[Person],
    found: FacesReport,
    *,
    clusters: Mapping[str, int],
    names: Mapping[int, str],
    move_to: Mapping[str, str],
) -> None:
    """Writes both tables.

    Args:
        folder: The library.
        people: The people.
        found: All faces, those that were left out too.
        clusters: The cluster of each face, by the path of its crop.
        names: The names of clusters.
        move_to: Where faces belong that were corrected.

    Raises:
        InputError: A file cannot be written.
    """
    rows = []
    for person in people:
        for number in person.clusters:
            faces = [face for face in person.faces if clusters[face.crop] == number]
            photos = len({face.photo for face in faces})
            rows.append((number, names.get(number, ""), len(faces), photos))
    rows.sort(key=lambda row: (-row[2], row[0]))
    write_csv(folder / PEOPLE, ("cluster", "name", "faces", "photos"), rows)
    listed = []
    for face in found.faces:
        known = clusters.get(face.crop)
        label = "" if known is None else label_of(known, names)
        moved = move_to.get(face.crop, "")
        cluster = "" if known is None else known
        listed.append((f"{FOUND}/{face.crop}", face.photo, cluster, label, moved, face.lacks))
    write_csv(folder / FACES, ("face", "photo", "cluster", "name", "move_to", "left_out"), listed)


def _rows(path: Path, *columns: str) -> Iterable[tuple[str, ...]]:
    if not path.is_file() or path.read_bytes().strip().count(b"\n") == 0:
        return ()
    reader = open_table(path, of=path.stem)
    for column in columns:
        reader.column(column)
    held: Columns = reader.read(text=columns)
    return zip(*(held.texts(column) for column in columns), strict=True)


def _number(text: str, where: str) -> int:
    number = number_of(text)
    if number is None:
        raise InputError(
            f"{where} has {text[:40]!r} as its cluster, expected a number: put back what stood there"
        )
    return number


def _plain(name: str) -> str:
    """A name as it is compared: composed, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", name).split())
