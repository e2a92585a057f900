"""What a SQL store needs of its database, and how the binding of a gallery is kept in it: twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

from trine.errors import GalleryError
from trine.gallery.store import Binding, sealed, unsealed

Answer = TypeVar("Answer")

INTERNAL = "trine:"
"""The prefix of internal notes, which users do not see."""

BOUND = f"{INTERNAL}binding"
"""The note that holds a copy of the table `gallery`, with a digest."""

NOTE = "INSERT INTO notes VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class Session(Protocol):
    """One transaction. Placeholders are `%s` for every database."""

    @property
    def stamp(self) -> int:
        """The revision that is read or written."""

    @property
    def bound(self) -> int:
        """The number of times the gallery was rebuilt with another encoder."""

    def run(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Runs one statement and returns its cursor."""

    def many(self, statement: str, values: Iterable[tuple[Any, ...]]) -> int:
        """Runs one statement for each row of values; returns the number of rows changed."""


class Database(Protocol):
    """Opens sessions."""

    bound: int | None
    """`Session.bound` at the time of opening; `None` for no check."""

    def read(self, body: Callable[[Any], Answer]) -> Answer:
        """Runs `body` on a consistent snapshot of the gallery."""

    def write(self, body: Callable[[Any], Answer]) -> Answer:
        """Runs `body` in a durable transaction."""

    def close(self) -> None:
        """Closes the connections; safe to call twice."""


def restore_binding(database: Database, address: str) -> str:
    """Restores what a gallery is bound to from the copy of it, and says so.

    Raises:
        GalleryError: There is no sound copy, or it was not damaged.
    """

    def body(session: Session) -> str:
        texts, copy = bound_twice(session)
        if copy is None or copy == texts:
            raise GalleryError(
                f"what the gallery {address} is bound to cannot be restored, because it has no sound copy of "
                "that: restore the gallery from a backup"
            )
        Binding.from_texts(copy, address)
        bind_to(session, copy)
        names = sorted(str(name) for name in texts.keys() | copy if texts.get(name) != copy.get(name))
        return f"what the gallery is bound to was restored from its copy: {', '.join(names)}"

    return database.write(body)


def copy_of_binding(session: Session) -> Literal["sound", "damaged", "missing"]:
    """Returns the state of the copy of a gallery's binding; galleries of an older trine have none."""
    row = session.run("SELECT value FROM notes WHERE name = %s", (BOUND,)).fetchone()
    if row is None:
        return "missing"
    return "damaged" if unsealed(row[0]) is None else "sound"


def bind_to(session: Session, texts: Mapping[str, str]) -> None:
    """Writes what a gallery is bound to, and its copy."""
    session.run("DELETE FROM gallery")
    session.many("INSERT INTO gallery VALUES (%s, %s)", list(texts.items()))
    session.run(NOTE, (BOUND, sealed(texts)))


def bound_twice(session: Session) -> tuple[dict[str, str], dict[str, str] | None]:
    """Returns what the table `gallery` says, and its copy: `None` if there is none, or if it is damaged."""
    texts = dict(session.run("SELECT name, value FROM gallery").fetchall())
    row = session.run("SELECT value FROM notes WHERE name = %s", (BOUND,)).fetchone()
    return texts, None if row is None else unsealed(row[0])
