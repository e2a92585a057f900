"""How a CSV file is written: its encoding, its separator, and where its rows begin."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from trine.errors import DataError, require

SEPARATORS: tuple[str, ...] = (",", ";", "\t", "|")
"""The separators that are recognised; where two suit a table equally well, the first of them wins."""

MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, and the encodings that they announce."""

LOOKED_AT, CELLS = 40, 100_000
"""The most rows, and about the most cells, that the separator is decided by."""

JUDGED = 1 << 16
"""The most bytes that an encoding other than Unicode is decided by."""

FEWEST = 12
"""The fewest bytes, in UTF-8, of words that decide for a script."""

OTHER_SCRIPTS = [
    *("cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
]
"""The encodings of scripts that are not Latin."""

_NUMBER = re.compile(r"[+-]?[\d.,' \u00a0\u202f]*\d(?:[eE][+-]?\d+)?|\d{4}-\d\d-\d\d.*|")


@dataclass(frozen=True)
class CsvLayout:
    """How a CSV file is written.

    Attributes:
        encoding: The name of the encoding, as Python knows it.
        separator: What separates the cells.
        names: The names of the columns, without spaces around them; empty where a column has none.
        start: Where the first row begins, in characters.
    """

    encoding: str
    separator: str
    names: tuple[str, ...]
    start: int


def read_layout(sample: bytes, *, whole: bool, name: str) -> CsvLayout | None:
    """Finds out how a CSV file is written, from its beginning.

    Blank lines, comments and the line `sep=;` of spreadsheets may stand before the header. The separator is
    the one that cuts the header and the rows into equally many cells; text in quotes does not count.

    Args:
        sample: The first bytes of the file.
        whole: Whether these are all.
        name: The file, for errors.

    Returns:
        The layout; None if the sample ends within the header, and nothing can be said yet.

    Raises:
        DataError: The file is empty.
    """
    encoding = detect_encoding(sample)
    text = decode(sample, encoding, whole=whole, name=name)
    start, below, separators = _before_header(text)
    if not text[start:].strip():
        if not whole:
            return None
        raise DataError(f"{name} is empty, expected a header line and one row for each item")
    tables = {mark: _records(text[below:], mark, whole=whole) for mark in separators}
    separator = _best(tables)
    records = tables[separator] or _records(text[start:], separator, whole=whole)
    if not records:
        return None
    header, length = records[0]
    # Comments stand above the header, unless the last of them is the header itself.
    comments = _records(text[start:below], separator, whole=True)
    if comments and (not tables[separator] or 1 < len(comments[-1][0]) == len(header)):
        header, below, length = (
            comments[-1][0],
            below if tables[separator] else start,
            0 if tables[separator] else length,
        )
        header[0] = header[0].lstrip("#").strip() or header[0]
    return CsvLayout(encoding, separator, tuple(cell.strip() for cell in header), below + length)


def detect_encoding(content: bytes) -> str:
    """Names the encoding of a text: Unicode if it can be, else the one that its letters suggest.

    Args:
        content: The text; the last character may be cut.

    Returns:
        The encoding; "cp1252", that of Western Windows and nearly Latin-1, where nothing suggests another.
    """
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return encoding
    pairs = content[: len(content) // 2 * 2]
    for zeros, encoding in ((pairs[1::2], "utf-16-le"), (pairs[0::2], "utf-16-be")):
        if zeros.count(0) > len(zeros) / 2:
            return encoding
    if is_utf8(content):
        return "utf-8"
    lines = b"\n".join(line for line in content[: 16 * JUDGED].splitlines() if not line.isascii())
    sniffer = require("charset_normalizer", extra="train")
    best = sniffer.from_bytes(lines[:JUDGED], cp_isolation=OTHER_SCRIPTS).best()
    # Between the many encodings of Latin letters a text does not decide, nor does a short one at all.
    return str(best.encoding) if best is not None and _is_other_script(str(best)) else "cp1252"


def is_utf8(content: bytes, *, whole: bool = False) -> bool:
    """Whether bytes are text in UTF-8; the last character may be cut, unless these are all."""
    if content.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for place in range(0, len(content), 1 << 20):
            decoder.decode(content[place : place + (1 << 20)])
        decoder.decode(b"", final=whole)
    except UnicodeDecodeError:
        return False
    return True


def decode(content: bytes, encoding: str, *, whole: bool, name: str) -> str:
    """Decodes a text; a `DataError` where it is damaged."""
    if encoding == "cp1252":  # the few bytes that it leaves undefined are control characters of Latin-1
        return "".join(
            part.decode("latin-1") if part in _UNDEFINED else part.decode("cp1252")
            for part in re.split(b"([\x81\x8d\x8f\x90\x9d])", content)
        )
    try:
        return codecs.getincrementaldecoder(encoding)().decode(content, final=whole)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} cannot be read as {encoding} ({error.reason} at byte {error.start:,}): save it as UTF-8"
        ) from error


_UNDEFINED = frozenset(bytes([byte]) for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D))


def _is_other_script(text: str) -> bool:
    """Whether the words that are not ASCII are of another script, and do not mix it with Latin letters."""
    words = [word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii()]
    other = [word for word in words if not any(unicodedata.name(c, "").startswith("LATIN") for c in word)]
    return len(other) > 0.9 * len(words) and sum(len(word.encode()) for word in other) >= FEWEST


def _before_header(text: str) -> tuple[int, int, tuple[str, ...]]:
    """Skips blank lines, `sep=;` and comments.

    Returns:
        Where the comments begin, where they end, and the separators that the table may have.
    """
    start, separators = int(text.startswith("\ufeff")), SEPARATORS
    below = None
    for line in io.StringIO(text[start:], newline=""):
        told = re.fullmatch(r'"?sep=([\t -~])"?', line.strip("\r\n"), re.IGNORECASE)
        if told is not None and below is None:
            separators = (told[1],)
        elif line.startswith("#"):
            below = start if below is None else below
        elif line.strip():
            break
        start += len(line)
    return (start if below is None else below), start, separators


def _records(text: str, separator: str, *, whole: bool) -> list[tuple[list[str], int]]:
    """The first rows, cut at a separator, each with the characters that it takes; blank lines are none."""
    taken = 0

    def lines() -> Iterator[str]:
        nonlocal taken
        for line in io.StringIO(text, newline=""):
            taken += len(line)
            yield line

    records: list[tuple[list[str], int]] = []
    cells = before = 0
    try:
        for row in csv.reader(lines(), delimiter=separator):
            if not whole and taken >= len(text):
                break  # the last row may be cut
            if row and (len(row) > 1 or row[0].strip()):
                records.append((row, taken - before))
                before = taken
                cells += len(row)
            if len(records) > LOOKED_AT or cells > CELLS:
                break
    except csv.Error:  # such as a quote that never ends: what came before it decides
        pass
    return records


def _best(tables: dict[str, list[tuple[list[str], int]]]) -> str:
    """The separator that cuts all rows as it cuts the header, into the most numbers and the most cells."""

    def suits(separator: str) -> tuple[bool, float, float, int]:
        rows = [row for row, _ in tables[separator]]
        if not rows or len(rows[0]) < 2:
            return False, 0.0, 0.0, 0
        same = [row for row in rows[1:] if len(row) == len(rows[0])]
        cells = [cell for row in same for cell in row]
        numbers = sum(_NUMBER.fullmatch(cell.strip()) is not None for cell in cells)
        return True, len(same) / max(len(rows) - 1, 1), numbers / max(len(cells), 1), len(rows[0])

    return max(tables, key=suits)
