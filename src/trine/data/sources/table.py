"""A table of labelled items: a label column, and a path column, a text column or columns of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.data.dataset import ImageFiles, Texts
from trine.data.image_decoding import SUFFIXES as IMAGE_SUFFIXES
from trine.data.load_report import some
from trine.data.sources.arrays import COLUMNS
from trine.data.table import Table, is_infinite, is_missing, is_numeric
from trine.data.table_file import Columns, TableFile
from trine.data.validation import Found
from trine.errors import DataError

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
        label: The label column; None takes the one named label, identity, person, class, target or y.
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

    @property
    def all_features(self) -> tuple[str, ...]:
        """The feature columns that are named, and the categories."""
        return (*(self.features or ()), *self.categories)


def read_table(path: Path, columns: TableColumns, *, max_pixels: int, labelled: bool = True) -> Found:
    """Reads a table with one row for each item.

    With a path column the items are images; paths are relative to the table's folder. With a text
    column they are texts. Without either they are rows of a `Table` of all columns but the label, in
    which the feature columns are named; rows are named by the column called name, id or item, if there is
    one and it is not a feature. Columns called camera, group and split are kept with the items.
    Labels are kept as they are written: "007" and "7" are two identities.

    Args:
        path: The table: .csv, .tsv (either also with .gz) or .parquet.
        columns: Which columns to use.
        max_pixels: The most pixels that an image may have.
        labelled: Whether a label column is needed.

    Returns:
        The items, named by their path, by a column of names, or "row 1" and so on; the header is not
        counted.

    Raises:
        DataError: The table is damaged, or a column is missing or of the wrong type.
        MissingDependencyError: pyarrow is not installed.
    """
    file = TableFile(path)
    used = _used_columns(file, columns, labelled=labelled)
    table = file.read(text=[name for name in used.as_text if name in file.names])
    found = _items(file, table, used, max_pixels)
    return replace(
        found,
        labels=table.texts(used.label) if labelled and used.label else None,
        columns={name: np.array(table.texts(name)) for name in used.beside},
    )


@dataclass(frozen=True)
class _UsedColumns:
    """The columns that a table really has, by what they are used for; `given` is what was asked for."""

    given: TableColumns
    label: str | None
    path: str | None
    text: str | None
    names: str | None
    beside: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def as_text(self) -> list[str]:
        found = (self.label, self.path, self.text, self.names, *self.beside, *self.given.categories)
        return [name for name in dict.fromkeys(found) if name is not None]

    @property
    def usual_features(self) -> list[str]:
        """The columns that are features where none are named and they hold numbers."""
        others = (self.label, self.names, *self.beside, *self.given.categories)
        return [name for name in self.values if name not in others]


def _used_columns(file: TableFile, given: TableColumns, *, labelled: bool) -> _UsedColumns:
    for name in (given.path_column, given.text_column, *given.all_features):
        if name is not None:
            file.column(name)
    label = file.known_as(LABELS) if not labelled else None  # not wanted as a label, but not a feature either
    if labelled:
        label = file.column(given.label, LABELS, how="name the label column with label")
        if label in given.all_features:
            raise DataError(f"{file.path}: the label column {label!r} cannot be a feature: leave it out")
    path, text = given.path_column, given.text_column
    if path is None and text is None and given.features is None:
        path = file.known_as(PATHS)
    if text is None and path is None and not given.all_features and given.features is None:
        text = next((name for name in file.names if name.lower() in TEXTS and name != label), None)
    beside = tuple(name for name in COLUMNS if name in file.names and name not in (label, path))
    taken = (label, path, text, *beside, *given.all_features)
    free = (name for usual in NAMES for name in file.names if name.lower() == usual and name not in taken)
    values = tuple(name for name in file.names if name and not (labelled and name == label))
    return _UsedColumns(given, label, path, text, next(free, None), beside, values)


def _items(file: TableFile, table: Columns, used: _UsedColumns, max_pixels: int) -> Found:
    if used.path is not None:
        files = table.texts(used.path)
        # A column called "file" may hold something else, such as the hash of a program.
        if used.given.path_column is not None or any(
            Path(each).suffix.lower() in IMAGE_SUFFIXES for each in files[:100]
        ):
            return Found(
                items=ImageFiles(tuple(file.path.parent / each for each in files), max_pixels),
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


def _row_names(given: list[str]) -> list[str]:
    return [name or f"row {row}" for row, name in enumerate(given, start=1)]


def _rows(file: TableFile, table: Columns, used: _UsedColumns) -> Found:
    categories = used.given.categories
    read = ((name, table.array(name, text=name in categories)) for name in used.values)
    values = {name: held for name, held in read if held is not None}
    wanted = used.usual_features if used.given.features is None else used.given.features
    wanted = [name for name in wanted if name not in categories]
    left = [name for name in wanted if not _has_numbers(values.get(name))]
    if used.given.features is not None and left:
        raise DataError(
            f"{file.path}: the column {left[0]!r} has no numbers: remove it from features, or name it in "
            "categories"
        )
    features = {*wanted, *categories}.difference(left)
    if not features:
        raise DataError(
            f"{file.path} has neither a path column ({', '.join(PATHS)}) nor columns of numbers: "
            "name the path column, or add feature columns"
        )
    items = Table(values, tuple(name for name in used.values if name in features))
    return Found(
        items=items,
        names=_row_names(table.texts(used.names) if used.names else [""] * len(items)),
        unreadable=_first(items, is_infinite, "is not finite"),
        missing=_first(items, is_missing, "is empty"),
        notes=(f"skipped: columns without numbers ({some(left, limit=6)})",) if left else (),
    )


def _has_numbers(values: NDArray[Any] | None) -> bool:
    return values is not None and is_numeric(values) and not np.isnan(values).all()


def _first(table: Table, test: Callable[[NDArray[Any]], NDArray[np.bool_]], what: str) -> dict[int, str]:
    """Names the first feature of each row for which the test is true."""
    found = np.stack([test(table.columns[name]) for name in table.features], axis=1)
    rows = np.flatnonzero(found.any(axis=1)).tolist()
    return {row: f"column {table.features[int(np.argmax(found[row]))]!r} {what}" for row in rows}
