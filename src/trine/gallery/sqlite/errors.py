"""Explains errors of SQLite in one sentence."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from trine.errors import GalleryError
from trine.gallery.errors import UnusableStoreError

_MEANINGS = {
    sqlite3.SQLITE_BUSY: "was locked by another process for more than {wait:g} s: nothing was written",
    sqlite3.SQLITE_READONLY: "is read-only: nothing was written; make the file and its folder writable",
    sqlite3.SQLITE_FULL: "is on a full disk: nothing of this call was written; free space and try again",
    sqlite3.SQLITE_CORRUPT: "is damaged or cut short ({error}): restore it from a backup",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: file and folder must be readable, and writable while in use",
}
_SAME = {sqlite3.SQLITE_LOCKED: sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOTADB: sqlite3.SQLITE_CORRUPT}


def explain(error: sqlite3.Error | UnicodeDecodeError, path: Path, wait: float) -> GalleryError:
    """Explains a SQLite error and what to do, in one sentence."""
    extended = code_of(error)
    code = _SAME.get(extended & 0xFF, extended & 0xFF)
    # Even reading needs 32 kB next to the file, for the index of the log.
    if extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        code = sqlite3.SQLITE_FULL
    meaning = _MEANINGS.get(code, "could not be used ({error}): check the disk, then try again")
    return UnusableStoreError(f"the gallery {path} {meaning.format(wait=wait, error=error)}")


def code_of(error: sqlite3.Error | UnicodeDecodeError) -> int:
    """Returns SQLite's extended code of an error; Python's own, of texts that are not UTF-8, are damage."""
    unset = sqlite3.SQLITE_CORRUPT if "decode" in str(error) else sqlite3.SQLITE_ERROR
    return getattr(error, "sqlite_errorcode", unset)
