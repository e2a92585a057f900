"""Checks and repairs a gallery on a server, builds its index, and purges forgotten items."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from trine.errors import GalleryError, require
from trine.gallery.errors import traces_left
from trine.gallery.postgres.database import Database, Session
from trine.gallery.postgres.schema import COLUMNS, column
from trine.gallery.postgres.search import index_expression, index_kind
from trine.gallery.sql_store import EMPTY, TRACES
from trine.gallery.store import Binding

_BUILDING = 0x74726E66
"""The advisory lock for building an index, together with the id of the table."""

SHOWN = 100
"""How many damaged items `check` names for each fault; it counts the rest."""

_INDICES = (
    "SELECT indexrelid::regclass::text, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
    " JOIN pg_am ON pg_am.oid = relam WHERE amname = 'hnsw' AND indrelid = 'items'::regclass"
)


def check(session: Session, binding: Binding, *, large: int | None) -> list[str]:
    """Returns one sentence for each problem of the gallery or its server."""
    problems = []
    for setting, harm in (
        ("fsync", "a power cut may damage or lose acknowledged writes"),
        ("full_page_writes", "a power cut may damage the gallery"),
    ):
        if session.run("SELECT current_setting(%s)", (setting,)).fetchall() == [("off",)]:
            problems.append(f"the server runs with {setting} = off: {harm}")
    changed = _changed_tables(session, binding)
    if changed:
        return problems + changed
    try:
        # Reads every byte, to detect damaged pages.
        session.run("SELECT count(l2_distance(embedding, embedding)), count(metadata::text) FROM items")
    except require("psycopg.errors", extra="pgvector").InternalError as error:
        return [*problems, f"the tables are damaged: {str(error).splitlines()[0]}"]
    problems += _broken_rows(session)
    empty = session.run(f"SELECT name FROM identities WHERE {EMPTY} ORDER BY name").fetchall()
    problems += [f"the identity {name!r} has no items" for (name,) in empty]
    if session.indexed and not _sound(session):
        problems.append("the search index is missing or incomplete, so every search is slow")
    elif not session.indexed and large is not None and index_kind(binding) and count(session) > 2 * large:
        problems.append("the search index is missing, so every search is slow")
    return problems


def _changed_tables(session: Session, binding: Binding) -> list[str]:
    """Returns what is not as trine made it: missing or other columns, and triggers and rules."""
    rows = session.run(
        "SELECT relname, attname, format_type(atttypid, atttypmod) FROM pg_class"
        " JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped"
        " WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
    ).fetchall()
    found = {(table, name): str(kind).rpartition(".")[2] for table, name, kind in rows}
    problems = []
    for table, columns in COLUMNS.items():
        for text in columns.format(type=column(binding)).split(", "):
            name, _, wanted = text.strip().partition(" ")
            kind = found.get((table, name))
            if kind is None:
                problems.append(f"the table {table} has no column {name!r}: restore it from a backup")
            elif wanted not in (kind, "*"):
                problems.append(f"the column {name!r} of the table {table} is {kind}, expected {wanted}")
    planted = session.run(
        "SELECT 'trigger', tgname::text, relname::text FROM pg_trigger JOIN pg_class"
        " ON pg_class.oid = tgrelid WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
        " UNION ALL SELECT 'rule', rulename::text, tablename::text FROM pg_rules"
        " WHERE schemaname = current_schema()"
    ).fetchall()
    return problems + [
        f"the table {table} has the {kind} {name!r}, not trine's" for kind, name, table in planted
    ]


def _broken_rows(session: Session) -> list[str]:
    """Returns what the constraints of the tables forbid; somebody may have dropped them."""
    problems = []
    for condition, what in (
        ("NOT EXISTS (SELECT 1 FROM identities WHERE id = identity)", "belongs to a missing identity"),
        ("jsonb_typeof(metadata) <> 'object'", "has metadata that is not a JSON object"),
        ("EXISTS (SELECT 1 FROM items AS i WHERE i.item = items.item AND i.id > items.id)", "is there twice"),
    ):
        rows = session.run(
            f"SELECT item, count(*) OVER () FROM items WHERE {condition} ORDER BY item LIMIT {SHOWN}"
        ).fetchall()
        problems += [f"the item {item[:80]!r} {what}" for item, _ in rows]
        if rows and rows[0][1] > SHOWN:
            problems.append(f"{rows[0][1] - SHOWN:,} more items: {what}")
    ((orphans,),) = session.run(
        "SELECT count(*) FROM staged WHERE NOT EXISTS (SELECT 1 FROM items WHERE items.id = staged.id)"
    )
    if orphans:
        problems.append(f"{orphans:,} staged embeddings belong to missing items")
    ((states,),) = session.run("SELECT count(*) FROM state")
    if states != 1:
        problems.append(f"the table state has {states} rows, expected 1")
    return problems


def repair(database: Database, binding: Binding, *, large: int | None) -> list[str]:
    """Fixes what `check` finds, wipes traces of forgotten items, and returns one sentence for each fix.

    Args:
        database: The gallery.
        binding: Its binding.
        large: Galleries with more items have an index; `None` if every search is exact.

    Raises:
        GalleryError: Another transaction still sees forgotten items, or a lock is not available.
    """
    done = []
    gone = database.write(lambda session: session.run(f"DELETE FROM identities WHERE {EMPTY}").rowcount)
    if gone:
        done.append(f"identities without items were deleted: {gone}")
    if purge(database):
        done.append(
            "traces of forgotten items were wiped from the tables; the server's log and backups keep "
            "theirs until these are overwritten"
        )
    indexed, sound, items = database.read(lambda s: (s.indexed, _sound(s), count(s)))
    if not sound and index_kind(binding) and (indexed or (large is not None and items > large)):
        if not build_index(database, binding):
            gallery = database.address.shown
            raise GalleryError(f"the search index of {gallery} could not be built: see the server's log")
        done.append("the search index was built")
    return done


def purge(database: Database) -> bool:
    """Rewrites the tables without deleted items; returns whether that was needed.

    Raises:
        GalleryError: Another transaction still sees deleted items, a lock is not available, or the user does
            not own the tables.
    """
    if not database.read(lambda s: s.run("SELECT 1 FROM notes WHERE name = %s", (TRACES,)).fetchall()):
        return False
    kept: list[int] = []
    refused: list[str] = []

    def listen(notice: Any) -> None:
        if notice.severity_nonlocalized == "WARNING":
            refused.append(notice.message_primary)
        # "3 dead row versions cannot be removed yet.", in the server's language.
        number = re.match(r"\s*(\d+)", notice.message_detail or "")
        kept.append(int(number[1]) if number else 0)

    with database.alone() as connection:
        connection.add_notice_handler(listen)
        connection.execute("SET client_min_messages = info")
        for table in ("items", "identities", "staged"):
            connection.execute(f"VACUUM (FULL, VERBOSE, ANALYZE) {table}".encode())
    shown = database.address.shown
    if refused:
        raise traces_left(shown, f" ({refused[0]}): repair the gallery as the owner of its tables")
    if any(kept):
        raise traces_left(shown, ", because another transaction is still open: repair the gallery later")
    database.write(lambda session: session.run("DELETE FROM notes WHERE name = %s", (TRACES,)))
    return True


def build_index(database: Database, binding: Binding) -> bool:
    """Builds the search index without blocking others; returns whether it is complete now."""
    of = index_kind(binding)
    if of is None:
        return False
    with database.alone() as connection:
        key = "SELECT {}(%s, 'items'::regclass::oid::int)"
        row = connection.execute(key.format("pg_try_advisory_lock").encode(), (_BUILDING,)).fetchone()
        if row != (True,):
            return False  # another process is building it
        for index, valid in connection.execute(_INDICES.encode()).fetchall():
            if valid:
                _say_indexed(database)
                return True
            connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}".encode())
        # Building is fast if the graph fits into this memory.
        (items,) = connection.execute("SELECT count(*) FROM items").fetchone() or (0,)
        each = binding.dimension * (2 if of == "halfvec" else 4) + 400
        memory = min(max(64 << 10, items * each * 5 // 4 >> 10), 4 << 20)
        connection.execute(f"SET maintenance_work_mem = '{memory}kB'".encode())
        how = database.settings.index.format(expression=index_expression(binding), kind=of)
        try:
            connection.execute(f"CREATE INDEX CONCURRENTLY ON items {how}".encode())
        except require("psycopg", extra="pgvector").Error:
            with contextlib.suppress(Exception):
                for index, _ in connection.execute(_INDICES.encode()).fetchall():
                    connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}".encode())
            return False
        _say_indexed(database)
    return True


def _say_indexed(database: Database) -> None:
    database.write(lambda session: session.run("UPDATE state SET indexed = true"))


def _sound(session: Session) -> bool:
    return any(valid for _, valid in session.run(_INDICES))


def count(session: Session) -> int:
    """Returns the number of items."""
    return int(session.run("SELECT count(*) FROM items").fetchall()[0][0])
