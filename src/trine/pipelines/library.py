"""A library: who is on a folder of photos, kept up to date.

OUT/people.csv     the clusters of faces, with their names: to be written in by a person
OUT/faces.csv      the cluster of each face, corrections, and why faces were left out
OUT/index.html     the people to look at
OUT/by_person/...  for each person links to the photos
OUT/faces/...      the faces that were found; see `trine.pipelines.find_faces`
OUT/people.db      the gallery of the faces, by name
OUT/library.json   where the photos are
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trine.data import ImageFiles
from trine.encoders import Encoder
from trine.errors import InputError
from trine.faces import FaceDetector, FacesReport, FoundFace, Requirements
from trine.faces.journal import JOURNAL, Journal
from trine.faces.people import LibraryReport, Person, label_of, number_of
from trine.gallery import Entry, Gallery, KnownClusters, Provenance, SyncResult
from trine.gallery.embedding import Place
from trine.io import read_small, write_json, write_text
from trine.pipelines.find_faces import find_faces, photos_of, write_found
from trine.pipelines.library_links import LINKS, Made, folder_names, link_photos
from trine.pipelines.library_tables import FACES, FOUND, PEOPLE, UNKNOWN, Tables, read_tables, write_tables
from trine.plain_json import parse_json
from trine.report.pages.people import people_page

NOTE, GALLERY, PAGE = "library.json", "people.db", "index.html"
ORIGIN = "library"
"""What the gallery takes as the origin of the faces, wherever the folder is."""
NOBODY = label_of(0, {})
"""The identity of a face before it has a cluster."""

Progress = Callable[[str, int], None]


def build_library(
    photos: str | Path,
    *,
    out: str | Path,
    encoder: Encoder,
    model: str | None = None,
    detector: FaceDetector | None = None,
    requirements: Requirements | None = None,
    threshold: float | None = None,
    max_removed: float = 0.2,
    confirm: Callable[[int, int], bool] | None = None,
    progress: Progress | None = None,
) -> LibraryReport:
    """Finds the faces on a folder of photos and puts those of one person together; or brings this up to date.

    Called again, it looks at new and changed photos. Clusters keep their numbers and the names that were
    written into people.csv; new faces join them or begin others, by average linkage. What is corrected in
    faces.csv stays so. Faces whose photos are gone are gone from everything. Identities that were renamed,
    merged or split in the gallery are taken over. The photos are only read.

    Args:
        photos: A folder of photos.
        out: The folder of the library.
        encoder: Embeds the faces.
        model: The folder of the encoder, or its package, stored in the gallery.
        detector: Finds the faces; by default one with its default settings.
        requirements: What a face must have to be put to a person.
        threshold: The largest mean distance of two clusters that are joined; by default that of the library,
            else the encoder's for as many faces.
        max_removed: The largest share of the photos, in [0, 1], that may be gone without `confirm`.
        confirm: Asked with the numbers of photos that are gone, and that there were, whether to go on.
        progress: Called with `"finding"` and the number of photos that are done, then with `"embedding"` and
            the number of faces.

    Returns:
        The people, and what changed.

    Raises:
        CalibrationError: No threshold is given, and the encoder has none for clusters.
        DataError: There are no photos, or a table cannot be read.
        GalleryError: The gallery is of another encoder, or was clustered with another threshold.
        InputError: The folder holds something else; many photos are gone; a table says what cannot be; or a
            file cannot be written.
        MissingDependencyError: A package is not installed.
    """
    root, names = photos_of(photos)
    folder = Path(out)
    note = _opened(folder, root)
    said = read_tables(folder)
    _check_gone(folder / FOUND, names, max_removed, confirm)
    found = find_faces(
        photos,
        out=folder / FOUND,
        detector=detector,
        requirements=requirements,
        alignment=encoder.settings.alignment or "dlib",
        progress=None if progress is None else lambda done: progress("finding", done),
    )
    write_json(folder / NOTE, note)
    with Gallery.open(folder / GALLERY, encoder=encoder, model=model) as gallery:
        before = _held(gallery)
        synced = _synced(
            gallery,
            found,
            folder,
            {face: held.at_origin for face, held in before.items()},
            progress=None if progress is None else lambda done: progress("embedding", done),
        )
        state = _State.of(gallery.clusters(), _renamed(before, synced), said, synced)
        known = KnownClusters(state.names, state.moves(folder))
        clusters = gallery.cluster(linkage="average", threshold=threshold, known=known, revise=True)
        state = state.after(clusters.of, clusters.joined)
        labels = {face: label_of(number, state.names) for face, number in state.clusters.items()}
        if any(held != _Held(labels[face], labels[face]) for face, held in _held(gallery).items()):
            _synced(gallery, found, folder, labels, relabel=True)
    report = _written(folder, root, found, state)
    return replace(report, new=len(synced.new), gone=synced.lost, joined=clusters.joined)


def is_library(folder: Path) -> bool:
    """Whether a folder is a library of photos."""
    return (folder / NOTE).is_file() and (folder / GALLERY).is_file()


def rewrite_library(folder: Path) -> LibraryReport:
    """Writes the tables, the links and the page of a library by its gallery and what was found.

    Args:
        folder: The library.

    Returns:
        The people.

    Raises:
        InputError: A file cannot be read or written.
    """
    found = write_found(folder / FOUND, Journal.read(folder / FOUND).results.values())
    with Gallery.open(folder / GALLERY, create=False) as gallery:
        held = _held(gallery)
        state = _State.of(gallery.clusters(), held, read_tables(folder), None)
    return _written(folder, Path(_note(folder)["photos"]), found, state)


@dataclass(frozen=True)
class _Held:
    """The identity of a face in the gallery, and the one that was written last."""

    identity: str
    at_origin: str


@dataclass(frozen=True)
class _State:
    """Who is who: the cluster of each face, the names of clusters, and corrections."""

    clusters: Mapping[str, int]
    names: Mapping[int, str]
    move_to: Mapping[str, str]

    @classmethod
    def of(
        cls,
        clusters: Mapping[str, int],
        held: Mapping[str, _Held],
        said: Tables,
        synced: SyncResult | None,
    ) -> _State:
        """What the tables say, what was changed in the gallery since, and what a killed run had begun."""
        names: dict[int, str] = {}
        members: dict[int, list[str]] = {}
        for face, number in clusters.items():
            members.setdefault(number, []).append(face)
        move_to = _renamed_faces(said.move_to, synced)
        for number, faces in sorted(members.items()):
            own = [held[face] for face in faces if face in held and face not in move_to]
            last = Counter(one.at_origin for one in own).most_common(1)
            written = last[0][0] if last else NOBODY
            unchanged = "" if number_of(written) is not None else written
            name = said.names.get(number, unchanged)
            if name == unchanged:
                given = {one.identity for one in own if one.at_origin == written}
                if len(given) == 1 and given != {written}:  # renamed or merged in the gallery
                    name = given.pop()
                elif len(given) > 1:  # split
                    changed = ((face, held[face]) for face in faces if face in held)
                    move_to |= {face: one.identity for face, one in changed if one.identity != written}
            names[number] = "" if number_of(name) == number else name
        for number, name in said.names.items():
            if name and number not in members:  # joined by a run that did not write its tables
                left = Counter(
                    clusters[face]
                    for face, was in said.clusters.items()
                    if was == number and face in clusters
                )
                for now, _ in left.most_common(1):
                    names[now] = names[now] or name
        return cls(clusters, {number: name for number, name in names.items() if name}, move_to)

    def moves(self, folder: Path) -> dict[str, int | str]:
        """Where faces belong that were corrected, as a gallery takes it."""
        found: dict[str, int | str] = {}
        numbers = set(self.clusters.values())
        for face, to in self.move_to.items():
            number = number_of(to)
            if to == UNKNOWN:
                found[face] = ""
            elif number is None:
                found[face] = to
            elif number in numbers:
                found[face] = number
            else:
                raise InputError(
                    f"{folder / FACES} moves {face} to cluster {number}, which there is not: write a number "
                    f"of {PEOPLE}, a name, or {UNKNOWN}"
                )
        return found

    def after(self, clusters: Mapping[str, int], joined: Sequence[tuple[int, int]]) -> _State:
        """The state once faces were clustered."""
        names, into = dict(self.names), {gone: stays for stays, gone in joined}
        for gone, stays in sorted(into.items()):
            if gone in names:
                names.setdefault(stays, names[gone])
        for face, to in self.move_to.items():
            if to != UNKNOWN and number_of(to) is None and face in clusters:
                names.setdefault(clusters[face], to)
        there = set(clusters.values())
        move_to = {  # by number, so that it stays when the cluster gets another name
            face: to if to == UNKNOWN else str(clusters[face])
            for face, to in self.move_to.items()
            if face in clusters
        }
        return _State(clusters, {n: name for n, name in names.items() if n in there}, move_to)


def _opened(folder: Path, root: Path) -> dict[str, Any]:
    """Begins a library, or reads the note of one; where its photos were moved to is noted."""
    given = str(root.absolute())
    if not (folder / NOTE).is_file():
        # A first run that was killed left no more than faces.
        if folder.is_dir() and {path.name for path in folder.iterdir()} - {FOUND}:
            raise InputError(f"{folder} is not empty and holds no {NOTE}: choose another folder")
        return {"photos": given, "links": [], "copies": []}
    note = _note(folder)
    if not (folder / GALLERY).is_file() and (folder / PEOPLE).is_file():
        raise InputError(
            f"{folder} has lost its {GALLERY}, which holds the clusters that {PEOPLE} names: restore it from "
            "a backup, or choose another folder"
        )
    if note["photos"] != given and (folder / FOUND / JOURNAL).is_file():
        journal = Journal.read(folder / FOUND)
        there = sum((root / name).is_file() for name in journal.results)
        if 2 * there < len(journal.results) or not there:
            raise InputError(
                f"{folder} is the library of {note['photos']}, and {given} holds {there:,} of its "
                f"{len(journal.results):,} photos: choose another folder for it"
            )
        journal.settings = {**journal.settings, "photos": given}
        journal.rewrite(journal.results.values())
    return note | {"photos": given}


def _note(folder: Path) -> dict[str, Any]:
    path = folder / NOTE
    try:
        note = parse_json(read_small(path))
        if not isinstance(note, dict) or not isinstance(note["photos"], str):
            raise ValueError("it does not say where the photos are")
        made = [name for kind in ("links", "copies") for name in note.setdefault(kind, [])]
        if not all(isinstance(name, str) for name in made):
            raise ValueError("its links are not names")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'{path} cannot be read ({error}): write {{"photos": "..."}} with the folder of '
            "the photos into it"
        ) from error
    return note


def _check_gone(
    faces: Path,
    names: Sequence[str],
    most: float,
    confirm: Callable[[int, int], bool] | None,
) -> None:
    """Asks before the faces of many photos are removed, as from a folder that is half mounted."""
    if not (faces / JOURNAL).is_file():
        return
    before = Journal.read(faces).results
    gone = len(before.keys() - set(names))
    if gone > most * len(before) and not (confirm is not None and confirm(gone, len(before))):
        raise InputError(
            f"{gone:,} of {len(before):,} photos are gone, and nothing was changed: check that the folder is "
            "complete, then confirm that their faces are to be removed"
        )


def _held(gallery: Gallery) -> dict[str, _Held]:
    return {
        entry.item: _Held(entry.identity, entry.provenance.identity if entry.provenance else entry.identity)
        for entry in gallery.entries()
    }


def _synced(
    gallery: Gallery,
    found: FacesReport,
    folder: Path,
    labels: Mapping[str, str],
    *,
    relabel: bool = False,
    progress: Callable[[int], None] | None = None,
) -> SyncResult:
    """Makes the gallery hold the faces that were kept; its photo's pixels and its place tell a face."""
    digests = {photo.photo: photo.digest for photo in found.photos}
    items = ImageFiles(tuple(folder / FOUND / face.crop for face in found.kept))
    entries = []
    for at, face in enumerate(found.kept):
        label = labels.get(face.crop, NOBODY)
        came = Provenance(ORIGIN, label, f"{digests[face.photo]}-{face.number}")
        path = str(items.paths[at].absolute())
        entries.append(Entry(label, face.crop, None, Place(items, at), {"photo": face.photo}, path, came))
    return gallery.sync(entries, origin=ORIGIN, max_removed=1.0, undo_renames=relabel, progress=progress)


def _renamed(before: Mapping[str, _Held], synced: SyncResult) -> dict[str, _Held]:
    """What the gallery held, by the present paths of faces whose photos were renamed."""
    found = dict(before)
    for one in (*synced.renamed, *synced.moved):
        if one.item_before in before:
            found[one.item] = before[one.item_before]
    return found


def _renamed_faces(move_to: Mapping[str, str], synced: SyncResult | None) -> dict[str, str]:
    moved = () if synced is None else (*synced.renamed, *synced.moved)
    paths = {one.item_before: one.item for one in moved}
    return {paths.get(face, face): to for face, to in move_to.items()}


def _written(folder: Path, root: Path, found: FacesReport, state: _State) -> LibraryReport:
    """Writes what follows from who is who."""
    people = _people(found.kept, state)
    folders = folder_names(person.label for person in people if not person.seen_once)
    people = tuple(
        person if person.seen_once else replace(person, folder=f"{LINKS}/{folders[person.label]}")
        for person in people
    )
    write_tables(folder, people, found, clusters=state.clusters, names=state.names, move_to=state.move_to)
    wanted = {folders[person.label]: person.photos for person in people if not person.seen_once}
    before = _note(folder)

    def note(made: Made) -> None:
        told = {"photos": str(root.absolute()), "links": sorted(made.links), "copies": sorted(made.copies)}
        if told != before:
            write_json(folder / NOTE, told)

    made = Made(frozenset(before["links"]), frozenset(before["copies"]))
    made = link_photos(folder / LINKS, wanted, root=root, made=made, note=note)
    report = LibraryReport(str(folder), found, people, copied=len(made.copies))
    write_text(folder / PAGE, people_page(report, folder, root))
    return report


def _people(faces: Sequence[FoundFace], state: _State) -> tuple[Person, ...]:
    """The people, those with the most faces first, and those who were seen once at the end."""
    members: dict[str, list[FoundFace]] = {}
    for face in (face for face in faces if face.crop in state.clusters):
        members.setdefault(label_of(state.clusters[face.crop], state.names), []).append(face)
    people = [
        Person(
            label,
            any(state.names.get(state.clusters[face.crop]) for face in own),
            tuple(sorted({state.clusters[face.crop] for face in own})),
            tuple(own),
        )
        for label, own in members.items()
    ]
    return tuple(sorted(people, key=lambda one: (one.seen_once, -len(one.faces), one.clusters)))
