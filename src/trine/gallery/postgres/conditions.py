"""The scope of a search as a SQL condition, with the semantics of `trine.gallery.filters`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from trine.errors import require
from trine.gallery.filters import Among, Between, Typed
from trine.gallery.store import Scope


def condition(scope: Scope) -> tuple[str, dict[str, Any]]:
    """Returns the condition for items in the scope, and its parameters by name."""
    parts: list[str] = []
    values: dict[str, Any] = {}
    whose = "(SELECT id FROM identities WHERE name = ANY(%({name})s))"
    if scope.only is not None:
        parts.append(f"identity = ANY(ARRAY{whose.format(name='only')})")
        values["only"] = possible(scope.only)
    if scope.without:
        parts.append(f"identity <> ALL(ARRAY{whose.format(name='without')})")
        values["without"] = possible(scope.without)
    if scope.exclude:
        parts.append("item <> ALL(%(exclude)s)")
        values["exclude"] = possible(scope.exclude)
    for number, one in enumerate(scope.where.conditions):
        if "\0" in one.key:
            return "false", {}
        value = f"metadata -> %(key{number})s"
        text, more = (_among if isinstance(one, Among) else _between)(one, value, number)  # type: ignore[arg-type]
        parts.append(text)
        values |= {f"key{number}": one.key, **more}
    return " AND ".join(f"({part})" for part in parts) or "true", values


def possible(values: Iterable[Any]) -> list[Any]:
    """Returns the values that PostgreSQL can store: strings must be valid Unicode without NUL."""
    return [value for value in values if not isinstance(value, str) or _possible(value)]


def _possible(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _among(one: Among, value: str, number: int) -> tuple[str, dict[str, Any]]:
    numbers = [_exact(wanted) for kind, wanted in one.values if kind == "number"]
    others = [_json(typed) for typed in one.values if typed[0] != "number" and _possible(str(typed[1]))]
    parts, values = ["false"], {}
    if others:
        parts.append(f"{value} = ANY(%(others{number})s)")
        values[f"others{number}"] = others
    if numbers:
        parts.append(_of("number", value, f"({value})::numeric = ANY(%(numbers{number})s)"))
        values[f"numbers{number}"] = numbers
    return " OR ".join(parts), values


def _between(one: Between, value: str, number: int) -> tuple[str, dict[str, Any]]:
    given = f"({value})::numeric" if one.kind == "number" else f"({value} #>> '{{}}') COLLATE \"C\""
    parts, values = [], {}
    for name, sign, end in (("low", ">=", one.low), ("high", "<=", one.high)):
        if end is not None:
            if isinstance(end, str) and "\0" in end:
                # No stored string contains a NUL, so comparing with the part before the NUL is enough.
                end, sign = end.partition("\0")[0], ">" if name == "low" else "<="
            parts.append(f"{given} {sign} %({name}{number})s")
            values[f"{name}{number}"] = end if isinstance(end, str) else _exact(end)
    return _of("number" if one.kind == "number" else "string", value, " AND ".join(parts)), values


def _of(kind: str, value: str, condition: str) -> str:
    """Evaluates a condition only for values of its type."""
    return f"CASE jsonb_typeof({value}) WHEN '{kind}' THEN {condition} ELSE false END"


def _exact(number: Any) -> Decimal:
    """A number with all its digits; of a float those that JSON writes."""
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))


def _json(typed: Typed) -> Any:
    return require("psycopg.types.json", extra="pgvector").Jsonb(json.dumps(typed[1]))
