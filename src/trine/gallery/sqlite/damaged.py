"""Finds the records of a file that cannot be read, and writes them to a file beside before they go."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from trine.gallery.quantization import unpack
from trine.gallery.sql_store import AT_ONCE
from trine.gallery.sqlite.database import Database
from trine.gallery.sqlite.file import new_file
from trine.gallery.store import UNREACHED, Binding
from trine.plain_json import parse_json

FEW = 10
"""As many damaged records are isolated, if most are sound."""

SHARE = 0.01
"""The share of damaged records up to which they are isolated."""

# As they lie in the file: texts as bytes, so that damaged ones can be read.
_RECORDS = (
    "SELECT items.id, CAST(item AS BLOB), embedding, CAST(metadata AS BLOB), CAST(source AS BLOB), cluster,"
    " typeof(item) || typeof(metadata) || typeof(source), CAST(name AS BLOB)"
    " FROM items LEFT JOIN identities ON identities.id = identity"
)
_ASIDE = (
    "CREATE TABLE damaged (id INTEGER, item BLOB, embedding BLOB, metadata BLOB, source BLOB, cluster,"
    " types TEXT, identity BLOB, why TEXT)"
)
_TYPES = ("texttexttext", "texttextnull")

Damaged = tuple[tuple[Any, ...], str]


def damaged_records(database: Database, binding: Binding) -> Iterator[Damaged]:
    """Yields each record that cannot be read, as it lies in the file, and why; call within a transaction."""
    cursor = database.run(_RECORDS)
    while rows := cursor.fetchmany(AT_ONCE):
        for row in rows:
            why = _fault(row, binding)
            if why is not None:
                yield row, why


def name_of(row: tuple[Any, ...]) -> str:
    """Returns the name of a record's item for messages."""
    return repr(row[1].decode(errors="backslashreplace")[:80])


def isolated(count: int, total: int) -> bool:
    """Returns whether few enough records are damaged that the fault must be theirs.

    Example:
        >>> isolated(1, 2), isolated(3, 5), isolated(10, 50), isolated(11, 50), isolated(100, 10_000)
        (True, False, True, False, True)
    """
    return (count <= FEW and 2 * count <= total) or count <= SHARE * total


def set_aside(records: Iterator[Damaged], path: Path) -> list[int]:
    """Writes damaged records to a new SQLite file, which is on disk afterwards; returns their ids.

    Raises:
        OSError: The file cannot be written.
        sqlite3.Error: The file cannot be written.
    """
    ids = []
    with new_file(path) as unfinished, closing(sqlite3.connect(unfinished)) as connection, connection:
        connection.execute(_ASIDE)
        for row, why in records:
            connection.execute(f"INSERT INTO damaged VALUES ({'?, ' * 8}?)", (*row, why))
            ids.append(int(row[0]))
    return ids


def aside_path(path: Path) -> Path:
    """Returns the unused path beside a gallery for the records that a repair sets aside."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    stem = path.name.removesuffix(".db")
    names = (f"{stem}.damaged-{stamp}{f'-{number}' if number else ''}.db" for number in range(1000))
    return next(free for name in names if not (free := path.with_name(name)).exists())


def _fault(row: tuple[Any, ...], binding: Binding) -> str | None:
    _, item, packed, metadata, source, cluster, types, _ = row
    if types not in _TYPES or not all(map(_is_text, (item, metadata, source or b""))):
        return "has a name, metadata or a source that is not text"
    if cluster is not None and not (isinstance(cluster, int) and 0 <= cluster < UNREACHED):
        return "has a cluster that is not the number of one"
    try:
        numbers = unpack([packed], dtype=binding.dtype, dimension=binding.dimension)
    except (TypeError, ValueError):
        return "has an embedding that cannot be read"
    if not np.isfinite(numbers).all():
        return "has an embedding that is not finite"
    try:
        sound = isinstance(parse_json(metadata), dict)
    except ValueError:
        sound = False
    return None if sound else "has metadata that is not a JSON object"


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
