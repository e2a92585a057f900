"""Checks and repairs the SQLite file of a gallery, and purges forgotten items."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np

from trine.errors import GalleryError
from trine.gallery.errors import traces_left
from trine.gallery.quantization import unpack
from trine.gallery.sql_store import AT_ONCE, EMPTY, TRACES
from trine.gallery.sqlite.database import Database
from trine.gallery.store import Binding
from trine.plain_json import parse_json


def purge(database: Database) -> bool:
    """Rewrites the file without deleted items and empties the log; returns whether that was needed.

    SQLite overwrites deleted content, but pages that were moved earlier, and the log, may still hold copies.

    Raises:
        GalleryError: Another process kept the log busy, or the disk is full.
    """
    with database.lock, database.errors():
        if database.run("SELECT 1 FROM notes WHERE name = ?", (TRACES,)).fetchone() is None:
            return False
        try:
            database.run("VACUUM")
            busy = database.run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError as error:
            hint = "free space for a second copy of the file, then repair the gallery"
            raise traces_left(database.path, f" ({error}): {hint}") from error
        if busy:
            raise traces_left(database.path, ", which another process is using: repair the gallery later")
    with database.writing():
        database.run("DELETE FROM notes WHERE name = ?", (TRACES,))
    return True


def check(database: Database, binding: Binding) -> list[str]:
    """Returns one sentence for each problem of the file or its content."""
    with database.reading():
        problems = _damage(database)
        if problems:
            return problems
        problems = [f"the item {item!r} {why}" for _, item, why in _unreadable(database, binding)]
        empty = database.run(f"SELECT name FROM identities WHERE {EMPTY} ORDER BY name")
        problems += [f"the identity {name!r} has no items" for (name,) in empty]
        if database.run("SELECT 1 FROM notes WHERE name = ?", (TRACES,)).fetchone():
            problems.append("traces of forgotten items may remain in the file")
    return problems


def repair(database: Database, binding: Binding) -> list[str]:
    """Fixes what `check` finds, and returns one sentence for each fix.

    Raises:
        GalleryError: The file itself is damaged.
    """
    done = []
    with database.writing() as session:
        if _damage(database):
            database.run("REINDEX")
            # A transaction that changes no row would be rolled back.
            database.run("UPDATE state SET changed = ?", (session.stamp,))
            done.append("the indexes of the file were rebuilt")
        if _damage(database):
            problem = _damage(database)[0]
            raise GalleryError(
                f"the gallery {database.path} is damaged ({problem}): restore it from a backup"
            )
    with database.writing() as session:
        for number, item, why in list(_unreadable(database, binding)):
            database.run(
                "INSERT OR REPLACE INTO removed (id, changed) VALUES (?, ?)", (number, session.stamp)
            )
            database.run("DELETE FROM items WHERE id = ?", (number,))
            done.append(f"the item {item!r} was deleted: it {why}")
        gone = database.run(f"DELETE FROM identities WHERE {EMPTY}").rowcount
        if gone:
            done.append(f"identities without items were deleted: {gone}")
    if purge(database):
        done.append("traces of forgotten items were wiped")
    return done


def _damage(database: Database) -> list[str]:
    try:
        # Rows that violate a constraint are found below, and can be repaired.
        database.run("PRAGMA ignore_check_constraints = ON")
        lines = [row[0] for row in database.run("PRAGMA integrity_check(10)")]
        orphans = database.run("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        return [f"the file is damaged: {error}"]
    finally:
        database.run("PRAGMA ignore_check_constraints = OFF")
    problems = [f"the file is damaged: {line}" for line in lines if line != "ok"]
    return problems + [f"the file is damaged: a row of {row[0]} refers to a missing row" for row in orphans]


def _unreadable(database: Database, binding: Binding) -> Iterator[tuple[int, str, str]]:
    cursor = database.run("SELECT id, item, embedding, metadata FROM items")
    while rows := cursor.fetchmany(AT_ONCE):
        for number, item, packed, metadata in rows:
            why = _fault(packed, metadata, binding)
            if why is not None:
                yield number, item, why


def _fault(packed: bytes, metadata: str, binding: Binding) -> str | None:
    try:
        row = unpack([packed], dtype=binding.dtype, dimension=binding.dimension)
    except (TypeError, ValueError):
        return "has an embedding that cannot be read"
    if not np.isfinite(row).all():
        return "has an embedding that is not finite"
    try:
        sound = isinstance(parse_json(metadata), dict)
    except ValueError:
        sound = False
    return None if sound else "has metadata that is not a JSON object"
