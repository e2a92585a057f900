"""One function from what a person names to a checked data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trine.data.dataset import Dataset, ImageFiles, Texts
from trine.data.image_decoding import SUFFIXES as PICTURES
from trine.data.load_report import STRICT, LoadPolicy, LoadReport
from trine.data.sources.arrays import array_names, read_arrays
from trine.data.sources.builtin import BUILTIN
from trine.data.sources.filename_pattern import Pattern
from trine.data.sources.folder import read_folder
from trine.data.sources.split_tables import divided_tables, read_divided
from trine.data.sources.table import LABELS, header, read_table
from trine.data.sources.table import SUFFIXES as TABLES
from trine.data.validation import Found, check
from trine.errors import DataError, SettingError, nearest


def load(
    source: str | Path,
    *,
    label: str | None = None,
    path_column: str | None = None,
    text_column: str | None = None,
    features: Sequence[str] | None = None,
    categories: Sequence[str] = (),
    pattern: str | None = None,
    policy: LoadPolicy = STRICT,
) -> tuple[Dataset, LoadReport]:
    """Loads labelled data, and checks every item of it.

    A source is a folder with one folder of pictures for each identity, or of pictures whose names tell
    identity and camera, by a pattern; a table (.csv, .tsv, either also with .gz, or .parquet) with a label
    column and a path column, a text column or feature columns; a folder with such tables called train and
    test (and validation); an `.npz` file with x and y; or the name of a built-in data set, "digits",
    "shifted-digits" or "fashion-mnist" (write "./digits" for a folder of that name).

    Args:
        source: The path or the name.
        label: The label column of a table, or the array of labels in an `.npz` file.
        path_column: The column of a table that names the pictures.
        text_column: The column of a table that holds the texts; None takes one called text, sentence or
            utterance.
        features: The columns of a table that are the features; None takes all that are numbers.
        categories: Further features: columns of texts, or of numbers that are names, such as codes.
        pattern: What the names of the files in a folder tell, such as `"{identity}_c{camera}_{*}"`: text in
            which {identity}, {camera} and {group} stand for what becomes identity and columns, and {*} for
            anything. It is held against the file's name without its ending; with slashes, against as
            many folders before it.
        policy: What to do with items that cannot be used.

    Returns:
        The data set, identities in natural order; and the report of what was found.

    Raises:
        DataError: There is no such source, or something in it cannot be used.
        SettingError: A column is named for a source that has none, or a pattern cannot be used.
        MissingDependencyError: A package that reads this source is not installed.

    Example:
        >>> data, report = load("digits")
        >>> print(report)
        digits: 1,797 pictures of 10 identities, 174 to 183 each
        >>> data.items[0].shape, data.identity(0)
        ((8, 8, 1), '0')
    """
    columns = {
        "label": label,
        "path_column": path_column,
        "text_column": text_column,
        "features": features,
        "categories": categories,
    }
    found = _find(source, columns, policy, labelled=True, pattern=pattern)
    return check(found, source=str(source), policy=policy)


def load_unlabelled(
    source: str | Path | Sequence[str | Path],
    *,
    path_column: str | None = None,
    text_column: str | None = None,
    features: Sequence[str] | None = None,
    categories: Sequence[str] = (),
    policy: LoadPolicy = STRICT,
) -> tuple[Dataset, LoadReport]:
    """Loads items whose identities are not known: a folder laid out in any way, one picture, a list.

    Args:
        source: What `load` takes, one picture, or a list of pictures.
        path_column: The column of a table that names the pictures.
        text_column: The column of a table that holds the texts; None takes one called text, sentence or
            utterance.
        features: The columns of a table that are the features; None takes all that are numbers.
        categories: Further features: columns of texts, or of numbers that are names, such as codes.
        policy: What to do with items that cannot be used.

    Returns:
        The data set, with label −1 everywhere and no identities; and the report of what was found.

    Raises:
        DataError: There is no such source, or something in it cannot be used.
        SettingError: A column is named for a source that has none.
        MissingDependencyError: A package that reads this source is not installed.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if not (path.is_file() and path.suffix.lower() in PICTURES):
            columns = {
                "label": None,
                "path_column": path_column,
                "text_column": text_column,
                "features": features,
                "categories": categories,
            }
            found = _find(source, columns, policy, labelled=False)
            return check(found, source=str(source), policy=policy)
        source = [source]
    paths = tuple(Path(path) for path in source)
    name = str(paths[0]) if len(paths) == 1 else f"{len(paths):,} pictures"
    items = ImageFiles(paths, policy.max_pixels)
    found = Found(items, [path.as_posix() for path in paths], None)
    return check(found, source=name, policy=policy)


def has_identities(source: str | Path, *, label: str | None = None) -> bool:
    """Looks whether a source says which identity an item is of, without reading its items.

    Args:
        source: What `load` takes.
        label: The label column of a table, or the array of labels, where one is named.

    Returns:
        Whether a label is named; else whether a table has a column that is called like one, an `.npz`
        file has an array y, or a folder has folders in it. True for what is not there: `load` says so.

    Raises:
        DataError: A table or an `.npz` file is damaged.

    Example:
        >>> has_identities("digits")
        True
    """
    path = Path(source)
    if label is not None:
        return True
    if path.is_dir():
        return any(each.is_dir() and not each.name.startswith(".") for each in path.iterdir())
    if not path.is_file():
        return True
    if path.name.lower().endswith(TABLES):
        return any(name.lower() in LABELS for name in header(path))
    return path.suffix.lower() != ".npz" or "y" in array_names(path)


def texts_of(texts: Sequence[str]) -> Dataset:
    """Makes a data set of texts whose identities are not known, each named by itself.

    Args:
        texts: The texts.

    Returns:
        The data set, with label −1 everywhere and no identities.

    Raises:
        DataError: There is no text, or one is empty.

    Example:
        >>> texts_of(["where is my card?"]).names
        ('where is my card?',)
    """
    empty = {place: "an empty text" for place, text in enumerate(texts) if not text.strip()}
    found = Found(Texts(tuple(texts)), list(texts), None, unreadable=empty)
    return check(found, source=f"{len(texts):,} texts", policy=STRICT)[0]


def read_items(paths: Sequence[str | Path], *, max_pixels: int = STRICT.max_pixels) -> ImageFiles:
    """Checks pictures and makes items of them, one for each path and in their order.

    Args:
        paths: The pictures; one may come twice.
        max_pixels: The most pixels that a picture may have.

    Returns:
        The items; a picture is decoded when it is asked for.

    Raises:
        DataError: A file is missing, no picture, damaged or too large.
    """
    policy = LoadPolicy(duplicates="keep", max_pixels=max_pixels)
    data, _ = load_unlabelled(list(paths), policy=policy)
    assert isinstance(data.items, ImageFiles)
    return data.items


def _find(
    source: str | Path,
    columns: Mapping[str, Any],
    policy: LoadPolicy,
    *,
    labelled: bool,
    pattern: str | None = None,
) -> Found:
    path = Path(source)
    told_by = None if pattern is None else Pattern(pattern)
    builtin = isinstance(source, str) and source in BUILTIN
    if told_by is not None and (builtin or path.is_file()):
        raise SettingError(
            f"pattern={pattern!r} reads the names of files in a folder, but {source} is no folder: "
            "leave pattern out"
        )

    def table(file: Path) -> Found:
        return read_table(file, **columns, max_pixels=policy.max_pixels, labelled=labelled)

    if path.name.lower().endswith(TABLES) and path.is_file():
        return table(path)
    if told_by is None and path.is_dir() and (tables := divided_tables(path)):
        return read_divided(tables, read=table)
    named = {name: value for name, value in columns.items() if value not in (None, (), [])}
    if path.suffix.lower() == ".npz":
        named.pop("label", None)
    for argument, value in named.items():
        if value is not None:
            raise SettingError(
                f"{argument}={value!r} names a column of a table, but {source} is no table "
                f"({', '.join(TABLES)}): leave {argument} out"
            )
    if builtin:
        found = BUILTIN[str(source)]()
        return found if labelled else Found(found.items, found.names, None, found.columns)
    if path.is_dir():
        return read_folder(path, max_pixels=policy.max_pixels, labelled=labelled, pattern=told_by)
    if not path.exists():
        raise DataError(
            f"there is no file or folder {str(source)!r}, and no built-in data set of that name: "
            f"{nearest(str(source), BUILTIN)}"
        )
    if path.suffix.lower() == ".npz":
        return read_arrays(path, label=columns["label"] or "y", labelled=labelled)
    raise DataError(
        f"{source} is no data set: expected a folder of folders of pictures, a table "
        f"({', '.join(TABLES)}) or an .npz file"
    )
