"""A gallery in a PostgreSQL database, in tables that can be read without trine."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from trine.gallery.entries import Enrolment, Hit, Record
from trine.gallery.internal_notes import TRACES, without_internal
from trine.gallery.postgres import maintenance, rows, staging
from trine.gallery.postgres.address import Address
from trine.gallery.postgres.conditions import possible
from trine.gallery.postgres.database import WAIT, Database, Session
from trine.gallery.postgres.search import LARGE, search
from trine.gallery.store import EVERYBODY, Binding, Scope
from trine.shapes import Float32

AT_ONCE = 4096
"""How many rows are read or named in one statement."""

_RECORD = "name, item, embedding, metadata, source"
_ITEMS = "items JOIN identities ON identities.id = identity"


class PostgresStore:
    """Keeps one gallery in a schema of a PostgreSQL database; satisfies `trine.gallery.Store`.

    Safe to use from several threads, and from several processes at once. Not to be carried over a fork.

    Args:
        address: `postgresql://user:password@host:port/database?gallery=people`; see `Address`.
        binding: What a new gallery is bound to; `None` opens one that is there.
        wait: Seconds that a call waits for another process to finish writing.

    Raises:
        GalleryError: The server cannot be reached or refuses, or the gallery is missing, foreign or of a
            newer trine.
        InputError: The address cannot be read.
        MissingDependencyError: psycopg or pgvector is not installed.
    """

    def __init__(self, address: str, *, binding: Binding | None = None, wait: float = WAIT) -> None:
        """Opens the gallery, or creates it where it is missing and a binding is given."""
        self._address = Address.parse(address)
        self._database = Database(self._address, binding=binding, wait=wait)
        self._offered: dict[str, int] = {}
        self._unindexed = 0 if not self._address.exact else None
        try:
            self._bind()
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """The address without its password."""
        return self._address.shown

    @property
    def binding(self) -> Binding:
        """What the gallery was bound to at its creation, or by the last `switch`."""
        return self._binding

    def put(self, records: Sequence[Record]) -> Enrolment:
        """Writes records in one transaction; of two with the same item the later counts.

        The call that takes a gallery beyond what is searched exactly builds the index for the search, when
        its own records are written.
        """
        latest = {record.item: record for record in records}
        if not latest:
            return Enrolment()
        vectors = rows.vectors(list(latest.values()), self.binding)
        largest, done = self._database.write(
            lambda session: (session.largest, rows.put(session, latest, vectors))
        )
        if self._unindexed is not None and largest + done.new > max(LARGE, self._unindexed):
            self._index(largest + done.new)
        return done

    def remove(self, items: Sequence[str]) -> int:
        """Deletes the named items in one transaction and returns how many were there."""

        def body(session: Session) -> int:
            found = session.run(
                "DELETE FROM items WHERE item = ANY(%s) RETURNING identity", (possible(items),)
            ).fetchall()
            session.changed += len(found)
            rows.drop_empty(session, {identity for (identity,) in found})
            return len(found)

        return self._database.write(body)

    def forget(self, identity: str) -> int:
        """Deletes an identity with all its items and returns how many there were.

        They are gone from every answer. Their bytes stay in the server's files until `repair` writes the
        tables anew, and in its write-ahead log and backups until those are overwritten.
        """

        def body(session: Session) -> int:
            which = "(SELECT id FROM identities WHERE name = ANY(%s))"
            name = (possible([identity]),)
            count = session.run(f"DELETE FROM items WHERE identity IN {which}", name).rowcount
            session.run("DELETE FROM identities WHERE name = ANY(%s)", name)
            # Even where nothing is left to delete: an item that was removed or replaced before left traces.
            rows.note(session, TRACES, "")
            return count

        return self._database.write(body)

    def relabel(self, items: Sequence[str], identity: str) -> int:
        """Gives the named items that are there to an identity, and returns how many were of another."""

        def body(session: Session) -> int:
            found = session.run(
                f"SELECT items.id, identity FROM {_ITEMS} WHERE item = ANY(%s) AND name <> %s",
                (possible(items), identity),
            ).fetchall()
            if found:
                (to,) = rows.identities(session, [identity]).values()
                session.run(
                    "UPDATE items SET identity = %s WHERE id = ANY(%s)", (to, [number for number, _ in found])
                )
                rows.drop_empty(session, {before for _, before in found})
            return len(found)

        return self._database.write(body)

    def rename(self, identity: str, to: str) -> int:
        """Gives all items of an identity to another, known or new, and returns how many there were."""

        def body(session: Session) -> int:
            query = f"SELECT count(*) FROM {_ITEMS} WHERE name = %s"
            count = int(session.run(query, (identity,)).fetchall()[0][0])
            if count and identity != to:
                ids = rows.identities(session, [identity, to])
                session.run("UPDATE items SET identity = %s WHERE identity = %s", (ids[to], ids[identity]))
                rows.drop_empty(session, {ids[identity]})
            return count

        return self._database.write(body)

    def get(self, items: Sequence[str]) -> dict[str, Record]:
        """Returns the named items that are there."""
        query, names = f"SELECT {_RECORD} FROM {_ITEMS} WHERE item = ANY(%s)", possible(items)
        found = self._database.read(lambda session: session.run(query, (names,)).fetchall())
        return {record.item: record for record in rows.records(found, self.binding, self.address)}

    def scan(self) -> Iterator[Record]:
        """Returns every record, a page at a time, by the order of their numbers in the table."""
        for page in self._pages(f"SELECT {_RECORD}, items.id FROM {_ITEMS} WHERE items.id > %s"):
            yield from rows.records(page, self.binding, self.address)

    def search(
        self,
        queries: Float32[np.ndarray, "q d"],
        *,
        k: int,
        offset: int = 0,
        scope: Scope = EVERYBODY,
        metadata: bool = False,
    ) -> list[list[Hit]]:
        """Returns for each query `k` items in the scope, nearest first, with metadata where asked for.

        In a gallery that is large enough to have an index, the answer is approximate: some of the nearest
        may be missing. All scores are exact. With `?search=exact` in the address nothing is missing.
        """
        found = self._database.read(
            lambda session: search(
                session,
                self.binding,
                queries,
                k=offset + k,
                scope=scope,
                exact=self._address.exact,
                metadata=metadata,
            )
        )
        return [hits[offset:] for hits in found]

    def identities(self) -> dict[str, int]:
        """Returns the number of items of each identity, in the order of their names."""
        query = (
            "SELECT name, count FROM identities JOIN (SELECT identity, count(*) FROM items GROUP BY identity)"
            " AS counted ON identity = id ORDER BY name"
        )
        return dict(self._database.read(lambda session: session.run(query).fetchall()))

    def __len__(self) -> int:
        return self._database.read(
            lambda session: int(session.run("SELECT count(*) FROM items").fetchall()[0][0])
        )

    def revision(self) -> str:
        """Returns the counter that every write advances."""
        return self._database.read(lambda session: str(session.stamp))

    def size(self) -> int:
        """The bytes of the tables and their indices on the server."""
        query = (
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class"
            " WHERE relnamespace = %s::regnamespace AND relkind = 'r'"
        )
        values = (f'"{self._address.schema}"',)
        return self._database.read(lambda session: int(session.run(query, values).fetchall()[0][0]))

    def clusters(self) -> dict[str, int]:
        """Returns the cluster of each item that has one."""
        query = "SELECT item, cluster FROM items WHERE cluster IS NOT NULL"
        return dict(self._database.read(lambda session: session.run(query).fetchall()))

    def new_clusters(self, count: int) -> list[int]:
        """Returns ascending numbers, from 1, that no cluster had before."""

        def body(session: Session) -> int:
            session.changed += 1
            query = "UPDATE state SET clusters = clusters + %s RETURNING clusters"
            return int(session.run(query, (count,)).fetchall()[0][0])

        last = self._database.write(body)
        return list(range(last - count + 1, last + 1))

    def assign(self, clusters: Mapping[str, int]) -> None:
        """Sets the clusters of the named items that are there; their numbers count as used."""
        if not clusters:
            return
        names = possible(clusters)

        def body(session: Session) -> None:
            session.run(
                "UPDATE items SET cluster = given.cluster"
                " FROM unnest(%s::text[], %s::bigint[]) AS given (item, cluster)"
                " WHERE items.item = given.item",
                (names, [clusters[name] for name in names]),
            )
            session.run("UPDATE state SET clusters = greatest(clusters, %s)", (max(clusters.values()),))

        self._database.write(body)

    def notes(self) -> dict[str, str]:
        """Returns what was noted about the gallery as a whole."""
        found = self._database.read(lambda session: session.run("SELECT name, value FROM notes").fetchall())
        return without_internal(found)

    def note(self, name: str, text: str | None) -> None:
        """Notes a text under a name, in place of what was there; `None` takes it away."""
        self._database.write(lambda session: rows.note(session, name, text))

    def check(self) -> list[str]:
        """Returns a sentence for each thing that is wrong, none for a sound gallery."""
        return self._database.read(
            lambda session: maintenance.check(session, self.binding, exact=self._address.exact)
        )

    def repair(self) -> list[str]:
        """Mends what `check` finds, wipes the traces of what was forgotten, and says what was done.

        While the tables are written anew, other processes wait.

        Raises:
            GalleryError: Another transaction still sees what was forgotten, or keeps the tables locked.
        """
        return maintenance.repair(self._database, self.binding, exact=self._address.exact)

    def unstaged(self, binding: Binding) -> Iterator[Record]:
        """Returns the records without an embedding staged for another encoder."""
        self._offered.clear()
        self._database.write(lambda session: staging.begin(session, binding))
        query = (
            f"SELECT {_RECORD}, items.written, items.id FROM {_ITEMS} WHERE items.id > %s AND NOT EXISTS"
            " (SELECT FROM staged WHERE staged.id = items.id AND staged.written = items.written)"
        )
        for page in self._pages(query):
            self._offered |= {row[1]: row[-2] for row in page}
            yield from rows.records(page, self.binding, self.address)

    def stage(self, binding: Binding, records: Sequence[Record]) -> None:
        """Keeps embeddings for another encoder beside those in use.

        An item that was written since `unstaged` gave it is passed over: what is staged would be of another
        content.
        """
        if records:
            staged = [
                (vector, record.item, self._offered.pop(record.item, None))
                for record, vector in zip(records, rows.vectors(records, binding), strict=True)
            ]
            self._database.write(lambda session: staging.stage(session, binding, staged, self.address))

    def switch(self, binding: Binding, *, drop: Collection[str] = ()) -> bool:
        """Puts the staged embeddings in place of all others, in one transaction."""
        if not self._database.write(lambda session: staging.switch(session, binding, drop=drop)):
            return False
        self._bind()
        if self._unindexed is not None and len(self) > LARGE:
            self._index(0)
        return True

    def close(self) -> None:
        """Lets go of the connections; closing twice is no error."""
        self._database.close()

    def _bind(self) -> None:
        self._database.bound = None

        def body(session: Session) -> tuple[int, dict[str, str]]:
            return session.bound, dict(session.run("SELECT name, value FROM gallery").fetchall())

        self._database.bound, texts = self._database.read(body)
        self._binding = Binding.from_texts(texts, self.address)

    def _index(self, items: int) -> None:
        """Builds the index where there is none, or tries again when there are twice as many items."""
        indexed, count = self._database.read(lambda session: (session.indexed, maintenance.count(session)))
        if not indexed and count > LARGE:
            maintenance.build_index(self._database, self.binding)
        self._unindexed = 2 * items

    def _pages(self, query: str) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a query by their ids, which are its condition's one value and its last column."""
        last = 0
        while True:
            found = self._database.read(
                partial(_fetched, f"{query} ORDER BY items.id LIMIT {AT_ONCE}", (last,))
            )
            if not found:
                return
            last = found[-1][-1]
            yield found


def _fetched(statement: str, values: Any, session: Session) -> list[tuple[Any, ...]]:
    return session.run(statement, values).fetchall()
