"""The connections to the server of a gallery, and its transactions."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trine.errors import GalleryError, require
from trine.gallery.errors import UnusableStoreError, rebuilt_since
from trine.gallery.postgres.address import Address
from trine.gallery.postgres.errors import explain, lost, unreachable
from trine.gallery.postgres.schema import prepare, settle
from trine.gallery.postgres.settings import PostgresSettings
from trine.gallery.sql_session import Answer
from trine.gallery.store import Binding

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

# The table is locked before the snapshot is taken, so that a switch to another encoder, which recreates the
# table, happens entirely before or after. All of it is one message, so one round trip.
_READ = (
    b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE items IN ACCESS SHARE MODE;"
    b"SELECT changed, bound, indexed, 0 FROM state"
)
_WRITE = (
    b"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL enable_seqscan = off;"
    b"SELECT changed + 1, bound, indexed, coalesce((SELECT max(id) FROM items), 0) FROM state FOR UPDATE"
)


class Session:
    """One transaction.

    Attributes:
        stamp: The revision that is read or written.
        bound: The number of times the gallery was rebuilt with another encoder.
        indexed: Whether there is a search index.
        largest: In a write, the largest item id before it.
        changed: The number of rows that this transaction has changed so far.
    """

    def __init__(self, connection: Connection[Any], state: Sequence[Any]) -> None:
        """Takes a connection with an open transaction."""
        self.connection = connection
        self.stamp, self.bound, self.indexed, self.largest = state
        self.changed = 0

    def run(self, statement: str, values: Any = None) -> Cursor[Any]:
        """Runs one statement."""
        cursor = self.connection.execute(statement.encode(), values, binary=True)
        if cursor.description is None:
            self.changed += max(cursor.rowcount, 0)
        return cursor

    def script(self, statements: str) -> None:
        """Runs several statements without parameters."""
        self.connection.execute(statements.encode())
        self.changed += 1

    def many(self, statement: str, values: Iterable[Sequence[Any]]) -> int:
        """Runs one statement for each row of values; returns the number of rows changed."""
        with self.connection.cursor() as cursor:
            cursor.executemany(statement.encode(), values)
            count = max(cursor.rowcount, 0)
        self.changed += count
        return count

    def each(self, statement: str, values: Sequence[Any]) -> list[list[tuple[Any, ...]]]:
        """Runs one query for each row of values, pipelined."""
        if len(values) == 1:
            return [self.run(statement, values[0]).fetchall()]
        with self.connection.pipeline():
            cursors = [self.run(statement, value) for value in values]
            return [cursor.fetchall() for cursor in cursors]


class Database:
    """A pool of connections, shared by the threads of a process.

    If a connection breaks, a read is repeated on another one. A write starts over on another connection only
    if it had not begun.

    Args:
        address: The gallery.
        binding: What a new gallery is bound to; `None` opens an existing one.
        settings: Timeouts, and the required versions.

    Raises:
        GalleryError: The server cannot be reached or refuses, or the gallery is missing or invalid.
        MissingDependencyError: psycopg or pgvector is not installed.
    """

    def __init__(self, address: Address, *, binding: Binding | None, settings: PostgresSettings) -> None:
        """Checks the server, and creates a missing gallery if a binding is given."""
        self.address = address
        self.bound: int | None = None
        self.settings = settings
        self._psycopg = require("psycopg", extra="pgvector")
        self._adapters = require("pgvector.psycopg", extra="pgvector")
        pools = require("psycopg_pool", extra="pgvector")
        self._closed = pools.PoolClosed
        with self._errors(), self.alone(settled=False) as connection:
            self.created = prepare(connection, address, binding, settings)
        # Silence the pool about lost connections: the failing call reports them.
        logging.getLogger("psycopg").addHandler(logging.NullHandler())
        self._pool = pools.ConnectionPool(
            address.connection,
            kwargs={"autocommit": True, "prepare_threshold": None},
            configure=self._configure,
            min_size=0,
            max_size=settings.connections,
            timeout=settings.reconnect,
            reconnect_timeout=settings.reconnect,
            name="trine",
            open=True,
        )

    def close(self) -> None:
        """Closes the connections; safe to call twice."""
        self._pool.close()

    def read(self, body: Callable[[Session], Answer]) -> Answer:
        """Runs statements on a consistent snapshot; retries on another connection if one breaks."""
        return self._run(_READ, body, again=True)

    def write(self, body: Callable[[Session], Answer]) -> Answer:
        """Runs statements in a durable transaction.

        Raises:
            GalleryError: Nothing was written; or the connection broke during the commit, so that either all
                or nothing was written.
        """
        return self._run(_WRITE, body, again=False)

    @contextmanager
    def alone(self, *, settled: bool = True) -> Iterator[Connection[Any]]:
        """A dedicated connection, outside of any transaction."""
        try:
            connection = self._psycopg.connect(self.address.connection, autocommit=True)
        except self._psycopg.Error as error:
            raise unreachable(error, self.address.shown) from None
        with contextlib.closing(connection), self._errors():
            if settled:
                self._configure(connection)
            else:
                self._limit(connection)
            yield connection

    def _run(self, begin: bytes, body: Callable[[Session], Answer], *, again: bool) -> Answer:
        """Runs a transaction; retries on another connection if one broke before it began, or if `again`."""
        with self._errors():
            for last in (False, True):
                repeatable = not last
                try:
                    with self._pool.connection() as connection:
                        session = self._begin(connection, begin)
                        repeatable &= again
                        answer = body(session)
                        self._end(session)
                        return answer
                except self._psycopg.Error as error:
                    if not (repeatable and lost(error)):
                        raise
                self._pool.check()
        raise AssertionError("the second attempt returns or raises")

    def _begin(self, connection: Connection[Any], statement: bytes) -> Session:
        cursor = connection.execute(statement)
        while cursor.nextset():
            pass
        session = Session(connection, cursor.fetchone() or (0, -1, False, 0))
        if self.bound not in (None, session.bound):
            raise rebuilt_since(self.address.shown)
        return session

    def _end(self, session: Session) -> None:
        if not session.changed:
            session.connection.execute("ROLLBACK")
            return
        try:
            session.connection.execute(self.settings.commit.encode())
        except self._psycopg.Error as error:
            if not lost(error):
                raise
            broke = f"the connection to the gallery {self.address.shown} broke before the last write was"
            raise UnusableStoreError(f"{broke} confirmed: it may or may not be written; repeat it") from error

    def _configure(self, connection: Connection[Any]) -> None:
        json = require("psycopg.types.json", extra="pgvector")
        settle(connection, self.address.schema)
        self._limit(connection)
        self._adapters.register_vector(connection)
        for name in ("vector", "halfvec"):
            connection.adapters.register_loader(name, _numbers_loader())
        # Metadata is already text on the client.
        json.set_json_dumps(str, connection)
        json.set_json_loads(_text, connection)

    def _limit(self, connection: Connection[Any]) -> None:
        connection.execute(
            "SELECT set_config('lock_timeout', %s, false), set_config('jit', 'off', false),"
            " CASE current_setting('synchronous_commit')"
            " WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END",
            (f"{int(self.settings.wait * 1000)}ms",),
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns server errors into a `GalleryError`."""
        try:
            yield
        except self._closed:
            raise UnusableStoreError(f"the gallery {self.address.shown} is closed: open it again") from None
        except self._psycopg.Error as error:
            if type(error).__name__ == "PoolTimeout":
                raise self._no_connection() from None
            raise explain(error, self.address.shown, self.settings.wait) from error

    def _no_connection(self) -> GalleryError:
        """Explains why the pool had no free connection, by connecting once more."""
        try:
            self._psycopg.connect(self.address.connection).close()
        except self._psycopg.Error as error:
            return unreachable(error, self.address.shown)
        many = f"more than {self.settings.connections} threads use the gallery {self.address.shown} at once"
        return UnusableStoreError(
            f"{many}, and none finished within {self.settings.reconnect:g} s: use fewer"
        )


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else bytes(data).decode()


def _numbers_loader() -> Any:
    """Returns embeddings as raw bytes, so that many rows can be decoded at once."""
    adapt = require("psycopg.adapt", extra="pgvector")
    pq = require("psycopg.pq", extra="pgvector")

    class Numbers(adapt.Loader):  # type: ignore[misc, name-defined]
        format = pq.Format.BINARY

        def load(self, data: Any) -> bytes:
            return bytes(data)[4:]

    return Numbers
