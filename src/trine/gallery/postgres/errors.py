"""What an error of a PostgreSQL server means for a gallery, in one sentence."""

from __future__ import annotations

import re

from trine.errors import GalleryError

_CONNECTING = [
    (r"password authentication failed|no password supplied", "does not accept the user or the password"),
    (r"no pg_hba\.conf entry", "does not let this user in from here (its pg_hba.conf)"),
    (r'role ".*" does not exist', "has no such user"),
    (r'database ".*" does not exist', "has no database of that name; create it with: createdb"),
    (r"permission denied for database", "does not let the user into this database"),
    (r"too many (clients|connections)|remaining connection slots", "has no connection left; try again"),
    (r"starting up|shutting down|recovery", "is starting or stopping; try again in a moment"),
    (r"translate host name|name or service|name resolution", "is not found by its host name"),
    (r"timeout|timed out", "does not answer in time"),
    (r"SSL|certificate", "does not agree on how to encrypt the connection (sslmode=)"),
    (
        r"refused|No such file|unreachable|closed the connection|reset by peer",
        "cannot be reached; check that it is running, and its host and port",
    ),
]
"""What libpq writes, in English, when there is no connection; it hands out no code for it."""

_LOST = {"57P01", "57P02", "57P03"}
"""The server stops, has crashed, or cannot be used yet."""

_MEANINGS = {
    "53100": "the disk of its server is full: nothing of this call was written; make room and try again",
    "53200": "its server is out of memory: nothing of this call was written; try fewer items at once",
    "57014": "a call took longer than the statement_timeout of the server: nothing of it was written; raise "
    "it, or do less at once",
    "42501": "its user lacks the permission: nothing was written; ask the owner of the database for it",
    "25006": "it is read-only, as a standby server is: nothing was written; give the address of the primary",
    "22P05": "PostgreSQL cannot store NUL characters: nothing of this call was written; remove them from the "
    "metadata",
    "22003": "a number is too large for the column or index it goes into: nothing of this call was written; "
    "scale the embeddings",
    "54000": "a name or a value is too large for PostgreSQL: nothing of this call was written; shorten it",
    "42P01": "its tables were dropped from the database: restore them from a backup",
    "3F000": "its schema was dropped from the database: restore it from a backup",
}


def explain(error: Exception, shown: str, wait: float) -> GalleryError:
    """Says in one sentence what an error of the server means for the gallery and what to do.

    Args:
        error: An error of psycopg.
        shown: The address of the gallery, without its password.
        wait: Seconds that a call waits for a lock.
    """
    code = _code(error)
    if code == "55P03":
        return GalleryError(
            f"the gallery {shown} was locked by another process for more than {wait:g} s: nothing was "
            f"written; try again when that process has finished"
        )
    if code in ("40001", "40P01"):
        return GalleryError(
            f"the gallery {shown} was being changed by another process in a way that forbids this call: "
            f"nothing of it was written; try again"
        )
    if code in ("XX000", "XX001", "XX002"):
        return GalleryError(
            f"the gallery {shown} may be damaged ({_brief(error)}): see the server's log, and restore "
            f"it from a backup"
        )
    if code in _MEANINGS:
        return GalleryError(f"the gallery {shown} could not be used, since {_MEANINGS[code]}")
    if lost(error):
        return unreachable(error, shown)
    return GalleryError(
        f"the gallery {shown} could not be used ({_brief(error)}): nothing of this call was written; see "
        f"the server's log"
    )


def unreachable(error: Exception, shown: str) -> GalleryError:
    """Says why there is no connection to the server."""
    for pattern, meaning in _CONNECTING:
        if re.search(pattern, str(error), re.IGNORECASE):
            return GalleryError(f"the server of the gallery {shown} {meaning}")
    return GalleryError(
        f"the server of the gallery {shown} cannot be reached ({_brief(error)}): check that it is running "
        f"and that the address is right"
    )


def lost(error: Exception) -> bool:
    """Says whether an error means that the connection is gone, rather than that the server refused."""
    code = _code(error)
    if code:
        return code in _LOST or code.startswith("08")
    return type(error).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout")


def _code(error: Exception) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
