"""Folders of links, one for each person, to the photos that show them."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trine.errors import InputError

LINKS = "by_person"
LONGEST = 120
"""The most bytes of a name; file systems take 255."""

_FORBIDDEN = frozenset('/\\:*?"<>|')
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
)


def folder_names(labels: Iterable[str]) -> dict[str, str]:
    """Chooses a folder for each label: a safe name, and another one where two differ by case alone.

    Args:
        labels: The labels, those that choose first first.

    Example:
        >>> folder_names(["ann", "Ann", "../x", "CON", "a/b"])
        {'ann': 'ann', 'Ann': 'Ann (2)', '../x': '_._x', 'CON': 'CON_', 'a/b': 'a_b'}
    """
    taken: set[str] = set()
    return {label: _free(safe_name(label), taken) for label in dict.fromkeys(labels)}


def safe_name(text: str) -> str:
    """Writes a text so that it can be the name of a file or a folder on any system.

    Example:
        >>> safe_name(".. "), safe_name("Zoë: the 1st"), safe_name("")
        ('_', 'Zoë_ the 1st', '_')
    """
    plain = "".join(
        "_" if letter in _FORBIDDEN or (unicodedata.category(letter)[0] in "CZ" and letter != " ") else letter
        for letter in unicodedata.normalize("NFC", text)
    )
    if plain.startswith("."):
        plain = "_" + plain[1:]
    plain = plain.encode()[:LONGEST].decode(errors="ignore").rstrip(". ").lstrip(" ")
    if plain.partition(".")[0].casefold() in _RESERVED:
        plain += "_"
    return plain or "_"


@dataclass(frozen=True)
class Made:
    """The links that a library made, and copies where links cannot be made: paths below their folder."""

    links: frozenset[str] = frozenset()
    copies: frozenset[str] = frozenset()


def link_photos(
    folder: Path,
    wanted: Mapping[str, Sequence[str]],
    *,
    root: Path,
    made: Made,
    note: Callable[[Made], None],
) -> Made:
    """Makes the links of a library to be those that are wanted, and removes others that it made before.

    Links are relative. Where they cannot be made, photos are copied. Other files are not touched.

    Args:
        folder: The folder of the links.
        wanted: For each folder in it, the photos that it shows, by their paths below the root.
        root: The folder of the photos.
        made: What was made before.
        note: Stores what was made; called before something is, too, so that all of it is known again.

    Returns:
        What there is now.

    Raises:
        InputError: The folder cannot be written.
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100 - links are kept as they are
    try:
        planned = _planned(folder, wanted, made)
        # What is about to be made may be either: what it is decides whether it is removed.
        if planned.keys() - made.links - made.copies:
            note(Made(made.links | planned.keys(), made.copies))
        _remove_others(folder, planned, made)
        copies = frozenset(
            name
            for name, photo in planned.items()
            if _linked(folder / name, root / photo, name in made.copies)
        )
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror or error}); free disk space or make it writable, and "
            "run it again"
        ) from error
    now = Made(frozenset(planned.keys() - copies), copies)
    note(now)
    return now


def _planned(folder: Path, wanted: Mapping[str, Sequence[str]], made: Made) -> dict[str, str]:
    """The photo of each link; no link takes the name of a file that somebody else put there."""
    planned = {}
    for person, photos in wanted.items():
        place = folder / person
        others = place.iterdir() if place.is_dir() else ()
        taken = {path.name.casefold() for path in others if not _is_own(path, made)}
        for photo in photos:
            name = Path("_".join(Path(photo).parts))
            planned[f"{person}/{_free(safe_name(name.stem), taken, name.suffix)}"] = photo
    return planned


def _is_own(path: Path, made: Made) -> bool:
    """Whether a file was made by the library."""
    return f"{path.parent.name}/{path.name}" in (made.links if path.is_symlink() else made.copies)


def _remove_others(folder: Path, planned: Mapping[str, str], made: Made) -> None:
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if place.is_symlink() or not place.is_dir():
            continue
        for path in place.iterdir():
            if f"{place.name}/{path.name}" not in planned and _is_own(path, made):
                path.unlink()
        with suppress(OSError):  # something else is in it
            place.rmdir()


def _linked(path: Path, photo: Path, copied: bool) -> bool:
    """Makes one link, unless it is there; whether it is a copy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        if _target(path) == photo:
            return False
        path.unlink()
    elif copied and path.is_file() and _is_same(path, photo):
        return True
    with suppress(OSError, ValueError, NotImplementedError):
        path.unlink(missing_ok=True)
        path.symlink_to(os.path.relpath(photo, os.path.realpath(path.parent)))
        return False
    shutil.copy2(photo, path)
    return True


def _target(path: Path) -> Path:
    """Where a link leads, whether or not something is there."""
    return Path(os.path.abspath(Path(os.path.realpath(path.parent), os.readlink(path))))  # noqa: PTH100, PTH115


def _is_same(one: Path, other: Path) -> bool:
    a, b = one.stat(), other.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _free(name: str, taken: set[str], suffix: str = "") -> str:
    """The name with its suffix, or with a number if that is taken."""
    tries = (f"{name}{f' ({n})' if n > 1 else ''}{suffix}" for n in range(1, len(taken) + 3))
    free = next(one for one in tries if one.casefold() not in taken)
    taken.add(free.casefold())
    return free
