"""Stores a gallery in a PostgreSQL database, in tables that can be read without trine."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from trine.errors import GalleryError, require
from trine.gallery.entries import Enrolment, Hit, Record, metadata_of, metadata_text
from trine.gallery.errors import unreadable
from trine.gallery.postgres import maintenance
from trine.gallery.postgres.address import Address
from trine.gallery.postgres.conditions import possible
from trine.gallery.postgres.database import Database, Session
from trine.gallery.postgres.schema import column, items_table, staged_table
from trine.gallery.postgres.search import numbers, search
from trine.gallery.postgres.settings import PostgresSettings
from trine.gallery.quantization import pack, unpack
from trine.gallery.sql_session import INTERNAL, restore_binding
from trine.gallery.sql_store import AT_ONCE, ITEMS, RECORD, SqlStore, counted
from trine.gallery.sqlite import SqliteStore
from trine.gallery.sqlite.backup import finish, written_backup
from trine.gallery.sqlite.file import fill
from trine.gallery.store import EVERYBODY, Binding, Scope
from trine.shapes import Float32


class PostgresStore(SqlStore):
    """Stores one gallery in a schema of a PostgreSQL database; satisfies `trine.gallery.Store`.

    Safe to share between threads and to open in several processes. Do not use an open store after a fork.

    `put` builds the search index once the gallery is too large for exact search. With an index, `search` is
    approximate: some of the nearest items may be missing, but all scores are exact. With `?search=exact` in
    the address, no item is missing. Forgotten data stays in the server's files until `repair` rewrites the
    tables, and in its write-ahead log and backups until those are overwritten.

    Args:
        address: `postgresql://user:password@host:port/database?gallery=people`; see `Address`.
        binding: What a new gallery is bound to; `None` opens an existing one.
        settings: Timeouts, and when to build an index.

    Raises:
        GalleryError: The server cannot be reached or refuses, or the gallery is missing, not a trine gallery,
            or of a newer trine.
        InputError: The address is malformed.
        MissingDependencyError: psycopg or pgvector is not installed.
    """

    AMONG = "= ANY(%s)"
    WRITTEN = "written"
    IS_STAGED = "staged.id = items.id AND staged.written = items.written"
    STAGE = (
        "INSERT INTO staged (embedding, id, written) SELECT %s, id, written FROM items"
        " WHERE item = %s AND written = %s"
        " ON CONFLICT (id) DO UPDATE SET embedding = excluded.embedding, written = excluded.written"
    )

    def __init__(
        self, address: str, *, binding: Binding | None = None, settings: PostgresSettings | None = None
    ) -> None:
        """Opens the gallery, or creates a missing one if a binding is given."""
        self._address = Address.parse(address)
        self._settings = settings or PostgresSettings()
        self._database: Database = Database(self._address, binding=binding, settings=self._settings)
        self.created = self._database.created
        self._large = None if self._address.exact else self._settings.large
        self._items = self._unindexed = 0
        super().__init__()

    @classmethod
    def restore_binding(cls, address: str) -> str:
        """Restores what a gallery is bound to from its copy; see `Gallery.repair_binding`."""
        parsed = Address.parse(address)
        with closing(Database(parsed, binding=None, settings=PostgresSettings())) as database:
            return restore_binding(database, parsed.shown)

    @property
    def address(self) -> str:
        return self._address.shown

    def put(self, records: Sequence[Record]) -> Enrolment:
        done = super().put(records)
        if self._large is not None and self._items > max(self._large, self._unindexed):
            self._index()
        return done

    def validate(self, records: Sequence[Record]) -> None:
        super().validate(records)
        if records:
            # Only the server knows which texts and numbers it can hold.
            texts = [text for r in records for text in (r.item, r.identity, r.source) if text is not None]
            self._fetch("SELECT cardinality(%s::text[])", (texts,))
            metadata = [record.metadata for record in records]
            self._fetch("SELECT count(value::jsonb) FROM unnest(%s::text[]) AS value", (metadata,))

    def search(
        self,
        queries: Float32[np.ndarray, "q d"],
        *,
        k: int,
        offset: int = 0,
        scope: Scope = EVERYBODY,
        metadata: bool = False,
    ) -> list[list[Hit]]:
        price = None if self._address.exact else self._settings.price
        results = self._database.read(
            lambda session: search(
                session, self.binding, queries, k=offset + k, scope=scope, price=price, metadata=metadata
            )
        )
        return [hits[offset:] for hits in results]

    def size(self) -> int:
        query = (
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class"
            " WHERE relnamespace = %s::regnamespace AND relkind = 'r'"
        )
        return int(self._fetch(query, (f'"{self._address.schema}"',))[0][0])

    def backup(self, path: Path, *, overwrite: bool = False) -> int:
        with written_backup(path, overwrite=overwrite) as unfinished:
            with closing(sqlite3.connect(unfinished)) as connection:
                fill(connection, self.binding)
            with closing(SqliteStore(unfinished)) as copy:
                self._database.read(lambda session: self._copy(session, copy))
                count = len(copy)
            with closing(sqlite3.connect(unfinished)) as connection:
                finish(connection)
            return count

    def _copy(self, session: Session, copy: SqliteStore) -> None:
        """Copies everything but staged embeddings, as one transaction sees it."""
        last = -1
        query = (
            f"SELECT {RECORD}, cluster, items.id FROM {ITEMS} WHERE items.id > %s ORDER BY items.id"
            f" LIMIT {AT_ONCE}"
        )
        while rows := session.run(query, (last,)).fetchall():
            last = rows[-1][-1]
            copy.put(self._records(rows))
            copy.assign({row[1]: row[-2] for row in rows if row[-2] is not None})
        ((items, largest),) = session.run("SELECT (SELECT count(*) FROM items), clusters FROM state")
        for name, text in session.run("SELECT name, value FROM notes").fetchall():
            if not name.startswith(INTERNAL):
                copy.note(name, text)
        copy.use_clusters(largest)
        if len(copy) != items:
            raise GalleryError(f"the backup of {self.address} lacks items: check the gallery")

    def _check(self) -> list[str]:
        return self._database.read(
            lambda session: maintenance.check(session, self.binding, large=self._large)
        )

    def _repair(self, drop_damaged: bool) -> list[str]:  # no item of a server is deleted
        return maintenance.repair(self._database, self.binding, large=self._large)

    def switch(self, binding: Binding, *, drop: Collection[str] = ()) -> bool:
        if not super().switch(binding, drop=drop):
            return False
        if self._large is not None and len(self) > self._large:
            self._index()
        return True

    def _index(self) -> None:
        """Builds a missing index; after a failure, tries again at twice the number of items."""
        indexed, count = self._database.read(lambda session: (session.indexed, maintenance.count(session)))
        if not indexed and self._large is not None and count > self._large:
            maintenance.build_index(self._database, self.binding)
        self._unindexed = 2 * count

    def _fits(self, session: Session, binding: Binding) -> bool:
        query = (
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'items'::regclass AND attname = 'embedding'"
        )
        return [str(kind).rpartition(".")[2] for (kind,) in session.run(query)] == [column(binding)]

    def _array(self, values: Iterable[Any]) -> list[Any]:
        return possible(values)

    def _packed(self, records: Sequence[Record], binding: Binding) -> list[Any]:
        pgvector = require("pgvector", extra="pgvector")
        rows = np.stack([record.embedding for record in records])
        if binding.dtype != "float32":
            packed = pack(rows, dtype=binding.dtype, names=[record.item for record in records])
            rows = unpack(packed, dtype=binding.dtype, dimension=binding.dimension)
        vector = pgvector.HalfVector if binding.dtype == "float16" else pgvector.Vector
        return [vector(row) for row in rows]

    def _numbers(self, packed: Sequence[Any], binding: Binding) -> Float32[np.ndarray, "n d"]:
        return numbers(packed, dtype=binding.dtype, dimension=binding.dimension)

    def _records(self, rows: Sequence[tuple[Any, ...]]) -> list[Record]:
        bound = self.binding
        try:
            embeddings = numbers([row[2] for row in rows], dtype=bound.dtype, dimension=bound.dimension)
        except ValueError as error:
            raise unreadable(self.address, error) from error
        # jsonb reorders keys; restore the sorted order of records.
        return [
            Record(
                name,
                item,
                row,
                "{}" if text == "{}" else metadata_text(metadata_of(text, self.address), item),
                source,
            )
            for (name, item, _, text, source, *_), row in zip(rows, embeddings, strict=True)
        ]

    def _put(self, session: Session, records: Mapping[str, Record], packed: Sequence[Any]) -> Enrolment:
        jsonb = require("psycopg.types.json", extra="pgvector").Jsonb
        before = dict(
            session.run("SELECT item, identity FROM items WHERE item = ANY(%s)", (list(records),)).fetchall()
        )
        ids = self._identities(session, sorted({record.identity for record in records.values()}))
        rows = [
            (r.item, ids[r.identity], vector, jsonb(r.metadata), r.source, session.stamp)
            for r, vector in zip(records.values(), packed, strict=True)
        ]
        fresh = [row for row in rows if row[0] not in before]
        if fresh:
            columns = "item, identity, embedding, metadata, source, written"
            with (
                session.connection.cursor() as cursor,
                cursor.copy(f"COPY items ({columns}) FROM STDIN (FORMAT BINARY)".encode()) as copy,
            ):
                kind = type(packed[0]).__name__.lower().replace("halfvector", "halfvec")
                copy.set_types(["text", "int8", kind, "jsonb", "text", "int8"])
                for row in fresh:
                    copy.write_row(row)
            session.changed += len(fresh)
        # Compare as text, because jsonb treats 1 and 1.0 as equal.
        changed = session.many(
            "UPDATE items SET identity = given.identity, embedding = given.embedding,"
            " metadata = given.metadata, source = given.source, written = given.written,"
            " cluster = CASE WHEN items.embedding = given.embedding THEN cluster END"
            " FROM (SELECT %s::text, %s::bigint, %s, %s::jsonb, %s::text, %s::bigint)"
            " AS given (item, identity, embedding, metadata, source, written)"
            " WHERE items.item = given.item AND (items.identity <> given.identity"
            " OR items.embedding <> given.embedding OR items.metadata::text <> given.metadata::text"
            " OR items.source IS DISTINCT FROM given.source)",
            [row for row in rows if row[0] in before],
        )
        self._drop_empty(session, set(before.values()) - set(ids.values()))
        self._items = max(self._items, session.largest + len(fresh))
        return counted(records, before, len(fresh) + changed)

    def _identities(self, session: Session, names: Sequence[str]) -> dict[str, int]:
        """Returns the ids of identities by their names; missing ones are created."""
        query = "SELECT name, id FROM identities WHERE name = ANY(%s)"
        known = dict(session.run(query, (list(names),)).fetchall())
        missing = [name for name in names if name not in known]
        if missing:
            made = session.run(
                "INSERT INTO identities (name) SELECT unnest(%s::text[]) RETURNING name, id", (missing,)
            )
            known |= dict(made.fetchall())
        return known

    def _delete(self, session: Session, where: str, values: tuple[Any, ...]) -> list[int]:
        rows = session.run(f"DELETE FROM items WHERE {where} RETURNING identity", values).fetchall()
        session.changed += len(rows)
        return [identity for (identity,) in rows]

    def _assign(self, session: Session, clusters: Mapping[str, int]) -> None:
        names = possible(clusters)
        session.run(
            "UPDATE items SET cluster = given.cluster"
            " FROM unnest(%s::text[], %s::bigint[]) AS given (item, cluster) WHERE items.item = given.item",
            (names, [clusters[name] for name in names]),
        )

    def _clear_staged(self, session: Session, binding: Binding) -> None:
        session.script(f"DROP TABLE staged; {staged_table(binding)}")

    def _replace_items(self, session: Session, binding: Binding) -> None:
        session.script(
            "ALTER TABLE staged DROP CONSTRAINT staged_id_fkey;"
            f"ALTER TABLE items RENAME TO items_before; {items_table(binding)}"
        )
        session.run(
            "INSERT INTO items (id, item, identity, embedding, metadata, source, cluster, written)"
            " OVERRIDING SYSTEM VALUE"
            " SELECT id, item, identity, staged.embedding, metadata, source, cluster, %s"
            " FROM items_before JOIN staged USING (id) ORDER BY id",
            (session.stamp,),
        )
        session.run(
            "SELECT setval(pg_get_serial_sequence('items', 'id'), greatest(1, (SELECT max(id) FROM items)))"
        )
        session.script(f"DROP TABLE staged; DROP TABLE items_before; {staged_table(binding)}")
        session.run("UPDATE state SET indexed = false")
