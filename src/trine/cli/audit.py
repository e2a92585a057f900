"""`trine audit`: the items whose labels are probably wrong."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import RUN, data_arguments, echo, load_data
from trine.cli.parser import Verb


def _arguments(parser: Any) -> None:
    parser.add_argument("run", help=RUN)
    data_arguments(parser)
    add = parser.add_argument
    add("--out", help="a .csv file to write the list to")
    add("--page", help="an .html file to write, with images of the suspects")
    add("--top", type=int, default=50, help="how many suspects to list (default: 50)")
    add(
        "--part",
        default="all",
        help="which items: all, train, validation, test, or auto for the test part of the run's own data "
        "(default: all)",
    )


def _run(settings: Any) -> None:
    from trine.pipelines import audit_run, check_output, open_trained_run, write_audit_page, write_suspects

    run = open_trained_run(settings.run)  # Report a missing model before reading the data.
    if settings.out is not None:
        check_output(settings.out, ".csv")
    if settings.page is not None:
        check_output(settings.page, ".html")
    report = audit_run(run, load_data(settings), part=settings.part, top=settings.top)
    echo(report)
    if settings.out is not None:
        write_suspects(report, out=settings.out)
        echo(f"{settings.out} lists the first {len(report.suspects):,}")
    if settings.page is not None:
        write_audit_page(report, out=settings.page)
        echo(f"{settings.page} shows them")


AUDIT = Verb(
    _run,
    _arguments,
    "List the items whose labels are probably wrong.",
    "trine audit runs/faces photos/ --out suspects.csv --page suspects.html",
)
