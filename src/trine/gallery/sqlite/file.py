"""The file of a gallery and what lies beside it: its creation, its checks before it is opened, its identity.

A process must never open and close the file of a gallery that it has open: closing any descriptor of a file
drops the locks that SQLite holds on it for the whole process, after which another process may delete the log
under it. So files are opened, checked and given their names under one lock of the process, `OPENING`, and a
file that is open already is not read again.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from trine.errors import GalleryError
from trine.gallery.errors import UnusableStoreError, missing
from trine.gallery.sql_session import BOUND
from trine.gallery.sqlite.schema import (
    APPLICATION,
    GENERATION,
    SCHEMA,
    TABLES,
    check_version,
    items_tables,
)
from trine.gallery.store import Binding, sealed
from trine.io import open_regular, synchronise

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

OPENING = threading.RLock()
"""Held while a file is created, checked and opened, and while it is closed."""

PRIVATE = 0o600
"""The permissions of a gallery and of every copy of it; SQLite gives the log those of the file."""

SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file: the log, the index of the log, and the log of a file that has no WAL."""

_opened: Counter[tuple[int, int]] = Counter()


class Files:
    """The files of one open gallery, which must stay the same files while it is open.

    Args:
        path: The file of the gallery, or a link to it.
    """

    def __init__(self, path: Path) -> None:
        """Notes which file the path means now; call with `OPENING` held, and `release` at the end."""
        self._path = path
        self.real = Path(os.path.realpath(path))
        self._known = {path: identity_of(path)}
        _opened[self._known[path] or (0, 0)] += 1

    def release(self) -> None:
        """Lets others of this process read the file again; call after its connection is closed."""
        _opened[self._known[self._path] or (0, 0)] -= 1

    def check(self) -> None:
        """Raises an error if the file, its log or the index of the log was deleted or replaced.

        Raises:
            GalleryError: What is written now would be lost, and what is read now is out of date.
        """
        for path, known in self._known.items():
            if identity_of(path) != known:
                what = "file" if path == self._path else f"log {path.name}"
                raise UnusableStoreError(
                    f"the {what} of the gallery {self._path} was deleted or replaced after it was opened: "
                    "nothing was written; open it again"
                )
        if len(self._known) < 3:
            # SQLite creates the log with the first transaction.
            sides = (self.real.with_name(f"{self.real.name}{suffix}") for suffix in SIDE_FILES[:2])
            self._known |= {side: found for side in sides if (found := identity_of(side))}


def is_open(path: Path) -> bool:
    """Returns whether this process has the file open as a gallery; call with `OPENING` held."""
    return _opened[identity_of(path) or (0, 0)] > 0


def identity_of(path: Path) -> tuple[int, int] | None:
    """Returns the device and the number of a file, links followed; `None` if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def log_of(path: Path) -> Path:
    """Returns the path of a gallery's log; for a symbolic link, SQLite keeps it next to the file itself."""
    real = Path(os.path.realpath(path))
    return real.with_name(f"{real.name}-wal")


def has_log(path: Path) -> bool:
    """Returns whether there is a log with anything in it."""
    try:
        return log_of(path).stat().st_size > 0
    except OSError:
        return False


def is_new(path: Path) -> bool:
    """Returns whether the path does not exist yet."""
    return not os.path.lexists(path)


def create_file(path: Path, binding: Binding) -> bool:
    """Creates the file of an empty gallery atomically; returns whether it did.

    If another process was first, its file is kept.

    Args:
        path: The file; its folder must exist.
        binding: What the gallery is bound to.

    Raises:
        GalleryError: The folder is missing or cannot be written, or the log of another gallery lies there.
    """
    if not path.parent.is_dir():
        raise GalleryError(f"the gallery {path} cannot be created: the folder {path.parent} does not exist")
    if has_log(path):
        raise GalleryError(
            f"the gallery {path} cannot be created beside {log_of(path).name}, the log of another gallery, "
            "which may hold some of its writes: put its file back, or move the log away"
        )
    try:
        with new_file(path) as unfinished, closing(sqlite3.connect(unfinished)) as connection:
            fill(connection, binding)
    except FileExistsError:
        return False
    except (OSError, sqlite3.Error) as error:
        hint = "choose a writable folder"
        raise GalleryError(f"the gallery {path} cannot be created ({error}): {hint}") from error
    return True


def fill(connection: sqlite3.Connection, binding: Binding) -> None:
    """Creates the tables of an empty gallery in an empty file, or in memory."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(
        f"BEGIN; {TABLES.format(items=items_tables(binding.dtype, binding.dimension))} {GENERATION}"
        f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};"
    )
    texts = binding.to_texts()
    connection.executemany("INSERT INTO gallery VALUES (?, ?)", texts.items())
    connection.execute("INSERT INTO notes VALUES (?, ?)", (BOUND, sealed(texts)))
    connection.execute("UPDATE state SET generation = ?", (new_generation(),))
    connection.execute("COMMIT")


def new_generation() -> str:
    """Returns the name of a new generation; see `trine.gallery.sqlite.log`."""
    return secrets.token_hex(8)


@contextmanager
def new_file(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields an empty file to fill, and gives it its name once it is on disk, so that no part is ever seen.

    The file can be read by its owner alone. What killed processes left in the folder is removed first.

    Args:
        path: The final path.
        replace: Whether a file that is there is replaced.

    Raises:
        FileExistsError: The path exists already.
        OSError: The file cannot be written.
    """
    remove_leftovers(path.parent)
    unfinished, claim = _claimed(path.parent)
    try:
        yield unfinished
        synchronise(unfinished)
        with OPENING:
            if replace:
                unfinished.replace(path)
            else:
                _link(unfinished, path)
            _remove(unfinished)
            os.close(claim)
            claim = -1
        # The directory entry must survive a power cut, not only the content.
        synchronise(path.parent)
    finally:
        _remove(unfinished)
        if claim >= 0:
            os.close(claim)


def remove_leftovers(folder: Path) -> None:
    """Removes the files of interrupted creations from a folder, unless the process that made one is alive.

    A process holds a lock on the file it creates, which the kernel drops with the process.
    """
    if fcntl is None:
        return
    for path in folder.glob(".trine-*.unfinished"):
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                continue
            claim = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # removed meanwhile, or not ours
            continue
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
        except OSError:  # its process is alive
            continue
        finally:
            os.close(claim)


def _claimed(folder: Path) -> tuple[Path, int]:
    """Creates an empty file that only its owner can read, with a lock that lasts until its descriptor."""
    while True:
        path = folder / f".trine-{secrets.token_hex(8)}.unfinished"
        claim = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE)
        if fcntl is not None:
            fcntl.flock(claim, fcntl.LOCK_EX)
        # Another process may have taken it for a leftover before it was locked.
        if identity_of(path) is not None:
            return path, claim
        os.close(claim)


def _remove(unfinished: Path) -> None:
    for suffix in ("", *SIDE_FILES):
        Path(f"{unfinished}{suffix}").unlink(missing_ok=True)


def _link(unfinished: Path, path: Path) -> None:
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise
    except OSError:  # the file system has no hard links
        if not is_new(path):
            raise FileExistsError(path) from None
        unfinished.rename(path)


def check_file(path: Path) -> None:
    """Raises an error unless a file is a gallery of this version; never changes the file.

    Args:
        path: The file; not one that this process has open.

    Raises:
        GalleryError: The path is missing, a folder, an empty file, not a trine gallery, of a newer trine, or
            damaged; or what SQLite would take for its log is not a file.
    """
    if is_new(path):
        raise missing(path)
    if path.is_dir():
        raise GalleryError(f"{path} is a folder, not a gallery: name a file, such as {path / 'people.db'}")
    try:
        with open_regular(path) as file:
            header = file.read(100)
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise GalleryError(f"the gallery {path} cannot be read: {error.strerror or error}") from error
    if not header:
        raise GalleryError(f"{path} is an empty file, not a gallery: remove it, or choose a new path")
    # Offsets of the SQLite file format: 16 page size, 28 pages, 60 user version, 68 application id.
    application = int.from_bytes(header[68:72], "big")
    if not header.startswith(b"SQLite format 3\0") or application != APPLICATION:
        raise GalleryError(f"{path} is not a trine gallery: choose another file, or a new path")
    check_version(int.from_bytes(header[60:64], "big"), path)
    _check_side_files(path)
    page = int.from_bytes(header[16:18], "big")
    promised = int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page)
    # SQLite does not notice a truncated last page. While there is a log, the rest may be in it.
    if size < promised and not log_of(path).exists():
        cut = f"{size} of {promised} bytes"
        raise GalleryError(f"the gallery {path} is damaged or cut short ({cut}): restore it from a backup")


def _check_side_files(path: Path) -> None:
    real = Path(os.path.realpath(path))
    for suffix in SIDE_FILES:
        side = real.with_name(f"{real.name}{suffix}")
        if os.path.lexists(side) and not stat.S_ISREG(side.lstat().st_mode):
            raise GalleryError(
                f"the gallery {path} cannot be opened: {side.name} beside it is not a file; remove it"
            )
