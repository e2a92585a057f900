"""Explains errors of a PostgreSQL server in one sentence."""

from __future__ import annotations

import re

from trine.errors import GalleryError
from trine.gallery.errors import UnusableStoreError

_CONNECTING = [
    (r"password authentication failed|no password supplied", "does not accept the user or the password"),
    (r"no pg_hba\.conf entry", "does not allow this user to connect from here (see its pg_hba.conf)"),
    (r'role ".*" does not exist', "has no such user"),
    (r'database ".*" does not exist', "has no database of that name; create it with: createdb"),
    (r"permission denied for database", "does not allow the user to connect to this database"),
    (r"too many (clients|connections)|remaining connection slots", "has no connection left; try again"),
    (r"starting up|shutting down|recovery", "is starting or stopping; try again in a moment"),
    (r"translate host name|name or service|name resolution", "cannot be found by its host name"),
    (r"timeout|timed out", "did not answer in time"),
    (r"SSL|certificate", "cannot agree on the encryption of the connection (sslmode=)"),
    (
        r"refused|No such file|unreachable|closed the connection|reset by peer",
        "cannot be reached; check that it is running, and its host and port",
    ),
]
"""Messages of libpq for a failed connection, which has no error code."""

_LOST = {"57P01", "57P02", "57P03"}
"""The server is stopping, has crashed, or is not ready yet."""

_REFUSED = {"40001", "40P01", "22P05", "22003", "54000"}
"""One call cannot be done as it is; others can."""

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
    "53100": f"could not be used: the disk of its server is full; {_UNWRITTEN}; free space and try again",
    "53200": f"could not be used: its server is out of memory; {_UNWRITTEN}; try fewer items at once",
    "57014": f"could not be used: a call took longer than the server's statement_timeout; {_UNWRITTEN}",
    "42501": f"could not be used: its user lacks the privilege; {_UNWRITTEN}; ask the owner to grant it",
    "25006": f"is read-only, like a standby server: {_UNWRITTEN}; use the address of the primary",
    "22P05": f"could not be used: PostgreSQL cannot store NUL characters; {_UNWRITTEN}",
    "22003": f"could not be used: a number is too large for its column or index; {_UNWRITTEN}",
    "54000": f"could not be used: a name or a value is too large for PostgreSQL; {_UNWRITTEN}",
    "42703": "is damaged: one of its columns was dropped ({error}); restore it from a backup",
    "42P01": "could not be used: its tables were dropped from the database; restore them from a backup",
    "3F000": "could not be used: its schema was dropped from the database; restore it from a backup",
}


def explain(error: Exception, shown: str, wait: float) -> GalleryError:
    """Explains an error of the server and what to do, in one sentence.

    Args:
        error: An error of psycopg.
        shown: The address of the gallery, without its password.
        wait: The lock timeout in seconds.
    """
    code = _code(error)
    if code in _MEANINGS:
        kind = GalleryError if code in _REFUSED else UnusableStoreError
        return kind(f"the gallery {shown} {_MEANINGS[code].format(wait=wait, error=_brief(error))}")
    if lost(error):
        return unreachable(error, shown)
    return UnusableStoreError(
        f"the gallery {shown} could not be used ({_brief(error)}): {_UNWRITTEN}; see the server's log"
    )


def unreachable(error: Exception, shown: str) -> GalleryError:
    """Explains why the server cannot be reached."""
    for pattern, meaning in _CONNECTING:
        if re.search(pattern, str(error), re.IGNORECASE):
            return UnusableStoreError(f"the server of the gallery {shown} {meaning}")
    return UnusableStoreError(
        f"the server of the gallery {shown} cannot be reached ({_brief(error)}): check its address"
    )


def lost(error: Exception) -> bool:
    """Returns whether an error means that the connection was lost, rather than a refusal."""
    code = _code(error)
    if code:
        return code in _LOST or code.startswith("08")
    return type(error).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout")


def _code(error: Exception) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
