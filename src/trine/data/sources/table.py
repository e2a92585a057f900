"""A CSV or Parquet table: a label column, and a path column, a text column or columns of numbers."""

from __future__ import annotations

import csv
import difflib
import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trine.data.dataset import ImageFiles, Texts
from trine.data.image_decoding import SUFFIXES as PICTURES
from trine.data.load_report import some
from trine.data.sources.arrays import COLUMNS
from trine.data.table import Table, is_infinite, is_missing, is_numeric
from trine.data.validation import Found
from trine.errors import DataError, nearest, require

LABELS = ("label", "identity", "person", "class", "target", "y")
"""The names by which a label column is known when none is given; capitals do not matter."""

PATHS = ("path", "file", "filename", "filepath", "image", "picture")
"""The names by which a path column is known when none is given; capitals do not matter."""

NAMES = ("name", "id", "item")
"""The names by which the column that names the rows is known; capitals do not matter."""

TEXTS = ("text", "sentence", "utterance")
"""The names by which a column of texts is known when none is given; capitals do not matter."""

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")


def read_table(
    path: Path,
    *,
    label: str | None,
    path_column: str | None,
    features: Sequence[str] | None,
    max_pixels: int,
    text_column: str | None = None,
    categories: Sequence[str] = (),
    labelled: bool = True,
) -> Found:
    """Reads a table: one row for each item.

    With a path column the items are pictures; paths are relative to the table's folder. With a text
    column they are texts. Without either they are rows of a `Table` of all columns but the label, in
    which the feature columns are named; these go by the column called name, id or item, where there is one
    and it is not asked for as a feature. Columns called camera, group and split are kept beside.
    Labels are kept as they are written: "007" and "7" are two identities.

    Args:
        path: The table: .csv, .tsv (either also with .gz) or .parquet.
        label: The label column; None takes the one that is called label, identity, person, class,
            target or y.
        path_column: The path column; None takes the one that is called path, file, filename,
            filepath, image or picture, if there is one.
        features: The feature columns; None takes all columns of numbers that remain.
        categories: Further features, which are read as texts.
        max_pixels: The most pixels that a picture may have.
        text_column: The column of texts; None takes the one that is called text, sentence or utterance, if
            there is one, and neither a path column nor features are named.
        labelled: Whether a label column is wanted.

    Returns:
        The items, named by their path, by a column of names, or "row 1" and so on; the header is not
        counted.

    Raises:
        DataError: The table is damaged, or a column is missing or of the wrong type.
        MissingDependencyError: pyarrow is not installed.
    """
    names = header(path)
    if repeats := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has two columns called {repeats[0]!r}: rename one")
    if labelled:
        label = _column_name(path, names, label, LABELS, "label")
    else:  # Not wanted as a label, but no feature either.
        label = next((name for name in names if name.lower() in LABELS), None)
    if labelled and label in (*(features or ()), *categories):
        raise DataError(f"{path}: the column {label!r} is the label, so it is no feature: leave it out")
    asked = path_column is not None
    if path_column is not None:
        _column_name(path, names, path_column, (), "path_column")
    elif features is None and text_column is None:
        path_column = next((name for name in names if name.lower() in PATHS), None)
    if text_column is not None:
        _column_name(path, names, text_column, (), "text_column")
    elif features is None and path_column is None and not categories:
        text_column = next((name for name in names if name.lower() in TEXTS and name != label), None)
    for name in (*(features or ()), *categories):
        _column_name(path, names, name, (), "features")
    known = [name for name in COLUMNS if name in names and name not in (label, path_column)]
    taken = (label, path_column, text_column, *known, *(features or ()), *categories)
    naming = next(
        (name for word in NAMES for name in names if name.lower() == word and name not in taken), None
    )
    read = dict.fromkeys((label, path_column, text_column, naming, *known, *categories))
    table = read_columns(path, [name for name in read if name in names])
    if table.num_rows == 0:
        raise DataError(f"{path} has no rows below its header, expected one for each item")
    labels = strings(table, label) if labelled and label else None
    columns = {name: np.array(strings(table, name)) for name in known}
    files = strings(table, path_column) if path_column else []
    # A column called "file" may as well hold something else, such as the hash of a program.
    if asked or any(Path(file).suffix.lower() in PICTURES for file in files[:100]):
        return Found(
            items=ImageFiles(tuple(path.parent / file for file in files), max_pixels),
            names=[file or f"row {row}" for row, file in enumerate(files, start=1)],
            labels=labels,
            columns=columns,
            unreadable={row: f"row {row + 1} has no path" for row, file in enumerate(files) if not file},
        )
    if text_column is not None:
        texts = strings(table, text_column)
        return Found(
            items=Texts(tuple(texts)),
            names=[f"row {row}" for row in range(1, len(texts) + 1)],
            labels=labels,
            columns=columns,
            unreadable={
                row: f"column {text_column!r} is empty" for row, text in enumerate(texts) if not text
            },
        )
    spare = [name for name in names if name and not (labelled and name == label)]
    usual = [name for name in spare if name not in (label, naming, *known, *categories)]
    found = _rows(path, table, _Wanted(usual, features, categories, spare), labels, columns)
    given = strings(table, naming) if naming else [""] * table.num_rows
    return replace(found, names=[name or f"row {row}" for row, name in enumerate(given, start=1)])


class _Wanted(NamedTuple):
    """Columns by what becomes of them: the usual features, those asked for instead, categories, all."""

    usual: Sequence[str]
    asked: Sequence[str] | None
    categories: Sequence[str]
    spare: Sequence[str]


def _rows(
    path: Path, table: Any, wanted: _Wanted, labels: list[str] | None, columns: dict[str, NDArray[Any]]
) -> Found:
    texts = set(wanted.categories)
    read = ((name, _values(table, name, text=name in texts)) for name in wanted.spare)
    values = {name: held for name, held in read if held is not None}
    asked = [name for name in (wanted.usual if wanted.asked is None else wanted.asked) if name not in texts]
    numbers = [name for name in asked if _has_numbers(values.get(name))]
    left = [name for name in asked if name not in numbers]
    if wanted.asked is not None and left:
        raise DataError(
            f"{path}: the column {left[0]!r} has no numbers: leave it out of features, or name it in "
            "categories"
        )
    used = [name for name in wanted.spare if name in texts or name in numbers]
    if not used:
        raise DataError(
            f"{path} has neither a path column ({', '.join(PATHS)}) nor columns of numbers: "
            "name the path column, or add feature columns"
        )
    items = Table(values, tuple(used))
    return Found(
        items=items,
        names=[f"row {row}" for row in range(1, len(items) + 1)],
        labels=labels,
        columns=columns,
        unreadable=_first(items, is_infinite, "is not finite"),
        missing=_first(items, is_missing, "is empty"),
        notes=(f"columns without numbers, not looked at: {some(left, limit=6)}",) if left else (),
    )


def _has_numbers(values: NDArray[Any] | None) -> bool:
    return values is not None and is_numeric(values) and not np.isnan(values).all()


def _first(table: Table, test: Callable[[NDArray[Any]], NDArray[np.bool_]], what: str) -> dict[int, str]:
    """Names the first feature of each row in which something was found."""
    found = np.stack([test(table.columns[name]) for name in table.features], axis=1)
    rows = np.flatnonzero(found.any(axis=1)).tolist()
    return {row: f"column {table.features[int(np.argmax(found[row]))]!r} {what}" for row in rows}


def _values(table: Any, name: str, *, text: bool) -> NDArray[Any] | None:
    """Reads a column as numbers or as texts; None where it is neither, such as a date."""
    types = require("pyarrow", extra="train").types
    kind = table.schema.field(name).type
    if text or types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind):
        return np.array(strings(table, name), dtype=np.str_)
    if types.is_null(kind):
        return np.full(table.num_rows, np.nan)
    return _numbers(table, name) if _is_numeric(table, name) else None


def _column_name(path: Path, names: list[str], given: str | None, usual: Sequence[str], argument: str) -> str:
    """Checks a column's name, or finds the one that goes by a usual name."""
    if given is None:
        for name in usual:
            for held in names:
                if held.lower() == name:
                    return held
        raise DataError(
            f"{path} has no column called {', '.join(usual)}: name the {argument} column with "
            f"{argument}; it has {some(names, limit=12)}"
        )
    if given not in names:
        close = difflib.get_close_matches(given, names, n=3)
        listed = names if len(names) <= 12 else [*close, *(n for n in names[:9] if n not in close)]
        raise DataError(f"{path} has no column {given!r}: {nearest(given, listed)}")
    return given


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _open(path: Path) -> Any:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _separator(line: str) -> str:
    # A comma wins: in a header line the others are part of a name more often than not.
    return next((mark for mark in ",;\t" if mark in line), ",")


def header(path: Path) -> list[str]:
    """Returns the names of a table's columns; a `DataError` where it is damaged."""
    if _is_parquet(path):
        parquet = require("pyarrow.parquet", extra="train")
        try:
            return [n for n in parquet.read_schema(path).names if not n.startswith("__index_level")]
        except (ValueError, OSError) as error:
            raise DataError(f"{path} is no Parquet file, or a damaged one: make it again") from error
    line = _first_line(path)
    if not line:
        raise DataError(f"{path} is empty, expected a header line and one row for each item")
    try:
        return next(csv.reader([line], delimiter=_separator(line)))
    except csv.Error as error:
        raise DataError(
            f"{path} has no header line that can be read ({error}): save it as CSV in UTF-8, a line a row"
        ) from error


def _first_line(path: Path) -> str:
    try:
        with _open(path) as file:
            line: bytes = file.readline()
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return line.lstrip(b"\xef\xbb\xbf").decode("utf-8", "replace").strip("\r\n")


def read_columns(path: Path, text: Sequence[str]) -> Any:
    """Returns a table of Arrow, the named columns as text; a `DataError` where it is damaged."""
    arrow = require("pyarrow", extra="train")
    try:
        if _is_parquet(path):
            return require("pyarrow.parquet", extra="train").read_table(path)
        reader = require("pyarrow.csv", extra="train")
        with _open(path) as file:
            content = file.read()
        return reader.read_csv(
            arrow.BufferReader(content),
            # One block: types are inferred from the first, and a later one that differs is an error.
            # One thread: a reading thread that outlives an error aborts the process when it ends.
            read_options=reader.ReadOptions(block_size=min(len(content) + 1, 2**31 - 1), use_threads=False),
            parse_options=reader.ParseOptions(
                delimiter=_separator(_first_line(path)), newlines_in_values=True
            ),
            convert_options=reader.ConvertOptions(
                column_types={name: arrow.string() for name in text}, strings_can_be_null=False
            ),
        )
    except (ValueError, OSError, EOFError, zlib.error) as error:
        why = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read as a table: {why}") from error


def strings(table: Any, name: str) -> list[str]:
    """Reads a column as text; whole floats, which pandas makes of integers with gaps, lose ".0"."""
    values = table.column(name).to_pylist()
    return [
        ""
        if value is None or value != value
        else str(int(value))
        if isinstance(value, float) and value.is_integer()
        else str(value).strip()
        for value in values
    ]


def _is_numeric(table: Any, name: str) -> bool:
    types = require("pyarrow", extra="train").types
    kind = table.schema.field(name).type
    checks = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return any(is_kind(kind) for is_kind in checks)


def numbers(table: Any, name: str) -> NDArray[np.float64] | None:
    """Reads a column as numbers, NaN where one is missing; None where it has something else."""
    return _numbers(table, name) if _is_numeric(table, name) else None


def _numbers(table: Any, name: str) -> NDArray[np.float64]:
    arrow = require("pyarrow", extra="train")
    column = table.column(name)
    if arrow.types.is_boolean(column.type):
        column = column.cast(arrow.int8())
    elif arrow.types.is_decimal(column.type):
        column = column.cast(arrow.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
