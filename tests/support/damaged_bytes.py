"""Random damage: bits, cuts, pages swapped, zeroed or doubled, and values of JSON that do not fit."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAGE = 4096
"""The size of a page of SQLite; files below two of them are damaged in eighths."""

HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 7, 10**400, 1e308, -0.5, float("nan"), float("inf"), 2**63, 5_000_000),
    *(
        "",
        "x",
        "\0",
        "../../etc/passwd",
        "\x1b[2K",
        "a" * 5000,
        "\ud800",
        [],
        {},
        [[]],
        [0] * 50,
        {"a": {"b": 1}},
    ),
)
"""Values that take the place of a value of JSON."""

CELLS: tuple[Any, ...] = (
    *(
        None,
        -1,
        0,
        7,
        5_000_000,
        2**63 - 1,
        1e308,
        -0.5,
        "",
        "x",
        "\0",
        "\x1b[2K",
        "a" * 5000,
        "[]",
        "{}",
        "NaN",
    ),
    *(
        "[" * 3000 + "]" * 3000,
        '{"a":' * 3000 + "1" + "}" * 3000,
        "1" + "0" * 400,
        "1e400",
        b"",
        b"\xff" * 40,
    ),
)
"""Values that take the place of a cell of a gallery."""


def damage(path: Path, rng: random.Random) -> str:
    """Changes a file at random; returns how, in words.

    Args:
        path: The file; a gallery may also get a cell that does not fit, a file of JSON such a value.
        rng: Draws the change.
    """
    ways: list[Callable[[Path, random.Random], str]] = [_bits, _bits, _cut, _swap, _zero, _double]
    if path.suffix == ".json":
        ways += [_value, _value, _value, _nest]
    if path.suffix == ".db":
        ways += [_cell, _cell]
    return rng.choice(ways)(path, rng)


def _bits(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    count = rng.choice((1, 1, 2, 4, 8, 16, 64))
    # Half of the time near the start, where the header is.
    most = len(content) if rng.random() < 0.5 else min(len(content), 400)
    for _ in range(count if most else 0):
        content[rng.randrange(most)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"{count} bits flipped"


def _cut(path: Path, rng: random.Random) -> str:
    content = path.read_bytes()
    length = rng.randrange(len(content) + 1)
    path.write_bytes(content[:length])
    return f"cut to {length} of {len(content)} bytes"


def _pages(path: Path) -> list[bytes]:
    content = path.read_bytes()
    size = PAGE if len(content) >= 2 * PAGE else max(1, len(content) // 8)
    return [content[at : at + size] for at in range(0, len(content), size)] or [b""]


def _swap(path: Path, rng: random.Random) -> str:
    pages = _pages(path)
    one, other = rng.randrange(len(pages)), rng.randrange(len(pages))
    pages[one], pages[other] = pages[other], pages[one]
    path.write_bytes(b"".join(pages))
    return f"pages {one} and {other} swapped"


def _zero(path: Path, rng: random.Random) -> str:
    pages = _pages(path)
    at = rng.randrange(len(pages))
    pages[at] = bytes(len(pages[at]))
    path.write_bytes(b"".join(pages))
    return f"page {at} zeroed"


def _double(path: Path, rng: random.Random) -> str:
    pages = _pages(path)
    at = rng.randrange(len(pages))
    pages.insert(at, pages[at])
    path.write_bytes(b"".join(pages))
    return f"page {at} doubled"


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every value inside a value of JSON, as its container and its key there."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *_places(value[key])[:300]]]


def _value(path: Path, rng: random.Random) -> str:
    return _changed(path, rng, rng.choice(HOSTILE))


def _changed(path: Path, rng: random.Random, hostile: Any) -> str:
    content = json.loads(path.read_text("utf-8"))
    places = _places(content)
    if not places:
        return "as it was"
    container, key = rng.choice(places)
    if rng.random() < 0.2 and isinstance(container, dict):
        del container[key]
        return f"without {key!r}"
    container[key] = hostile
    path.write_text(json.dumps(content), "utf-8")
    return f"{key!r} is {str(hostile)[:40]!r}"


def _nest(path: Path, rng: random.Random) -> str:
    mark = "a mark that is replaced"
    changed = _changed(path, rng, mark)
    deep = rng.choice(("[" * 20_000 + "]" * 20_000, '{"a":' * 20_000 + "1" + "}" * 20_000))
    path.write_text(path.read_text("utf-8").replace(json.dumps(mark), deep), "utf-8")
    return changed.replace(mark, "20,000 deep")


def _cell(path: Path, rng: random.Random) -> str:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        return _statement(connection, rng)
    except sqlite3.Error as error:
        return f"as it was ({error})"
    finally:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()


def _statement(connection: sqlite3.Connection, rng: random.Random) -> str:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    table = rng.choice([name for (name,) in names if not name.startswith("sqlite_")])
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    kind = rng.randrange(8)
    if kind == 0:
        version = rng.choice((0, 1, 3, 99, -1))
        connection.execute(f"PRAGMA user_version = {version}")
        return f"user_version {version}"
    key = "name" if table in ("gallery", "notes") else "rowid"
    rows = [row for (row,) in connection.execute(f"SELECT {key} FROM {table} ORDER BY {key}")]
    chosen = rng.sample(rows, min(len(rows), rng.choice((1, 1, 2, 30))))
    if kind == 1:
        connection.executemany(f"DELETE FROM {table} WHERE {key} = ?", [(row,) for row in chosen])
        return f"{len(chosen)} rows of {table} deleted"
    column, value = rng.choice(columns), rng.choice(CELLS)
    connection.executemany(
        f"UPDATE {table} SET {column} = ? WHERE {key} = ?", [(value, row) for row in chosen[:1]]
    )
    return f"a {column} of {table} is {str(value)[:40]!r}"
