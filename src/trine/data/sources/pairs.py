"""A list of pairs to verify: in the format of Labeled Faces in the Wild, or a table of a, b, same, fold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trine.data.item_lookup import ItemLookup
from trine.data.table_file import is_table, open_table
from trine.errors import DataError
from trine.shapes import Bool, Int64

COLUMNS = ("a", "b", "same")
"""The columns of a table of pairs; "fold" is read if there is one, others are ignored."""

_VERDICTS = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, eq=False)
class PairTable:
    """Pairs of items by their names, and whether each is of one identity.

    Attributes:
        source: Where they come from, for errors.
        a: The name of one item of each pair.
        b: The name of the other.
        same: Whether they are of one identity.
        fold: The fold of each pair, numbered from 0 in order of appearance; None without folds.
        unit: What the source counts: rows of a table, or lines.
        first: The number of the first pair's row or line.
        fold_names: The source's own names of the folds, in the order of their numbers; a list in the format
            of Labeled Faces in the Wild counts them from "1".
    """

    source: str
    a: tuple[str, ...]
    b: tuple[str, ...]
    same: Bool[np.ndarray, " p"]
    fold: Int64[np.ndarray, " p"] | None
    unit: str = "row"
    first: int = 1
    fold_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.a)

    def positions(self, names: Sequence[str]) -> Int64[np.ndarray, "p 2"]:
        """Finds the items.

        Args:
            names: The names of the items, as `Dataset.names` has them. A name of the list may leave out the
                suffix of an image, as the lists of Labeled Faces in the Wild do.

        Returns:
            For each pair the positions of its two items among the names.

        Raises:
            DataError: A name is unknown or ambiguous.

        Example:
            >>> table = PairTable("pairs.csv", ("ann/1",), ("bob/2.png",), np.array([False]), None)
            >>> table.positions(["ann/1.png", "bob/1.png", "bob/2.png"]).tolist()
            [[0, 2]]
        """
        lookup = ItemLookup(names)
        found = np.empty((len(self), 2), dtype=np.int64)
        for row, pair in enumerate(zip(self.a, self.b, strict=True)):
            found[row] = [lookup.find(name, where=f"{self.where(row)}:") for name in pair]
        return found

    def where(self, row: int) -> str:
        """Where a pair is in the source, for errors; the row counts from 0."""
        return f"{self.source}, {self.unit} {self.first + row}"


def read_pairs(path: object) -> PairTable:
    """Reads a list of pairs.

    A table has the columns a, b and same (1 or 0, true or false), and may have a column fold. Any other file
    is read as the lists of Labeled Faces in the Wild: a first line with the number of folds and of pairs of
    either kind in each (`10 300`), or that number alone, and then for each fold lines `name n1 n2` of one
    person and lines `name1 n1 name2 n2` of two; `Ann_Lee 3` is the item `Ann_Lee/Ann_Lee_0003`.

    Args:
        path: The table (.csv, .tsv, either also with .gz, or .parquet; a DataFrame or a mapping of columns),
            or the list. A table names items as the data names them: paths relative to its folder, "row 17" of
            a table, "item 17" of an array. A pair that is listed twice counts twice.

    Returns:
        The pairs.

    Raises:
        DataError: The file is missing, damaged or empty, a column is missing, or a row cannot be
            understood, pairs an item with itself, or contradicts another.
        MissingDependencyError: pyarrow is not installed, and the file is a table.
    """
    if not isinstance(path, str | Path) or is_table(Path(path)):
        table = _read_table(path)
    elif not os.path.isfile(path):  # noqa: PTH113 - which answers for any name
        raise DataError(
            f"there is no list of pairs at {path}: give a table with columns a, b and same, or a pairs.txt"
        )
    else:
        table = _read_list(Path(path))
    _check(table)
    return table


def _read_table(path: object) -> PairTable:
    file = open_table(path, of="pair")
    how = "a table of pairs has the columns a, b and same, and optionally fold"
    wanted = [file.column(None, (name,), how) for name in COLUMNS]
    fold = "fold" if "fold" in file.names else None
    table = file.read(text=wanted if fold is None else [*wanted, fold])
    a, b, written = (table.filled(name) for name in wanted)
    for row, text in enumerate(written, start=1):
        if text.lower() not in _VERDICTS:
            raise DataError(f"{file.source}, row {row}: same is {text!r}, expected 1 or 0, true or false")
    same = np.array([_VERDICTS[text.lower()] for text in written])
    fold_names, fold_of = ((), None) if fold is None else table.numbered(fold)
    return PairTable(file.source, tuple(a), tuple(b), same, fold_of, fold_names=fold_names)


def _read_list(path: Path) -> PairTable:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of pairs: {error}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    numbers = lines[0].split() if lines else []
    if not 1 <= len(numbers) <= 2 or not all(number.isdecimal() for number in numbers):
        raise DataError(
            f"{path}, line 1 must hold the number of folds and of pairs of either kind in each, such as "
            f"'10 300', or only the number of pairs, given {(lines[0] if lines else '')[:80]!r}"
        )
    folds, each = (1, int(numbers[0])) if len(numbers) == 1 else (int(numbers[0]), int(numbers[1]))
    if len(lines) - 1 != 2 * folds * each:
        raise DataError(
            f"line 1 of {path} announces {folds} × {each} pairs of either kind, so {2 * folds * each:,} more "
            f"lines, but {len(lines) - 1:,} follow: copy the file again"
        )
    kinds = np.tile(np.repeat([True, False], each), folds)
    pairs = [
        _listed(path, at, line, bool(same))
        for at, (line, same) in enumerate(zip(lines[1:], kinds, strict=True), start=2)
    ]
    a, b = zip(*pairs, strict=True) if pairs else ((), ())
    fold = np.repeat(np.arange(folds), 2 * each) if len(numbers) == 2 else None
    named = () if fold is None else tuple(str(number + 1) for number in range(folds))
    return PairTable(str(path), tuple(a), tuple(b), kinds, fold, unit="line", first=2, fold_names=named)


def _listed(path: Path, at: int, line: str, same: bool) -> tuple[str, str]:
    fields = line.split("\t") if "\t" in line else line.split()
    wanted = "name n1 n2" if same else "name1 n1 name2 n2"
    numbers = fields[1:] if same else fields[1::2]
    if len(fields) != len(wanted.split()) or not all(number.strip().isdecimal() for number in numbers):
        kind = "one person" if same else "two people"
        raise DataError(f"{path}, line {at} must be a pair of {kind}, '{wanted}', given {line[:80]!r}")
    names = (fields[0], fields[0]) if same else (fields[0], fields[2])
    first, second = (f"{name}/{name}_{int(n):04d}" for name, n in zip(names, numbers, strict=True))
    return first, second


def _check(table: PairTable) -> None:
    seen: dict[tuple[str, str], int] = {}
    for row, (a, b) in enumerate(zip(table.a, table.b, strict=True)):
        where = table.where(row)
        if a == b:
            raise DataError(f"{where} pairs {a!r} with itself, expected two items")
        before = seen.setdefault((min(a, b), max(a, b)), row)
        if table.same[before] != table.same[row]:
            raise DataError(
                f"{where} contradicts {table.unit} {table.first + before}, which says the opposite of {a!r} "
                f"and {b!r}: remove one of them"
            )
