"""The address of a gallery on a PostgreSQL server: parameters of the server and of trine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, quote

from trine.errors import InputError, nearest, require

SCHEMES = ("postgresql", "postgres")

_DEFAULTS = {
    "application_name": "trine",
    "client_encoding": "utf8",
    "connect_timeout": "10",
    # Give up on an unresponsive server after about a minute.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


@dataclass(frozen=True)
class Address:
    """Where a gallery is, read from `postgresql://user:password@host:port/database?gallery=people`.

    Besides the parameters of PostgreSQL itself (sslmode, connect_timeout, ...), trine has two:
    `gallery`, the name of the gallery in its database, and `search`, `"approximate"` or `"exact"`.

    Attributes:
        connection: The connection parameters, including the password.
        shown: The address for messages, without the password.
        gallery: The name of the gallery in its database.
        exact: Whether every search is exact.
    """

    connection: str = field(repr=False)
    shown: str
    gallery: str = "gallery"
    exact: bool = False

    @property
    def schema(self) -> str:
        """The schema of the database that holds the tables of the gallery."""
        return f"trine_{self.gallery}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads an address.

        Raises:
            InputError: It is malformed, or a parameter is unknown.
            MissingDependencyError: psycopg is not installed.

        Example:
            >>> address = Address.parse("postgresql://ann:secret@db.example.org/vision?gallery=people")
            >>> address.shown, address.schema
            ('postgresql://ann@db.example.org/vision?gallery=people', 'trine_people')
        """
        psycopg = require("psycopg", extra="pgvector")
        place, _, query = text.partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        ours = {name: given[name] for name in ("gallery", "search") if name in given}
        theirs = [pair for pair in query.split("&") if pair and pair.partition("=")[0] not in ours]
        # Errors below neither chain nor quote the address, which may contain the password.
        if "@" in place.partition("://")[2].partition("/")[2]:
            raise InputError(_UNREADABLE)
        try:
            parts = psycopg.conninfo.conninfo_to_dict("?".join([place, "&".join(theirs)]).rstrip("?"))
        except psycopg.Error as error:
            unknown = re.search(r'invalid URI query parameter: "(\w+)"', str(error))
            if unknown is None:
                raise InputError(_UNREADABLE) from None
            known = ("gallery", "search", "sslmode", "connect_timeout", "host", "port", "user")
            raise InputError(f"unknown parameter {unknown[1]!r}: {nearest(unknown[1], known)}") from None
        if not re.fullmatch(r"[\d,]*", str(parts.get("port", ""))):
            raise InputError(_UNREADABLE)
        gallery, search = _gallery(ours.get("gallery", "gallery")), ours.get("search", "approximate")
        if search not in ("approximate", "exact"):
            raise InputError(f"unknown search {search!r}: {nearest(search, ('approximate', 'exact'))}")
        connection = psycopg.conninfo.make_conninfo(**{**_DEFAULTS, **parts})
        return cls(connection, _shown(parts, gallery), gallery, search == "exact")


_UNREADABLE = (
    "invalid gallery address: write postgresql://user:password@host:port/database"
    "?gallery=name, and encode @ / : % in a name or a password as %40, %2F, %3A and %25"
)


def _gallery(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,57}", name):
        raise InputError(
            f"the name of a gallery must be 1 to 57 letters, digits, - or _, given {name[:80]!r}"
        )
    return name


def _shown(parts: dict[str, str], gallery: str) -> str:
    user, host, port = (str(parts.get(name, "")) for name in ("user", "host", "port"))
    place = f"{quote(user)}@" if user else ""
    more = [f"gallery={gallery}"]
    if host.startswith("/"):
        more.insert(0, f"host={host}")
        host = ""
    return (
        f"postgresql://{place}{host}{f':{port}' if port else ''}/{quote(str(parts.get('dbname', '')))}"
        f"?{'&'.join(more)}"
    )
