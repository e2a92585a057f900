"""Copies the file of a gallery while it is in use, and puts a copy in its place.

A copy is one file without a log, in a generation of its own (see `trine.gallery.sqlite.log`), so that the log
of another file is never applied to it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from trine.errors import Argument, GalleryError
from trine.gallery.sqlite.database import Database
from trine.gallery.sqlite.file import (
    PRIVATE,
    SIDE_FILES,
    has_log,
    identity_of,
    is_new,
    log_of,
    new_file,
    new_generation,
)
from trine.gallery.sqlite.schema import GENERATION, statements
from trine.io import synchronise

_TABLES = {
    "gallery": "* FROM gallery ORDER BY name",
    "notes": "* FROM notes ORDER BY name",
    "identities": "* FROM identities ORDER BY id",
    "items": "* FROM items ORDER BY id",
    "staged": "* FROM staged ORDER BY id",
    "removed": "* FROM removed ORDER BY id",
    "state": "changed, clusters, bound FROM state",
}


def back_up(database: Database, path: Path, *, overwrite: bool = False) -> int:
    """Copies a consistent snapshot of a gallery to a file, and compares the copy; returns its items.

    Writers are not blocked. The copy gets its name when it is complete, equal and on disk.

    Args:
        database: The gallery.
        path: The file to write.
        overwrite: Whether a file that is there is replaced.

    Raises:
        GalleryError: The path exists, or its folder does not; the gallery is damaged; the disk is full.
    """
    if path.exists() and database.path.exists() and database.path.samefile(path):
        raise GalleryError(f"the gallery {path} cannot be backed up to itself: name another file")
    with written_backup(path, overwrite=overwrite) as unfinished:
        return _copied(database, unfinished)


def _copied(database: Database, unfinished: Path) -> int:
    """Copies a snapshot into an empty file, and compares the two; returns the number of items."""
    with database.snapshot() as source, closing(sqlite3.connect(unfinished)) as copy:
        source.backup(copy)
        finish(copy)
        if digest(copy) != digest(source):
            raise GalleryError("nothing was written, because the copy differs: check the disk")
        return int(copy.execute("SELECT count(*) FROM items").fetchone()[0])


@contextmanager
def written_backup(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yields a file to fill with a backup, which gets its name at the end; explains what prevents it."""
    if not path.parent.is_dir():
        raise GalleryError(f"the backup {path} cannot be written: the folder {path.parent} does not exist")
    if not (overwrite or is_new(path)):
        raise _exists(path)
    _check_replaceable(path)
    if has_log(path):
        raise GalleryError(
            f"the backup {path} cannot be written beside {log_of(path).name}, the log of a gallery: choose "
            "another path"
        )
    try:
        with new_file(path, replace=overwrite) as unfinished:
            yield unfinished
    except FileExistsError:
        raise _exists(path) from None
    except (OSError, sqlite3.Error) as error:
        raise GalleryError(
            f"the backup {path} cannot be written ({error}): free space, or choose another path"
        ) from error


def _check_replaceable(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise GalleryError(f"{path} cannot be replaced, because it is not a file: choose another path")


def _exists(path: Path) -> GalleryError:
    return GalleryError(f"{path} exists already: choose another path, or pass ", Argument("overwrite", True))


def finish(copy: sqlite3.Connection) -> None:
    """Makes a copy one sound file of a new generation.

    Raises:
        GalleryError: The copy is damaged, as the gallery must be.
    """
    copy.isolation_level = None
    copy.execute("PRAGMA journal_mode = DELETE")
    if len(copy.execute("PRAGMA table_info(state)").fetchall()) < 7:
        for statement in statements(GENERATION):
            copy.execute(statement)
    copy.execute("UPDATE state SET generation = ?, before = '', began = changed", (new_generation(),))
    problems = [line for (line,) in copy.execute("PRAGMA integrity_check(3)") if line != "ok"]
    if problems or copy.execute("PRAGMA foreign_key_check").fetchone():
        what = problems[0] if problems else "a row refers to a missing row"
        raise GalleryError(f"nothing was written, because the gallery is damaged ({what}): check it")


def digest(connection: sqlite3.Connection) -> str:
    """Returns a digest of everything in a gallery, read row by row."""
    found, texts = hashlib.sha256(), connection.text_factory
    connection.text_factory = bytes  # damaged ones, too
    try:
        for name, query in _TABLES.items():
            found.update(name.encode())
            for row in connection.execute(f"SELECT {query}"):
                found.update(repr(row).encode())
    finally:
        connection.text_factory = texts
    return found.hexdigest()


def restore(backup: Database, path: Path, *, overwrite: bool = False) -> Path | None:
    """Puts a copy of a backup in a gallery's place; returns where the gallery that was there is kept now.

    The file changes from the old to the new content at once. Processes that have the old one open get an
    error from then on.

    Raises:
        GalleryError: The backup is damaged, or the path exists and `overwrite` is not set.
    """
    if not (overwrite or is_new(path)):
        raise _exists(path)
    path = Path(os.path.realpath(path))
    _check_replaceable(path)
    if not is_new(path) and backup.path.samefile(path):
        raise GalleryError(f"{path} cannot be restored from itself: name a backup")
    try:
        with _put_away(path) as kept, new_file(path, replace=overwrite) as unfinished:
            _copied(backup, unfinished)
    except (OSError, sqlite3.Error) as error:
        raise GalleryError(f"{path} cannot be restored ({error}): free space, or choose another") from error
    return kept


@contextmanager
def _put_away(path: Path) -> Iterator[Path | None]:
    """Keeps a copy of a gallery that is about to be replaced, locked until it is, and removes its log.

    If it is not replaced, the copy goes.
    """
    if is_new(path) and not has_log(path):
        yield None
        return
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 1000:03}"
    kept = path.with_name(f"{path.name.removesuffix('.db')}.replaced-{stamp}.db")
    before = identity_of(path)
    try:
        with _kept_copy(path, kept):
            yield kept
    except BaseException:
        if identity_of(path) == before:
            for suffix in ("", *SIDE_FILES):
                Path(f"{kept}{suffix}").unlink(missing_ok=True)
        raise


@contextmanager
def _kept_copy(path: Path, kept: Path) -> Iterator[None]:
    try:
        old = Database(path)
    except GalleryError:  # damaged, or beside a log that is not its own
        moved = [suffix for suffix in ("", *SIDE_FILES) if Path(f"{path}{suffix}").exists()]
        for suffix in moved:
            _copy(Path(f"{path}{suffix}"), Path(f"{kept}{suffix}"))
        yield
        for suffix in SIDE_FILES:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        return
    with closing(old), old.locked():
        back_up(old, kept)
        yield


def _copy(path: Path, copy: Path) -> None:
    copy.touch(PRIVATE, exist_ok=False)
    shutil.copyfile(path, copy)
    with suppress(OSError):
        synchronise(copy)
