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
from trine.gallery.errors import UnusableStoreError, damaged, missing, rebuilt_since
from trine.gallery.sql_session import Answer
from trine.gallery.sqlite.errors import code_of, explain
from trine.gallery.sqlite.file import (
    OPENING,
    Files,
    check_file,
    fill,
    has_log,
    is_open,
    log_of,
    new_generation,
)
from trine.gallery.sqlite.log import check_log, pages_in
from trine.gallery.sqlite.schema import (
    GENERATION,
    SCHEMA,
    UPGRADES,
    check_schema,
    check_version,
    statements,
)
from trine.gallery.store import UNREACHED, Binding

WAIT = 30.0
"""Seconds to wait for another process to finish writing."""

MEMORY = Path(":memory:")
"""The address of a gallery that is not kept."""

LARGEST = 1 << 28
"""The largest value in bytes that is read from a file: a damaged size must not take all memory."""

_UNWRITABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
_PRAGMAS = (
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "foreign_keys = ON",
    "synchronous = FULL",
    "secure_delete = ON",
)
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
        path: The file; `MEMORY` for a gallery that is not kept.
        wait: Seconds to wait for another process to finish writing.
        binding: What a gallery in memory is bound to.

    Raises:
        GalleryError: The file is missing, not a trine gallery, damaged, of a newer trine, locked, or a
            folder; or of an older trine and read-only.
    """

    def __init__(self, path: Path, *, wait: float = WAIT, binding: Binding | None = None) -> None:
        """Opens the file, and upgrades it if an older trine wrote it; in memory, creates it."""
        self.path = path
        self.lock = threading.RLock()
        self._wait = wait
        self.bound: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._files: Files | None = None
        self._schema: int | None = None
        self._new_generation = path != MEMORY
        if path == MEMORY:
            self._fill(binding)
            return
        with OPENING, self.errors():
            if not is_open(path):
                check_file(path)
                check_log(path)
            self._files = Files(path)
            try:
                self._connection = self._connect()
                self._upgrade()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        with self.lock, OPENING:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._files is not None:
                self._files.release()
                self._files = None

    def run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Runs one statement."""
        return self._opened().execute(statement, values)

    def many(self, statement: str, values: Iterable[tuple[Any, ...]]) -> None:
        """Runs one statement for each row of values."""
        self._opened().executemany(statement, values)

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
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter by a damaged name in the schema
            raise explain(error, self.path, self._wait) from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent snapshot for several statements; its session has the stamp of the last write."""
        with self.lock, self.errors():
            self.run("BEGIN")
            try:
                session = self._session()
                self._check_files()
                yield session
            finally:
                self._roll_back()

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A durable transaction; its session has the stamp of this write."""
        with self.lock, self.errors():
            self._begin_generation()
            self.run("BEGIN IMMEDIATE")
            try:
                session = self._session(later=1)
                self._check_files()
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
            self._check_files()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A second connection with an open read transaction, which blocks neither threads nor writers."""
        if self.path == MEMORY:
            with self.reading():
                yield self._opened()
            return
        with self.errors():
            with OPENING:
                self._check_files()
                connection = self._connect()
            try:
                connection.execute("BEGIN")
                connection.execute("SELECT changed FROM state").fetchone()
                self._check_files()
                yield connection
            finally:
                with OPENING:
                    connection.close()

    def check_usable(self) -> None:
        """Reads a little of the file anew; the open connection has most of it in memory, and notices nothing.

        Raises:
            GalleryError: The file was cut short, overwritten or replaced, or cannot be read.
        """
        before = self.read(_mark)
        with self.snapshot() as fresh:
            found = _mark(fresh)
            (pages,) = fresh.execute("PRAGMA page_count").fetchone()
            (size,) = fresh.execute("PRAGMA page_size").fetchone()
            fresh.execute("SELECT count(*) FROM items").fetchone()
            fresh.execute("SELECT * FROM items ORDER BY id DESC LIMIT 1").fetchone()
            there = pages if self.path == MEMORY else self.path.stat().st_size // size
            beyond = set(range(there + 1, pages + 1))
            # The file is shorter than the gallery as long as its end is in the log alone.
            if beyond and not (
                beyond <= pages_in(log_of(self.path))
                and fresh.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            ):
                raise damaged(self.path, f"its file was cut short to {there:,} of {pages:,} pages")
        after = self.read(_mark)
        if found[0] not in range(before[0], after[0] + 1) or found[1] not in (before[1], after[1]):
            raise UnusableStoreError(
                f"the file of the gallery {self.path} was overwritten after it was opened: open it again"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Empties the log and keeps writers waiting, until the file is replaced."""
        with self.lock, self.errors():
            self.run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.run("BEGIN IMMEDIATE")
            try:
                self._session()
                self._check_files()
                yield
            finally:
                self._roll_back()

    def _session(self, *, later: int = 0) -> Session:
        (schema,) = self.run("PRAGMA schema_version").fetchone()
        if schema != self._schema:
            check_schema(self._opened(), self.path)
            self._schema = schema
        found = self.run("SELECT changed, bound, clusters FROM state").fetchone()
        if found is None or any(type(count) is not int or not 0 <= count < UNREACHED for count in found):
            raise damaged(self.path, "its table 'state' does not say the revision and what it counts")
        changed, bound, _ = found
        if self.bound not in (None, bound):
            raise rebuilt_since(self.path)
        return Session(self._opened(), int(changed) + later, int(bound))

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            self.run("ROLLBACK")

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise UnusableStoreError(f"the gallery {self.path} is closed: open it again")
        return self._connection

    def _check_files(self) -> None:
        if self._files is not None:
            self._files.check()

    def _begin_generation(self) -> None:
        """Begins a generation if nothing was written to the log yet; see `trine.gallery.sqlite.log`."""
        if not self._new_generation or has_log(self.path):
            self._new_generation = False
            return
        # A copy that SQLite made has no log of the kind that writers and readers share.
        self.run("PRAGMA journal_mode = WAL")
        self.run("BEGIN IMMEDIATE")
        try:
            self._session()
            self._check_files()
            if has_log(self.path):  # another process was first
                self.run("ROLLBACK")
            else:
                if len(self.run("PRAGMA table_info(state)").fetchall()) < 7:
                    for statement in statements(GENERATION):
                        self.run(statement)
                update = "UPDATE state SET before = generation, generation = ?, began = changed"
                self.run(update, (new_generation(),))
                self.run("COMMIT")
                self.run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except BaseException:
            self._roll_back()
            raise
        self._new_generation = False

    def _fill(self, binding: Binding | None) -> None:
        if binding is None:
            raise missing(self.path)
        self._connection = self._prepare("file::memory:")
        fill(self._connection, binding)

    def _connect(self) -> sqlite3.Connection:
        assert self._files is not None, "the file is known before it is opened"
        address = self._files.real.as_uri()
        try:
            return self._prepare(f"{address}?mode=rw")
        except sqlite3.OperationalError as error:
            # Even reading in WAL mode writes next to the file. If no process can, the file never changes.
            log = log_of(self.path)
            unwritable = not os.access(log.parent, os.W_OK, effective_ids=_EFFECTIVE)
            if code_of(error) & 0xFF not in _UNWRITABLE or log.exists() or not unwritable:
                raise
            return self._prepare(f"{address}?immutable=1")

    def _prepare(self, address: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, timeout=self._wait, isolation_level=None, check_same_thread=False
        )
        try:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            if self.path != MEMORY:
                check_version(_version(connection), self.path)
                check_schema(connection, self.path)
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
            if code_of(error) & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            hint = "make the file and its folder writable and open it once"
            older = f"the gallery {self.path} was written by an older trine and is read-only"
            raise GalleryError(f"{older}: {hint}") from error


def _mark(session: Session | sqlite3.Connection) -> tuple[Any, Any]:
    """Returns the revision of a gallery and its generation, which a gallery of an older trine lacks."""
    connection = session.connection if isinstance(session, Session) else session
    cursor = connection.execute("SELECT * FROM state")
    row = dict(zip((column[0] for column in cursor.description), cursor.fetchone() or (), strict=False))
    return row.get("changed"), row.get("generation")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
