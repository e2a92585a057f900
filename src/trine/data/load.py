"""Loads a data set from a path or a name, and checks it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from trine.data.dataset import Dataset, ImageFiles, Items, Kind, Texts
from trine.data.frames import are_rows, as_row, is_frame
from trine.data.image_decoding import SUFFIXES as IMAGE_SUFFIXES
from trine.data.load_report import STRICT, LoadPolicy, LoadReport
from trine.data.objects import has_labels, read_objects
from trine.data.sources.arrays import array_names, read_arrays
from trine.data.sources.builtin import BUILTIN
from trine.data.sources.filename_pattern import Pattern
from trine.data.sources.folder import inside, read_folder
from trine.data.sources.split_tables import find_split_tables, read_split_tables
from trine.data.sources.table import TableColumns, label_columns, read_rows, read_table
from trine.data.table import Row
from trine.data.table_file import TABLE_SUFFIXES, is_table, open_table
from trine.data.table_reader import TableReader
from trine.data.validation import Found, check
from trine.errors import (
    DataError,
    InputError,
    SettingError,
    check_flags,
    check_texts,
    check_type,
    nearest,
    shown,
)

SourceKind = Literal["builtin", "folder", "table", "arrays", "image", "objects", "other", "missing"]
"""What a source is; see `source_kind`."""


def source_kind(source: Any) -> SourceKind:
    """Decides what a source is, for all callers that take data by path or name.

    The name of a built-in data set means that data set, even if a file or folder has the same name; write
    "./digits" for a folder.

    Args:
        source: A path, a name, or what Python holds.

    Returns:
        "builtin"; "folder"; "table" (.csv, .tsv, either also with .gz, or .parquet); "arrays" (.npz);
        "image"; "objects" for images, arrays and data sets of torch; "other" for any other file; or
        "missing".

    Example:
        >>> source_kind("digits"), source_kind("./digits")
        ('builtin', 'missing')
    """
    if is_frame(source) or are_rows(source):
        return "table"
    if not isinstance(source, str | Path):
        return "objects"
    if isinstance(source, str) and source in BUILTIN:
        return "builtin"
    # os.path answers for empty and overlong names, too, where a Path is "." or an error.
    if os.path.isdir(source):  # noqa: PTH112
        return "folder"
    if not os.path.exists(source):  # noqa: PTH110
        return "missing"
    path = Path(source)
    if is_table(path):
        return "table"
    suffix = path.suffix.lower()
    return "arrays" if suffix == ".npz" else "image" if suffix in IMAGE_SUFFIXES else "other"


def load(
    source: Any,
    *,
    labelled: bool = True,
    label: str | None = None,
    path_column: str | None = None,
    text_column: str | None = None,
    features: Sequence[str] | None = None,
    categories: Sequence[str] = (),
    pattern: str | None = None,
    policy: LoadPolicy = STRICT,
) -> tuple[Dataset, LoadReport]:
    """Loads data and checks every item.

    A source is a folder with one folder of images for each identity, or of images whose names hold
    identity and camera, by a pattern; a table (.csv, .tsv, either also with .gz, or .parquet) with a label
    column and a path column, a text column or feature columns; a folder with such tables named train and
    test (and validation); an `.npz` file with x and y; or the name of a built-in data set, "digits",
    "shifted-digits" or "fashion-mnist" (write "./digits" for a folder of that name).

    A table may also be in memory: a DataFrame of pandas or polars, a mapping from column to values, or a list
    of rows. Other data that Python holds is a data set of torch, a list of pairs (item, label), or two arrays
    (items, labels). An item is an image of Pillow, an array or a tensor (an image, or a vector), or the path
    of an image.

    Without labels, a source may also be a folder with any layout, one image, or a list of items.

    Args:
        source: The path, the name, or the data.
        labelled: Whether the items need identities; False loads items of unknown identity.
        label: The label column of a table, or the array of labels in an `.npz` file; None takes a column
            named label, identity, person, class, target or y, if only one may be meant.
        path_column: The column of a table with the paths of the images.
        text_column: The column of a table with the texts; None takes one named text, sentence or utterance.
        features: The feature columns of a table; None takes all columns of numbers.
        categories: Further feature columns: texts, or numbers that are codes.
        pattern: How to read the names of the files in a folder, such as `"{identity}_c{camera}_{*}"`:
            {identity}, {camera} and {group} stand for identity and columns, and {*} for anything. It is
            matched against the file's name without its suffix; with slashes, also against as many folders
            before it.
        policy: What to do with items that cannot be used.

    Returns:
        The data set, identities in natural order, or label −1 everywhere where they are unknown; and the
        report of what was found.

    Raises:
        DataError: The source does not exist, or something in it cannot be used.
        SettingError: A column is named for a source without columns, or a pattern cannot be used.
        MissingDependencyError: A package that reads this source is not installed.

    Example:
        >>> data, report = load("digits")
        >>> print(report)
        digits: 1,797 images of 10 identities, 174 to 183 each
        >>> data.items[0].shape, data.identity(0)
        ((8, 8, 1), '0')
    """
    check_flags(labelled=labelled)
    check_type("policy", policy, LoadPolicy, "a LoadPolicy", error=SettingError)
    columns = TableColumns(label, path_column, text_column, features, categories)
    if is_frame(source) or are_rows(source):
        table = open_table(source)
        found = _find(table, columns, policy, labelled=labelled, pattern=pattern)
        return check(found, source=table.source, policy=policy)
    if isinstance(source, str | Path):
        found = _find(source, columns, policy, labelled=labelled, pattern=pattern)
        return check(found, source=str(source), policy=policy)
    _check_no_columns(f"the {type(source).__name__}", columns, "other")
    if pattern is not None:
        raise SettingError(f"pattern={shown(pattern)} reads the names of files: leave it out")
    found = read_objects(source, max_pixels=policy.max_pixels, labelled=labelled)
    return check(found, source=_name(source, found), policy=policy)


def has_identities(source: Any, *, label: str | None = None) -> bool:
    """Whether a source has the identities of its items, without reading the items.

    Args:
        source: What `load` takes.
        label: The label column of a table, or the array of labels, if one is named.

    Returns:
        Whether a label is named; else whether a table has a column with a usual name for labels, an `.npz`
        file has an array y, a folder has folders or such tables in it, or a sequence holds pairs. True for
        a source that is missing: `load` reports it.

    Raises:
        DataError: A table or an `.npz` file is damaged.

    Example:
        >>> has_identities("digits")
        True
    """
    kind = source_kind(source)
    if label is not None:
        return True
    if kind == "table":
        return bool(label_columns(open_table(source)))
    if kind == "objects":
        return has_labels(source)
    path = Path(source)
    if kind == "folder":
        if tables := find_split_tables(path):
            return has_identities(tables["train"])
        return any(each.is_dir() for each in inside(path))
    return kind != "arrays" or "y" in array_names(path)


def texts_of(texts: Sequence[str]) -> Dataset:
    """Makes a data set of texts of unknown identity; the name of each is its text.

    Args:
        texts: The texts.

    Returns:
        The data set, with label −1 everywhere and no identities.

    Raises:
        DataError: `texts` is empty, or one of them is.

    Example:
        >>> texts_of(["where is my card?"]).names
        ('where is my card?',)
    """
    texts = check_texts("texts", texts, "texts", error=DataError)
    empty = next((at for at, text in enumerate(texts) if not text.strip()), None)
    if empty is not None:
        which = "it" if len(texts) == 1 else f"text {empty + 1} of {len(texts):,}"
        raise DataError(f"an empty text cannot be embedded: write something in {which}")
    found = Found(Texts(tuple(texts)), list(texts), None)
    return check(found, source=f"{len(texts):,} texts", policy=STRICT)[0]


def as_dataset(data: Any, taker: str, *, labelled: bool | None = True) -> Dataset:
    """Returns a data set as it is, and loads what else Python holds.

    Args:
        data: A data set, or what `load` takes but for paths and names.
        taker: The function that takes it, for the error.
        labelled: Whether the items need identities; None takes those that there are.

    Returns:
        The data set.

    Raises:
        InputError: It is no data.
        DataError: Something in it cannot be used.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | Path):
        raise InputError(f"{taker} takes a Dataset, given {data!r:.80}: use trine.data.load")
    return load(data, labelled=has_identities(data) if labelled is None else labelled)[0]


def frame_items(frame: Any, *, kind: Kind) -> Items:
    """Takes the items of a table in memory, for an encoder; labels and gaps do not matter.

    Args:
        frame: The table, as `is_frame` says.
        kind: The kind of items: texts are in a text column, images in a path column.

    Returns:
        The items, in the order of the table.

    Raises:
        DataError: The table has no such column, or an image cannot be read.
    """
    table = open_table(frame)
    if kind == "vectors":
        return read_rows(table)
    found = read_table(table, TableColumns(), max_pixels=STRICT.max_pixels, labelled=False)
    if found.items.kind != kind:
        column = "text" if kind == "texts" else "path"
        raise DataError(
            f"{table.source} has no {column} column, but this encoder takes {kind}: name it {column!r}"
        )
    return read_items(found.items.paths) if isinstance(found.items, ImageFiles) else found.items


def single_item(frame: Any) -> Row:
    """Takes the row of a table in memory that has only one.

    Raises:
        InputError: It has another number of rows.
    """
    row = as_row(frame)
    if row is not None:
        return row
    table = read_rows(open_table(frame))
    if len(table) != 1:
        raise InputError(
            f"a table of {len(table):,} rows is not one item: pass one of its rows, or the table itself to a "
            "function that takes several items"
        )
    return table[0]


def read_items(paths: Sequence[str | Path], *, max_pixels: int = STRICT.max_pixels) -> ImageFiles:
    """Checks images and makes items of them, one for each path, in the same order.

    Args:
        paths: The images; one may be repeated.
        max_pixels: The most pixels that an image may have.

    Returns:
        The items.

    Raises:
        DataError: A file is missing, not an image, damaged or too large.
    """
    policy = LoadPolicy(duplicates="keep", max_pixels=max_pixels)
    found = _images([Path(path) for path in paths], policy)
    data, _ = check(found, source=_name(paths, found), policy=policy, advise=False)
    assert isinstance(data.items, ImageFiles)
    return data.items


def _find(
    source: Any,
    columns: TableColumns,
    policy: LoadPolicy,
    *,
    labelled: bool,
    pattern: str | None = None,
) -> Found:
    kind = "table" if isinstance(source, TableReader) else source_kind(source)
    path = Path() if kind == "table" else Path(source)
    if kind == "image" and not labelled:
        return _images([path], policy)
    by_pattern = None if pattern is None else Pattern(pattern)
    if kind == "missing":
        raise DataError(
            f"there is no file or folder {str(source)!r}, and no built-in data set of that name: "
            f"{nearest(str(source), BUILTIN)}"
        )
    if by_pattern is not None and kind != "folder":
        raise SettingError(
            f"pattern={pattern!r} reads the names of the files in a folder, but {source} is not a folder: "
            "leave pattern out"
        )

    def table(file: Any) -> Found:
        return read_table(file, columns, max_pixels=policy.max_pixels, labelled=labelled)

    if kind == "table":
        return table(source)
    if kind == "folder" and by_pattern is None and (tables := find_split_tables(path)):
        return read_split_tables(tables, read=table)
    _check_no_columns(source, columns, kind)
    if kind == "builtin":
        found = BUILTIN[str(source)]()
        return found if labelled else Found(found.items, found.names, None, found.columns)
    if kind == "folder":
        return read_folder(path, max_pixels=policy.max_pixels, labelled=labelled, pattern=by_pattern)
    if kind == "arrays":
        return read_arrays(path, label=columns.label or "y", labelled=labelled)
    raise DataError(
        f"{source} is not a data set: expected a folder of folders of images, a table "
        f"({', '.join(TABLE_SUFFIXES)}) or an .npz file"
    )


def _images(paths: Sequence[Path], policy: LoadPolicy) -> Found:
    return Found(ImageFiles(tuple(paths), policy.max_pixels), [path.as_posix() for path in paths], None)


def _name(source: Any, found: Found) -> str:
    """What a report calls data that Python holds."""
    if not isinstance(found.items, ImageFiles):
        return f"the {type(source).__name__}"
    return found.names[0] if len(found.names) == 1 else f"{len(found.names):,} images"


def _check_no_columns(source: str | Path, columns: TableColumns, kind: SourceKind) -> None:
    """Raises a `SettingError` if a column is named for a source without columns."""
    for argument, given in vars(columns).items():
        if (given or given == "") and not (argument == "label" and kind == "arrays"):
            named = given if isinstance(given, str) else list(given)
            raise SettingError(
                f"{argument}={named!r} names a column of a table, but {source} is not a table "
                f"({', '.join(TABLE_SUFFIXES)}): leave {argument} out"
            )
