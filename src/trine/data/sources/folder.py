"""A folder of images, with identities from its folders, or from file names by a pattern."""

from __future__ import annotations

import os
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trine.data.dataset import ImageFiles
from trine.data.image_decoding import SUFFIXES
from trine.data.load_report import count, some
from trine.data.sources.filename_pattern import IDENTITY, Pattern
from trine.data.validation import Found, natural_key
from trine.errors import DataError

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PARTS |= dict.fromkeys(("val", "valid", "validation"), "validation")
"""The usual names of the parts of a data set, in lower case, and trine's name of each."""

_OF_THE_SYSTEM = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "$recycle.bin"}
    | {"lost+found", "system volume information"}
)
"""What operating systems and storage devices put into folders, in lower case."""


def read_folder(
    root: Path, *, max_pixels: int, labelled: bool = True, pattern: Pattern | None = None
) -> Found:
    """Lists the images of a folder; the folder right below `root` names the identity.

    Images may lie deeper. Hidden files, and those that systems make, such as Thumbs.db, are ignored; files
    without the suffix of an image are skipped and counted. Links are followed, but never in a circle, and a
    folder is listed under at most two paths. If the folders right below `root` are named train, test and
    optionally validation, they become the column "split", and the identity is the folder below them.

    Args:
        root: The folder.
        max_pixels: The most pixels that an image may have.
        labelled: Whether folders name identities.
        pattern: How to read identities and columns from the file names; None takes them from the folders.

    Returns:
        The images, in the natural order of their paths.

    Raises:
        DataError: The folder has no images, or no name matches the pattern.
    """
    listed = _listed(root)
    others = listed.others
    if not listed.images:
        suffixes = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        seen = f"; it has {count(len(others), 'other file', 'other files')} ({_by_suffix(others)})"
        raise DataError(f"{root} holds no images ({suffixes}){seen if others else ''}")
    paths = sorted(listed.images, key=_place)
    relative = [_as_text(path) for path in paths]
    names = [name.split("/") for name in relative]
    notes = []
    if others:
        files = count(len(others), "file that is not an image", "files that are not images")
        notes.append(f"skipped: {files} ({_by_suffix(others)})")
    if listed.links:
        links = count(len(listed.links), "link to a folder that is", "links to folders that are")
        notes.append(f"skipped: {links} read already ({some([*map(_as_text, listed.links)])})")
    if renamed := [name for name, path in zip(relative, paths, strict=True) if name != path]:
        odd = count(len(renamed), "name that is", "names that are")
        notes.append(f"{odd} not UTF-8, with bytes written as \\xNN ({some(renamed)})")
    columns = {}
    is_split = labelled and _is_split(names, deep=1 if pattern is None else 0)
    if is_split:
        columns["split"] = np.array([PARTS[parts[0].lower()] for parts in names])
        notes.append(f"split by its folders into {', '.join(sorted({p[0] for p in names}))}")
    items = ImageFiles(tuple(root / path for path in paths), max_pixels)
    unreadable = {at: listed.failed[path] for at, path in enumerate(paths) if path in listed.failed}
    if pattern is not None:
        labels, from_names = _from_names(root, relative, pattern)
        unlabelled = f"whose name does not match the pattern {pattern.text!r}"
        columns |= from_names
        return Found(items, relative, labels, columns, unreadable, notes=tuple(notes), unlabelled=unlabelled)
    depth = 1 if is_split else 0
    if labelled and len({parts[0] for parts in names}) == 1 and min(map(len, names)) > 2:
        below = root / names[0][0]
        notes.append(f"only one identity; if the folders in {names[0][0]} are the identities, load {below}")
    labels = [parts[depth] if len(parts) > depth + 1 else "" for parts in names]
    return Found(items, relative, labels if labelled else None, columns, unreadable, notes=tuple(notes))


def images_below(root: Path) -> list[str]:
    """Lists the images of a folder and of those below it, by paths relative to it, in natural order.

    Raises:
        DataError: A folder cannot be read.
    """
    listed = _listed(root)
    if listed.failed:
        folder, why = next(iter(listed.failed.items()))
        raise DataError(f"{root / folder} {why}")
    return sorted(listed.images, key=_place)


def _place(path: str) -> list[tuple[object, ...]]:
    return [natural_key(part) for part in path.split("/")]


def inside(folder: Path) -> list[Path]:
    """Lists what is right inside a folder, by name, without hidden files.

    Raises:
        DataError: The folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise _refused(folder, error) from error


@dataclass
class _Listed:
    """What is below a folder, by paths relative to it.

    Attributes:
        images: Whatever has the suffix of an image, and the folders that cannot be listed, with a slash.
        others: Other files.
        links: Links to folders that were not followed, since they lead to what is listed already.
        failed: Why some folders among the images cannot be listed.
    """

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def _listed(root: Path) -> _Listed:
    """Lists all files; what stands in the folder itself comes before what links lead to.

    A folder that is reached on two paths is listed twice, since its images may have two identities, and the
    check names them. It is not listed a third time: folders full of links to each other would never end.
    """
    listed = _Listed()
    times: Counter[str] = Counter()
    waiting: deque[tuple[str, frozenset[str]]] = deque([("", frozenset())])
    linked: deque[tuple[str, frozenset[str]]] = deque()
    while waiting or linked:
        folder, above = (waiting or linked).popleft()
        real = os.path.join(os.path.realpath(root / folder), "")  # noqa: PTH118
        circle = any(each.startswith(real) for each in above)
        if circle or times[real] == 2:
            listed.links.append(folder.rstrip("/"))
            continue
        times[real] += 1
        try:
            with os.scandir(root / folder) as entries:
                found = sorted(entries, key=lambda entry: natural_key(entry.name))
        except OSError as error:
            if not folder:
                raise _refused(root, error) from error
            listed.images.append(folder)
            listed.failed[folder] = f"cannot be listed: {error.strerror}"
            continue
        for entry in found:
            name = folder + entry.name
            if entry.name.startswith(".") or entry.name.lower() in _OF_THE_SYSTEM:
                continue
            if _is_folder(entry):
                (linked if entry.is_symlink() else waiting).append((f"{name}/", above | {real}))
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122
                listed.images.append(name)
            else:
                listed.others.append(name)
    return listed


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reading it reports the error
        return False


def _as_text(name: str) -> str:
    """A name of a file, with the bytes that are not UTF-8 as they would be written in Python."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _refused(folder: Path, error: OSError) -> DataError:
    return DataError(f"the folder {folder} cannot be read: {error.strerror}")


def _from_names(
    root: Path, names: list[str], pattern: Pattern
) -> tuple[list[str], dict[str, NDArray[np.str_]]]:
    """The identity and the columns in each name; empty where it does not match."""
    read = [pattern.read(name) for name in names]
    if not any(read):
        raise DataError(
            f"none of the {count(len(names), 'image', 'images')} of {root} matches the pattern "
            f"{pattern.text!r}: the first is {names[0]!r}"
        )
    matched = [fields or {} for fields in read]
    columns = {name: np.array([fields.get(name, "") for fields in matched]) for name in pattern.columns}
    return [fields.get(IDENTITY, "") for fields in matched], columns


def _is_split(names: list[list[str]], *, deep: int) -> bool:
    """Whether the top folders are parts, with at least `deep` more folders below them."""
    first = {parts[0].lower() for parts in names}
    parts = {PARTS.get(name) for name in first}
    return "train" in parts and len(parts) > 1 and None not in parts and min(map(len, names)) > 1 + deep


def _by_suffix(others: list[str]) -> str:
    paths = [Path(_as_text(name)) for name in others]
    kinds = Counter(path.suffix.lower() or path.name for path in paths)
    return some([f"{number:,} {kind}" for kind, number in kinds.most_common()])
