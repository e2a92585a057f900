"""Embeddings for another encoder: beside those in use in one file, then put in their place at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from trine.gallery.internal_notes import STAGED, check_staging, is_staged_for, staged_for
from trine.gallery.sqlite.database import Database
from trine.gallery.sqlite.schema import items_tables, statements
from trine.gallery.store import Binding

_ASIDE = """
ALTER TABLE staged RENAME TO staged_before;
ALTER TABLE items RENAME TO items_before;
DROP INDEX items_of_identity;
DROP INDEX items_changed;
"""


def unstaged(database: Database, binding: Binding, *, at_once: int) -> Iterator[list[tuple[Any, ...]]]:
    """Returns pages of records without a staged embedding, each with the stamp of its last change."""
    with database.writing():
        if not is_staged_for(_noted(database), binding):
            database.run("DELETE FROM staged")
            database.run("INSERT OR REPLACE INTO notes VALUES (?, ?)", (STAGED, staged_for(binding)))
    last = -1
    while True:
        with database.reading():
            rows = database.run(
                "SELECT name, item, embedding, metadata, source, items.id, items.changed FROM items"
                " JOIN identities ON identities.id = identity WHERE items.id > ?"
                " AND NOT EXISTS (SELECT 1 FROM staged WHERE staged.id = items.id)"
                " ORDER BY items.id LIMIT ?",
                (last, at_once),
            ).fetchall()
        if not rows:
            return
        last = rows[-1][-2]
        yield rows


def stage(database: Database, binding: Binding, rows: Sequence[tuple[bytes, str, int | None]]) -> None:
    """Keeps packed embeddings of items, where the item still has the stamp it had.

    Raises:
        GalleryError: Another process stages for another encoder.
    """
    with database.writing():
        check_staging(_noted(database), binding, database.path)
        database.many(
            "INSERT OR REPLACE INTO staged (embedding, id) SELECT ?, id FROM items"
            " WHERE item = ? AND changed = ?",
            rows,
        )


def switch(database: Database, binding: Binding, *, drop: Collection[str]) -> bool:
    """Puts what is staged in place of all embeddings, or does nothing where an item would be lost."""
    with database.lock:
        if not _switched(database, binding, drop=drop):
            return False
        # Not before it is on the disk: a full one leaves the old encoder in its place.
        database.rebound()
    return True


def _switched(database: Database, binding: Binding, *, drop: Collection[str]) -> bool:
    with database.writing() as stamp:
        if not is_staged_for(_noted(database), binding):
            return False
        bare = "NOT EXISTS (SELECT 1 FROM staged WHERE staged.id = items.id)"
        if any(item not in drop for (item,) in database.run(f"SELECT item FROM items WHERE {bare}")):
            return False
        database.run(
            f"INSERT OR REPLACE INTO removed (id, changed) SELECT id, ? FROM items WHERE {bare}", (stamp,)
        )
        # The length of an embedding is a condition of the table, so it is made anew.
        tables = items_tables(binding.dtype, binding.dimension)
        for statement in statements(f"{_ASIDE} {tables}"):
            database.run(statement)
        database.run(
            "INSERT INTO items (id, item, identity, embedding, metadata, changed, source)"
            " SELECT id, item, identity, staged_before.embedding, metadata, ?, source"
            " FROM items_before JOIN staged_before USING (id) ORDER BY id",
            (stamp,),
        )
        database.run("DROP TABLE staged_before")
        database.run("DROP TABLE items_before")
        database.run("DELETE FROM identities WHERE id NOT IN (SELECT identity FROM items)")
        database.run("DELETE FROM notes WHERE name = ?", (STAGED,))
        database.run("DELETE FROM gallery")
        database.many("INSERT INTO gallery VALUES (?, ?)", binding.to_texts().items())
        database.run("UPDATE state SET bound = bound + 1")
    return True


def _noted(database: Database) -> str | None:
    row = database.run("SELECT value FROM notes WHERE name = ?", (STAGED,)).fetchone()
    return None if row is None else str(row[0])
