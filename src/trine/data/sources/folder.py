"""A folder of images, with identities from its folders, or from file names by a pattern."""

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
from trine.data.validation import Found, natural_key
from trine.errors import DataError

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PARTS |= dict.fromkeys(("val", "valid", "validation"), "validation")
"""The usual names of the parts of a data set, in lower case, and trine's name of each."""


def read_folder(
    root: Path, *, max_pixels: int, labelled: bool = True, pattern: Pattern | None = None
) -> Found:
    """Lists the images of a folder; the folder right below `root` names the identity.

    Images may lie deeper. Hidden files are ignored; files without the suffix of an image are skipped and
    counted. If the folders right below `root` are named train, test and optionally validation, they become
    the column "split", and the identity is the folder below them.

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
    images, others = _walk(root)
    if not images:
        suffixes = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        seen = f"; it has {count(len(others), 'other file', 'other files')} ({_by_suffix(others)})"
        raise DataError(f"{root} holds no images ({suffixes}){seen if others else ''}")
    relative = sorted(
        (path.relative_to(root).as_posix() for path in images),
        key=lambda name: [natural_key(part) for part in name.split("/")],
    )
    names = [name.split("/") for name in relative]
    notes = []
    if others:
        files = count(len(others), "file that is not an image", "files that are not images")
        notes.append(f"skipped: {files} ({_by_suffix(others)})")
    columns = {}
    is_split = labelled and _is_split(names, deep=1 if pattern is None else 0)
    if is_split:
        columns["split"] = np.array([PARTS[parts[0].lower()] for parts in names])
        notes.append(f"split by its folders into {', '.join(sorted({p[0] for p in names}))}")
    items = ImageFiles(tuple(root / name for name in relative), max_pixels)
    if pattern is not None:
        labels, from_names = _from_names(root, relative, pattern)
        unlabelled = f"whose name does not match the pattern {pattern.text!r}"
        return Found(items, relative, labels, columns | from_names, notes=tuple(notes), unlabelled=unlabelled)
    depth = 1 if is_split else 0
    if labelled and len({parts[0] for parts in names}) == 1 and min(map(len, names)) > 2:
        below = root / names[0][0]
        notes.append(f"only one identity; if the folders in {names[0][0]} are the identities, load {below}")
    labels = [parts[depth] if len(parts) > depth + 1 else "" for parts in names]
    return Found(items, relative, labels if labelled else None, columns, notes=tuple(notes))


def _walk(root: Path) -> tuple[list[Path], list[Path]]:
    """Lists the images and the other files; links are followed, but never in a circle."""
    images: list[Path] = []
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
                (images if path.suffix.lower() in SUFFIXES else others).append(path)
    return images, others


def _refuse(error: OSError) -> None:
    raise DataError(f"the folder {error.filename} cannot be read: {error.strerror}")


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


def _by_suffix(others: list[Path]) -> str:
    kinds = Counter(path.suffix.lower() or path.name for path in others)
    return some([f"{number:,} {kind}" for kind, number in kinds.most_common()])
