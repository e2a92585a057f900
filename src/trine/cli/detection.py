"""Detection on the command line: its options, and the faces of photos as questions and items."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trine.cli.arguments import echo, progress_bar
from trine.cli.parser import argument
from trine.errors import Argument, DataError, SettingError

if TYPE_CHECKING:
    from trine.data import Dataset
    from trine.faces import DetectionReport, FoundFace, Requirements

QUALITY = (
    argument("--size", type=float, help="the least width of a face, in pixels (default: 40)"),
    argument("--sharpness", type=float, help="the least sharpness of a face (default: 0.003)"),
    argument(
        "--turn", type=float, help="the most that a head is turned aside; 1 is half a profile (default: 0.9)"
    ),
    argument("--score", type=float, help="how sure the detector must be, from 0.6 to 1 (default: 0.7)"),
)
"""What a face must have."""

FIND = argument(
    "--detect",
    action=argparse.BooleanOptionalAction,
    default=None,
    help="find the faces on photos first (default: with a model of faces)",
)
DETECT = (FIND, *QUALITY)
"""Whether photos go through detection, and what a face must have."""

LOW_QUALITY = argument(
    "--low-quality",
    metavar="POLICY",
    default="refuse",
    help="faces that are too small, blurred, turned aside or uncertain: refuse or keep (default: refuse)",
)
SEVERAL = argument(
    "--several",
    metavar="POLICY",
    default="refuse",
    help="photos with several faces: refuse, take the largest, or all (default: refuse)",
)
DRAW = argument(
    "--draw",
    metavar="OUT",
    help="draw boxes and answers: a .jpg or .png file, or a folder for several photos",
)
_NAMES = ("size", "sharpness", "turn", "score")


def requirements_of(settings: Any) -> Requirements:
    """What a face must have, by the arguments.

    Raises:
        SettingError: One is out of range.
    """
    from trine.faces import Requirements
    from trine.faces.detector import LEAST_SCORE
    from trine.settings import parse

    given = {name: getattr(settings, name, None) for name in _NAMES}
    given = {name: value for name, value in given.items() if value is not None}
    requirements = parse(Requirements, given, source="the command line")
    if requirements.score < LEAST_SCORE:
        raise SettingError(
            f"--score must be from {LEAST_SCORE:g} to 1, given {requirements.score:g}: the detector finds "
            "no face that it is less sure of"
        )
    return requirements


def detected(
    settings: Any, encoder: object, data: Dataset, *, several: str, low_quality: str
) -> tuple[Dataset, DetectionReport | None]:
    """Finds the faces of photos, if the arguments or the model ask for it.

    Args:
        settings: The parsed arguments, with `FIND` and perhaps `QUALITY`.
        encoder: What embeds the faces.
        data: The photos.
        several: The policy for photos with several faces.
        low_quality: The policy for faces that lack something.

    Returns:
        The faces and what was found; or the data as it is, and None.

    Raises:
        SettingError: An option about faces is given, and nothing is detected.
    """
    from trine.pipelines import takes_faces

    wanted = settings.detect
    if wanted is None:
        wanted = takes_faces(encoder) and data.kind == "images"
    if not wanted:
        given = [name for name in (*_NAMES, "draw") if getattr(settings, name, None) is not None]
        if given:
            raise SettingError(f"--{given[0]} is about the faces on photos: add --detect")
        return data, None
    from trine.faces import FacePolicy
    from trine.pipelines import faces_for

    policy = FacePolicy(requirements_of(settings), low_quality, several)  # type: ignore[arg-type]
    with progress_bar("finding faces", len(data)) as progress:
        return faces_for(encoder, data, detect=True, policy=policy, progress=progress)


@dataclass(frozen=True)
class Asked:
    """A question to a gallery: a probe, or a face on it.

    Attributes:
        probe: The name of the probe.
        place: The position of the item that is asked about; None for a photo without a face.
        face: The face; None for a probe that is asked about as a whole.
        of: How many faces are on the photo.
    """

    probe: str
    place: int | None
    face: FoundFace | None = None
    of: int = 0

    def __str__(self) -> str:
        if self.face is None:
            return self.probe
        which = f" {self.face.number + 1} of {self.of}" if self.of > 1 else ""
        left, top, width, height = self.face.pixels
        return f"{self.probe}, face{which} ({width} × {height} at {left}, {top})"

    @property
    def remark(self) -> str:
        """What the face lacks, in words; "" if nothing."""
        return f"; low quality: {self.face.lacks}" if self.face is not None and self.face.lacks else ""

    def to_json(self) -> dict[str, object]:
        """Returns the probe and its face as JSON values."""
        if not self.of and self.place is not None:
            return {"probe": self.probe}
        return {"probe": self.probe, "face": None if self.face is None else self.face.to_json()}


def questions(items: Dataset, report: DetectionReport | None) -> list[Asked]:
    """The questions about probes, or about their faces, photo by photo.

    Args:
        items: The items that are asked about.
        report: What was found on the photos; None if nothing was detected.
    """
    if report is None:
        return [Asked(name, place) for place, name in enumerate(items.names)]
    asked: list[Asked] = []
    place = 0
    for photo in report.photos:
        if photo.aligned:
            asked.append(Asked(photo.photo, place))
            place += 1
        for face in photo.taken:
            asked.append(Asked(photo.photo, place, face, len(photo.faces)))
            place += 1
        if not (photo.aligned or photo.taken):
            asked.append(Asked(photo.photo, None))
    return asked


NO_FACE: dict[str, object] = {"identity": None, "accepted": None, "sentence": "no face was found"}
"""The answer for a photo without a face, as JSON values."""


def check_found(asked: Iterable[Asked], settings: Any) -> None:
    """Raises a `DataError` for photos without a face, unless the policy for unreadable items skips them."""
    from trine.data.load_report import some

    without = [each.probe for each in asked if each.place is None]
    if without and settings.unreadable == "error":
        raise no_face(some(without))


def no_face(photos: str, *, skip: bool = True) -> DataError:
    """The error for photos without a face.

    Args:
        photos: Their names.
        skip: Whether such photos may be skipped.
    """
    said = f"no face was found on {photos}; for crops that are aligned already add --no-detect"
    return DataError(said, *((", or ", Argument("unreadable", "skip")) if skip else ()))


def list_refused(report: DetectionReport) -> None:
    """Prints what was found, and each photo of which nothing counts, with the reason."""
    echo(report)
    for photo, why in report.refused.items():
        echo(f"  refused: {photo} ({why})")


def list_gone(removed: Iterable[str], report: DetectionReport, *, dry_run: bool) -> None:
    """Prints which items a sync removes because their photo is refused now."""
    from trine.pipelines.faces_for import photo_of

    refused = report.refused
    for item in removed:
        if photo_of(item) in refused:
            which = "would be removed" if dry_run else "is removed"
            echo(f"  {item} was enrolled before and {which}: {refused[photo_of(item)]}")


def box_columns(items: Dataset, report: DetectionReport | None) -> dict[str, Sequence[object]]:
    """The photo and the box of each item, as columns of a table; none if nothing was detected."""
    if report is None or "box" not in items.columns:
        return {}
    boxes = [box or ("",) * 4 for box in items.columns["box"].tolist()]
    sides = zip(*boxes, strict=True) if boxes else [()] * 4
    columns: dict[str, Sequence[object]] = {"photo": items.columns["photo"].tolist()}
    columns |= dict(zip(("left", "top", "width", "height"), map(list, sides), strict=True))
    return columns
