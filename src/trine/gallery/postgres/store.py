"""A gallery in a PostgreSQL database, in tables that can be read without trine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from trine.gallery.entries import Enrolment, Hit, Record
from trine.gallery.postgres import maintenance, rows
from trine.gallery.postgres.address import Address
from trine.gallery.postgres.conditions import possible
from trine.gallery.postgres.database import Database, Session
from trine.gallery.postgres.schema import items_table, staged_table
from trine.gallery.postgres.search import search
from trine.gallery.postgres.settings import PostgresSettings
from trine.gallery.sql_store import SqlStore
from trine.gallery.store import EVERYBODY, Binding, Scope
from trine.shapes import Float32


class PostgresStore(SqlStore):
    """Keeps one gallery in a schema of a PostgreSQL database; satisfies `trine.gallery.Store`.

    Safe to use from several threads, and from several processes at once. Not to be carried over a fork.

    `put` builds the index for the search when the gallery outgrows what is searched exactly. With an index,
    `search` is approximate: some of the nearest items may be missing, and all scores are exact. With
    `?search=exact` in the address no item is missing. What was forgotten stays in the server's files until
    `repair` writes the tables again, and in its write-ahead log and backups until those are overwritten.

    Args:
        address: `postgresql://user:password@host:port/database?gallery=people`; see `Address`.
        binding: What a new gallery is bound to; `None` opens one that is there.
        settings: How long to wait, and when there is an index.

    Raises:
        GalleryError: The server cannot be reached or refuses, or the gallery is missing, foreign or of a
            newer trine.
        InputError: The address cannot be read.
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
        """Opens the gallery, or creates it where it is missing and a binding is given."""
        self._address = Address.parse(address)
        self._settings = settings or PostgresSettings()
        self._database: Database = Database(self._address, binding=binding, settings=self._settings)
        self.created = self._database.created
        self._large = None if self._address.exact else self._settings.large
        self._unindexed = 0
        super().__init__()

    @property
    def address(self) -> str:
        return self._address.shown

    def put(self, records: Sequence[Record]) -> Enrolment:
        latest = {record.item: record for record in records}
        if not latest:
            return Enrolment()
        vectors = rows.vectors(list(latest.values()), self.binding)
        largest, done = self._database.write(
            lambda session: (session.largest, rows.put(session, latest, vectors, self._drop_empty))
        )
        if self._large is not None and largest + done.new > max(self._large, self._unindexed):
            self._index(largest + done.new)
        return done

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
        found = self._database.read(
            lambda session: search(
                session, self.binding, queries, k=offset + k, scope=scope, price=price, metadata=metadata
            )
        )
        return [hits[offset:] for hits in found]

    def size(self) -> int:
        query = (
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class"
            " WHERE relnamespace = %s::regnamespace AND relkind = 'r'"
        )
        return int(self._fetch(query, (f'"{self._address.schema}"',))[0][0])

    def check(self) -> list[str]:
        return self._database.read(
            lambda session: maintenance.check(session, self.binding, large=self._large)
        )

    def repair(self) -> list[str]:
        return maintenance.repair(self._database, self.binding, large=self._large)

    def switch(self, binding: Binding, *, drop: Collection[str] = ()) -> bool:
        if not super().switch(binding, drop=drop):
            return False
        if self._large is not None and len(self) > self._large:
            self._index(0)
        return True

    def _index(self, items: int) -> None:
        """Builds the index where there is none, or tries again when there are twice as many items."""
        indexed, count = self._database.read(lambda session: (session.indexed, maintenance.count(session)))
        if not indexed and count > self._settings.large:
            maintenance.build_index(self._database, self.binding)
        self._unindexed = 2 * items

    def _array(self, values: Iterable[Any]) -> list[Any]:
        return possible(values)

    def _packed(self, records: Sequence[Record], binding: Binding) -> list[Any]:
        return rows.vectors(records, binding)

    def _records(self, found: Sequence[tuple[Any, ...]]) -> list[Record]:
        return rows.records(found, self.binding, self.address)

    def _delete(self, session: Session, where: str, values: tuple[Any, ...]) -> list[int]:
        found = session.run(f"DELETE FROM items WHERE {where} RETURNING identity", values).fetchall()
        session.changed += len(found)
        return [identity for (identity,) in found]

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
            "INSERT INTO items (id, item, identity, embedding, metadata, source, written)"
            " OVERRIDING SYSTEM VALUE"
            " SELECT id, item, identity, staged.embedding, metadata, source, %s"
            " FROM items_before JOIN staged USING (id) ORDER BY id",
            (session.stamp,),
        )
        session.run(
            "SELECT setval(pg_get_serial_sequence('items', 'id'), greatest(1, (SELECT max(id) FROM items)))"
        )
        session.script(f"DROP TABLE staged; DROP TABLE items_before; {staged_table(binding)}")
        session.run("UPDATE state SET indexed = false")
