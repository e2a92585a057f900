"""The shared part of the SQL stores: their tables are alike, and so are most queries."""

from __future__ import annotations

import abc
import json
import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from trine.errors import GalleryError
from trine.gallery.entries import Enrolment, Record
from trine.gallery.errors import REPAIR, check_column, damaged, damaged_binding
from trine.gallery.sql_session import (
    INTERNAL,
    NOTE,
    Database,
    Session,
    bind_to,
    bound_twice,
    copy_of_binding,
)
from trine.gallery.store import UNREACHED, Binding, Store
from trine.interruption import check_interruption
from trine.migrations import upgrade_gallery
from trine.plain_json import parse_json
from trine.shapes import Float32

TRACES = f"{INTERNAL}traces"
"""The note that traces of deleted items may remain."""

STAGED = f"{INTERNAL}staged"
"""The note that stores the binding of the staged embeddings."""

AT_ONCE = 4096
"""The number of rows read per statement."""

RECORD = "name, item, embedding, metadata, source"
ITEMS = "items JOIN identities ON identities.id = identity"
EMPTY = "NOT EXISTS (SELECT 1 FROM items WHERE identity = identities.id)"
"""The condition for identities without items."""

_COUNTS = (
    "SELECT name, items FROM identities"
    " JOIN (SELECT identity, count(*) AS items FROM items GROUP BY identity) AS counted ON identity = id"
    " ORDER BY name"
)


class SqlStore(Store, abc.ABC):
    """Stores a gallery in the tables of a SQL database; subclasses implement what differs."""

    AMONG: ClassVar[str]
    """The condition that a column is one of the values of an `_array`."""

    WRITTEN: ClassVar[str]
    """The column of the revision in which an item was last written."""

    IS_STAGED: ClassVar[str]
    """The condition that a staged embedding belongs to the current version of an item."""

    STAGE: ClassVar[str]
    """The statement that stages the embedding of an item, unless the item was written since."""

    _database: Database

    def __init__(self) -> None:
        """Reads the binding; call with `_database` open."""
        self._offered: dict[str, int] = {}
        try:
            self._bind()
        except BaseException:
            self.close()
            raise

    @property
    def binding(self) -> Binding:
        return self._binding

    def put(self, records: Sequence[Record]) -> Enrolment:
        latest = {record.item: record for record in records}
        if not latest:
            return Enrolment()
        packed = self._packed(list(latest.values()), self.binding)
        return self._database.write(lambda session: self._put(session, latest, packed))

    def validate(self, records: Sequence[Record]) -> None:
        if records:
            self._packed(records, self.binding)

    def remove(self, items: Sequence[str]) -> int:
        def body(session: Session) -> int:
            identities = self._delete(session, f"item {self.AMONG}", (self._array(items),))
            self._drop_empty(session, set(identities))
            return len(identities)

        return self._database.write(body)

    def forget(self, identity: str) -> int:
        def body(session: Session) -> int:
            name = (self._array([identity]),)
            deleted = self._delete(
                session, f"identity IN (SELECT id FROM identities WHERE name {self.AMONG})", name
            )
            session.run(f"DELETE FROM identities WHERE name {self.AMONG}", name)
            # Even if nothing is left to delete: items removed or replaced earlier may have left traces.
            session.run(NOTE, (TRACES, ""))
            return len(deleted)

        return self._database.write(body)

    def relabel(self, items: Sequence[str], identity: str) -> int:
        def body(session: Session) -> int:
            moved = session.run(
                f"SELECT item, identity FROM {ITEMS} WHERE item {self.AMONG} AND name <> %s",
                (self._array(items), identity),
            ).fetchall()
            if moved:
                self._move(session, identity, f"item {self.AMONG}", self._array([item for item, _ in moved]))
                self._drop_empty(session, {before for _, before in moved})
            return len(moved)

        return self._database.write(body)

    def rename(self, identity: str, to: str) -> int:
        def body(session: Session) -> int:
            query = f"SELECT count(*) FROM {ITEMS} WHERE name = %s"
            count = int(session.run(query, (identity,)).fetchone()[0])
            if count and identity != to:
                self._move(session, to, "identity = (SELECT id FROM identities WHERE name = %s)", identity)
                session.run("DELETE FROM identities WHERE name = %s", (identity,))
            return count

        return self._database.write(body)

    def get(self, items: Sequence[str]) -> dict[str, Record]:
        rows = self._fetch(f"SELECT {RECORD} FROM {ITEMS} WHERE item {self.AMONG}", (self._array(items),))
        self._check_types(rows)
        return {record.item: record for record in self._records(rows)}

    def scan(self) -> Iterator[Record]:
        for rows in self._pages(RECORD):
            yield from self._records(rows)

    def names(
        self, *, identity: str | None = None, cluster: int | None = None, after: str = "", limit: int
    ) -> list[str]:
        conditions: list[str] = ["item > %s"]
        values: list[str | int] = [after]
        if identity is not None:
            conditions.append("identity = (SELECT id FROM identities WHERE name = %s)")
            values.append(identity)
        if cluster is not None:
            conditions.append("cluster = %s")
            values.append(cluster)
        where = " AND ".join(conditions)
        rows = self._fetch(f"SELECT item FROM items WHERE {where} ORDER BY item LIMIT %s", (*values, limit))
        names = [name for (name,) in rows]
        check_column(names, str, "items", self.address)
        return names

    def identities(self) -> dict[str, int]:
        counts = dict(self._fetch(_COUNTS))
        check_column(counts, str, "identities", self.address)
        return counts

    def __len__(self) -> int:
        return int(self._fetch("SELECT count(*) FROM items")[0][0])

    def check_usable(self) -> None:
        len(self)

    def revision(self) -> str:
        return self._database.read(lambda session: str(session.stamp))

    def clusters(self) -> dict[str, int]:
        numbers = dict(self._fetch("SELECT item, cluster FROM items WHERE cluster IS NOT NULL"))
        check_column(numbers, str, "items", self.address)
        check_column(numbers.values(), int, "clusters", self.address)
        if not all(0 <= number < UNREACHED for number in numbers.values()):
            raise damaged(self.address, "some clusters have numbers that none can have", advice=REPAIR)
        return numbers

    def new_clusters(self, count: int) -> list[int]:
        def body(session: Session) -> int:
            session.run("UPDATE state SET clusters = clusters + %s", (count,))
            return int(session.run("SELECT clusters FROM state").fetchone()[0])

        last = self._database.write(body)
        return list(range(last - count + 1, last + 1))

    def used_clusters(self) -> int:
        """Returns the largest number that a cluster had."""
        return int(self._fetch("SELECT clusters FROM state")[0][0])

    def use_clusters(self, largest: int) -> None:
        """Marks the cluster numbers up to one as used."""
        update = "UPDATE state SET clusters = %s WHERE clusters < %s"
        self._database.write(lambda session: session.run(update, (largest, largest)))

    def assign(self, clusters: Mapping[str, int]) -> None:
        def body(session: Session) -> None:
            self._assign(session, clusters)
            largest = max(clusters.values())
            session.run("UPDATE state SET clusters = %s WHERE clusters < %s", (largest, largest))

        if clusters:
            self._database.write(body)

    def notes(self) -> dict[str, str]:
        rows = self._fetch("SELECT name, value FROM notes")
        for column in zip(*rows, strict=True):
            check_column(column, str, "notes", self.address)
        return {name: text for name, text in rows if not name.startswith(INTERNAL)}

    def note(self, name: str, text: str | None) -> None:
        statement, values = (NOTE, (name, text)) if text is not None else (_UNNOTE, (name,))
        self._database.write(lambda session: session.run(statement, values))

    def unstaged(self, binding: Binding) -> Iterator[Record]:
        def begin(session: Session) -> None:
            if not _is_staged(session, binding):
                self._clear_staged(session, binding)
                session.run(NOTE, (STAGED, json.dumps(binding.to_texts(), sort_keys=True)))

        self._offered.clear()
        self._database.write(begin)
        bare = f"NOT EXISTS (SELECT 1 FROM staged WHERE {self.IS_STAGED})"
        for rows in self._pages(f"{RECORD}, items.{self.WRITTEN}", where=bare):
            self._offered |= {row[1]: row[-2] for row in rows}
            yield from self._records(rows)

    def stage(self, binding: Binding, records: Sequence[Record]) -> None:
        def body(session: Session) -> None:
            if not _is_staged(session, binding):
                what = "is being rebuilt with another encoder by another process"
                raise GalleryError(f"the gallery {self.address} {what}")
            session.many(self.STAGE, rows)

        if records:
            rows = [
                (packed, record.item, self._offered.pop(record.item, None))
                for record, packed in zip(records, self._packed(records, binding), strict=True)
            ]
            self._database.write(body)

    def staged(self, binding: Binding) -> Iterator[tuple[str, Float32[np.ndarray, " d"]]]:
        query = (
            f"SELECT item, staged.embedding, items.id FROM items JOIN staged ON {self.IS_STAGED}"
            f" WHERE items.id > %s ORDER BY items.id LIMIT {AT_ONCE}"
        )

        def page(session: Session) -> list[tuple[Any, ...]]:
            found = session.run(query, (last,)).fetchall() if _is_staged(session, binding) else []
            return list(found)

        last = -1
        while rows := self._database.read(page):
            last = rows[-1][-1]
            yield from zip(
                [row[0] for row in rows], self._numbers([row[1] for row in rows], binding), strict=True
            )

    def switch(self, binding: Binding, *, drop: Collection[str] = ()) -> bool:
        if not self._database.write(lambda session: self._switch(session, binding, drop)):
            return False
        self._bind()
        return True

    def close(self) -> None:
        self._database.close()

    def check(self) -> list[str]:
        problems = self._check()
        if self._database.read(copy_of_binding) == "damaged":
            problems.append("the copy of what the gallery is bound to is damaged")
        return problems

    def repair(self, *, drop_damaged: bool = False) -> list[str]:
        done = self._repair(drop_damaged)
        if self._database.read(copy_of_binding) != "sound":
            # The embeddings have the size that the binding says.
            texts = self.binding.to_texts()
            self._database.write(lambda session: bind_to(session, texts))
            done.append("a copy of what the gallery is bound to was written")
        return done

    @abc.abstractmethod
    def _check(self) -> list[str]:
        """Returns one sentence for each problem of the tables."""

    @abc.abstractmethod
    def _repair(self, drop_damaged: bool) -> list[str]:
        """Fixes what `_check` finds, and returns one sentence for each fix."""

    @abc.abstractmethod
    def _fits(self, session: Any, binding: Binding) -> bool:
        """Returns whether the items table holds embeddings of a binding."""

    @abc.abstractmethod
    def _array(self, values: Iterable[Any]) -> Any:
        """Passes names or numbers as one parameter."""

    @abc.abstractmethod
    def _packed(self, records: Sequence[Record], binding: Binding) -> Sequence[Any]:
        """Encodes the embeddings of records for the database."""

    @abc.abstractmethod
    def _records(self, rows: Sequence[tuple[Any, ...]]) -> list[Record]:
        """Reads records from rows that start with the columns `RECORD`."""

    @abc.abstractmethod
    def _numbers(self, packed: Sequence[Any], binding: Binding) -> Float32[np.ndarray, "n d"]:
        """Reads embeddings that were stored for a binding."""

    @abc.abstractmethod
    def _put(self, session: Any, records: Mapping[str, Record], packed: Sequence[Any]) -> Enrolment:
        """Writes records, keyed by item."""

    @abc.abstractmethod
    def _delete(self, session: Any, where: str, values: tuple[Any, ...]) -> list[int]:
        """Deletes items and returns the identity ids of each."""

    @abc.abstractmethod
    def _assign(self, session: Any, clusters: Mapping[str, int]) -> None:
        """Sets the clusters of items."""

    @abc.abstractmethod
    def _clear_staged(self, session: Any, binding: Binding) -> None:
        """Empties the table `staged` and prepares it for embeddings of a binding."""

    @abc.abstractmethod
    def _replace_items(self, session: Any, binding: Binding) -> None:
        """Rebuilds the items table with the staged embeddings."""

    def _move(self, session: Any, to: str, where: str, value: Any) -> None:
        """Moves items to an identity, created if missing."""
        session.run("INSERT INTO identities (name) VALUES (%s) ON CONFLICT DO NOTHING", (to,))
        session.run(
            f"UPDATE items SET identity = (SELECT id FROM identities WHERE name = %s) WHERE {where}",
            (to, value),
        )

    def _drop_empty(self, session: Any, identities: set[int]) -> None:
        """Deletes the identities among these that have no items left."""
        if identities:
            which = (self._array(identities),)
            session.run(f"DELETE FROM identities WHERE id {self.AMONG} AND {EMPTY}", which)

    def _switch(self, session: Any, binding: Binding, drop: Collection[str]) -> bool:
        bare = f"NOT EXISTS (SELECT 1 FROM staged WHERE {self.IS_STAGED})"
        if not _is_staged(session, binding):
            return False
        if any(item not in drop for (item,) in session.run(f"SELECT item FROM items WHERE {bare}")):
            return False
        self._delete(session, bare, ())
        # The table depends on the dtype and the dimension, so it is rebuilt.
        self._replace_items(session, binding)
        session.run(f"DELETE FROM identities WHERE {EMPTY}")
        session.run(_UNNOTE, (STAGED,))
        bind_to(session, binding.to_texts())
        session.run("UPDATE state SET bound = bound + 1")
        return True

    def _bind(self) -> None:
        def body(session: Session) -> tuple[int, Binding]:
            texts, copy = bound_twice(session)
            if copy is not None and copy != texts:
                name = min((n for n in texts.keys() | copy if texts.get(n) != copy.get(n)), key=str)
                said, was = (str(some.get(name, "nothing"))[:40] for some in (texts, copy))
                wrong = f"its table 'gallery' says {name} {said!r}, the copy of it {was!r}"
                raise damaged_binding(self.address, wrong, restorable=True)
            binding = Binding.from_texts(texts, self.address)
            if not self._fits(session, binding):
                wrong = (
                    f"its table 'gallery' says {binding.dtype} of {binding.dimension} numbers, but its "
                    "embeddings have another size"
                )
                raise damaged_binding(self.address, wrong, restorable=False)
            return session.bound, binding

        self._database.bound = None
        self._database.bound, self._binding = self._database.read(body)

    def _fetch(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return self._database.read(partial(_fetched, query, values))

    def _pages(self, columns: str, *, where: str = "1 = 1") -> Iterator[list[tuple[Any, ...]]]:
        """Yields rows of items by ascending id; the id is appended as the last column."""
        query = (
            f"SELECT {columns}, items.id FROM {ITEMS} WHERE items.id > %s AND {where}"
            f" ORDER BY items.id LIMIT {AT_ONCE}"
        )
        last = -1
        while rows := self._fetch(query, (last,)):
            numbers = [row[-1] for row in rows]
            check_column(numbers, int, "numbers of items", self.address)
            # A damaged file may give the same rows for ever.
            if any(map(operator.le, numbers, (last, *numbers[:-1]))):
                raise damaged(self.address, "the numbers of its items are out of order")
            last = numbers[-1]
            self._check_types(rows)
            check_interruption()
            yield rows

    def _check_types(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Raises an error for records that trine did not write; the columns are those of `RECORD`."""
        for place, what in ((0, "identities"), (1, "items"), (3, "metadata"), (4, "sources")):
            check_column((row[place] for row in rows), str, what, self.address, optional=what == "sources")


_UNNOTE = "DELETE FROM notes WHERE name = %s"


def counted(records: Collection[Any], before: Collection[Any], changed: int) -> Enrolment:
    """Counts the new, replaced and unchanged records of a write."""
    new = len(records) - len(before)
    return Enrolment(new=new, replaced=changed - new, unchanged=len(records) - changed)


def _is_staged(session: Session, binding: Binding) -> bool:
    """Returns whether embeddings are staged for this binding."""
    row = session.run("SELECT value FROM notes WHERE name = %s", (STAGED,)).fetchone()
    return row is not None and upgrade_gallery(parse_json(row[0])) == binding.to_texts()


def _fetched(query: str, values: tuple[Any, ...], session: Session) -> list[Any]:
    rows: list[Any] = session.run(query, values).fetchall()
    return rows
