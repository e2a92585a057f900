"""How suspicious labels are asked for, and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from trine.data import Dataset


def audit_arguments(parser: Any) -> None:
    """Adds the arguments of the list."""
    add = parser.add_argument
    add("--out", type=str, default=None, help="a .csv file to write the list to")
    add("--page", type=str, default=None, help="an .html file to write that shows the suspects in pictures")
    add("--top", type=int, default=50, help="how many suspects to list")
    add(
        "--part",
        type=str,
        default="all",
        help="which items: all, train, validation, test, or auto (the test part of the run's own data)",
    )


def audited(settings: Any, load_data: Callable[[Any], Dataset], echo: Callable[[object], None]) -> None:
    """Lists the items that probably carry a wrong label.

    Args:
        settings: The parsed arguments.
        load_data: Reads the data they name.
        echo: Prints.

    Raises:
        TrineError: An argument, the model or the data cannot be used.
    """
    from trine import load
    from trine.pipelines import audit_run, check_page, check_table, write_audit_page, write_suspects

    load(settings.run)  # A missing model is said before any data is read.
    if settings.out is not None:
        check_table(settings.out)
    if settings.page is not None:
        check_page(settings.page)
    report = audit_run(settings.run, load_data(settings), part=settings.part, top=settings.top)
    echo(report)
    if settings.out is not None:
        write_suspects(report, out=settings.out)
        echo(f"{settings.out} holds the first {len(report.suspects):,}")
    if settings.page is not None:
        write_audit_page(report, out=settings.page)
        echo(f"{settings.page} shows them")
