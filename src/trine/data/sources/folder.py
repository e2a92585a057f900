"""A folder of pictures, whose folders, or file names by a pattern, tell the identities."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trine.data.dataset import ImageFiles
from trine.data.image_decoding import SUFFIXES
from trine.data.load_report import count, some
from trine.data.sources.filename_pattern import IDENTITY, Pattern
from trine.data.validation import Found, natural
from trine.errors import DataError

PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of the parts that data comes divided into, in lower case, and what trine calls them."""


def read_folder(
    root: Path, *, max_pixels: int, labelled: bool = True, pattern: Pattern | None = None
) -> Found:
    """Lists the pictures of a folder; the folder right below `root` names the identity.

    Pictures may lie deeper. Hidden files and files that are no pictures by their ending are passed
    over and counted. Where the folders right below `root` are called train, test and perhaps
    validation, they are the column "split", and the identity is the folder below them.

    Args:
        root: The folder.
        max_pixels: The most pixels that a picture may have.
        labelled: Whether folders name identities.
        pattern: How the names of the files tell the identities, and more; None leaves it to the folders.

    Returns:
        The pictures, in the natural order of their paths.

    Raises:
        DataError: There is no picture, or none whose name fits the pattern.
    """
    pictures, others = _walk(root)
    if not pictures:
        endings = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        seen = f"; it has {_endings(others)}" if others else ""
        raise DataError(f"{root} holds no picture ({endings}){seen}")
    relative = sorted(
        (path.relative_to(root).as_posix() for path in pictures),
        key=lambda name: [natural(part) for part in name.split("/")],
    )
    names = [name.split("/") for name in relative]
    notes = [f"not looked at: {_endings(others)}"] if others else []
    columns = {}
    divided = labelled and _divided(names, deep=1 if pattern is None else 0)
    if divided:
        columns["split"] = np.array([PARTS[parts[0].lower()] for parts in names])
        notes.append(f"divided by its folders into {', '.join(sorted({p[0] for p in names}))}")
    if pattern is not None:
        labels, told = _told(root, relative, pattern)
        return Found(
            items=ImageFiles(tuple(root / name for name in relative), max_pixels),
            names=relative,
            labels=labels,
            columns=columns | told,
            notes=tuple(notes),
            unlabelled=f"whose name does not fit the pattern {pattern.text!r}",
        )
    depth = 1 if divided else 0
    if labelled and len({parts[0] for parts in names}) == 1 and min(map(len, names)) > 2:
        below = root / names[0][0]
        notes.append(f"one identity; if the folders inside {names[0][0]} are the identities, load {below}")
    labels = [parts[depth] if len(parts) > depth + 1 else "" for parts in names]
    return Found(
        items=ImageFiles(tuple(root / name for name in relative), max_pixels),
        names=relative,
        labels=labels if labelled else None,
        columns=columns,
        notes=tuple(notes),
    )


def _walk(root: Path) -> tuple[list[Path], list[Path]]:
    """Lists the pictures and the other files, following links but never in a circle."""
    pictures: list[Path] = []
    others: list[Path] = []
    seen: set[str] = set()
    for folder, below, files in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = [name for name in below if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                path = Path(folder, name)
                (pictures if path.suffix.lower() in SUFFIXES else others).append(path)
    return pictures, others


def _refuse(error: OSError) -> None:
    raise DataError(f"the folder {error.filename} cannot be read: {error.strerror}")


def _told(root: Path, names: list[str], pattern: Pattern) -> tuple[list[str], dict[str, NDArray[np.str_]]]:
    """The identity and the columns that each name tells; empty where it does not fit."""
    read = [pattern.read(name) for name in names]
    if not any(read):
        raise DataError(
            f"none of the {count(len(names), 'picture', 'pictures')} of {root} fits the pattern "
            f"{pattern.text!r}: the first is {names[0]!r}"
        )
    told = [fields or {} for fields in read]
    columns = {name: np.array([fields.get(name, "") for fields in told]) for name in pattern.columns}
    return [fields.get(IDENTITY, "") for fields in told], columns


def _divided(names: list[list[str]], *, deep: int) -> bool:
    """Whether the first folders are parts; below them there are at least `deep` more."""
    first = {parts[0].lower() for parts in names}
    parts = {PARTS.get(name) for name in first}
    return "train" in parts and len(parts) > 1 and None not in parts and min(map(len, names)) > 1 + deep


def _endings(others: list[Path]) -> str:
    kinds = Counter(path.suffix.lower() or path.name for path in others)
    listed = [f"{number:,} {kind}" for kind, number in kinds.most_common()]
    return f"{count(len(others), 'other file', 'other files')} ({some(listed)})"
