"""The default store: one SQLite file is the truth, and an index in memory that follows it answers."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from trine.gallery.entries import Enrolment, Hit, Record
from trine.gallery.index import Match
from trine.gallery.internal_notes import TRACES, without_internal
from trine.gallery.quantization import pack
from trine.gallery.sqlite import maintenance, staging
from trine.gallery.sqlite.database import WAIT, Database
from trine.gallery.sqlite.index_sync import AT_ONCE, IndexSync
from trine.gallery.sqlite.schema import create_file, is_new
from trine.gallery.store import EVERYBODY, Binding, Scope
from trine.shapes import Float32

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""The metadata of hits that bring none."""


class SqliteStore:
    """Keeps one gallery in one SQLite file; satisfies `trine.gallery.Store`.

    Safe to use from several threads, and from several processes at once. Not to be carried over a fork.

    Args:
        path: The file.
        binding: What a new gallery is bound to; `None` opens one that is there.
        wait: Seconds that a call waits for another process to finish writing.

    Raises:
        GalleryError: The file is missing, foreign, damaged, of a newer trine, locked, or a folder.
    """

    def __init__(self, path: Path, *, binding: Binding | None = None, wait: float = WAIT) -> None:
        """Opens the file, or creates it where it is missing and a binding is given."""
        if binding is not None and is_new(path):
            create_file(path, binding)
        self._path = path
        self._database = Database(path, wait=wait)
        self._offered: dict[str, int] = {}
        self._bind()

    @property
    def address(self) -> str:
        """The path of the file."""
        return str(self._path)

    @property
    def binding(self) -> Binding:
        """What the gallery was bound to at its creation, or by the last `switch`."""
        return self._binding

    def put(self, records: Sequence[Record]) -> Enrolment:
        """Writes records in one transaction; of two with the same item the later counts."""
        latest = {record.item: record for record in records}
        if not latest:
            return Enrolment()
        rows = np.stack([record.embedding for record in latest.values()])
        packed = pack(rows, dtype=self.binding.dtype, names=list(latest))
        with self._database.writing() as stamp:
            before = self._identities_of(list(latest))
            names = {record.identity for record in latest.values()}
            self._database.many("INSERT OR IGNORE INTO identities (name) VALUES (?)", ((n,) for n in names))
            changed = self._database.many(
                "INSERT INTO items (item, identity, embedding, metadata, changed, source)"
                " VALUES (?, (SELECT id FROM identities WHERE name = ?), ?, ?, ?, ?)"
                " ON CONFLICT (item) DO UPDATE SET identity = excluded.identity,"
                " cluster = CASE WHEN embedding = excluded.embedding THEN cluster END,"
                " embedding = excluded.embedding, metadata = excluded.metadata,"
                " changed = excluded.changed, source = excluded.source"
                " WHERE identity != excluded.identity OR embedding != excluded.embedding"
                " OR metadata != excluded.metadata OR source IS NOT excluded.source",
                (
                    (r.item, r.identity, row, r.metadata, stamp, r.source)
                    for r, row in zip(latest.values(), packed, strict=True)
                ),
            )
            self._database.run(
                "DELETE FROM staged WHERE id IN (SELECT id FROM items WHERE changed = ?)", (stamp,)
            )
            self._drop_empty({i for i, name in before.values() if name not in names})
        new = len(latest) - len(before)
        return Enrolment(new=new, replaced=changed - new, unchanged=len(latest) - changed)

    def remove(self, items: Sequence[str]) -> int:
        """Deletes the named items in one transaction and returns how many were there."""
        with self._database.writing() as stamp:
            found = self._identities_of(list(dict.fromkeys(items)))
            self._database.many(
                "INSERT OR REPLACE INTO removed (id, changed) SELECT id, ? FROM items WHERE item = ?",
                ((stamp, item) for item in found),
            )
            self._database.many("DELETE FROM items WHERE item = ?", ((item,) for item in found))
            self._drop_empty({identity for identity, _ in found.values()})
        return len(found)

    def forget(self, identity: str) -> int:
        """Deletes an identity with all its items, and every trace of them from the file.

        Raises:
            GalleryError: Another process kept the file busy, or the disk is full: the items are gone, and
                traces of them may be left until `repair`.
        """
        with self._database.writing() as stamp:
            which = "identity = (SELECT id FROM identities WHERE name = ?)"
            self._database.run(
                f"INSERT OR REPLACE INTO removed (id, changed) SELECT id, ? FROM items WHERE {which}",
                (stamp, identity),
            )
            count = self._database.run(f"DELETE FROM items WHERE {which}", (identity,)).rowcount
            self._database.run("DELETE FROM identities WHERE name = ?", (identity,))
            # Even where nothing is left to delete: an item that was removed or replaced before left traces.
            self._database.run("INSERT OR REPLACE INTO notes VALUES (?, '')", (TRACES,))
        maintenance.purge(self._database)
        return count

    def relabel(self, items: Sequence[str], identity: str) -> int:
        """Gives the named items that are there to an identity, and returns how many were of another."""
        with self._database.writing() as stamp:
            found = self._identities_of(list(dict.fromkeys(items)))
            moved = [item for item, (_, name) in found.items() if name != identity]
            if moved:
                self._database.run("INSERT OR IGNORE INTO identities (name) VALUES (?)", (identity,))
            self._database.many(
                "UPDATE items SET identity = (SELECT id FROM identities WHERE name = ?), changed = ?"
                " WHERE item = ?",
                ((identity, stamp, item) for item in moved),
            )
            self._drop_empty({found[item][0] for item in moved})
        return len(moved)

    def rename(self, identity: str, to: str) -> int:
        """Gives all items of an identity to another, known or new, and returns how many there were."""
        which = "identity = (SELECT id FROM identities WHERE name = ?)"
        with self._database.writing() as stamp:
            query = f"SELECT count(*) FROM items WHERE {which}"
            count = int(self._database.run(query, (identity,)).fetchone()[0])
            if count and identity != to:
                self._database.run("INSERT OR IGNORE INTO identities (name) VALUES (?)", (to,))
                self._database.run(
                    "UPDATE items SET changed = ?, identity = (SELECT id FROM identities WHERE name = ?)"
                    f" WHERE {which}",
                    (stamp, to, identity),
                )
                self._database.run("DELETE FROM identities WHERE name = ?", (identity,))
        return count

    def get(self, items: Sequence[str]) -> dict[str, Record]:
        """Returns the named items that are there."""
        with self._database.reading():
            rows = self._named("name, item, embedding, metadata, source", items)
            return {record.item: record for record in self._records(list(rows))}

    def scan(self) -> Iterator[Record]:
        """Returns every record, a page at a time, by the order of their numbers in the file."""
        last = -1
        while True:
            with self._database.reading():
                rows = self._database.run(
                    "SELECT name, item, embedding, metadata, source, items.id FROM items"
                    " JOIN identities ON identities.id = identity"
                    " WHERE items.id > ? ORDER BY items.id LIMIT ?",
                    (last, AT_ONCE),
                ).fetchall()
            if not rows:
                return
            last = rows[-1][-1]
            yield from self._records(rows)

    def search(
        self,
        queries: Float32[np.ndarray, "q d"],
        *,
        k: int,
        offset: int = 0,
        scope: Scope = EVERYBODY,
        metadata: bool = False,
    ) -> list[list[Hit]]:
        """Returns for each query `k` items in the scope, nearest first, with metadata where asked for."""
        texts: dict[int, str] = {}
        with self._database.lock, ExitStack() as stack:
            self._index_sync.follow(stack.enter_context(self._database.reading()))
            if not (metadata or scope.where):
                stack.close()  # many queries take long, and others may want to empty the log
            found = self._index_sync.search(queries, k=offset + k, scope=scope)
            found = [matches[offset:] for matches in found]
            if metadata:
                texts = self._index_sync.metadata([match.key for matches in found for match in matches])
        return [[self._hit(match, texts) for match in matches] for matches in found]

    def identities(self) -> dict[str, int]:
        """Returns the number of items of each identity, in the order of their names."""
        with self._database.reading():
            return dict(
                self._database.run(
                    "SELECT name, count(*) FROM items JOIN identities ON identities.id = identity"
                    " GROUP BY identity ORDER BY name"
                )
            )

    def __len__(self) -> int:
        with self._database.reading():
            return int(self._database.run("SELECT count(*) FROM items").fetchone()[0])

    def revision(self) -> str:
        """Returns the counter that every write advances."""
        with self._database.reading() as stamp:
            return str(stamp)

    def size(self) -> int:
        """The bytes of the file and of the log beside it."""
        files = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def clusters(self) -> dict[str, int]:
        """Returns the cluster of each item that has one."""
        with self._database.reading():
            return dict(
                self._database.run("SELECT item, cluster FROM items WHERE cluster IS NOT NULL").fetchall()
            )

    def new_clusters(self, count: int) -> list[int]:
        """Returns ascending numbers, from 1, that no cluster had before."""
        with self._database.writing():
            first = self._database.run("SELECT clusters FROM state").fetchone()[0] + 1
            self._database.run("UPDATE state SET clusters = clusters + ?", (count,))
        return list(range(first, first + count))

    def assign(self, clusters: Mapping[str, int]) -> None:
        """Sets the clusters of the named items that are there; their numbers count as used."""
        if not clusters:
            return
        with self._database.writing():
            self._database.many(
                "UPDATE items SET cluster = ? WHERE item = ?",
                ((cluster, item) for item, cluster in clusters.items()),
            )
            largest = max(clusters.values())
            self._database.run("UPDATE state SET clusters = max(clusters, ?)", (largest,))

    def notes(self) -> dict[str, str]:
        """Returns what was noted about the gallery as a whole."""
        with self._database.reading():
            rows = self._database.run("SELECT name, value FROM notes").fetchall()
        return without_internal(rows)

    def note(self, name: str, text: str | None) -> None:
        """Notes a text under a name, in place of what was there; `None` takes it away."""
        with self._database.writing():
            if text is None:
                self._database.run("DELETE FROM notes WHERE name = ?", (name,))
            else:
                self._database.run("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, text))

    def check(self) -> list[str]:
        """Returns a sentence for each thing that is wrong, none for a sound gallery."""
        return maintenance.check(self._database, self.binding)

    def repair(self) -> list[str]:
        """Mends what `check` finds, and returns a sentence for each thing done.

        Raises:
            GalleryError: The file itself is damaged.
        """
        return maintenance.repair(self._database, self.binding)

    def unstaged(self, binding: Binding) -> Iterator[Record]:
        """Returns the records without an embedding staged for another encoder."""
        self._offered.clear()
        for page in staging.unstaged(self._database, binding, at_once=AT_ONCE):
            records = self._records(page)
            self._offered |= {record.item: row[-1] for record, row in zip(records, page, strict=True)}
            yield from records

    def stage(self, binding: Binding, records: Sequence[Record]) -> None:
        """Keeps embeddings for another encoder beside those in use.

        An item that was written since `unstaged` gave it is passed over: what is staged would be of another
        content.
        """
        if records:
            packed = pack(
                np.stack([record.embedding for record in records]),
                dtype=binding.dtype,
                names=[record.item for record in records],
            )
            rows = [
                (row, record.item, self._offered.pop(record.item, None))
                for record, row in zip(records, packed, strict=True)
            ]
            staging.stage(self._database, binding, rows)

    def switch(self, binding: Binding, *, drop: Collection[str] = ()) -> bool:
        """Puts the staged embeddings in place of all others, in one transaction."""
        if not staging.switch(self._database, binding, drop=drop):
            return False
        self._bind()
        return True

    def close(self) -> None:
        """Lets go of the file; closing twice is no error."""
        self._database.close()

    def _hit(self, match: Match, texts: Mapping[int, str]) -> Hit:
        metadata = json.loads(texts[match.key]) if match.key in texts else NOTHING
        return Hit(match.item, match.identity, match.score, metadata)

    def _bind(self) -> None:
        try:
            with self._database.reading():
                texts = dict(self._database.run("SELECT name, value FROM gallery").fetchall())
            self._binding = Binding.from_texts(texts, str(self._path))
        except BaseException:
            self.close()
            raise
        self._index_sync = IndexSync(self._database, self._binding)

    def _records(self, rows: Sequence[tuple[Any, ...]]) -> list[Record]:
        """Records of rows that begin with identity, item, embedding, metadata, source."""
        embeddings = self._index_sync.rows([row[2] for row in rows])
        return [
            Record(row[0], row[1], embedding, row[3], row[4])
            for row, embedding in zip(rows, embeddings, strict=True)
        ]

    def _named(self, columns: str, items: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(items), AT_ONCE):
            yield from self._database.run(
                f"SELECT {columns} FROM items JOIN identities ON identities.id = identity"
                " WHERE item IN (SELECT value FROM json_each(?))",
                (json.dumps(items[start : start + AT_ONCE]),),
            )

    def _identities_of(self, items: Sequence[str]) -> dict[str, tuple[int, str]]:
        rows = self._named("item, identities.id, name", items)
        return {item: (identity, name) for item, identity, name in rows}

    def _drop_empty(self, identities: set[int]) -> None:
        self._database.many(
            "DELETE FROM identities WHERE id = ?"
            " AND NOT EXISTS (SELECT 1 FROM items WHERE identity = identities.id)",
            ((identity,) for identity in identities),
        )
