"""The default store: one SQLite file, searched through an in-memory index."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from trine.gallery.entries import Enrolment, Hit, Record
from trine.gallery.index import IndexSettings
from trine.gallery.quantization import lengths, pack, unpack
from trine.gallery.sql_session import restore_binding
from trine.gallery.sql_store import ITEMS, SqlStore, counted
from trine.gallery.sqlite import maintenance
from trine.gallery.sqlite.backup import back_up, restore
from trine.gallery.sqlite.database import MEMORY, WAIT, Database, Session
from trine.gallery.sqlite.file import create_file, is_new, log_of
from trine.gallery.sqlite.index_sync import IndexSync
from trine.gallery.sqlite.schema import items_tables, statements, widths_of
from trine.gallery.store import EVERYBODY, Binding, Scope
from trine.shapes import Float32

_SET_ASIDE = """
ALTER TABLE staged RENAME TO staged_before;
ALTER TABLE items RENAME TO items_before;
DROP INDEX items_of_identity;
DROP INDEX items_changed;
"""

_PUT = """
INSERT INTO items (item, identity, embedding, metadata, changed, source)
    VALUES (?, (SELECT id FROM identities WHERE name = ?), ?, ?, ?, ?)
    ON CONFLICT (item) DO UPDATE SET identity = excluded.identity,
        cluster = CASE WHEN embedding = excluded.embedding THEN cluster END,
        embedding = excluded.embedding, metadata = excluded.metadata,
        changed = excluded.changed, source = excluded.source
    WHERE identity != excluded.identity OR embedding != excluded.embedding
        OR metadata != excluded.metadata OR source IS NOT excluded.source
"""


class SqliteStore(SqlStore):
    """Stores one gallery in one SQLite file; satisfies `trine.gallery.Store`.

    Safe to share between threads and to open in several processes. Do not use an open store after a fork.

    Args:
        path: The file; `Path(":memory:")` for a gallery in memory, which ends with the store.
        binding: What a new gallery is bound to; `None` opens an existing one.
        wait: Seconds to wait for another process to finish writing.
        index: When index segments are merged, and when inverted lists are trained.

    Raises:
        GalleryError: The file is missing, not a trine gallery, damaged, of a newer trine, locked, or a
            folder.
    """

    AMONG = "IN (SELECT value FROM json_each(%s))"
    WRITTEN = "changed"
    IS_STAGED = "staged.id = items.id"
    STAGE = (
        "INSERT OR REPLACE INTO staged (embedding, id) SELECT %s, id FROM items"
        " WHERE item = %s AND changed = %s"
    )

    def __init__(
        self,
        path: Path,
        *,
        binding: Binding | None = None,
        wait: float = WAIT,
        index: IndexSettings | None = None,
    ) -> None:
        """Opens the file, or creates a missing one if a binding is given."""
        self.created = binding is not None and (
            path == MEMORY or (is_new(path) and create_file(path, binding))
        )
        self._path = path
        self._index_settings = index or IndexSettings()
        self._database: Database = Database(path, wait=wait, binding=binding)
        super().__init__()

    @classmethod
    def restore_binding(cls, path: Path) -> str:
        """Restores what a gallery is bound to from its copy; see `Gallery.repair_binding`."""
        with closing(Database(path)) as database:
            return restore_binding(database, str(path))

    @property
    def address(self) -> str:
        return str(self._path)

    def forget(self, identity: str) -> int:
        count = super().forget(identity)
        maintenance.purge(self._database)
        return count

    def search(
        self,
        queries: Float32[np.ndarray, "q d"],
        *,
        k: int,
        offset: int = 0,
        scope: Scope = EVERYBODY,
        metadata: bool = False,
    ) -> list[list[Hit]]:
        with self._database.lock, ExitStack() as stack:
            self._index_sync.follow(stack.enter_context(self._database.reading()).stamp)
            if not (metadata or scope.where):
                stack.close()  # many queries take long, and other processes may need to empty the log
            return self._index_sync.search(queries, k=k, offset=offset, scope=scope, metadata=metadata)

    def size(self) -> int:
        if self._path == MEMORY:
            query = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            return int(self._database.run(query).fetchone()[0])
        files = (self._path, log_of(self._path))
        return sum(file.stat().st_size for file in files if file.exists())

    def backup(self, path: Path, *, overwrite: bool = False) -> int:
        return back_up(self._database, path, overwrite=overwrite)

    def restore_to(self, path: Path, *, overwrite: bool = False) -> Path | None:
        """Puts a copy of this gallery in another's place; see `Gallery.restore`."""
        return restore(self._database, path, overwrite=overwrite)

    def _check(self) -> list[str]:
        return maintenance.check(self._database, self.binding)

    def _repair(self, drop_damaged: bool) -> list[str]:
        return maintenance.repair(self._database, self.binding, drop_damaged=drop_damaged)

    def check_usable(self) -> None:
        self._database.check_usable()

    def switch(self, binding: Binding, *, drop: Collection[str] = ()) -> bool:
        with self._database.lock:  # block other threads of this process until it uses the new encoder
            return super().switch(binding, drop=drop)

    def _bind(self) -> None:
        super()._bind()
        self._index_sync = IndexSync(self._database, self._binding, self._index_settings)

    def _fits(self, session: Session, binding: Binding) -> bool:
        sql = session.run("SELECT sql FROM sqlite_master WHERE name = 'items'").fetchone()[0]
        return widths_of(sql) == lengths(binding.dtype, binding.dimension)

    def _array(self, values: Iterable[Any]) -> str:
        return json.dumps(list(values))

    def _packed(self, records: Sequence[Record], binding: Binding) -> list[bytes]:
        rows = np.stack([record.embedding for record in records])
        return pack(rows, dtype=binding.dtype, names=[record.item for record in records])

    def _numbers(self, packed: Sequence[Any], binding: Binding) -> Float32[np.ndarray, "n d"]:
        return unpack(packed, dtype=binding.dtype, dimension=binding.dimension)

    def _records(self, rows: Sequence[tuple[Any, ...]]) -> list[Record]:
        embeddings = self._index_sync.rows([row[2] for row in rows])
        return [
            Record(row[0], row[1], embedding, row[3], row[4])
            for row, embedding in zip(rows, embeddings, strict=True)
        ]

    def _put(self, session: Session, records: Mapping[str, Record], packed: Sequence[bytes]) -> Enrolment:
        query = f"SELECT item, identities.id, name FROM {ITEMS} WHERE item {self.AMONG}"
        before = session.run(query, (self._array(records),)).fetchall()
        names = {record.identity for record in records.values()}
        session.many("INSERT OR IGNORE INTO identities (name) VALUES (?)", ((name,) for name in names))
        rows = zip(records.values(), packed, strict=True)
        changed = session.many(
            _PUT, ((r.item, r.identity, row, r.metadata, session.stamp, r.source) for r, row in rows)
        )
        written = (session.stamp,)
        session.run("DELETE FROM staged WHERE id IN (SELECT id FROM items WHERE changed = ?)", written)
        self._drop_empty(session, {number for _, number, name in before if name not in names})
        return counted(records, before, changed)

    def _delete(self, session: Session, where: str, values: tuple[Any, ...]) -> list[int]:
        rows = session.run(f"SELECT identity FROM items WHERE {where}", values).fetchall()
        session.run(
            f"INSERT OR REPLACE INTO removed (id, changed) SELECT id, %s FROM items WHERE {where}",
            (session.stamp, *values),
        )
        session.run(f"DELETE FROM items WHERE {where}", values)
        return [identity for (identity,) in rows]

    def _move(self, session: Session, to: str, where: str, value: Any) -> None:
        session.run(f"UPDATE items SET changed = %s WHERE {where}", (session.stamp, value))
        super()._move(session, to, where, value)

    def _assign(self, session: Session, clusters: Mapping[str, int]) -> None:
        session.many(
            "UPDATE items SET cluster = ? WHERE item = ?",
            ((cluster, item) for item, cluster in clusters.items()),
        )

    def _clear_staged(self, session: Session, binding: Binding) -> None:
        session.run("DELETE FROM staged")

    def _replace_items(self, session: Session, binding: Binding) -> None:
        for statement in statements(f"{_SET_ASIDE} {items_tables(binding.dtype, binding.dimension)}"):
            session.run(statement)
        session.run(
            "INSERT INTO items (id, item, identity, embedding, metadata, changed, cluster, source)"
            " SELECT id, item, identity, staged_before.embedding, metadata, ?, cluster, source"
            " FROM items_before JOIN staged_before USING (id) ORDER BY id",
            (session.stamp,),
        )
        session.run("DROP TABLE staged_before")
        session.run("DROP TABLE items_before")
