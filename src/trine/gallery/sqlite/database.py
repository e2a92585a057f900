"""The connection to the SQLite file of a gallery: opening, upgrades and transactions."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trine.errors import GalleryError
from trine.gallery.errors import rebuilt_since
from trine.gallery.sql_store import Answer
from trine.gallery.sqlite.schema import (
    SCHEMA,
    UPGRADES,
    check_file,
    check_version,
    explain,
    log_of,
    statements,
)

WAIT = 30.0
"""Seconds to wait for another process to finish writing."""

_UNWRITABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
_EFFECTIVE = os.access in os.supports_effective_ids


@dataclass(frozen=True)
class Session:
    """One transaction on the file.

    Attributes:
        connection: The connection of the transaction.
        stamp: The revision that is read or written.
        bound: The number of times the gallery was rebuilt with another encoder.
    """

    connection: sqlite3.Connection
    stamp: int
    bound: int

    def run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Runs one statement with `%s` placeholders."""
        return self.connection.execute(statement.replace("%s", "?"), values)

    def many(self, statement: str, values: Iterable[tuple[Any, ...]]) -> int:
        """Runs one statement for each row of values; returns the number of rows changed."""
        return max(self.connection.executemany(statement.replace("%s", "?"), values).rowcount, 0)


class Database:
    """One connection, shared by the threads of a process, which take turns.

    The file is in WAL mode with synchronous=FULL: a transaction is on disk when it ends, and a killed process
    loses no completed write.

    Args:
        path: The file.
        wait: Seconds to wait for another process to finish writing.

    Raises:
        GalleryError: The file is missing, not a trine gallery, damaged, of a newer trine, locked, or a
            folder; or of an older trine and read-only.
    """

    def __init__(self, path: Path, *, wait: float = WAIT) -> None:
        """Opens the file, and upgrades it if an older trine wrote it."""
        self.path = path
        self.lock = threading.RLock()
        self._wait = wait
        self.bound: int | None = None
        self._connection: sqlite3.Connection | None = None
        check_file(path)
        with self.errors():
            self._connection = self._connect()
            try:
                self._upgrade()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        with self.lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Runs one statement."""
        return self._opened().execute(statement, values)

    def read(self, body: Callable[[Session], Answer]) -> Answer:
        """Runs statements on a consistent snapshot of the file."""
        with self.reading() as session:
            return body(session)

    def write(self, body: Callable[[Session], Answer]) -> Answer:
        """Runs statements in a durable transaction."""
        with self.writing() as session:
            return body(session)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns SQLite errors into a `GalleryError`."""
        try:
            yield
        except sqlite3.Error as error:
            raise explain(error, self.path, self._wait) from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent snapshot for several statements; its session has the stamp of the last write."""
        with self.lock, self.errors():
            self.run("BEGIN")
            try:
                yield self._session()
            finally:
                self._roll_back()

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A durable transaction; its session has the stamp of this write."""
        with self.lock, self.errors():
            self.run("BEGIN IMMEDIATE")
            try:
                session = self._session(later=1)
                untouched = self._opened().total_changes
                yield session
                if self._opened().total_changes == untouched:
                    self.run("ROLLBACK")
                    return
                self.run("UPDATE state SET changed = ?", (session.stamp,))
                self.run("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _session(self, *, later: int = 0) -> Session:
        changed, bound = self.run("SELECT changed, bound FROM state").fetchone()
        if self.bound not in (None, bound):
            raise rebuilt_since(self.path)
        return Session(self._opened(), int(changed) + later, int(bound))

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            self.run("ROLLBACK")

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise GalleryError(f"the gallery {self.path} is closed: open it again")
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        address = self.path.absolute().as_uri()
        try:
            return self._prepare(f"{address}?mode=rw")
        except sqlite3.OperationalError as error:
            # Even reading in WAL mode writes next to the file. If no process can, the file never changes.
            log = log_of(self.path)
            unwritable = not os.access(log.parent, os.W_OK, effective_ids=_EFFECTIVE)
            if error.sqlite_errorcode & 0xFF not in _UNWRITABLE or log.exists() or not unwritable:
                raise
            return self._prepare(f"{address}?immutable=1")

    def _prepare(self, address: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, timeout=self._wait, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in ("foreign_keys = ON", "synchronous = FULL", "secure_delete = ON"):
                connection.execute(f"PRAGMA {pragma}")
            check_version(_version(connection), self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _upgrade(self) -> None:
        """Upgrades the tables, completely or not at all."""
        if _version(self._opened()) == SCHEMA:
            return
        try:
            self.run("BEGIN IMMEDIATE")
            # Another process may have upgraded it first.
            for version in range(_version(self._opened()), SCHEMA):
                for statement in statements(UPGRADES[version]):
                    self.run(statement)
                self.run(f"PRAGMA user_version = {version + 1}")
            self.run("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            hint = "make the file and its folder writable and open it once"
            older = f"the gallery {self.path} was written by an older trine and is read-only"
            raise GalleryError(f"{older}: {hint}") from error


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
