"""A table of labelled items: a label column, and a path column, a text column or columns of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.data.columns import Columns
from trine.data.dataset import ImageFiles, Texts
from trine.data.image_decoding import SUFFIXES as IMAGE_SUFFIXES
from trine.data.load_report import some
from trine.data.sources.arrays import COLUMNS
from trine.data.table import Table, is_infinite, is_missing, is_numeric
from trine.data.table_file import open_table
from trine.data.table_reader import LISTED, TableReader
from trine.data.validation import Found
from trine.errors import Argument, DataError, SettingError, check_texts, check_type

LABELS = ("label", "identity", "person", "class", "target", "y")
"""The usual names of a label column; case is ignored."""

PATHS = ("path", "file", "filename", "filepath", "image", "picture")
"""The usual names of a path column; case is ignored."""

NAMES = ("name", "id", "item")
"""The usual names of a column that names the rows; case is ignored."""

TEXTS = ("text", "sentence", "utterance")
"""The usual names of a text column; case is ignored."""


@dataclass(frozen=True)
class TableColumns:
    """Which columns of a table to use.

    Args:
        label: The label column; None takes the one named label, identity, person, class, target or y, if
            there is only one.
        path_column: The path column; None takes the one named path, file, filename, filepath, image or
            picture, if there is one.
        text_column: The text column; None takes the one named text, sentence or utterance, if there is one,
            and neither a path column nor features are given.
        features: The feature columns; None takes all remaining columns of numbers.
        categories: Further features, which are read as texts.
    """

    label: str | None = None
    path_column: str | None = None
    text_column: str | None = None
    features: Sequence[str] | None = None
    categories: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("label", "path_column", "text_column"):
            check_type(
                name, getattr(self, name), str | None, "the name of a column, or None", error=SettingError
            )
        for name in ("features", "categories"):
            if (given := getattr(self, name)) is not None or name == "categories":
                names = check_texts(name, given, "names of columns", error=SettingError)
                object.__setattr__(self, name, names)

    @property
    def all_features(self) -> tuple[str, ...]:
        """The feature columns that are named, and the categories."""
        return (*(self.features or ()), *self.categories)


def read_table(source: object, columns: TableColumns, *, max_pixels: int, labelled: bool = True) -> Found:
    """Reads a table with one row for each item.

    With a path column the items are images; paths are relative to the table's folder. With a text
    column they are texts. Without either they are rows of a `Table` of all columns but the label, in
    which the feature columns are named; rows are named by the column called name, id or item, if there is
    one and it is not a feature. Columns called camera, group and split are kept with the items.
    Labels are kept as they are written: "007" and "7" are two identities.

    Args:
        source: The table, as `open_table` takes it.
        columns: Which columns to use.
        max_pixels: The most pixels that an image may have.
        labelled: Whether a label column is needed.

    Returns:
        The items, named by their path, by a column of names, or "row 1" and so on; the header is not
        counted.

    Raises:
        DataError: The table is damaged, a column is missing or of the wrong type, several columns may be the
            label, or a camera, a group or a part is missing.
        MissingDependencyError: pyarrow is not installed.
    """
    file = open_table(source)
    used = _used_columns(file, columns, labelled=labelled)
    table = file.read(text=used.as_text)
    found = _items(file, table, used, max_pixels)
    # A missing camera or group is none that all these items share.
    read = table.filled if labelled else table.texts
    return replace(
        found,
        labels=table.labels(used.label) if used.label else None,
        columns={name: np.array(read(name), dtype=np.str_) for name in used.beside},
        label=f"column {used.label!r}" if used.label else "",
    )


def read_rows(file: TableReader) -> Table:
    """Reads all columns of a table for an encoder; those of numbers are the features, but the likely labels.

    Args:
        file: The table.

    Returns:
        One row for each of the table's, whatever is missing.
    """
    used = _used_columns(file, TableColumns(features=()), labelled=False)
    table = file.read()
    read = {name: _values(table, name, text=False) for name in used.values}
    features = [name for column in used.usual_features if _has_numbers(read[column]) for name in read[column]]
    return Table({name: values for held in read.values() for name, values in held.items()}, tuple(features))


def label_columns(file: TableReader) -> list[str]:
    """The columns that may be the label, by their usual names; y is a coordinate where there is an x."""
    found = file.known_as(LABELS)
    coordinates = {"x", "y"} <= {name.lower() for name in file.names}
    return [name for name in found if not (coordinates and name.lower() == "y")]


def _label_column(file: TableReader, given: str | None) -> str:
    """The label column that is named, or the only one that may be meant."""
    if given is not None:
        return file.column(given)
    likely = label_columns(file)
    if len(likely) > 1:
        raise DataError(
            f"{file.source} has the columns {' and '.join(map(repr, likely))}, and each may be the label: "
            "name one with ",
            Argument("label", likely[0]),
        )
    if likely:
        return likely[0]
    if file.known_as(LABELS):
        raise DataError(
            f"{file.source} has no column named {', '.join(LABELS[:-1])}, and its column 'y' may be a "
            "coordinate beside 'x': name the label column with ",
            Argument("label", "y"),
        )
    return file.column(None, LABELS, "name the label column with ", Argument("label"))


@dataclass(frozen=True)
class _UsedColumns:
    """The columns that a table really has, by what they are used for; `given` is what was asked for.

    Attributes:
        given: What was asked for.
        label: The label column, if labels are wanted.
        path: The path column.
        text: The text column.
        names: The column that names the rows.
        beside: The columns that are kept with the items.
        others: Other columns that have the usual name of a label.
        values: The columns of a table of rows.
    """

    given: TableColumns
    label: str | None
    path: str | None
    text: str | None
    names: str | None
    beside: tuple[str, ...]
    others: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def as_text(self) -> list[str]:
        found = (self.label, self.path, self.text, self.names, *self.beside, *self.given.categories)
        return [name for name in dict.fromkeys(found) if name is not None]

    @property
    def usual_features(self) -> list[str]:
        """The columns that are features where none are named and they hold numbers."""
        taken = {self.names, *self.beside, *self.others, *self.given.categories}
        return [name for name in self.values if name not in taken]


def _used_columns(file: TableReader, given: TableColumns, *, labelled: bool) -> _UsedColumns:
    for name in (given.path_column, given.text_column, *given.all_features):
        if name is not None:
            file.column(name)
    label = _label_column(file, given.label) if labelled else None
    if label is not None and label in given.all_features:
        raise DataError(f"{file.source}: the label column {label!r} cannot be a feature: leave it out")
    path, text = given.path_column, given.text_column
    if path is None and text is None and given.features is None:
        path = next(iter(file.known_as(PATHS)), None)
    if text is None and path is None and not given.all_features and given.features is None:
        text = next((name for name in file.names if name.lower() in TEXTS and name != label), None)
    held = set(file.names)
    beside = tuple(name for name in COLUMNS if name in held and name not in (label, path))
    taken = {label, path, text, *beside, *given.all_features}
    names = next((name for name in file.known_as(NAMES) if name not in taken), None)
    others = tuple(name for name in label_columns(file) if name not in (label, *given.all_features))
    values = tuple(name for name in file.names if name != label)
    return _UsedColumns(given, label, path, text, names, beside, others, values)


def _items(file: TableReader, table: Columns, used: _UsedColumns, max_pixels: int) -> Found:
    if used.path is not None:
        files = table.texts(used.path)
        # A column called "file" may hold something else, such as the hash of a program.
        if used.given.path_column is not None or any(
            Path(each).suffix.lower() in IMAGE_SUFFIXES for each in files[:100]
        ):
            return Found(
                items=ImageFiles(tuple(file.folder / each for each in files), max_pixels),
                names=_row_names(files),
                unreadable={row: f"row {row + 1} has no path" for row, each in enumerate(files) if not each},
            )
    if used.text is not None:
        texts = table.texts(used.text)
        empty = f"column {used.text!r} is empty"
        return Found(
            items=Texts(tuple(texts)),
            names=_row_names([""] * len(texts)),
            unreadable={row: empty for row, text in enumerate(texts) if not text},
        )
    return _rows(file, table, used)


def _row_names(given: Sequence[str]) -> list[str]:
    return [name or f"row {row}" for row, name in enumerate(given, start=1)]


def _rows(file: TableReader, table: Columns, used: _UsedColumns) -> Found:
    categories = set(used.given.categories)
    read = {name: _values(table, name, text=name in categories) for name in used.values}
    wanted = used.usual_features if used.given.features is None else used.given.features
    wanted = [name for name in wanted if name not in categories]
    left = [name for name in wanted if not _has_numbers(read[name])]
    if used.given.features is not None and left:
        raise DataError(
            f"{file.source}: the column {left[0]!r} has no numbers: remove it from features, or name it in "
            "categories"
        )
    features = {*wanted, *categories}.difference(left)
    if not features:
        raise DataError(
            f"{file.source} has neither a path column ({', '.join(PATHS)}) nor columns of numbers: "
            f"name the path column, or add feature columns{''.join(f'; {note}' for note in table.notes)}"
        )
    items = Table(
        {name: values for held in read.values() for name, values in held.items()},
        tuple(name for column in used.values if column in features for name in read[column]),
    )
    others = [name for name in used.others if _has_numbers(read[name]) and used.label is not None]
    odd = {name: table.odd_cell(name) for name in left[:LISTED]}
    left = [f"{name}: row {cell[0] + 1} is {cell[1]!r}" if (cell := odd.get(name)) else name for name in left]
    notes = (
        ("skipped: columns without numbers", left),
        ("skipped: columns that may be other labels", others if used.given.features is None else []),
    )
    return Found(
        items=items,
        names=_row_names(table.texts(used.names) if used.names else [""] * len(items)),
        unreadable=_first(items, is_infinite, "is not finite"),
        missing=_first(items, is_missing, "is empty"),
        notes=(
            *(f"{what} ({some(names, limit=6)})" for what, names in notes if names),
            *table.notes,
        ),
    )


def _values(table: Columns, name: str, *, text: bool) -> dict[str, NDArray[Any]]:
    """What a column of a file becomes in a `Table`: one column, one for each place of its lists, or none."""
    if text:
        return {name: np.array(table.texts(name), dtype=object)}
    rows = table.vectors(name)
    if rows is not None:
        return {f"{name}[{place}]": numbers for place, numbers in enumerate(np.ascontiguousarray(rows.T))}
    values = table.array(name)
    return {} if values is None else {name: values}


def _has_numbers(read: Mapping[str, NDArray[Any]]) -> bool:
    return any(is_numeric(values) and not is_missing(values).all() for values in read.values())


def _first(table: Table, test: Callable[[NDArray[Any]], NDArray[np.bool_]], what: str) -> dict[int, str]:
    """Names the first feature of each row for which the test is true."""
    first: dict[int, str] = {}
    for name in table.features:
        for row in np.flatnonzero(test(table.columns[name])).tolist():
            first.setdefault(row, f"column {name!r} {what}")
    return dict(sorted(first.items()))
