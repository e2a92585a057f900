"""`--draw`: photos with a box around each face, and the answer about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from trine.errors import SettingError

if TYPE_CHECKING:
    from trine.cli.detection import Asked
    from trine.data import Dataset
    from trine.gallery import Identification, Verification
    from trine.report.face_picture import Mark, Verdict


@dataclass
class Drawings:
    """What is drawn on photos, collected face by face.

    Attributes:
        files: The picture of each photo; empty if nothing is drawn.
        marks: What to draw on each photo.
    """

    files: dict[str, Path] = field(default_factory=dict)
    marks: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, out: str | None, photos: Dataset) -> Drawings:
        """Chooses the files before anything is computed.

        Args:
            out: A file for one photo, or a folder; None draws nothing.
            photos: The photos.

        Raises:
            SettingError: Several photos do not fit into a file, or a photo would be overwritten.
        """
        if out is None:
            return cls()
        from trine.data.image_decoding import SUFFIXES as OF_PHOTOS
        from trine.report.face_picture import SUFFIXES

        path, names = Path(out), photos.names
        if path.suffix.lower() in SUFFIXES and not path.is_dir():
            if len(names) > 1:
                raise SettingError(f"--draw {out} is one picture, given {len(names)} photos: name a folder")
            files = dict.fromkeys(names, path)
        elif path.is_file() or (path.suffix.lower() in OF_PHOTOS and not path.is_dir()):
            what = "a file" if path.is_file() else "neither a folder nor a picture that can be written"
            raise SettingError(f"--draw {out} is {what}: end its name with {_one_of(SUFFIXES)}")
        else:
            drawn = [_file_name(photo, SUFFIXES) for photo in names]
            times = Counter(drawn)
            files = {
                photo: path / (f"{number}-{name}" if times[name] > 1 else name)
                for number, (photo, name) in enumerate(zip(names, drawn, strict=True), 1)
            }
        check_apart(files.values(), photos)
        return cls(files)

    def add(self, asked: Asked, answer: Identification | Sequence[Any] | None) -> None:
        """Adds an answer: an identification, hits, or None for a photo without a face."""
        if self.files and answer is not None:
            lines, verdict = _named(answer)
            self.marks.setdefault(asked.probe, []).append((asked, lines, verdict))

    def write(self, photos: Dataset) -> None:
        """Draws the photos; those without a face as they are.

        Raises:
            InputError: A picture cannot be written.
        """
        if not self.files:
            return
        from trine.report.face_picture import face_picture, save_picture

        for place, name in enumerate(photos.names):
            pixels = photos.items[place]
            marks = [_mark(asked, pixels, lines, said) for asked, lines, said in self.marks.get(name, ())]
            save_picture(face_picture(pixels, marks), self.files[name])


def check_picture(out: str | None) -> None:
    """Raises a `SettingError` unless a file name is that of a picture."""
    from trine.report.face_picture import SUFFIXES

    if out is not None and Path(out).suffix.lower() not in SUFFIXES:
        raise SettingError(f"--draw {out} is no picture: end its name with {_one_of(SUFFIXES)}")


def check_apart(pictures: Iterable[Path], photos: Dataset) -> None:
    """Raises a `SettingError` if a picture would take the place of a photo that it is drawn from."""
    from trine.data.dataset import FromFiles

    if not isinstance(photos.items, FromFiles):
        return
    places = (photos.items.file(place) for place in range(len(photos)))
    originals = {_identity(each[0]): each[0] for each in places if each is not None}
    for picture in pictures:
        if picture.exists() and _identity(picture) in originals:
            raise SettingError(f"--draw would overwrite the photo {picture}: name another file or folder")


def _identity(path: Path) -> tuple[int, int]:
    """What two names of one file share, such as a link and what it leads to."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def _one_of(suffixes: Sequence[str]) -> str:
    return f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"


def draw_verification(out: str | None, photos: Dataset, asked: Sequence[Asked], answer: Verification) -> None:
    """Draws what was compared: the photos next to each other, with the answer."""
    if out is None:
        return
    from trine.report.face_picture import face_picture, save_picture, side_by_side

    words = "the same" if answer.same else "different"
    if answer.claim is not None:
        words = f"{answer.claim}: {'yes' if answer.same else 'no'}"
    lines = (f"{words} ({answer.score:.2f})",)
    verdict: Verdict = "yes" if answer.same else "no"
    pictures = []
    for each in asked:
        pixels = photos.items[photos.names.index(each.probe)]
        pictures.append(face_picture(pixels, [_mark(each, pixels, lines, verdict)]))
    save_picture(side_by_side(pictures), Path(out))


def _file_name(photo: str, suffixes: Sequence[str]) -> str:
    name = PurePath(photo.replace("\\", "/")).name or "photo"
    return name if PurePath(name).suffix.lower() in suffixes else f"{name}.jpg"


def _mark(asked: Asked, pixels: Any, lines: tuple[str, ...], verdict: Verdict) -> Mark:
    from trine.report.face_picture import Mark

    if asked.face is None:
        return Mark((0, 0, pixels.shape[1], pixels.shape[0]), lines, verdict)
    remark = ("low quality",) if asked.face.lacks else ()
    return Mark(asked.face.face.box, (*lines, *remark), verdict)


def _named(answer: Any) -> tuple[tuple[str, ...], Verdict]:
    """What is written about an answer, and its verdict."""
    if isinstance(answer, Sequence):
        if not answer:
            return ("nothing found",), "open"
        return (answer[0].identity, f"nearest, at {answer[0].score:.2f}"), "open"
    if answer.nearest is None:
        return ("the gallery is empty",), "open"
    if answer.identity is not None:
        return (answer.identity, f"match, at {answer.score:.2f}"), "yes"
    if answer.threshold is None:
        return (f"{answer.nearest}?", f"no verdict, at {answer.score:.2f}"), "open"
    return ("no match", f"nearest: {answer.nearest}, {answer.score:.2f}"), "no"
