"""What was found in a folder of photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from trine.data.load_report import count
from trine.faces.face import Face
from trine.faces.quality import quality


@dataclass(frozen=True)
class FoundFace:
    """A face that was found on a photo.

    Attributes:
        photo: The path of the photo, in the folder of the photos.
        number: Its place among the faces of its photo, 0 for the largest.
        face: Where it is.
        sharpness: Of its aligned crop.
        failures: What it lacks, a sentence for each kind; none if it was kept.
    """

    photo: str
    number: int
    face: Face
    sharpness: float
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether it is good enough."""
        return not self.failures

    @property
    def name(self) -> str:
        """The name of its item: that of its photo, and a number unless it is the largest face there.

        Example:
            >>> points = ((40.0, 40.0), (60.0, 40.0), (50.0, 52.0), (42.0, 62.0), (58.0, 62.0))
            >>> face = Face((30.0, 20.0, 40.0, 56.0), points, 0.9)
            >>> FoundFace("a.jpg", 0, face, 0.05).name, FoundFace("a.jpg", 2, face, 0.05).name
            ('a.jpg', 'a.jpg#2')
        """
        return f"{self.photo}#{self.number}" if self.number else self.photo

    @property
    def pixels(self) -> tuple[int, int, int, int]:
        """Its box in whole pixels: left, top, width, height."""
        left, top, width, height = (round(value) for value in self.face.box)
        return left, top, width, height

    @property
    def quality(self) -> float:
        """How well it can be seen, from 0 to 1; see `trine.faces.quality`."""
        return round(quality(self.face, self.sharpness), 3)

    @property
    def lacks(self) -> str:
        """What it lacks, in words; "" if nothing."""
        return "; ".join(f"{kind}: {said}" for kind, said in self.failures.items())

    def to_json(self) -> dict[str, object]:
        """Returns where it is and how well it can be seen as JSON values."""
        return {
            "number": self.number,
            "box": [round(value, 1) for value in self.face.box],
            "landmarks": [[round(x, 1), round(y, 1)] for x, y in self.face.landmarks],
            "score": round(self.face.score, 4),
            "size": round(self.face.size, 1),
            "sharpness": self.sharpness,
            "turn": round(self.face.turn, 3),
            "quality": self.quality,
            "lacks": dict(self.failures),
        }

    @property
    def crop(self) -> str:
        """The path of its crop, in the folder of what was found."""
        place = PurePosixPath("kept" if self.kept else "left_out", self.photo)
        return str(place.with_name(f"{place.name}-{self.number}.png"))


@dataclass(frozen=True)
class PhotoResult:
    """What was found on a photo.

    Attributes:
        photo: Its path in the folder of the photos.
        bytes: Its size.
        modified: When it was changed last, in nanoseconds.
        digest: A digest of its pixels; "" if it cannot be read.
        faces: Its faces, the largest first.
        same_as: An earlier photo with the same pixels, whose faces count; "" for none.
        error: Why it cannot be read; "" if it can.
    """

    photo: str
    bytes: int = 0
    modified: int = 0
    digest: str = ""
    faces: tuple[FoundFace, ...] = ()
    same_as: str = ""
    error: str = ""


@dataclass(frozen=True)
class FacesReport:
    """What was found in a folder of photos.

    Attributes:
        folder: Where the crops are.
        photos: What was found on each photo.
    """

    folder: str
    photos: tuple[PhotoResult, ...]

    @property
    def faces(self) -> tuple[FoundFace, ...]:
        """All faces, photo by photo."""
        return tuple(face for photo in self.photos for face in photo.faces)

    @property
    def kept(self) -> tuple[FoundFace, ...]:
        """The faces that are good enough."""
        return tuple(face for face in self.faces if face.kept)

    @property
    def left_out(self) -> dict[str, int]:
        """How many faces were left out for each kind of failure; one with several counts for each."""
        return dict(Counter(kind for face in self.faces for kind in face.failures).most_common())

    @property
    def without(self) -> tuple[str, ...]:
        """The photos without a face."""
        return tuple(
            photo.photo for photo in self.photos if not (photo.faces or photo.error or photo.same_as)
        )

    @property
    def unreadable(self) -> dict[str, str]:
        """The photos that cannot be read, and why."""
        return {photo.photo: photo.error for photo in self.photos if photo.error}

    @property
    def repeated(self) -> dict[str, str]:
        """The photos that have the pixels of an earlier one, and which."""
        return {photo.photo: photo.same_as for photo in self.photos if photo.same_as}

    def to_json(self) -> dict[str, object]:
        """Returns the counts as JSON values."""
        return {
            "photos": len(self.photos),
            "faces": len(self.faces),
            "kept": len(self.kept),
            "left_out": self.left_out,
            "without_a_face": list(self.without),
            "unreadable": self.unreadable,
            "repeated": self.repeated,
        }

    def __str__(self) -> str:
        lines = [f"{count(len(self.faces), 'face', 'faces')} on {count(len(self.photos), 'photo', 'photos')}"]
        lines.append(f"kept: {len(self.kept):,}, in {self.folder}/kept")
        if self.left_out:
            reasons = ", ".join(f"{number:,} {kind}" for kind, number in self.left_out.items())
            lines.append(f"left out: {len(self.faces) - len(self.kept):,} ({reasons})")
        for some, what in (
            (self.without, "without a face"),
            (tuple(self.repeated), "with the same pixels as another"),
            (tuple(self.unreadable.values()), "cannot be read"),
        ):
            if some:
                lines.append(
                    f"{count(len(some), 'photo', 'photos')} {what}: {some[0]}{' ...' if some[1:] else ''}"
                )
        return "\n".join(lines)
