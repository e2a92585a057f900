"""The tables in the SQLite file of a gallery, and what else may be in its schema: nothing.

Application id 0x74726E65 ("trne"); user_version is the version of the schema:

gallery      the binding, as text
notes        notes about the whole gallery; names that start with "trine:" are internal
identities   id, name
items        id, item, identity, embedding (see `trine.gallery.quantization`), metadata (JSON), changed,
             cluster, source (a path, or JSON)
staged       embeddings for another encoder, until they replace those in use
removed      ids of removed items, so that other processes notice
state        one row: the revision (advanced by every write), the largest cluster number, the number of
             rebuilds with another encoder, and the generation (see `trine.gallery.sqlite.log`)
"""

from __future__ import annotations

import functools
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from trine.display import printable
from trine.errors import GalleryError
from trine.gallery.errors import damaged, newer
from trine.gallery.quantization import Dtype, lengths

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

# Not a version of its own: versions of trine without generations read and write such a gallery, too, and a
# gallery in a read-only folder opens without them.
GENERATION = """
ALTER TABLE state ADD COLUMN generation TEXT NOT NULL DEFAULT '';
ALTER TABLE state ADD COLUMN before TEXT NOT NULL DEFAULT '';
ALTER TABLE state ADD COLUMN began INTEGER NOT NULL DEFAULT 0;
"""
"""Adds the columns of the generation to a gallery that has none."""

VERSION_1 = """
CREATE TABLE gallery (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE identities (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    item TEXT NOT NULL UNIQUE,
    identity INTEGER NOT NULL REFERENCES identities (id),
    embedding BLOB NOT NULL CHECK (length(embedding) = 4),
    metadata TEXT NOT NULL,
    changed INTEGER NOT NULL
);
CREATE INDEX items_of_identity ON items (identity);
CREATE INDEX items_changed ON items (changed);
CREATE TABLE removed (id INTEGER PRIMARY KEY, changed INTEGER NOT NULL);
CREATE INDEX removed_changed ON removed (changed);
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), changed INTEGER NOT NULL);
"""
"""The tables of version 1, to recognise them and what upgrades made of them."""

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

_OBJECTS = "SELECT type, name, sql FROM sqlite_master"
_STATISTICS = ("sqlite_stat1", "sqlite_stat4")
_WIDTHS = re.compile(r"(length\(embedding\)(?:IN\(|=))[0-9,]+")


def statements(script: str) -> list[str]:
    """Splits a script into statements, to run them inside an open transaction."""
    return [part.strip() for part in script.split(";") if part.strip()]


def items_tables(dtype: Dtype, dimension: int) -> str:
    """Returns the script that creates the tables with embeddings."""
    widths = ", ".join(str(length) for length in lengths(dtype, dimension))
    return ITEMS.format(lengths=widths) + STAGED


def widths_of(sql: str) -> tuple[int, ...]:
    """Returns the sizes of embeddings in bytes that an items table made by this statement accepts.

    Example:
        >>> widths_of("CREATE TABLE items (embedding BLOB CHECK (length(embedding) IN (4, 8)))")
        (4, 8)
    """
    widths = re.search(r"length\(embedding\) (?:IN \(|= )([0-9, ]+)", sql)
    return tuple(map(int, widths[1].split(","))) if widths else ()


def check_version(version: int, path: Path) -> None:
    """Raises an error for a gallery that a newer trine wrote, or none."""
    if version < 1:
        raise damaged(path, f"its schema has the version {version}")
    if version > SCHEMA:
        raise newer(path, version, SCHEMA)


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raises an error unless a file has the tables and indexes of a gallery, made as trine makes them.

    A view, a trigger or a constraint of another kind could run for ever, or change what is written. Reads
    nothing but the schema.

    Raises:
        GalleryError: Something is missing, or is not as trine made it.
    """
    known = _known()
    found = connection.execute(_OBJECTS).fetchall()
    strange = [(kind, name) for kind, name, sql in found if not _expected(kind, name, sql, known)]
    if strange:
        named = ", ".join(f"the {kind} {printable(str(name)[:40])!r}" for kind, name in strange[:3])
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        raise GalleryError(
            f"the gallery {path} contains what trine did not make so ({named}{more}), and nothing of it was "
            "used: restore it from a backup, or drop what you added to it"
        )
    names = {name for _, name, _ in found}
    missing = [name for kind, name in known if name not in names and (kind, name) not in _OPTIONAL]
    if missing:
        raise GalleryError(
            f"the gallery {path} is damaged: it has no {missing[0]!r}; restore it from a backup"
        )


_OPTIONAL = {("table", "notes"), ("table", "staged")}
"""What version 1 did not have."""


def _expected(kind: str, name: str, sql: str | None, known: dict[tuple[str, str], set[str]]) -> bool:
    if name.startswith("sqlite_autoindex_"):  # SQLite itself reserves the prefix
        return kind == "index" and sql is None
    if kind == "table" and name in _STATISTICS:
        return True
    return sql is not None and _plain(sql) in known.get((kind, name), ())


@functools.cache
def _known() -> dict[tuple[str, str], set[str]]:
    """Every way in which trine made each object of the schema, in any version and by any upgrade."""
    fresh = TABLES.format(items=ITEMS.format(lengths=4) + STAGED)
    known: dict[tuple[str, str], set[str]] = {}
    for first, scripts in ((fresh, [GENERATION]), (VERSION_1, [UPGRADES[1], GENERATION])):
        with closing(sqlite3.connect(":memory:")) as connection:
            for script in (first, *scripts):
                connection.executescript(script)
                for kind, name, sql in connection.execute(_OBJECTS):
                    if sql is not None:
                        known.setdefault((kind, name), set()).add(_plain(sql))
    return known


def _plain(sql: str) -> str:
    """A statement without its spaces, whose number differs, and without the sizes of embeddings."""
    return _WIDTHS.sub(r"\1#", re.sub(r"\s+", "", sql))
