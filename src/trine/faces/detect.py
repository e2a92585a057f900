"""From a data set of photos to a data set of the aligned faces on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trine.data import Dataset, Items
from trine.data.dataset import FromFiles, Indices
from trine.data.file_part import part_of
from trine.data.image_cache import ImageCache
from trine.data.load_report import count, some
from trine.data.parallel import in_threads
from trine.errors import DataError, InputError
from trine.faces.alignment import SIDES, Alignment, aligned
from trine.faces.detector import FaceDetector
from trine.faces.found import FoundFace
from trine.faces.look import FacePolicy, Look, in_colour, is_aligned, look_at
from trine.shapes import UInt8

AT_ONCE = 64
"""So many photos are looked at before progress is told."""

FACE_COLUMNS = ("photo", "box", "quality")
"""The columns that say where a face came from."""

CROPS_BYTES = 1 << 30
"""So many bytes of crops are kept; further ones are cut out of their photos again."""


@dataclass(frozen=True, eq=False)
class FaceCrops:
    """Aligned faces of photos, cut out on access.

    Args:
        photos: The photos.
        places: For each item the position of its photo, and its face; None for a photo that is an aligned
            face itself.
        side: The height and width of an item that is cut out, in pixels.
        alignment: Where eyes, nose and mouth are in it.
        cache: Keeps crops in memory while they fit; subsets share it.
    """

    photos: Items
    places: tuple[tuple[int, FoundFace | None], ...]
    side: int = SIDES["dlib"]
    alignment: Alignment = "dlib"
    cache: ImageCache = field(
        default_factory=lambda: ImageCache(decoded_bytes=CROPS_BYTES), compare=False, repr=False
    )
    kind: Literal["images"] = field(default="images", init=False)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int, /) -> UInt8[np.ndarray, "h w c"]:
        place, found = self.places[int(index)]
        if found is None:
            whole: UInt8[np.ndarray, "h w c"] = self.photos[place]
            return whole
        kept: UInt8[np.ndarray, "h w c"] | None = self.cache.decoded.get((place, found.number))
        if kept is not None:
            return kept
        photo = in_colour(self.photos[place])
        return aligned(photo, found.face, alignment=self.alignment, side=self.side)

    def keep(self, place: int, found: FoundFace, crop: UInt8[np.ndarray, "s s 3"]) -> None:
        """Keeps a crop that was just made, if it fits and has the right size."""
        if crop.shape[0] == self.side:
            self.cache.decoded.put((place, found.number), crop, crop.nbytes)

    def file(self, index: int, /) -> tuple[Path, str] | None:
        """The file of a photo, and where the face is in it; None for a photo in memory."""
        place, found = self.places[int(index)]
        whole = self.photos.file(place) if isinstance(self.photos, FromFiles) else None
        if whole is None or found is None:
            return whole
        return whole[0], part_of(found.pixels)

    def subset(self, indices: Indices, /) -> FaceCrops:
        """Returns some of the items, in the order given."""
        return replace(self, places=tuple(self.places[int(index)] for index in indices))


@dataclass(frozen=True)
class PhotoFaces:
    """What was found on one photo of a data set.

    Attributes:
        photo: Its name.
        faces: Its faces, the largest first, each with what it lacks.
        chosen: The positions of those that count.
        aligned: Whether it is an aligned face itself, such as a crop of `trine faces`, and counts as it is.
    """

    photo: str
    faces: tuple[FoundFace, ...] = ()
    chosen: tuple[int, ...] = ()
    aligned: bool = False

    @property
    def taken(self) -> tuple[FoundFace, ...]:
        """The faces that count."""
        return tuple(self.faces[at] for at in self.chosen)

    @property
    def why_not(self) -> str:
        """Why nothing of it counts; "" if something does."""
        if self.aligned or self.chosen:
            return ""
        if not self.faces:
            return "no face was found"
        # The face that the photo is of says most; others may be in the background.
        first = next((face for face in self.faces if "in the background" not in face.failures), self.faces[0])
        return first.lacks


@dataclass(frozen=True)
class DetectionReport:
    """What was found on the photos of a data set; `str(report)` is a few lines.

    Attributes:
        photos: What was found on each, in their order.
    """

    photos: tuple[PhotoFaces, ...]

    @property
    def faces(self) -> tuple[FoundFace, ...]:
        """All faces, photo by photo."""
        return tuple(face for photo in self.photos for face in photo.faces)

    @property
    def taken(self) -> tuple[FoundFace, ...]:
        """The faces that count."""
        return tuple(face for photo in self.photos for face in photo.taken)

    @property
    def aligned(self) -> tuple[str, ...]:
        """The photos that are aligned faces themselves."""
        return tuple(photo.photo for photo in self.photos if photo.aligned)

    @property
    def without(self) -> tuple[str, ...]:
        """The photos without a face."""
        return tuple(photo.photo for photo in self.photos if not (photo.faces or photo.aligned))

    @property
    def refused(self) -> dict[str, str]:
        """The photos of which nothing counts, and why."""
        return {photo.photo: photo.why_not for photo in self.photos if photo.why_not}

    @property
    def left_out(self) -> dict[str, int]:
        """How many faces were left out for each kind of failure; one with several counts for each."""
        left = (
            face for photo in self.photos for at, face in enumerate(photo.faces) if at not in photo.chosen
        )
        return dict(Counter(kind for face in left for kind in face.failures).most_common())

    def to_json(self) -> dict[str, object]:
        """Returns counts and reasons as JSON values."""
        return {
            "photos": len(self.photos),
            "faces": len(self.faces),
            "taken": len(self.taken),
            "aligned": len(self.aligned),
            "left_out": self.left_out,
            "refused": self.refused,
        }

    def __str__(self) -> str:
        looked = len(self.photos) - len(self.aligned)
        lines = []
        if looked:
            lines.append(
                f"{count(len(self.faces), 'face', 'faces')} on {count(looked, 'photo', 'photos')}, "
                f"{len(self.taken):,} taken"
            )
        if self.aligned:
            lines.append(count(len(self.aligned), "photo is an aligned face", "photos are aligned faces"))
        if self.left_out:
            reasons = ", ".join(f"{number:,} {kind}" for kind, number in self.left_out.items())
            lines.append(f"left out: {len(self.faces) - len(self.taken):,} ({reasons})")
        if self.without:
            photos = count(len(self.without), "photo", "photos")
            lines.append(f"{photos} without a face: {some(self.without)}")
        return "\n  ".join(lines)


def detect_faces(
    photos: Dataset,
    *,
    detector: FaceDetector | None = None,
    policy: FacePolicy | None = None,
    alignment: Alignment = "dlib",
    side: int | None = None,
    aligned_sides: Collection[int] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Dataset, DetectionReport]:
    """Makes a data set of the aligned faces on photos.

    The largest face of a photo has the photo's name, the others that name with `#1`, `#2` and so on. Each
    has its photo's identity and columns, and the columns `photo`, `box` (left, top, width and height in whole
    pixels) and `quality` (0 to 1), which a gallery stores as metadata. Crops are made when they are read, and
    kept in memory only while they take little of it.

    Args:
        photos: The photos, in files or in memory.
        detector: Finds the faces; by default one with its default settings.
        policy: Which faces count; by default all that have what `Requirements` asks for.
        alignment: Where eyes, nose and mouth are in the crops.
        side: The height and width of the crops, in pixels; None takes those of the alignment.
        aligned_sides: Square photos of exactly these sides, in pixels, are aligned faces already, such as
            the crops of `find_faces`; they are taken as they are. None takes the side of the alignment.
        progress: Called with the number of photos that are done.

    Returns:
        The faces, of which there may be none; and what was found on each photo, kept and refused.

    Raises:
        InputError: The items are not images.
        DataError: A photo cannot be read.
        MissingDependencyError: A package is not installed.

    Example:
        >>> from trine.data import ImageArray
        >>> crops = ImageArray(np.zeros((2, 150, 150, 3), dtype=np.uint8))
        >>> faces, report = detect_faces(Dataset(crops, np.array([0, 1]), ("ann", "bob"), ("1.png", "2.png")))
        >>> print(report)
        2 photos are aligned faces
    """
    if photos.kind != "images":
        raise InputError(f"faces are found on photos, given {photos.kind}; leave the detection out")
    policy = FacePolicy() if policy is None else policy
    crops = FaceCrops(photos.items, (), SIDES[alignment] if side is None else side, alignment)
    own_sides = (SIDES[alignment],) if aligned_sides is None else aligned_sides
    finder: list[FaceDetector] = [] if detector is None else [detector]

    def look(place: int) -> Look | None:
        pixels = photos.items[place]
        if is_aligned(pixels, own_sides):
            return None
        if not finder:  # not before a photo needs it, as its packages may not be installed
            finder.append(FaceDetector())
        look = look_at(
            pixels, detector=finder[0], policy=policy, alignment=alignment, photo=photos.names[place]
        )
        for at in look.chosen:
            crops.keep(place, look.faces[at], look.crops[at])
        return replace(look, crops=())

    found: list[PhotoFaces] = []
    places: list[tuple[int, FoundFace | None]] = []
    for start in range(0, len(photos), AT_ONCE):
        part = range(start, min(start + AT_ONCE, len(photos)))
        looks = in_threads(lambda at, part=part: look(part[at]), len(part))  # type: ignore[misc]
        for place, seen in zip(part, looks, strict=True):
            one = PhotoFaces(photos.names[place], aligned=seen is None)
            if seen is not None:
                one = replace(one, faces=seen.faces, chosen=seen.chosen)
            found.append(one)
            places += [(place, None)] if one.aligned else [(place, face) for face in one.taken]
        if progress is not None:
            progress(part.stop)
    report = DetectionReport(tuple(found))
    if len(report.aligned) == len(photos):
        return photos, report
    return _dataset(photos, replace(crops, places=tuple(places))), report


def _dataset(photos: Dataset, crops: FaceCrops) -> Dataset:
    at = np.array([place for place, _ in crops.places], dtype=np.int64)
    columns: dict[str, Any] = {
        "photo": np.array([photos.names[place] for place in at], dtype=object),
        "box": np.empty(len(at), dtype=object),
        "quality": np.array([1.0 if face is None else face.quality for _, face in crops.places]),
    }
    for row, (_, face) in enumerate(crops.places):
        columns["box"][row] = None if face is None else list(face.pixels)
    names = tuple(photos.names[place] if face is None else face.name for place, face in crops.places)
    if len(set(names)) != len(names):
        raise DataError(
            "two photos would have faces of the same name: rename photos whose name ends with # and a number"
        )
    return replace(
        photos,
        items=crops,
        labels=photos.labels[at],
        names=names,
        columns=columns | {name: column[at] for name, column in photos.columns.items()},
    )
