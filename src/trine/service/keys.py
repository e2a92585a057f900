"""Keys of a service: made, listed and revoked; only their digests are stored.

A key is `trine-ID-SECRET` with a secret of 256 random bits, so a plain SHA-256 protects it: there is nothing
to guess that a slow hash would slow down.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from trine.errors import InputError, check_choice
from trine.service.state import State

Scope = Literal["read", "write", "pictures"]
"""What a key allows: to ask, to change, to see pictures."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "trine"
_NEEDED = "keys"


@dataclass(frozen=True)
class Caller:
    """Who sends a request, and what they may do.

    Attributes:
        name: The name of the key; "local" without keys.
        scopes: What they may do.
        galleries: The galleries they may use; None for all.
    """

    name: str
    scopes: frozenset[Scope]
    galleries: frozenset[str] | None = None

    def may(self, scope: Scope) -> bool:
        """Whether they may do this."""
        return scope in self.scopes

    def may_use(self, gallery: str) -> bool:
        """Whether they may use a gallery."""
        return self.galleries is None or gallery in self.galleries


LOCAL = Caller("local", frozenset(SCOPES))
"""Who uses a service that only this machine reaches and that has no keys."""


@dataclass(frozen=True)
class Key:
    """A key as it is listed: without its secret.

    Attributes:
        name: Its name.
        scopes: What it allows.
        galleries: The galleries it is for; None for all.
        made: When it was made, in seconds since 1970.
    """

    name: str
    scopes: tuple[Scope, ...]
    galleries: tuple[str, ...] | None
    made: float


class Keys:
    """The keys of a service."""

    def __init__(self, state: State) -> None:
        """Takes the service's own file."""
        self._state = state

    def add(self, name: str, scopes: Sequence[Scope] = ("read",), galleries: Sequence[str] = ()) -> str:
        """Makes a key.

        Args:
            name: Its name, which the log of changes shows; unique.
            scopes: What it allows; "write" and "pictures" include "read".
            galleries: The galleries it is for; empty for all.

        Returns:
            The key. It is not stored: whoever loses it makes another.

        Raises:
            InputError: The name is empty or taken, or a scope is unknown.
        """
        check_key(name, scopes)
        held = tuple(scope for scope in SCOPES if scope in {"read", *scopes})
        number, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        key = f"{_PREFIX}-{number}-{secret}"
        only = json.dumps(sorted(galleries)) if galleries else None
        values = (name, number, _digest(key), json.dumps(held), only, time.time())
        insert = "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING"
        with self._state.transaction():
            made = self._state.changed(insert, values)
            self._state.changed("INSERT OR REPLACE INTO notes VALUES (?, '')", (_NEEDED,))
        if made < 1:
            raise InputError(
                f"there is a key named {name!r} already: revoke it first, or choose another name"
            )
        return key

    def revoke(self, name: str) -> None:
        """Deletes a key; requests with it are refused from now on.

        Raises:
            InputError: There is no such key.
        """
        if not self._state.changed("DELETE FROM keys WHERE name = ?", (name,)):
            known = ", ".join(repr(key.name) for key in self.all()) or "none"
            raise InputError(f"there is no key named {name[:100]!r}; there are: {known}")

    def all(self) -> list[Key]:
        """Returns the keys, in order of their names."""
        rows = self._state.rows("SELECT name, scopes, galleries, made FROM keys ORDER BY name")
        return [
            Key(name, tuple(json.loads(scopes)), None if only is None else tuple(json.loads(only)), made)
            for name, scopes, only, made in rows
        ]

    @property
    def are_needed(self) -> bool:
        """Whether there ever was a key: revoking the last one must not open the service to all."""
        return bool(self._state.looked_up("SELECT 1 FROM notes WHERE name = ?", (_NEEDED,)))

    def __len__(self) -> int:
        return int(self._state.rows("SELECT count(*) FROM keys")[0][0])

    def caller(self, key: str) -> Caller | None:
        """Returns who holds a key; None if it is not a key of this service."""
        parts = key.split("-", 2)
        number = parts[1] if len(parts) == 3 and key.isascii() else ""
        query = "SELECT name, digest, scopes, galleries FROM keys WHERE id = ?"
        rows = self._state.looked_up(query, (number,))
        name, digest, scopes, only = rows[0] if rows else ("", bytes(32), "[]", None)
        # Compared even without a row, so that the time tells nothing about which IDs exist.
        if not hmac.compare_digest(digest, _digest(key)) or not rows:
            return None
        held = frozenset(json.loads(scopes))
        return Caller(name, held, None if only is None else frozenset(json.loads(only)))


def check_key(name: str, scopes: Sequence[str]) -> None:
    """Checks the name and the scopes of a new key.

    Raises:
        InputError: The name is empty, too long or not printable, or a scope is unknown.
    """
    if not name or not name.isprintable() or len(name) > 100:
        raise InputError(f"a key needs a printable name of at most 100 characters, given {name[:100]!r}")
    for scope in scopes:
        check_choice("scope", scope, SCOPES)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
