"""Embeddings for another encoder: beside those in use in one database, then put in their place at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from trine.gallery.internal_notes import STAGED, check_staging, is_staged_for, staged_for
from trine.gallery.postgres.database import Session
from trine.gallery.postgres.schema import items_table, staged_table
from trine.gallery.store import Binding


def begin(session: Session, binding: Binding) -> None:
    """Makes room for embeddings of a binding, and gives up what was staged for any other."""
    if not is_staged_for(_noted(session), binding):
        session.script(f"DROP TABLE staged; {staged_table(binding)}")
        session.run("DELETE FROM notes WHERE name = %s", (STAGED,))
        session.run("INSERT INTO notes VALUES (%s, %s)", (STAGED, staged_for(binding)))


def stage(
    session: Session, binding: Binding, rows: Sequence[tuple[Any, str, int | None]], shown: str
) -> None:
    """Keeps embeddings of items, where the item is as it was written then.

    Raises:
        GalleryError: Another process stages for another encoder.
    """
    check_staging(_noted(session), binding, shown)
    session.many(
        "INSERT INTO staged (embedding, id, written) SELECT %s, id, written FROM items"
        " WHERE item = %s AND written = %s"
        " ON CONFLICT (id) DO UPDATE SET embedding = excluded.embedding, written = excluded.written",
        rows,
    )


def switch(session: Session, binding: Binding, *, drop: Collection[str]) -> bool:
    """Puts what is staged in place of all embeddings, or does nothing where an item would be lost."""
    if not is_staged_for(_noted(session), binding):
        return False
    bare = "NOT EXISTS (SELECT FROM staged WHERE staged.id = items.id AND staged.written = items.written)"
    if any(item not in drop for (item,) in session.run(f"SELECT item FROM items WHERE {bare}")):
        return False
    session.run(f"DELETE FROM items WHERE {bare}")
    # Made anew rather than changed in place: the type of an embedding is that of its column.
    session.script(
        "ALTER TABLE staged DROP CONSTRAINT staged_id_fkey;"
        f"ALTER TABLE items RENAME TO items_before; {items_table(binding)}"
    )
    session.run(
        "INSERT INTO items (id, item, identity, embedding, metadata, source, written) OVERRIDING SYSTEM VALUE"
        " SELECT id, item, identity, staged.embedding, metadata, source, %s"
        " FROM items_before JOIN staged USING (id) ORDER BY id",
        (session.stamp,),
    )
    session.run(
        "SELECT setval(pg_get_serial_sequence('items', 'id'), greatest(1, (SELECT max(id) FROM items)))"
    )
    session.script(f"DROP TABLE staged; DROP TABLE items_before; {staged_table(binding)}")
    session.run("DELETE FROM identities WHERE NOT EXISTS (SELECT FROM items WHERE identity = identities.id)")
    session.run("DELETE FROM notes WHERE name = %s", (STAGED,))
    session.run("DELETE FROM gallery")
    session.many("INSERT INTO gallery VALUES (%s, %s)", list(binding.to_texts().items()))
    session.run("UPDATE state SET bound = bound + 1, indexed = false")
    return True


def _noted(session: Session) -> str | None:
    row = session.run("SELECT value FROM notes WHERE name = %s", (STAGED,)).fetchone()
    return None if row is None else str(row[0])
