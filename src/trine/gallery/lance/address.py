"""The address of a gallery in LanceDB's tables: a folder, or a bucket of an object store."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl

from trine.errors import InputError, nearest

SCHEMES = ("lance", "s3")


@dataclass(frozen=True)
class Address:
    """Where a gallery is, read from `lance:///shared/people` or `s3://bucket/people`.

    Credentials of an object store come from the environment (`AWS_ACCESS_KEY_ID`, ...), never from here.

    Attributes:
        place: The folder, or the URL in the object store.
        exact: Whether every search is exact (`?search=exact`), however large the gallery is.
    """

    place: str
    exact: bool = False

    @property
    def folder(self) -> Path | None:
        """The folder; `None` in an object store."""
        return None if self.place.startswith("s3://") else Path(self.place)

    @property
    def shown(self) -> str:
        """The address for messages."""
        return self.place if self.folder is None else f"lance://{self.place}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads an address.

        Raises:
            InputError: It is malformed, or a parameter is unknown.

        Example:
            >>> Address.parse("lance:///shared/people").shown, Address.parse("s3://bucket/people/").place
            ('lance:///shared/people', 's3://bucket/people')
            >>> Address.parse("lance:///shared/people?search=exact").exact
            True
        """
        scheme, _, rest = text.partition("://")
        place, _, query = rest.partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        search = given.pop("search", "approximate")
        if given:
            unknown = next(iter(given))
            raise InputError(f"unknown parameter {unknown[:40]!r}: {nearest(unknown, ('search',))}")
        if search not in ("approximate", "exact"):
            raise InputError(f"unknown search {search!r}: {nearest(search, ('approximate', 'exact'))}")
        if scheme == "lance":
            if not place.strip("/"):
                raise InputError("invalid gallery address: write lance:///folder, given no folder")
            return cls(str(Path(place).expanduser().absolute()), search == "exact")
        # The address is not quoted, because a password may be in it.
        if "@" in place:
            raise InputError(
                "invalid gallery address: write s3://bucket/name, and put the keys in the environment "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
            )
        if not re.fullmatch(r"[^/]+(/[^/]+)+", place.rstrip("/")):
            raise InputError("invalid gallery address: write s3://bucket/name, with a name after the bucket")
        return cls(f"s3://{place.rstrip('/')}", search == "exact")

    def beside(self, suffix: str) -> Self:
        """Returns the address of another gallery beside this one."""
        return replace(self, place=self.place + suffix)
