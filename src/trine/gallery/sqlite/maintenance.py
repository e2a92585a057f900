"""Checks and repairs the SQLite file of a gallery, and purges forgotten items."""

from __future__ import annotations

import sqlite3

from trine.errors import Argument, GalleryError
from trine.gallery.errors import traces_left
from trine.gallery.sql_store import EMPTY, TRACES
from trine.gallery.sqlite.damaged import aside_path, damaged_records, isolated, name_of, set_aside
from trine.gallery.sqlite.database import Database
from trine.gallery.store import UNREACHED, Binding

SHOWN = 100
"""How many damaged items `check` names; it counts the rest."""

_EMPTY = f"SELECT name FROM identities WHERE {EMPTY}"


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
    """Returns one sentence for each problem of the file or its content; those of many items are counted."""
    with database.reading():
        problems = _damage(database)
        if problems:
            return problems
        more = 0
        for row, why in damaged_records(database, binding):
            if len(problems) < SHOWN:
                problems.append(f"the item {name_of(row)} {why}")
            else:
                more += 1
        if more:
            problems.append(f"{more:,} more items cannot be read")
        empty = database.run(f"{_EMPTY} ORDER BY name LIMIT {SHOWN}")
        problems += [f"the identity {name!r} has no items" for (name,) in empty]
        if database.run("SELECT 1 FROM notes WHERE name = ?", (TRACES,)).fetchone():
            problems.append("traces of forgotten items may remain in the file")
    return problems


def repair(database: Database, binding: Binding, *, drop_damaged: bool = False) -> list[str]:
    """Fixes what `check` finds, and returns one sentence for each fix.

    Args:
        database: The file.
        binding: Its binding.
        drop_damaged: Whether to delete more than isolated items, too.

    Raises:
        GalleryError: The file itself is damaged; more than isolated items are; or those that are cannot be
            set aside in another file.
    """
    done = _rebuild_indexes(database)
    with database.writing() as session:
        done += _clear_clusters(database, session.stamp)
        done += _drop_damaged(database, binding, session.stamp, any_number=drop_damaged)
        gone = database.run(f"DELETE FROM identities WHERE {EMPTY}").rowcount
        if gone:
            done.append(f"identities without items were deleted: {gone}")
    if purge(database):
        done.append("traces of forgotten items were wiped")
    return done


def _rebuild_indexes(database: Database) -> list[str]:
    with database.writing() as session:
        if not _damage(database):
            return []
        database.run("REINDEX")
        # A transaction that changes no row would be rolled back.
        database.run("UPDATE state SET changed = ?", (session.stamp,))
        problems = _damage(database)
        if problems:
            raise GalleryError(
                f"the gallery {database.path} is damaged ({problems[0]}): restore it from a backup"
            )
    return ["the indexes of the file were rebuilt"]


def _clear_clusters(database: Database, stamp: int) -> list[str]:
    """Takes items out of clusters that cannot be; the items themselves can be read."""
    wrong = "cluster IS NOT NULL AND (typeof(cluster) != 'integer' OR cluster NOT BETWEEN 0 AND ?)"
    cleared = database.run(f"UPDATE items SET cluster = NULL WHERE {wrong}", (UNREACHED - 1,)).rowcount
    if not cleared:
        return []
    database.run("UPDATE state SET changed = ?", (stamp,))
    return [f"items in clusters that cannot be were taken out of them: {cleared}"]


def _drop_damaged(database: Database, binding: Binding, stamp: int, *, any_number: bool) -> list[str]:
    damaged = damaged_records(database, binding)
    first = next(damaged, None)
    if first is None:
        return []
    count = 1 + sum(1 for _ in damaged)
    (total,) = database.run("SELECT count(*) FROM items").fetchone()
    if not (any_number or isolated(count, total)):
        raise GalleryError(
            f"{count:,} of the {total:,} items of the gallery {database.path} cannot be read, so something "
            "else may be damaged than they: nothing was deleted; restore a backup, or delete them with ",
            Argument("drop_damaged", True),
        )
    path = aside_path(database.path)
    try:
        ids = set_aside(damaged_records(database, binding), path)
    except (OSError, sqlite3.Error) as error:
        raise GalleryError(
            f"nothing was deleted, because {path} cannot be written ({error}): free space, or make the "
            "folder writable"
        ) from error
    database.many("INSERT OR REPLACE INTO removed (id, changed) VALUES (?, ?)", ((i, stamp) for i in ids))
    database.many("DELETE FROM items WHERE id = ?", ((i,) for i in ids))
    example = f"the item {name_of(first[0])} {first[1]}"
    return [f"items were deleted after they were set aside in {path}: {len(ids)}, such as {example}"]


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
