"""The service's own file: keys, jobs, judgements and the log of changes, in one SQLite database."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trine.errors import InputError
from trine.io import lock_at_once

FILE = "service.db"
LOCK = "service.lock"

VERSION = 1
WAIT = 30.0
"""Seconds to wait for another process, such as `trine keys`, to finish writing."""

_APPLICATION = 0x74727376

_TABLES = """
CREATE TABLE keys (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL,
    scopes TEXT NOT NULL,
    galleries TEXT,
    made REAL NOT NULL
);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    gallery TEXT NOT NULL,
    action TEXT NOT NULL,
    details TEXT NOT NULL
);
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    made REAL NOT NULL,
    who TEXT NOT NULL,
    gallery TEXT NOT NULL,
    kind TEXT NOT NULL,
    arguments TEXT NOT NULL,
    payload BLOB,
    state TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER,
    started REAL,
    ended REAL,
    result TEXT,
    error TEXT,
    code TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE judgements (
    gallery TEXT NOT NULL,
    first TEXT NOT NULL,
    second TEXT NOT NULL,
    answer TEXT NOT NULL,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    PRIMARY KEY (gallery, first, second)
);
"""


class State:
    """The service's own file; a connection that its threads share by turns, and one that only reads.

    What is deleted is overwritten, and `wipe` empties the log, so that a forgotten name is in no file.

    Args:
        folder: The folder of the file; created if it is missing.

    Raises:
        InputError: The file cannot be opened, or is not one of a service.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE
        self._lock, self._reading = threading.RLock(), threading.Lock()
        self._taken: int | None = None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=WAIT, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
                self._reader = sqlite3.connect(
                    self.path, timeout=WAIT, isolation_level=None, check_same_thread=False
                )
            except BaseException:
                self._connection.close()
                raise
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"the service's file {self.path} cannot be opened ({reason}); choose another folder with "
                "--state"
            ) from error

    def _prepare(self) -> None:
        for pragma in ("trusted_schema = OFF", "secure_delete = ON", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            (application,) = self._connection.execute("PRAGMA application_id").fetchone()
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:
                for statement in _TABLES.split(";\n"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._connection.execute(f"PRAGMA user_version = {VERSION}")
            elif (application, version) != (_APPLICATION, VERSION):
                raise InputError(
                    f"the file {self.path} is not one of a service of this version of trine: choose another "
                    "folder with --state"
                )
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    def take(self) -> None:
        """Keeps further services from this folder, as long as this process lives and the file is open.

        Raises:
            InputError: Another service uses it.
        """
        descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lock_at_once(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise InputError(
                f"another service uses the folder {self.folder}: stop it, or name another folder with --state"
            ) from error
        self._taken = descriptor

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Runs one statement, durably if it writes, and returns its rows."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def looked_up(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Runs one statement that only reads, without waiting for what others write."""
        with self._reading:
            return self._reader.execute(statement, values).fetchall()

    def changed(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Runs one statement, durably, and returns how many rows it changed."""
        with self._lock:
            return self._connection.execute(statement, values).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Runs the statements of a block completely or not at all."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def wipe(self) -> None:
        """Empties the write-ahead log, which still holds what was deleted."""
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        with self._lock:
            with self._reading:
                self._reader.close()
            self._connection.close()
            if self._taken is not None:
                os.close(self._taken)
                self._taken = None
