"""The connections to the server of a gallery, and its transactions."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trine.errors import GalleryError, require
from trine.gallery.errors import rebuilt_since
from trine.gallery.postgres.address import Address
from trine.gallery.postgres.errors import explain, lost, unreachable
from trine.gallery.postgres.schema import prepare, settle
from trine.gallery.postgres.settings import PostgresSettings
from trine.gallery.sql_store import Answer
from trine.gallery.store import Binding

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

# The table is locked before the snapshot is taken, so that a switch to another encoder, which makes the
# table anew, comes wholly before or wholly after. One message, one way to the server and back.
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
        stamp: The state that is read, or that is being written.
        bound: How often the gallery was bound to another encoder.
        indexed: Whether there is an index for the search.
        largest: In a write, the largest id of an item, before it.
        changed: How many rows this transaction changed so far.
    """

    def __init__(self, connection: Connection[Any], state: Sequence[Any]) -> None:
        """Takes a connection on which the transaction has begun."""
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
        """Runs several statements that have no values."""
        self.connection.execute(statements.encode())
        self.changed += 1

    def many(self, statement: str, values: Iterable[Sequence[Any]]) -> int:
        """Runs one statement for each of many values and returns how many rows it changed."""
        with self.connection.cursor() as cursor:
            cursor.executemany(statement.encode(), values)
            count = max(cursor.rowcount, 0)
        self.changed += count
        return count

    def each(self, statement: str, values: Sequence[Any]) -> list[list[tuple[Any, ...]]]:
        """Asks one question for each of many values, without waiting for one answer to ask the next."""
        if len(values) == 1:
            return [self.run(statement, values[0]).fetchall()]
        with self.connection.pipeline():
            cursors = [self.run(statement, value) for value in values]
            return [cursor.fetchall() for cursor in cursors]


class Database:
    """A pool of connections, shared by the threads of a process.

    What was read on a connection that broke is read again on another. A write is begun on another, and
    never repeated once it has begun.

    Args:
        address: Which gallery.
        binding: What a new gallery is bound to; `None` opens one that is there.
        settings: How long to wait, and what is expected of the server.

    Raises:
        GalleryError: The server cannot be reached or refuses, or the gallery is missing or foreign.
        MissingDependencyError: psycopg or pgvector is not installed.
    """

    def __init__(self, address: Address, *, binding: Binding | None, settings: PostgresSettings) -> None:
        """Looks at the server, and creates the gallery where it is missing and a binding is given."""
        self.address = address
        self.bound: int | None = None
        self.settings = settings
        self._psycopg = require("psycopg", extra="pgvector")
        self._adapters = require("pgvector.psycopg", extra="pgvector")
        pools = require("psycopg_pool", extra="pgvector")
        self._closed = pools.PoolClosed
        with self._errors(), self.alone(settled=False) as connection:
            self.created = prepare(connection, address, binding, settings)
        # What the pool has to say of a lost connection, the call that meets it says in one sentence.
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
        """Closes the connections; closing twice is no error."""
        self._pool.close()

    def read(self, body: Callable[[Session], Answer]) -> Answer:
        """Runs statements on one state of the gallery; on another connection again where one broke."""
        return self._run(_READ, body, again=True)

    def write(self, body: Callable[[Session], Answer]) -> Answer:
        """Runs statements in a transaction that is on the server's disk when it ends.

        Raises:
            GalleryError: Nothing was written; or the connection broke at the very end, so that it is
                unknown whether all of it was written or nothing.
        """
        return self._run(_WRITE, body, again=False)

    @contextmanager
    def alone(self, *, settled: bool = True) -> Iterator[Connection[Any]]:
        """A connection of its own, outside of any transaction."""
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
        """Runs a transaction; on another connection where one broke before it began, or is to run again."""
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
            broke = f"the connection to the gallery {self.address.shown} broke while the last write was being"
            raise GalleryError(f"{broke} confirmed: it was written or not; repeat it") from error

    def _configure(self, connection: Connection[Any]) -> None:
        json = require("psycopg.types.json", extra="pgvector")
        settle(connection, self.address.schema)
        self._limit(connection)
        self._adapters.register_vector(connection)
        for name in ("vector", "halfvec"):
            connection.adapters.register_loader(name, _numbers_loader())
        # Metadata is text on this side already.
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
        """Turns errors of the server into a `GalleryError`."""
        try:
            yield
        except self._closed:
            raise GalleryError(f"the gallery {self.address.shown} is closed: open it again") from None
        except self._psycopg.Error as error:
            if type(error).__name__ == "PoolTimeout":
                raise self._no_connection() from None
            raise explain(error, self.address.shown, self.settings.wait) from error

    def _no_connection(self) -> GalleryError:
        """Says why the pool had no connection to give, which only another attempt can tell."""
        try:
            self._psycopg.connect(self.address.connection).close()
        except self._psycopg.Error as error:
            return unreachable(error, self.address.shown)
        many = f"more than {self.settings.connections} threads use the gallery {self.address.shown} at once"
        return GalleryError(f"{many}, and none finished within {self.settings.reconnect:g} s: use fewer")


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else bytes(data).decode()


def _numbers_loader() -> Any:
    """Hands out the numbers of an embedding as the bytes they came in, to be read for many rows at once."""
    adapt = require("psycopg.adapt", extra="pgvector")
    pq = require("psycopg.pq", extra="pgvector")

    class Numbers(adapt.Loader):  # type: ignore[misc, name-defined]
        format = pq.Format.BINARY

        def load(self, data: Any) -> bytes:
            return bytes(data)[4:]

    return Numbers
