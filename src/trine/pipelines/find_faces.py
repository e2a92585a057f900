"""From a folder of photos to the aligned faces on them: crops, a table, and a page to look at.

OUT/kept/...      a crop of each face that is good enough, in the folders of the photos
OUT/left_out/...  a crop of each other face
OUT/faces.csv     where each face came from, and why some were left out
OUT/index.html    the same to look at
OUT/photos.jsonl  what was found so far; a run that was interrupted goes on from there
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from trine.data.image_decoding import SUFFIXES, decode
from trine.data.parallel import in_threads
from trine.data.sources.folder import images_below
from trine.errors import DataError, InputError, check_choice, require
from trine.faces import (
    TEMPLATES,
    Alignment,
    FaceDetector,
    FacePolicy,
    FacesReport,
    FoundFace,
    PhotoResult,
    Requirements,
    look_at,
)
from trine.faces.journal import PAGE, TABLE, Journal
from trine.faces.look import in_colour
from trine.io import write_text
from trine.pipelines.export import write_csv
from trine.report.pages.faces import faces_page
from trine.shapes import UInt8

Each = Callable[[Callable[[str], Any], Sequence[str]], Iterator[Any]]
"""Calls a function for each of many names, wherever; yields the results in order."""

AT_ONCE = 32
"""So many photos are looked at before what was found is stored."""


@dataclass(frozen=True)
class _Settings:
    """What decides which faces are found; a folder holds the faces of one choice."""

    photos: str
    score: float
    longest: int
    largest: bool
    alignment: Alignment
    requirements: Requirements

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def find_faces(
    photos: str | Path,
    *,
    out: str | Path,
    detector: FaceDetector | None = None,
    requirements: Requirements | None = None,
    largest: bool = False,
    alignment: Alignment = "dlib",
    progress: Callable[[int], None] | None = None,
    each: Each | None = None,
) -> FacesReport:
    """Finds, aligns, judges and crops the faces of all photos in a folder.

    Called again, it looks at photos that are new or changed, and removes the crops of those that are gone.
    A photo with the same pixels as an earlier one is left out. Crops are PNG files without any metadata.

    Args:
        photos: A folder of photos, with folders in it, or a single photo.
        out: The folder for what is found.
        detector: Finds the faces; by default one with its default settings.
        requirements: What a face must have to be kept.
        largest: Whether only the largest face of each photo is kept, as for portraits whose folder names
            the person.
        alignment: Where eyes, nose and mouth are in the crops: for networks that expect them as `dlib` has
            them, or as `arcface`.
        progress: Called with the number of photos that are done.
        each: Looks at the photos in other processes (`trine.on_ray.each_on`); None for threads of this one.

    Returns:
        What was found and what was left out, and why.

    Raises:
        DataError: There are no photos, or none can be read.
        InputError: There is no such alignment; or the folder holds something else, or faces that were found
            with other settings, or lies among the photos; or it cannot be written.
        MissingDependencyError: A package is not installed.
    """
    check_choice("alignment", alignment, TEMPLATES)
    root, names = photos_of(photos)
    detector = FaceDetector() if detector is None else detector
    requirements = Requirements() if requirements is None else requirements
    folder, given = Path(out), Path(photos).absolute()
    settings = _Settings(str(given), detector.score, detector.longest, largest, alignment, requirements)
    if given.is_dir() and given in [folder.absolute(), *folder.absolute().parents]:
        raise InputError(f"{out} lies among the photos of {photos}: choose a folder outside")
    journal = Journal.open(folder, settings.to_json())
    known = journal.still_valid(root, names)
    policy = FacePolicy(requirements, several="largest" if largest else "all")
    look = _Looking(root, detector, policy, alignment)
    todo = [name for name in names if name not in known]
    try:
        seen = {
            result.digest: result.photo for result in known.values() if result.digest and not result.same_as
        }
        stream = iter(() if each is None or not todo else each(look, todo))
        for start in range(0, len(todo), AT_ONCE):
            part = todo[start : start + AT_ONCE]
            looks: Iterable[_Looked]
            if each is None:
                looks = in_threads(lambda at, part=part: look(part[at]), len(part))  # type: ignore[misc]
            else:
                looks = islice(stream, len(part))
            for looked in looks:
                result = looked.result
                if result.digest in seen:
                    result = replace(result, faces=(), same_as=seen[result.digest])
                elif result.digest:
                    seen[result.digest] = result.photo
                    _write_crops(folder, result, looked.crops)
                known[result.photo] = result
                journal.add(result)
            journal.flush()
            if progress is not None:
                progress(len(names) - len(todo) + start + len(part))
        results = tuple(known[name] for name in names)
        journal.rewrite(results)
    except OSError as error:
        raise InputError(
            f"cannot write to {out} ({error.strerror or error}); free disk space or choose another folder, "
            "and run it again"
        ) from error
    if all(result.error for result in results):
        raise DataError(
            f"{photos}: no photo can be read ({results[0].error}); give JPEG, PNG, WebP, HEIC or other images"
        )
    return write_found(folder, results)


def write_found(folder: Path, results: Iterable[PhotoResult]) -> FacesReport:
    """Writes the table and the page of a folder of faces.

    Args:
        folder: The folder, with the crops.
        results: What was found on each photo.

    Returns:
        What was found.

    Raises:
        InputError: A file cannot be written.
    """
    report = FacesReport(str(folder), tuple(results))
    _write_table(folder / TABLE, report.photos)
    write_text(folder / PAGE, faces_page(report, folder))
    return report


@dataclass(frozen=True)
class _Looking:
    """Looks at a photo of a folder."""

    root: Path
    detector: FaceDetector
    policy: FacePolicy
    alignment: Alignment

    def __call__(self, name: str) -> _Looked:
        return _looked(self.root, name, self.detector, self.policy, self.alignment)


@dataclass(frozen=True)
class _Looked:
    """What was found on a photo, with the crops of its faces."""

    result: PhotoResult
    crops: tuple[UInt8[np.ndarray, "s s 3"], ...] = ()


def photos_of(photos: str | Path) -> tuple[Path, list[str]]:
    """Lists photos.

    Args:
        photos: A folder, or a single photo.

    Returns:
        The folder, and the paths of the photos in it, in natural order.

    Raises:
        DataError: There are none.
    """
    photos = Path(photos)
    if photos.is_file():
        return photos.parent, [photos.name]
    if not photos.is_dir():
        raise DataError(f"{photos} does not exist; give a folder of photos, or a photo")
    names = images_below(photos)
    if not names:
        raise DataError(f"{photos} holds no photos ({', '.join(sorted(suffix[1:] for suffix in SUFFIXES))})")
    return photos, names


def _looked(
    root: Path, name: str, detector: FaceDetector, policy: FacePolicy, alignment: Alignment
) -> _Looked:
    """Looks at one photo."""
    path = root / name
    try:
        stat = path.stat()
        pixels = in_colour(decode(path))
    except (OSError, DataError) as error:
        return _Looked(PhotoResult(name, error=str(error)))
    digest = hashlib.blake2b(np.array(pixels.shape).tobytes(), digest_size=16)
    digest.update(pixels.tobytes())
    look = look_at(pixels, detector=detector, policy=policy, alignment=alignment, photo=name)
    return _Looked(
        PhotoResult(name, stat.st_size, stat.st_mtime_ns, digest.hexdigest(), look.faces), look.crops
    )


def _write_crops(folder: Path, result: PhotoResult, crops: Iterable[UInt8[np.ndarray, "s s 3"]]) -> None:
    image = require("PIL.Image", extra="images")
    for face, crop in zip(result.faces, crops, strict=True):
        path = folder / face.crop
        path.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(crop).save(path)


def _write_table(path: Path, results: Iterable[PhotoResult]) -> None:
    places = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
    head = ["face", "photo", "kept", "reason", "left", "top", "width", "height"]
    head += [f"{place}_{axis}" for place in places for axis in "xy"]
    head += ["score", "size", "sharpness", "turn", "roll"]

    def row(found: FoundFace) -> list[object]:
        face = found.face
        numbers = [*face.box, *(value for point in face.landmarks for value in point)]
        quality = (face.score, face.size, found.sharpness, face.turn, face.roll)
        said = "; ".join(f"{kind} ({why})" for kind, why in found.failures.items())
        return [
            found.crop, found.photo, "yes" if found.kept else "no", said,
            *(f"{value:.1f}" for value in numbers), *(f"{value:.4g}" for value in quality),
        ]  # fmt: skip

    write_csv(path, head, (row(found) for result in results for found in result.faces))
