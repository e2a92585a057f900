"""Who is on a folder of photos: people, each with the faces that were found to be theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trine.data.load_report import count
from trine.faces.found import FacesReport, FoundFace

_LABEL = re.compile(r"person-([0-9]{4,})")


@dataclass(frozen=True)
class Person:
    """A person on photos: a cluster of faces, or several that have one name.

    Attributes:
        label: The name that was given; else the number of the cluster, as `label_of` writes it.
        named: Whether it has a name.
        clusters: The clusters.
        faces: The faces, photo by photo.
        folder: The folder of links to the photos, in that of the library; "" for none.
    """

    label: str
    named: bool
    clusters: tuple[int, ...]
    faces: tuple[FoundFace, ...]
    folder: str = ""

    @property
    def photos(self) -> tuple[str, ...]:
        """The photos that show the person, each once."""
        return tuple(dict.fromkeys(face.photo for face in self.faces))

    @property
    def seen_once(self) -> bool:
        """Whether this is one face without a name."""
        return len(self.faces) == 1 and not self.named


@dataclass(frozen=True)
class LibraryReport:
    """Who is on a folder of photos.

    Attributes:
        folder: The library.
        found: The faces that were found, and those that were left out.
        people: The people, those with the most faces first.
        new: How many faces the library did not have.
        gone: How many faces are gone with their photos.
        joined: Pairs (number kept, number dropped) of clusters that new faces joined.
        copied: How many photos were copied because links cannot be made there.
    """

    folder: str
    found: FacesReport
    people: tuple[Person, ...]
    new: int = 0
    gone: int = 0
    joined: tuple[tuple[int, int], ...] = ()
    copied: int = 0

    @property
    def seen_once(self) -> tuple[Person, ...]:
        """The people without a name of whom there is one face."""
        return tuple(person for person in self.people if person.seen_once)

    def to_json(self) -> dict[str, object]:
        """Returns the people, with their numbers of faces and photos, as JSON values."""
        people = [
            {
                "name": person.label if person.named else "",
                "clusters": list(person.clusters),
                "faces": len(person.faces),
                "photos": len(person.photos),
            }
            for person in self.people
        ]
        joined = [list(pair) for pair in self.joined]
        changes = {"new": self.new, "gone": self.gone, "joined": joined, "copied": self.copied}
        return {**self.found.to_json(), "people": people, **changes}

    def __str__(self) -> str:
        several = len(self.people) - len(self.seen_once)
        named = sum(person.named for person in self.people)
        lines = str(self.found).split("\n")
        lines.append(
            f"{count(several, 'person', 'people')} ({named:,} named) and {len(self.seen_once):,} seen once; "
            f"{count(self.new, 'new face', 'new faces')}, {self.gone:,} gone"
        )
        if self.joined:
            lines.append("joined: " + ", ".join(f"{gone} is now {stays}" for stays, gone in self.joined))
        if self.copied:
            lines.append(f"{count(self.copied, 'photo', 'photos')} copied, because links cannot be made here")
        return "\n".join(lines)


def label_of(number: int, names: Mapping[int, str]) -> str:
    """What a cluster is called: by its name, or by its number.

    Example:
        >>> label_of(3, {3: "ann"}), label_of(7, {3: "ann"})
        ('ann', 'person-0007')
    """
    return names.get(number) or f"person-{number:04}"


def number_of(text: str) -> int | None:
    """The cluster that a text names by its number; None if it does not.

    Example:
        >>> number_of("person-0007"), number_of("7"), number_of("7.0"), number_of("ann")
        (7, 7, 7, None)
    """
    found = _LABEL.fullmatch(text)
    digits = found[1] if found else text.removesuffix(".0")
    return int(digits) if digits.isascii() and digits.isdigit() else None
