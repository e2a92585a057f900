"""What several verbs share: the arguments that name data, and what is printed while and after."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trine.errors import require

if TYPE_CHECKING:
    from trine.data import Dataset

COLUMNS = ("path_column", "text_column", "features", "categories")
"""The arguments that name columns of a table, whether or not identities are wanted."""

POLICIES = {
    "unreadable": ("error", "pictures that cannot be read: error or skip"),
    "missing": (
        "error",
        "rows with an empty feature: error, skip, or keep, which fills it with what is usual",
    ),
    "duplicates": ("error", "files listed twice: error, skip or keep"),
    "repeated": ("keep", "items of the same content: error, skip or keep"),
    "unlabelled": ("error", "items without an identity: error or skip"),
    "singletons": ("keep", "identities with one item: error, skip or keep"),
}
"""The arguments that say what may be left out, with what holds where nobody says, and their help."""


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
def counted(what: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """Shows a bar while something is counted up; none where nobody looks at a terminal.

    Args:
        what: The word before the bar.
        total: How far it is counted.

    Yields:
        What moves the bar to a number; `None` where there is no bar.
    """
    if not sys.stderr.isatty():
        yield None
        return
    rich = require("rich.progress", extra="train")
    columns = (
        rich.TextColumn(what),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(
        *columns, console=require("rich.console", extra="train").Console(stderr=True)
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)


def at_once(total: int) -> int:
    """Returns how many items to write between two moves of a bar: often enough to be seen, and not more.

    Example:
        >>> at_once(50), at_once(20_000), at_once(1_000_000)
        (64, 400, 1024)
    """
    return max(64, min(1024, total // 50))


def data_arguments(parser: Any, name: str = "data") -> None:
    """Adds the arguments that name data.

    Args:
        parser: Where to.
        name: `"data"`, or `"--data"` where it may be left out.
    """
    optional: dict[str, Any] = {"default": None} if name.startswith("-") else {}
    parser.add_argument(
        name,
        type=str,
        help="a folder of folders or of train.csv and test.csv, a .csv, .parquet or .npz file, or: digits, "
        "shifted-digits, fashion-mnist",
        **optional,
    )
    parser.add_argument("--label", type=str, default=None, help="the label column of a table")
    parser.add_argument(
        "--path-column", type=str, default=None, help="the column of a table that names the pictures"
    )
    parser.add_argument(
        "--text-column", type=str, default=None, help="the column of a table that holds texts"
    )
    parser.add_argument(
        "--features",
        type=str,
        nargs="+",
        default=None,
        help="the feature columns of a table; all numbers where left out",
    )
    parser.add_argument(
        "--categories",
        type=str,
        nargs="+",
        default=[],
        help="further feature columns of a table: texts, or codes that name something",
    )
    parser.add_argument(
        "--pattern",
        type=str,
        default=None,
        help="what the names of files in a folder show, such as '{identity}_c{camera}_{*}'",
    )
    for policy, (usual, words) in POLICIES.items():
        parser.add_argument(f"--{policy}", type=str, default=usual, help=words)


def data_words(settings: Any) -> str:
    """Writes how the data was named, for a command that names it again.

    Args:
        settings: The parsed arguments.
    """
    words = [str(settings.data)]
    for name in ("label", *COLUMNS, "pattern"):
        given = getattr(settings, name)
        if given:
            words += [f"--{name.replace('_', '-')}", *([given] if isinstance(given, str) else given)]
    for name, (usual, _) in POLICIES.items():
        if getattr(settings, name) != usual:
            words += [f"--{name}", getattr(settings, name)]
    return shlex.join(words)


def loaded(settings: Any, show: Callable[[object], None] = echo, *, labelled: bool = True) -> Dataset:
    """Loads the data that was named, and prints what was found.

    Args:
        settings: The parsed arguments.
        show: Prints.
        labelled: Whether identities are wanted.
    """
    from trine.data import LoadPolicy, load, load_unlabelled

    policy = LoadPolicy(**{name: getattr(settings, name) for name in POLICIES})
    columns = columns_of(settings)
    if labelled:
        columns |= {"label": settings.label, "pattern": settings.pattern}
    data, report = (load if labelled else load_unlabelled)(settings.data, **columns, policy=policy)
    show(report)
    return data


def columns_of(settings: Any) -> dict[str, Any]:
    """The columns of a table that were named, other than the label's.

    Args:
        settings: The parsed arguments.
    """
    return {name: getattr(settings, name) for name in COLUMNS}
