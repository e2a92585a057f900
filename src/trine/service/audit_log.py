"""The log of changes: who changed what. A forgotten name is taken out of it, too."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from trine.service.state import State

FORGOTTEN = "(forgotten)"
"""What stands in place of a forgotten name."""

NAMES_SHOWN = 20
"""How many items of a change are named."""


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        number: Its number, ascending.
        at: When, in seconds since 1970.
        who: The name of the key; "local" without keys.
        gallery: The gallery.
        action: What was done, such as "enrol".
        details: The names and counts that belong to it.
    """

    number: int
    at: float
    who: str
    gallery: str
    action: str
    details: Mapping[str, Any]


class AuditLog:
    """The log of changes of a service."""

    def __init__(self, state: State) -> None:
        """Takes the service's own file."""
        self._state = state

    def add(self, who: str, gallery: str, action: str, **details: Any) -> None:
        """Adds a change; of many items the first ones are named."""
        if "items" in details:
            items = list(details["items"])
            details |= {"items": items[:NAMES_SHOWN], "count": len(items)}
        values = (time.time(), who, gallery, action, json.dumps(details))
        insert = "INSERT INTO changes (at, who, gallery, action, details) VALUES (?, ?, ?, ?, ?)"
        self._state.changed(insert, values)

    def page(
        self, *, gallery: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Change]:
        """Returns changes, the latest first.

        Args:
            gallery: Only those of one gallery.
            before: Only those with a smaller number: the last of the page before.
            limit: How many at most.
        """
        rows = self._state.rows(
            "SELECT number, at, who, gallery, action, details FROM changes"
            " WHERE (? IS NULL OR gallery = ?) AND (? IS NULL OR number < ?) ORDER BY number DESC LIMIT ?",
            (gallery, gallery, before, before, limit),
        )
        return [
            Change(number, at, who, held, action, json.loads(details))
            for number, at, who, held, action, details in rows
        ]

    def forget(self, gallery: str, names: Collection[str]) -> None:
        """Takes an identity and its items out of the log; those it was called earlier, too.

        Args:
            gallery: The gallery.
            names: The identity and the names of its items.
        """
        gone = set(names)
        rows = self._state.rows(
            "SELECT number, action, details FROM changes WHERE gallery = ? ORDER BY number DESC", (gallery,)
        )
        # Items of theirs that were removed since are known from their enrolment, which comes last here.
        earlier = set(names)
        for _, action, text in rows:
            details = json.loads(text)
            earlier |= _names_before(action, details, earlier)
            if action == "enrol" and earlier.issuperset(details.get("identities", ())):
                gone.update(details.get("items", ()))
        changed = []
        for number, action, text in rows:
            details = json.loads(text)
            gone |= _names_before(action, details, gone)
            cleaned = _without(details, gone)
            if cleaned != details:
                changed.append((json.dumps(cleaned), number))
        with self._state.transaction():
            for values in changed:
                self._state.changed("UPDATE changes SET details = ? WHERE number = ?", values)


def _names_before(action: str, details: Mapping[str, Any], names: Collection[str]) -> set[str]:
    """The name that an identity had before a change."""
    if action == "rename" and details.get("to") in names:
        return {details["identity"]}
    if action == "merge" and details.get("identity") in names:
        return {details["other"]}
    return set()


def _without(value: Any, names: Collection[str]) -> Any:
    if isinstance(value, str):
        return FORGOTTEN if value in names else value
    if isinstance(value, list):
        return [_without(each, names) for each in value]
    if isinstance(value, dict):
        return {key: _without(each, names) for key, each in value.items()}
    return value
