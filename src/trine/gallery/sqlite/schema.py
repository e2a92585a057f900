"""The SQLite file of a gallery: its tables, its creation, and explanations of its errors.

Application id 0x74726E65 ("trne"); user_version is the version of the schema:

gallery      the binding, as text
notes        notes about the whole gallery; names that start with "trine:" are internal
identities   id, name
items        id, item, identity, embedding (see `trine.gallery.quantization`), metadata (JSON), changed,
             cluster, source (a path, or JSON)
staged       embeddings for another encoder, until they replace those in use
removed      ids of removed items, so that other processes notice
state        one row: the revision (advanced by every write), the largest cluster number, and the number
             of rebuilds with another encoder
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
from pathlib import Path

from trine.errors import GalleryError
from trine.gallery.errors import missing, newer
from trine.gallery.quantization import Dtype, lengths
from trine.gallery.store import Binding
from trine.io import open_regular, synchronise

APPLICATION = 0x74726E65
SCHEMA = 2

TABLES = """
CREATE TABLE gallery (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE identities (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
{items}
CREATE TABLE removed (id INTEGER PRIMARY KEY, changed INTEGER NOT NULL);
CREATE INDEX removed_changed ON removed (changed);
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    changed INTEGER NOT NULL,
    clusters INTEGER NOT NULL DEFAULT 0,
    bound INTEGER NOT NULL DEFAULT 0
);
INSERT INTO state (one, changed) VALUES (1, 0);
"""

ITEMS = """
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    item TEXT NOT NULL UNIQUE,
    identity INTEGER NOT NULL REFERENCES identities (id),
    embedding BLOB NOT NULL CHECK (length(embedding) IN ({lengths})),
    metadata TEXT NOT NULL,
    changed INTEGER NOT NULL,
    cluster INTEGER,
    source TEXT
);
CREATE INDEX items_of_identity ON items (identity);
CREATE INDEX items_changed ON items (changed);
"""

STAGED = """
CREATE TABLE staged (
    id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
    embedding BLOB NOT NULL
);
"""

UPGRADES = {
    1: f"""
ALTER TABLE items ADD COLUMN cluster INTEGER;
ALTER TABLE items ADD COLUMN source TEXT;
ALTER TABLE state ADD COLUMN clusters INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state ADD COLUMN bound INTEGER NOT NULL DEFAULT 0;
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO gallery (name, value) VALUES ('dtype', 'float32');
{STAGED}
"""
}
"""Scripts that upgrade each older version of the schema to the next."""


def statements(script: str) -> list[str]:
    """Splits a script into statements, to run them inside an open transaction."""
    return [part.strip() for part in script.split(";") if part.strip()]


def items_tables(dtype: Dtype, dimension: int) -> str:
    """Returns the script that creates the tables with embeddings."""
    widths = ", ".join(str(length) for length in lengths(dtype, dimension))
    return ITEMS.format(lengths=widths) + STAGED


def fits(sql: str, dtype: Dtype, dimension: int) -> bool:
    """Returns whether an items table, made by this statement, holds embeddings of a binding."""
    widths = re.search(r"length\(embedding\) (?:IN \(|= )([0-9, ]+)", sql)
    return widths is None or tuple(map(int, widths[1].split(","))) == lengths(dtype, dimension)


def log_of(path: Path) -> Path:
    """Returns the path of a gallery's log; for a symbolic link, SQLite keeps it next to the file itself."""
    real = Path(os.path.realpath(path))
    return real.with_name(f"{real.name}-wal")


def is_new(path: Path) -> bool:
    """Returns whether the path does not exist yet."""
    return not os.path.lexists(path)


def create_file(path: Path, binding: Binding) -> bool:
    """Creates the file of an empty gallery atomically; returns whether it did.

    The file is written under a temporary name and linked to its final name once it is on disk, so that no
    process opens a partial gallery. If another process was first, its file is kept.

    Args:
        path: The file; its folder must exist.
        binding: What the gallery is bound to.

    Raises:
        GalleryError: The folder is missing or cannot be written.
    """
    if not path.parent.is_dir():
        raise GalleryError(f"the gallery {path} cannot be created: the folder {path.parent} does not exist")
    unfinished = path.with_name(f".trine-{secrets.token_hex(8)}.unfinished")
    try:
        connection = sqlite3.connect(unfinished, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(
                f"BEGIN; {TABLES.format(items=items_tables(binding.dtype, binding.dimension))}"
                f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};"
            )
            connection.executemany("INSERT INTO gallery VALUES (?, ?)", binding.to_texts().items())
            connection.execute("COMMIT")
        finally:
            connection.close()
        return _link(unfinished, path)
    except (OSError, sqlite3.Error) as error:
        hint = "choose a writable folder"
        raise GalleryError(f"the gallery {path} cannot be created ({error}): {hint}") from error
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{unfinished}{suffix}").unlink(missing_ok=True)


def _link(unfinished: Path, path: Path) -> bool:
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return False
    except OSError:  # the file system has no hard links
        if not is_new(path):
            return False
        unfinished.rename(path)
    # The directory entry must survive a power cut, not only the content.
    synchronise(path.parent)
    return True


def check_file(path: Path) -> None:
    """Raises an error unless a file is a gallery of this version; never changes the file.

    Raises:
        GalleryError: The path is missing, a folder, an empty file, not a trine gallery, of a newer trine, or
            damaged.
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
    page = int.from_bytes(header[16:18], "big")
    promised = int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page)
    # SQLite does not notice a truncated last page. While there is a log, the rest may be in it.
    if size < promised and not log_of(path).exists():
        cut = f"{size} of {promised} bytes"
        raise GalleryError(f"the gallery {path} is damaged or cut short ({cut}): restore it from a backup")


def check_version(version: int, path: Path) -> None:
    """Raises an error for a gallery that a newer trine wrote."""
    if version > SCHEMA:
        raise newer(path, version, SCHEMA)


_MEANINGS = {
    sqlite3.SQLITE_BUSY: "was locked by another process for more than {wait:g} s: nothing was written",
    sqlite3.SQLITE_READONLY: "is read-only: nothing was written; make the file and its folder writable",
    sqlite3.SQLITE_FULL: "is on a full disk: nothing of this call was written; free space and try again",
    sqlite3.SQLITE_CORRUPT: "is damaged or cut short ({error}): restore it from a backup",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: file and folder must be readable, and writable while in use",
}
_SAME = {sqlite3.SQLITE_LOCKED: sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOTADB: sqlite3.SQLITE_CORRUPT}


def explain(error: sqlite3.Error, path: Path, wait: float) -> GalleryError:
    """Explains a SQLite error and what to do, in one sentence."""
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = _SAME.get(extended & 0xFF, extended & 0xFF)
    # Even reading needs 32 kB next to the file, for the index of the log.
    if extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        code = sqlite3.SQLITE_FULL
    meaning = _MEANINGS.get(code, "could not be used ({error}): check the disk, then try again")
    return GalleryError(f"the gallery {path} {meaning.format(wait=wait, error=error)}")
