"""The default store: one SQLite file is the truth, an exact index in memory answers.

The file is in WAL mode with synchronous=FULL: a write has reached the disk when the call returns, and a
killed process leaves the last acknowledged state. The index is never saved; it follows the file through
a counter that every write advances, so that it also sees what other processes wrote.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from trine.calibration import Calibration
from trine.errors import GalleryError, ModelError
from trine.gallery.decision import Threshold
from trine.gallery.entries import Enrolment, Hit, Record
from trine.gallery.index import Changes, Index
from trine.gallery.schema import check_file, check_version, create_file, explain, is_new
from trine.gallery.store import EVERYBODY, Binding, Scope
from trine.shapes import Float32

WAIT = 30.0
"""Seconds that a call waits for another process to finish writing."""

AT_ONCE = 4096
"""How many rows are read or named in one statement."""


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
        self._path = path
        self._wait = wait
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        if binding is not None and is_new(path):
            create_file(path, _to_rows(binding), dimension=binding.dimension)
        check_file(path)
        with self._errors():
            self._connection = self._connect()
            self._binding = _from_rows(dict(self._run("SELECT name, value FROM gallery")), path)
        self._seen = 0
        self._index = Index(dimension=self.binding.dimension, distance=self.binding.distance)

    @property
    def address(self) -> str:
        """The path of the file."""
        return str(self._path)

    @property
    def binding(self) -> Binding:
        """What the gallery was bound to at its creation."""
        return self._binding

    def put(self, records: Sequence[Record]) -> Enrolment:
        """Writes records in one transaction; of two with the same item the later counts."""
        latest = {record.item: record for record in records}
        if not latest:
            return Enrolment()
        with self._writing() as stamp:
            before = self._identities_of(list(latest))
            names = {record.identity for record in latest.values()}
            self._many("INSERT OR IGNORE INTO identities (name) VALUES (?)", ((n,) for n in names))
            changed = self._many(
                "INSERT INTO items (item, identity, embedding, metadata, changed)"
                " VALUES (?, (SELECT id FROM identities WHERE name = ?), ?, ?, ?)"
                " ON CONFLICT (item) DO UPDATE SET identity = excluded.identity,"
                " embedding = excluded.embedding, metadata = excluded.metadata,"
                " changed = excluded.changed"
                " WHERE identity != excluded.identity OR embedding != excluded.embedding"
                " OR metadata != excluded.metadata",
                (
                    (r.item, r.identity, r.embedding.astype("<f4").tobytes(), r.metadata, stamp)
                    for r in latest.values()
                ),
            )
            self._drop_empty({i for i, name in before.values() if name not in names})
        new = len(latest) - len(before)
        return Enrolment(new=new, replaced=changed - new, unchanged=len(latest) - changed)

    def remove(self, items: Sequence[str]) -> int:
        """Deletes the named items in one transaction and returns how many were there."""
        with self._writing() as stamp:
            found = self._identities_of(list(dict.fromkeys(items)))
            self._many(
                "INSERT OR REPLACE INTO removed (id, changed) SELECT id, ? FROM items WHERE item = ?",
                ((stamp, item) for item in found),
            )
            self._many("DELETE FROM items WHERE item = ?", ((item,) for item in found))
            self._drop_empty({identity for identity, _ in found.values()})
        return len(found)

    def forget(self, identity: str) -> int:
        """Deletes an identity with all its items and returns how many there were."""
        with self._writing() as stamp:
            which = "identity = (SELECT id FROM identities WHERE name = ?)"
            self._run(
                f"INSERT OR REPLACE INTO removed (id, changed) SELECT id, ? FROM items WHERE {which}",
                (stamp, identity),
            )
            count = self._run(f"DELETE FROM items WHERE {which}", (identity,)).rowcount
            self._run("DELETE FROM identities WHERE name = ?", (identity,))
        return count

    def get(self, items: Sequence[str]) -> dict[str, Record]:
        """Returns the named items that are there."""
        with self._reading():
            return {
                item: Record(identity, item, np.frombuffer(embedding, dtype="<f4"), metadata)
                for item, identity, embedding, metadata in self._named(
                    "item, name, embedding, metadata", items
                )
            }

    def search(
        self, queries: Float32[np.ndarray, "q d"], *, k: int, scope: Scope = EVERYBODY
    ) -> list[list[Hit]]:
        """Returns for each query its `k` nearest items in the scope, nearest first, without metadata."""
        with self._lock:
            self._refresh()
            return self._index.search(queries, k=k, scope=scope)

    def identities(self) -> dict[str, int]:
        """Returns the number of items of each identity, in the order of their names."""
        with self._reading():
            return dict(
                self._run(
                    "SELECT name, count(*) FROM items JOIN identities ON identities.id = identity"
                    " GROUP BY identity ORDER BY name"
                )
            )

    def __len__(self) -> int:
        with self._reading():
            return int(self._run("SELECT count(*) FROM items").fetchone()[0])

    def close(self) -> None:
        """Lets go of the file; closing twice is no error."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connect(self) -> sqlite3.Connection:
        address = self._path.absolute().as_uri()
        try:
            return self._prepare(f"{address}?mode=rw")
        except sqlite3.OperationalError as error:
            # WAL needs to write beside the file even for reading. Where nobody can, the file stands still.
            beside = self._path.with_name(self._path.name + "-wal")
            unwritable = not os.access(self._path.parent, os.W_OK, effective_ids=_EFFECTIVE)
            if error.sqlite_errorcode & 0xFF not in _UNWRITABLE or beside.exists() or not unwritable:
                raise
            return self._prepare(f"{address}?immutable=1")

    def _prepare(self, address: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, timeout=self._wait, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in ("foreign_keys = ON", "synchronous = FULL", "secure_delete = ON"):
                connection.execute(f"PRAGMA {pragma}")
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            check_version(version, self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if self._connection is None:
            raise GalleryError(f"the gallery {self._path} is closed: open it again")
        return self._connection.execute(statement, values)

    def _many(self, statement: str, values: Iterator[tuple[Any, ...]]) -> int:
        if self._connection is None:
            raise GalleryError(f"the gallery {self._path} is closed: open it again")
        return max(self._connection.executemany(statement, values).rowcount, 0)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise explain(error, self._path, self._wait) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One state of the file for several statements."""
        with self._lock, self._errors():
            self._run("BEGIN")
            try:
                yield
            finally:
                self._run("ROLLBACK")

    @contextmanager
    def _writing(self) -> Iterator[int]:
        """A transaction that is on the disk when it ends; gives the stamp of what it changes."""
        with self._lock, self._errors():
            self._run("BEGIN IMMEDIATE")
            try:
                stamp = self._run("SELECT changed FROM state").fetchone()[0] + 1
                untouched = self._connection.total_changes if self._connection else 0
                yield stamp
                if self._connection and self._connection.total_changes == untouched:
                    self._run("ROLLBACK")
                    return
                self._run("UPDATE state SET changed = ?", (stamp,))
                self._run("COMMIT")
            except BaseException:
                if self._connection is not None and self._connection.in_transaction:
                    self._run("ROLLBACK")
                raise

    def _named(self, columns: str, items: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(items), AT_ONCE):
            yield from self._run(
                f"SELECT {columns} FROM items JOIN identities ON identities.id = identity"
                " WHERE item IN (SELECT value FROM json_each(?))",
                (json.dumps(items[start : start + AT_ONCE]),),
            )

    def _identities_of(self, items: Sequence[str]) -> dict[str, tuple[int, str]]:
        rows = self._named("item, identities.id, name", items)
        return {item: (identity, name) for item, identity, name in rows}

    def _drop_empty(self, identities: set[int]) -> None:
        self._many(
            "DELETE FROM identities WHERE id = ?"
            " AND NOT EXISTS (SELECT 1 FROM items WHERE identity = identities.id)",
            ((identity,) for identity in identities),
        )

    def _refresh(self) -> None:
        with self._errors():
            if self._run("SELECT changed FROM state").fetchone()[0] == self._seen:
                return
        with self._reading():
            stamp = self._run("SELECT changed FROM state").fetchone()[0]
            self._index.apply(self._changes())
            self._seen = stamp

    def _changes(self) -> Changes:
        # A first reading takes the tables as they lie; a later one goes by the index of what changed.
        which = "changed > ?" if self._seen else "changed != ?"
        removed = self._run("SELECT id FROM removed WHERE changed > ?", (self._seen,)).fetchall()
        names = dict(
            self._run(
                f"SELECT id, name FROM identities WHERE id IN (SELECT identity FROM items WHERE {which})",
                (self._seen,),
            )
        )
        cursor = self._run(f"SELECT id, item, identity, embedding FROM items WHERE {which}", (self._seen,))
        keys: list[int] = []
        items: list[str] = []
        identities: list[str] = []
        parts = [np.empty((0, self.binding.dimension), dtype=np.float32)]
        while rows := cursor.fetchmany(AT_ONCE):
            keys += [row[0] for row in rows]
            items += [row[1] for row in rows]
            identities += [names[row[2]] for row in rows]
            numbers = np.frombuffer(b"".join([row[3] for row in rows]), dtype="<f4")
            parts.append(numbers.reshape(len(rows), -1).astype(np.float32))
        return Changes(
            np.array([key for (key,) in removed], dtype=np.int64),
            np.array(keys, dtype=np.int64),
            items,
            identities,
            np.concatenate(parts),
        )


_UNWRITABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
_EFFECTIVE = os.access in os.supports_effective_ids


def _to_rows(binding: Binding) -> dict[str, str]:
    """The binding as text that can be read in the file without trine."""
    return {
        "dimension": str(binding.dimension),
        "distance": binding.distance,
        "fingerprint": binding.fingerprint,
        "threshold": json.dumps(binding.threshold and asdict(binding.threshold)),
        "calibration": json.dumps(binding.calibration and binding.calibration.to_json()),
        "model": binding.model or "",
    }


def _from_rows(rows: dict[str, str], path: Path) -> Binding:
    try:
        threshold, calibration = json.loads(rows["threshold"]), json.loads(rows["calibration"])
        return Binding(
            dimension=int(rows["dimension"]),
            distance=rows["distance"],  # type: ignore[arg-type]
            fingerprint=rows["fingerprint"],
            threshold=Threshold(**threshold) if threshold else None,
            calibration=Calibration.from_json(calibration) if calibration else None,
            model=rows["model"] or None,
        )
    except (KeyError, TypeError, ValueError, ModelError) as error:
        raise GalleryError(
            f"the gallery {path} is damaged: its table 'gallery' cannot be read ({error}); restore it "
            f"from a backup"
        ) from error
