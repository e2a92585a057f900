"""What several verbs share: the arguments that name data, loading it, and printing."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trine.errors import require

if TYPE_CHECKING:
    from trine.data import Dataset, LoadPolicy

RUN = "the run folder, or a model folder"
"""The help of an argument that names a trained encoder."""

COLUMNS = ("path_column", "text_column", "features", "categories")
"""The arguments that name columns of a table, whether or not identities are wanted."""

POLICIES = {
    "unreadable": ("error", "images that cannot be read: error or skip"),
    "missing": ("error", "rows with missing values: error, skip, or keep to impute the training median"),
    "duplicates": ("error", "files listed twice: error, skip or keep"),
    "repeated": ("keep", "items with the same content: error, skip or keep"),
    "unlabelled": ("error", "items without an identity: error or skip"),
    "singletons": ("keep", "identities with a single item: error, skip or keep"),
}
"""The arguments that say what to do with unusable items: each with its default and its help."""


def echo(text: object) -> None:
    """Prints a line."""
    print(text)  # noqa: T201


def echo_json(value: object) -> None:
    """Prints plain values as one line of JSON."""
    echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def items(count: int) -> str:
    """Writes a number of items.

    Example:
        >>> items(1), items(1200)
        ('1 item', '1,200 items')
    """
    return f"{count:,} item" if count == 1 else f"{count:,} items"


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """Shows a progress bar on standard error; none where that is not a terminal.

    Args:
        label: The word in front of the bar.
        total: The count at its end.

    Yields:
        A function that moves the bar to a count; None where there is no bar.
    """
    if not sys.stderr.isatty():
        yield None
        return
    rich = require("rich.progress", extra="train")
    columns = (
        rich.TextColumn(label),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
    )
    console = require("rich.console", extra="train").Console(stderr=True)
    with rich.Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)


def chunk_size(total: int) -> int:
    """Returns how many items to write between two moves of a progress bar.

    Example:
        >>> chunk_size(50), chunk_size(20_000), chunk_size(1_000_000)
        (64, 400, 1024)
    """
    return max(64, min(1024, total // 50))


def data_arguments(parser: Any, name: str = "data") -> None:
    """Adds the arguments that name data.

    Args:
        parser: The parser of the verb.
        name: `"data"`, or `"--data"` where it is optional.
    """
    add = parser.add_argument
    add(
        name,
        help="a folder with a subfolder for each identity, or with train.csv and test.csv; a .csv, .parquet "
        "or .npz file; or a built-in data set: digits, shifted-digits, fashion-mnist",
    )
    add("--label", metavar="COLUMN", help="the table column that holds the identity")
    add("--path-column", metavar="COLUMN", help="the table column that holds the paths of images")
    add("--text-column", metavar="COLUMN", help="the table column that holds texts")
    add(
        "--features",
        metavar="COLUMN",
        nargs="+",
        help="the table columns that hold numeric features (default: every numeric column)",
    )
    add(
        "--categories",
        metavar="COLUMN",
        nargs="+",
        default=[],
        help="table columns to use as categorical features: texts, or numeric codes",
    )
    add("--pattern", help="how file names in a folder are built, such as '{identity}_c{camera}_{*}'")
    for policy, (default, text) in POLICIES.items():
        add(f"--{policy}", metavar="POLICY", default=default, help=f"{text} (default: {default})")


def options_of(settings: Any, *names: str) -> list[str]:
    """Writes arguments of a command that are not left at their defaults, for a command that repeats them.

    Args:
        settings: The parsed arguments.
        names: The arguments, as attributes.
    """
    words = []
    for name in names:
        given = getattr(settings, name)
        if given and given != POLICIES.get(name, ("",))[0]:
            words += [f"--{name.replace('_', '-')}", *([given] if isinstance(given, str) else given)]
    return words


def data_command(settings: Any) -> str:
    """Writes the data arguments of a command, for a command that repeats them.

    Args:
        settings: The parsed arguments.
    """
    return shlex.join([settings.data, *options_of(settings, "label", *COLUMNS, "pattern", *POLICIES)])


def load_data(settings: Any, show: Callable[[object], None] = echo, *, labelled: bool = True) -> Dataset:
    """Loads the data that the arguments name, and prints what was found.

    Args:
        settings: The parsed arguments.
        show: Prints the report.
        labelled: Whether the items need identities.
    """
    from trine.data import load, load_unlabelled

    names = column_names(settings)
    if labelled:
        names |= {"label": settings.label, "pattern": settings.pattern}
    data, report = (load if labelled else load_unlabelled)(settings.data, **names, policy=policy(settings))
    show(report)
    return data


def policy(settings: Any) -> LoadPolicy:
    """Returns what to do with unusable items.

    Args:
        settings: The parsed arguments.
    """
    from trine.data import LoadPolicy

    return LoadPolicy(**{name: getattr(settings, name) for name in POLICIES})


def column_names(settings: Any) -> dict[str, Any]:
    """Returns the named columns of a table, except that of the label.

    Args:
        settings: The parsed arguments.
    """
    return {name: getattr(settings, name) for name in COLUMNS}


def is_labelled(settings: Any) -> bool:
    """Whether the data has identities: an argument says where they are, or the data itself does.

    Args:
        settings: The parsed arguments.
    """
    from trine.data import has_identities

    return settings.label is not None or settings.pattern is not None or has_identities(settings.data)
