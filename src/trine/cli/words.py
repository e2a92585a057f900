"""What several verbs share: the arguments that name data, and what is printed while and after."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trine.errors import require

if TYPE_CHECKING:
    from trine.data import Dataset


def say(text: object) -> None:
    """Prints a line."""
    print(text)  # noqa: T201


def say_json(value: object) -> None:
    """Prints plain values as one line of JSON."""
    say(json.dumps(value, ensure_ascii=False, allow_nan=False))


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
        help="a folder of folders, a .csv, .parquet or .npz file, or: digits, fashion-mnist",
        **optional,
    )
    parser.add_argument("--label", type=str, default=None, help="the label column of a table")
    parser.add_argument(
        "--path-column", type=str, default=None, help="the column of a table that names the pictures"
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
        "--unreadable", type=str, default="error", help="pictures that cannot be read: error or skip"
    )
    parser.add_argument(
        "--missing",
        type=str,
        default="error",
        help="rows with an empty feature: error, skip, or keep, which fills it with what is usual",
    )
    parser.add_argument(
        "--duplicates", type=str, default="error", help="files listed twice: error, skip or keep"
    )
    parser.add_argument(
        "--repeated", type=str, default="keep", help="items of the same content: error, skip or keep"
    )
    parser.add_argument(
        "--unlabelled", type=str, default="error", help="items without an identity: error or skip"
    )
    parser.add_argument(
        "--singletons", type=str, default="keep", help="identities with one item: error, skip or keep"
    )


def loaded(settings: Any, tell: Callable[[object], None] = say, *, labelled: bool = True) -> Dataset:
    """Loads the data that was named, and prints what was found.

    Args:
        settings: The parsed arguments.
        tell: Prints.
        labelled: Whether identities are wanted.
    """
    from trine.data import LoadPolicy, load, load_unlabelled

    policy = LoadPolicy(
        unreadable=settings.unreadable,
        missing=settings.missing,
        duplicates=settings.duplicates,
        repeated=settings.repeated,
        unlabelled=settings.unlabelled,
        singletons=settings.singletons,
    )
    if not labelled:
        data, report = load_unlabelled(
            settings.data, path_column=settings.path_column, features=settings.features, policy=policy
        )
        tell(report)
        return data
    data, report = load(
        settings.data,
        label=settings.label,
        path_column=settings.path_column,
        features=settings.features,
        categories=settings.categories,
        policy=policy,
    )
    tell(report)
    return data
