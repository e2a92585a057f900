"""What several verbs share: the arguments that name data, loading it, and printing."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from trine.cli.output import write
from trine.cli.parser import Argument, argument
from trine.display import printable
from trine.errors import Terminated, require

if TYPE_CHECKING:
    from trine.data import Dataset, LoadPolicy
    from trine.encoders import Encoder
    from trine.on_ray.stream import Each

RUN = argument("run", help="the run folder, or a model folder")
JSON = argument("--json", action="store_true", help="print JSON, one line for each answer")

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


def policy_argument(name: str) -> Argument:
    """Declares one of the arguments that say what to do with unusable items."""
    default, text = POLICIES[name]
    return argument(f"--{name}", metavar="POLICY", default=default, help=f"{text} (default: {default})")


DATA_HELP = (
    "a folder with a subfolder for each identity, or with train.csv and test.csv; a .csv, .parquet or .npz "
    "file; or a built-in data set: digits, shifted-digits, fashion-mnist"
)
HOW_TO_READ = (
    argument("--label", metavar="COLUMN", help="the table column with the identity"),
    argument("--path-column", metavar="COLUMN", help="the table column with the paths of images"),
    argument("--text-column", metavar="COLUMN", help="the table column with texts"),
    argument("--features", metavar="COLUMN", nargs="+", help="numeric feature columns (default: all)"),
    argument("--categories", metavar="COLUMN", nargs="+", default=[], help="categorical feature columns"),
    argument("--pattern", help="how file names in a folder are built, such as '{identity}_c{camera}_{*}'"),
    *map(policy_argument, POLICIES),
)
DATA = (argument("data", help=DATA_HELP), *HOW_TO_READ)
OPTIONAL_DATA = (argument("--data", help=DATA_HELP), *HOW_TO_READ)


ON = argument(
    "--on",
    metavar="RAY",
    help="where to compute: ray (this machine) or ray://HOST:PORT (a cluster); default: in this process",
)


@contextmanager
def computing_on(settings: Any, *encoders: Encoder) -> Iterator[None]:
    """Lets encoders embed where `--on` says, until the block ends.

    Args:
        settings: The parsed arguments, with `ON`.
        encoders: The encoders.
    """
    if settings.on is None:
        yield
        return
    from trine.on_ray import connected, embeds_on

    with connected(settings.on) as ray, embeds_on(ray, settings.on, *encoders):
        yield


@contextmanager
def working_on(settings: Any) -> Iterator[Each | None]:
    """Yields what calls a function many times where `--on` says; None for this process."""
    if settings.on is None:
        yield None
        return
    from trine.on_ray import connected, each_on

    with connected(settings.on) as ray:
        yield each_on(ray, settings.on)


def check_on(settings: Any) -> None:
    """Raises a `SettingError` for an address that cannot be used, before anything is loaded."""
    if settings.on is not None:
        from trine.on_ray import check_address

        check_address(settings.on)


def echo(*lines: object, file: TextIO | None = None) -> None:
    """Prints lines, or reports of several lines; what would act on a terminal is escaped.

    Args:
        lines: Each is a text, which becomes one line whatever names are in it, or a report.
        file: Where to; None is standard output.
    """
    for line in lines:
        parts = [line] if isinstance(line, str) else str(line).split("\n")
        write("\n".join(map(printable, parts)), file=file)


def stopped(stop: KeyboardInterrupt | Terminated) -> str:
    """How a command ended early: interrupted by Ctrl-C, or terminated by SIGTERM."""
    return "terminated" if isinstance(stop, Terminated) else "interrupted"


def echo_json(value: object) -> None:
    """Prints plain values as one line of JSON; what would act on a terminal is escaped as JSON does."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    write(printable(text, escape="\\u{:04x}"))


def agreed(question: str) -> bool:
    """Asks a question on the terminal; no, if there is no terminal to ask on."""
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    with suppress(EOFError):  # Ctrl-D
        return input(f"{printable(question)} [y/N] ").strip().lower() in ("y", "yes")
    return False


def items(count: int) -> str:
    """Formats a number of items.

    Example:
        >>> items(1), items(1200)
        ('1 item', '1,200 items')
    """
    return f"{count:,} item" if count == 1 else f"{count:,} items"


@contextmanager
def progress_bar(label: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Shows a progress bar on standard error if that is a terminal.

    Args:
        label: The word in front of the bar.
        total: The count at its end; None if it is not known.

    Yields:
        A function that moves the bar to a count; None if there is no bar.
    """
    if not sys.stderr.isatty():
        yield None
        return
    rich = require("rich.progress", extra="train")
    bar = (rich.TextColumn(label), rich.BarColumn(), rich.MofNCompleteColumn(), rich.TimeRemainingColumn())
    console = require("rich.console", extra="train").Console(stderr=True)
    with rich.Progress(*bar, console=console) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)


def chunk_size(total: int) -> int:
    """Returns how many items to write between two updates of a progress bar.

    Example:
        >>> chunk_size(50), chunk_size(20_000), chunk_size(1_000_000)
        (64, 400, 1024)
    """
    return max(64, min(1024, total // 50))


def pick(settings: Any, *names: str) -> dict[str, Any]:
    """Returns some of the parsed arguments by name, to be passed on as keywords."""
    return {name: getattr(settings, name) for name in names}


def options_of(settings: Any, *names: str) -> list[str]:
    """Formats the arguments that are not at their defaults, for a command that repeats them.

    Args:
        settings: The parsed arguments.
        names: The arguments, as attributes.
    """
    words = []
    for name, given in pick(settings, *names).items():
        if given and given != POLICIES.get(name, ("",))[0]:
            words += [f"--{name.replace('_', '-')}", *([given] if isinstance(given, str) else given)]
    return words


def data_command(settings: Any) -> str:
    """Formats the data arguments, for a command that repeats them."""
    return shlex.join([settings.data, *options_of(settings, "label", *COLUMNS, "pattern", *POLICIES)])


def load_data(settings: Any, *, labelled: bool = True, quiet: bool = False) -> Dataset:
    """Loads the data that the arguments name, and prints what was found.

    Args:
        settings: The parsed arguments.
        labelled: Whether the items need identities.
        quiet: Whether to print nothing.
    """
    from trine.data import load

    names = pick(settings, *COLUMNS, *(("label", "pattern") if labelled else ()))
    data, report = load(settings.data, **names, labelled=labelled, policy=policy(settings))
    if not quiet:
        echo(report)
    return data


def policy(settings: Any) -> LoadPolicy:
    """Returns what to do with unusable items."""
    from trine.data import LoadPolicy

    return LoadPolicy(**pick(settings, *POLICIES))


def is_labelled(settings: Any) -> bool:
    """Whether the data has identities: an argument names them, or the data itself contains them."""
    from trine.data import has_identities

    return settings.label is not None or settings.pattern is not None or has_identities(settings.data)
