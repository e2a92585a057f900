"""The journal of a folder of faces: what was found on each photo.

A run that was interrupted goes on from there, and the crops of a person can be told from any other file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from trine.errors import InputError
from trine.faces.face import Face
from trine.faces.found import FoundFace, PhotoResult
from trine.io import atomic_write, open_regular
from trine.plain_json import parse_json

JOURNAL = "photos.jsonl"
TABLE = "faces.csv"
PAGE = "index.html"
"""The files of a folder of faces, beside its crops."""


class Journal:
    """What was found so far: a line of settings, then a line for each photo."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], results: dict[str, PhotoResult]) -> None:
        self.folder, self.settings, self.results = folder, settings, results
        self._lines: list[str] = []

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """Reads the journal of a folder, or begins one.

        Raises:
            InputError: The folder holds something else, or faces that were found with other settings.
        """
        path = folder / JOURNAL
        if not path.is_file():
            if folder.is_dir() and any(folder.iterdir()):
                raise InputError(f"{folder} is not empty and holds no {JOURNAL}: choose another folder")
            journal = cls(folder, settings, {})
            try:
                folder.mkdir(parents=True, exist_ok=True)
                journal.rewrite(())
            except OSError as error:
                raise InputError(
                    f"cannot write to {folder} ({error.strerror}); choose another folder"
                ) from error
            return journal
        journal = cls.read(folder)
        for name, value in settings.items():
            if (given := journal.settings.get(name)) != value:
                raise InputError(
                    f"{folder} holds faces that were found with {name} {given!r}, given {value!r}: "
                    "choose another folder, or remove this one"
                )
        return journal

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the journal of a folder that has one.

        Raises:
            InputError: It is damaged or cannot be read.
        """
        path = folder / JOURNAL
        try:
            first, *lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise InputError(f"cannot read {path} ({error.strerror}); choose another folder") from error
        # The first folders did not say how their faces are aligned.
        settings = {"alignment": "dlib", **_parsed(first, path)}
        results = {}
        for line in lines[:-1]:  # what follows the last line end was being written when a run was killed
            result = _as_result(_parsed(line, path), path)
            results[result.photo] = result
        return cls(folder, settings, results)

    def still_valid(self, root: Path, names: Iterable[str]) -> dict[str, PhotoResult]:
        """The results of photos that have not changed; removes the crops of all others."""
        wanted = set(names)
        valid = {
            name: result
            for name, result in self.results.items()
            if name in wanted and _unchanged(root / name, result)
        }
        # The first of several equal photos is gone: another takes its place.
        valid = {name: one for name, one in valid.items() if not one.same_as or one.same_as in valid}
        for name, result in self.results.items():
            for face in () if name in valid else result.faces:
                (self.folder / face.crop).unlink(missing_ok=True)
        return valid

    def add(self, result: PhotoResult) -> None:
        """Adds a photo; `flush` stores it."""
        self._lines.append(_line(result))

    def flush(self) -> None:
        """Stores the photos that were added."""
        with (self.folder / JOURNAL).open("a", encoding="utf-8") as file:
            file.writelines(self._lines)
            file.flush()
            os.fsync(file.fileno())
        self._lines = []

    def rewrite(self, results: Iterable[PhotoResult]) -> None:
        """Replaces the journal by one with these photos alone."""
        head = json.dumps(self.settings, ensure_ascii=True)
        atomic_write(self.folder / JOURNAL, "".join([f"{head}\n", *map(_line, results)]))


def crops_among(paths: Iterable[Path]) -> list[Path]:
    """Those of some files that are crops of a folder of faces, by its journal; a photo is none.

    Args:
        paths: Files, absolute.

    Raises:
        InputError: A journal is damaged.
    """
    return [path for crops in _by_folder(paths).values() for path in crops]


def forget_crops(paths: Iterable[Path]) -> list[Path]:
    """Removes crops, what their journals say of them, and the tables and pages that show them.

    Files that are no crops of a folder of faces, by its journal, are not touched. The next run over the
    photos looks at those that the faces were on again, unless they are gone.

    Args:
        paths: Files, absolute.

    Returns:
        The folders that held some; each has its journal, and needs its table and its page again.

    Raises:
        InputError: A journal is damaged, or a file cannot be removed.
    """
    found = _by_folder(paths)
    for folder, crops in found.items():
        names = {path.relative_to(folder).as_posix() for path in crops}
        journal = Journal.read(folder)
        try:
            for path in (*crops, folder / TABLE, folder / PAGE):
                path.unlink(missing_ok=True)
            for path in crops:
                with suppress(OSError):  # another crop is in it
                    path.parent.rmdir()
            journal.rewrite(_without(result, names) for result in journal.results.values())
        except OSError as error:
            raise InputError(
                f"cannot remove crops in {folder} ({error.strerror or error}); make it writable, and forget "
                "again"
            ) from error
    return list(found)


def _by_folder(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """The crops among files, by their folder of faces."""
    listed: dict[Path, Collection[str]] = {}
    found: dict[Path, list[Path]] = {}
    for path in paths:
        for folder in path.parents:
            if folder not in listed:
                journal = Journal.read(folder) if _is_journal(folder / JOURNAL) else None
                results = () if journal is None else journal.results.values()
                listed[folder] = {face.crop for result in results for face in result.faces}
            if path.relative_to(folder).as_posix() in listed[folder]:
                found.setdefault(folder, []).append(path)
    return found


def _is_journal(path: Path) -> bool:
    """Whether a file begins as a journal does, and is not another's of the same name."""
    try:
        with open_regular(path) as file:
            first = parse_json(file.readline(1 << 16))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and {"photos", "requirements"} <= first.keys()


def _without(result: PhotoResult, crops: Collection[str]) -> PhotoResult:
    """What was found on a photo without some faces; it is then to be looked at again."""
    faces = tuple(face for face in result.faces if face.crop not in crops)
    return result if len(faces) == len(result.faces) else replace(result, faces=faces, modified=0)


def _unchanged(path: Path, result: PhotoResult) -> bool:
    try:
        stat = path.stat()
    except OSError:
        return False
    return not result.error and (stat.st_size, stat.st_mtime_ns) == (result.bytes, result.modified)


def _line(result: PhotoResult) -> str:
    return json.dumps(asdict(result), ensure_ascii=True) + "\n"


def _parsed(line: bytes, path: Path) -> Mapping[str, Any]:
    try:
        content = parse_json(line)
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): remove the folder, and run it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: remove the folder, and run it again")
    return content


def _as_result(fields: Mapping[str, Any], path: Path) -> PhotoResult:
    try:
        faces = tuple(
            FoundFace(**{**one, "face": Face(tuple(one["face"]["box"]), _points(one), one["face"]["score"])})
            for one in fields["faces"]
        )
        if any(
            Path(one).is_absolute() or ".." in Path(one).parts for one in (fields["photo"], *_named(faces))
        ):
            raise ValueError("a photo outside its folder")
        return PhotoResult(**{**fields, "faces": faces})
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): remove the folder, and run it again") from error


def _named(faces: Iterable[FoundFace]) -> Iterable[str]:
    """The photos that faces name: crops are removed by them, so none may lead out of the folder."""
    return (face.photo for face in faces)


def _points(fields: Mapping[str, Any]) -> Any:
    return tuple(tuple(map(float, point)) for point in fields["face"]["landmarks"])
