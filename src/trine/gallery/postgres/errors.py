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

_UNWRITTEN = "nothing of this call was written"
_BROKEN = "may be damaged ({error}): see the server's log, and restore it from a backup"
_CONFLICT = f"was changed by another process in a conflicting way: {_UNWRITTEN}; try again"

_MEANINGS = {
    "55P03": f"was locked by another process for more than {{wait:g}} s: {_UNWRITTEN}; try again later",
    "40001": _CONFLICT,
    "40P01": _CONFLICT,
    "XX000": _BROKEN,
    "XX001": _BROKEN,
    "XX002": _BROKEN,
    "53100": f"could not be used: the disk of its server is full; {_UNWRITTEN}; make room and try again",
    "53200": f"could not be used: its server is out of memory; {_UNWRITTEN}; try fewer items at once",
    "57014": f"could not be used: a call took longer than the server's statement_timeout; {_UNWRITTEN}",
    "42501": f"could not be used: its user lacks the permission; {_UNWRITTEN}; ask the owner for it",
    "25006": f"is read-only, as a standby server is: {_UNWRITTEN}; give the address of the primary",
    "22P05": f"could not be used: PostgreSQL cannot store NUL characters; {_UNWRITTEN}",
    "22003": f"could not be used: a number is too large for its column or index; {_UNWRITTEN}",
    "54000": f"could not be used: a name or a value is too large for PostgreSQL; {_UNWRITTEN}",
    "42P01": "could not be used: its tables were dropped from the database; restore them from a backup",
    "3F000": "could not be used: its schema was dropped from the database; restore it from a backup",
}


def explain(error: Exception, shown: str, wait: float) -> GalleryError:
    """Says in one sentence what an error of the server means for the gallery and what to do.

    Args:
        error: An error of psycopg.
        shown: The address of the gallery, without its password.
        wait: Seconds that a call waits for a lock.
    """
    code = _code(error)
    if code in _MEANINGS:
        return GalleryError(f"the gallery {shown} {_MEANINGS[code].format(wait=wait, error=_brief(error))}")
    if lost(error):
        return unreachable(error, shown)
    return GalleryError(
        f"the gallery {shown} could not be used ({_brief(error)}): {_UNWRITTEN}; see the server's log"
    )


def unreachable(error: Exception, shown: str) -> GalleryError:
    """Says why there is no connection to the server."""
    for pattern, meaning in _CONNECTING:
        if re.search(pattern, str(error), re.IGNORECASE):
            return GalleryError(f"the server of the gallery {shown} {meaning}")
    return GalleryError(
        f"the server of the gallery {shown} cannot be reached ({_brief(error)}): check its address"
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
