"""Recognises a log that does not belong to the file it lies beside.

SQLite applies whatever log lies beside a file. A backup that is copied over a gallery meets the log of the
file it replaces, and the two are mixed. So a gallery has a generation: a random name in its row of `state`,
which every transaction writes, to the log first and later to the file. The first write to a gallery whose log
is empty begins a new generation, and moves it into the file before anything else is written to the log. Since
then, each state that the file ever had carries an older name than the log.

The row of `state` also has the name `before`, and the revision at which its generation `began`. A log belongs
to a file that has the generation of the log's first transaction and at least the revision before it; if that
transaction itself began the generation, to a file of the generation before, too.
"""

from __future__ import annotations

import os
import re
import sqlite3
import struct
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from trine.errors import GalleryError
from trine.gallery.sqlite.file import has_log, log_of

_MAGIC = (0x377F0682, 0x377F0683)
_JOURNAL = bytes.fromhex("d9d505f920a163d7")
_GENERATION = re.compile(rb"[0-9a-f]{16}")
_STEPS = 100_000
"""Instructions of SQLite after which reading one row is given up."""

_TRIES = 100
_AGAIN = 4
"""How often a contradiction must be seen: another process may be moving the log into the file."""


@dataclass(frozen=True)
class Mark:
    """The row of `state` as far as it tells generations apart."""

    changed: int
    generation: str
    before: str
    began: int


_Found = tuple[Mark | None, tuple[Mark, Mark] | None]


def check_log(path: Path) -> None:
    """Raises an error if the log beside a file belongs to another state of the gallery; changes nothing.

    Args:
        path: The file; not one that this process has open.

    Raises:
        GalleryError: It does; the message names the commands that help.
    """
    if _stray_journal(path):
        raise _stray(path, path.with_name(f"{path.name}-journal"))
    seen: list[_Found] = []
    for _ in range(_TRIES):
        found = _contradiction(path)
        if found is None:
            return
        seen = [*seen, found] if seen[-1:] == [found] else [found]
        if len(seen) == _AGAIN:
            break
        time.sleep(0.02)
    raise _stray(path, log_of(path))


def pages_in(log: Path) -> set[int]:
    """Returns the numbers of the pages that a log holds."""
    pages: set[int] = set()
    try:
        with log.open("rb") as file:
            header = file.read(32).ljust(32, b"\0")
            size = int.from_bytes(header[8:12], "big")
            while len(frame := file.read(24)) == 24 and frame[8:16] == header[16:24]:
                pages.add(int.from_bytes(frame[:4], "big"))
                file.seek(size, os.SEEK_CUR)
    except OSError:
        return set()
    return pages


def _contradiction(path: Path) -> _Found | None:
    if not has_log(path):
        return None
    mark, wal = _mark_of_file(path)
    frames, marks = _marks_of_log(log_of(path))
    if not wal and frames:
        return mark, marks
    if mark is None or marks is None or _belongs(mark, *marks):
        return None  # what cannot be read is for SQLite to judge
    return mark, marks


def _belongs(mark: Mark, first: Mark, last: Mark) -> bool:
    if mark.changed > last.changed or mark.changed < first.changed - 1:
        return False
    if first.changed == first.began and mark.generation == first.before:
        return True
    return mark.generation == first.generation


def _stray(path: Path, log: Path) -> GalleryError:
    return GalleryError(
        f"the gallery {path} lies beside the log of another state of it, {log.name}, and was not opened, "
        "because SQLite would mix the two: to use the file as it is, run: "
        f"mv '{log}' '{log}.old'; to put a backup in its place, run: "
        f"trine gallery restore BACKUP '{path}' --overwrite"
    )


def _mark_of_file(path: Path) -> tuple[Mark | None, bool]:
    """Returns the mark in the file alone, without its log, and whether the file expects to have a log."""
    wal = True
    try:
        with path.open("rb") as file:
            wal = file.read(19)[18:] == b"\2"
        address = f"{Path(os.path.realpath(path)).as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            connection.set_progress_handler(lambda: 1, _STEPS)
            connection.execute("PRAGMA trusted_schema = OFF")
            query = "SELECT 1 FROM sqlite_master WHERE name = 'state' AND type = 'table'"
            if connection.execute(query).fetchone() is None:
                return None, wal
            cursor = connection.execute("SELECT * FROM state")
            names = [column[0] for column in cursor.description]
            row = dict(zip(names, cursor.fetchone() or (), strict=False))
    except (sqlite3.Error, OSError):
        return None, wal
    changed, began = row.get("changed"), row.get("began", 0)
    generation, before = row.get("generation", ""), row.get("before", "")
    if not (isinstance(changed, int) and isinstance(began, int) and isinstance(generation, str)):
        return None, wal
    return Mark(changed, generation, str(before), began), wal


def _marks_of_log(log: Path) -> tuple[bool, tuple[Mark, Mark] | None]:
    """Returns whether a log has anything that SQLite would apply, and its first and latest mark, if any.

    Checksums are verified up to the end of the first transaction, before which SQLite would apply nothing.
    After it, a frame that a power cut left half written can only hold an older mark.
    """
    marks: list[Mark] = []
    committed = False
    try:
        with log.open("rb") as file:
            header = file.read(32).ljust(32, b"\0")
            magic, _, page = struct.unpack(">III", header[:12])
            if magic not in _MAGIC or not 512 <= page <= 65536:
                return False, None
            words = struct.Struct(f"{'>' if magic & 1 else '<'}{(8 + page) // 4}I")
            sums = struct.unpack(">II", header[24:])
            while len(frame := file.read(24 + page)) == 24 + page and frame[8:16] == header[16:24]:
                if not committed:
                    sums = _checksum(words.unpack(frame[:8] + frame[24:]), *sums)
                    if sums != struct.unpack(">II", frame[16:24]):
                        return False, None
                    committed = frame[4:8] != bytes(4)
                mark = _mark_of_page(frame[24:])
                marks += [mark] if mark is not None else []
    except OSError:
        return False, None
    if not committed or not marks:
        return committed, None
    return True, (marks[0], max(marks, key=lambda mark: mark.changed))


def _checksum(words: tuple[int, ...], first: int, second: int) -> tuple[int, int]:
    """Continues the checksum of a log (SQLite file format, section 4.2)."""
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _stray_journal(path: Path) -> bool:
    """Returns whether there is a rollback journal that began from another state of the file.

    A journal holds pages as they were before a transaction: always the first, whose counter the transaction
    advances by one, and the row of `state`. A gallery with a log has none, unless it was just switched to it,
    which changes nothing but the header.
    """
    real = Path(os.path.realpath(path))
    try:
        first, old = _marks_of_journal(real.with_name(f"{real.name}-journal"))
        with real.open("rb") as file:
            now = file.read(65536)
    except OSError:
        return False
    if first is None:
        return False
    before = int.from_bytes(first[24:28], "big")
    if int.from_bytes(now[24:28], "big") not in (before, before + 1):
        return True
    mark, wal = _mark_of_file(path)
    if wal:
        return first[18:19] == b"\2" or first[100:] != now[100 : len(first)]
    if mark is None or old is None or mark == old:
        return False
    return (mark.generation, mark.changed) != (old.generation, old.changed + 1)


def _marks_of_journal(path: Path) -> tuple[bytes | None, Mark | None]:
    """Returns the first page of the file in a rollback journal, and the mark; nothing if SQLite would not.

    Raises:
        OSError: There is no journal.
    """
    first, mark = None, None
    with path.open("rb") as file:
        header = file.read(28).ljust(28, b"\0")
        sector, page = struct.unpack(">II", header[20:])
        if header[:8] != _JOURNAL or not 512 <= page <= 65536:
            return None, None
        file.seek(sector)
        while len(record := file.read(page + 8)) == page + 8:
            if record[:4] == bytes(4):  # no page: the rest was never written
                break
            content = record[4:-4]
            if record[:4] == b"\0\0\0\1":
                first = content
            mark = mark or _mark_of_page(content)
            if first is not None and mark is not None:
                break
    return first, mark


def _mark_of_page(page: bytes) -> Mark | None:
    """Reads the row of `state` from a page; `None` for a page of another table.

    The page of the table is a leaf with one cell, whose record has seven values: nothing (the key), the
    revision, the clusters, the rebuilds, the generation, the one before, and where it began.
    """
    if page[0] != 0x0D or page[3:5] != b"\0\1":
        return None
    cell = page[int.from_bytes(page[8:10], "big") :]
    # One byte each: the size of the record, the key 1, the size of its header, and seven types.
    if len(cell) < 10 or cell[0] > 127 or cell[1] != 1 or cell[2] != 8 or cell[3] != 0:
        return None
    values, at = [], 10
    for kind in cell[4:10]:
        size = _SIZES.get(kind, (kind - 13) // 2 if kind >= 13 else -1)
        if size < 0:
            return None
        values.append((kind, cell[at : at + size]))
        at += size
    generation, before = values[3][1], values[4][1]
    if values[3][0] != _TEXT or values[4][0] not in (_TEXT, _EMPTY) or not _GENERATION.fullmatch(generation):
        return None
    changed, began = (
        kind - 8 if kind in (8, 9) else int.from_bytes(value, "big", signed=True)
        for kind, value in (values[0], values[5])
    )
    return Mark(changed, generation.decode(), before.decode("ascii", "replace"), began)


_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
_TEXT, _EMPTY = 13 + 2 * 16, 13
