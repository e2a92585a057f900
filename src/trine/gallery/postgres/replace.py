"""Puts one gallery of a database in another's place."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trine.errors import Argument, GalleryError, require
from trine.gallery.postgres.address import Address
from trine.gallery.postgres.errors import explain, unreachable
from trine.gallery.postgres.settings import PostgresSettings

if TYPE_CHECKING:
    from psycopg import Connection

LONGEST = 57
"""The longest name of a gallery."""


def unfinished(address: Address) -> Address:
    """Returns the address at which a gallery is built before it is put in place."""
    return replace(address, gallery=f"{address.gallery[: LONGEST - 11]}_unfinished")


def drop(address: Address) -> None:
    """Drops a gallery, if it exists."""
    with _connected(address) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{address.schema}" CASCADE'.encode())


def check_free(address: Address) -> None:
    """Raises an error if a gallery exists."""
    with _connected(address) as connection:
        if connection.execute("SELECT to_regnamespace(%s)", (f'"{address.schema}"',)).fetchone() != (None,):
            raise _exists(address)


def put_in_place(built: Address, address: Address, *, overwrite: bool) -> Address | None:
    """Gives a gallery another name, in one transaction; returns where the one of that name is kept now.

    Raises:
        GalleryError: There is one of that name, and `overwrite` is not set; or the user may not rename it.
    """
    stamp = time.strftime("_%Y%m%d%H%M%S")
    kept = replace(address, gallery=f"{address.gallery[: LONGEST - len(stamp)]}{stamp}")
    errors = require("psycopg", extra="pgvector")
    with _connected(address) as connection:
        try:
            with connection.transaction():
                wait = f"{PostgresSettings().wait:.0f}s"
                connection.execute("SELECT set_config('lock_timeout', %s, true)", (wait,))
                query = "SELECT to_regnamespace(%s)"
                there = connection.execute(query, (f'"{address.schema}"',)).fetchone() != (None,)
                if there and not overwrite:
                    raise _exists(address)
                if there:
                    # Waits for those who write. Whoever has the old gallery open must open it again.
                    old, new = (f'"{of.schema}".state' for of in (address, built))
                    connection.execute(f"UPDATE {old} SET bound = bound + 1".encode())
                    connection.execute(f"UPDATE {new} SET bound = (SELECT bound FROM {old})".encode())
                    connection.execute(_rename(address, kept))
                connection.execute(_rename(built, address))
        except errors.Error as error:
            raise explain(error, address.shown, PostgresSettings().wait) from error
    return kept if there else None


def _rename(address: Address, to: Address) -> bytes:
    return f'ALTER SCHEMA "{address.schema}" RENAME TO "{to.schema}"'.encode()


def _exists(address: Address) -> GalleryError:
    hint = ("choose another name, or pass ", Argument("overwrite", True))
    return GalleryError(f"the gallery {address.shown} exists already: ", *hint)


def _connected(address: Address) -> Connection[Any]:
    psycopg = require("psycopg", extra="pgvector")
    try:
        connected: Connection[Any] = psycopg.connect(address.connection, autocommit=True)
    except psycopg.Error as error:
        raise unreachable(error, address.shown) from None
    return connected
