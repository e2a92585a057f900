"""`trine audit`: the items whose labels are probably wrong."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import DATA, RUN, echo, load_data
from trine.cli.parser import argument, verb

PART = "all, train, validation, test, or auto for the test part of the run's own data (default: all)"


@verb(
    RUN,
    *DATA,
    argument("--out", help="a .csv file to write the list to"),
    argument("--page", help="an .html file to write, with images of the suspects"),
    argument("--top", type=int, default=50, help="how many suspects to list (default: 50)"),
    argument("--part", default="all", help=f"which items: {PART}"),
)
def audit(settings: Any) -> None:
    """List the items whose labels are probably wrong.

    trine audit runs/faces photos/ --out suspects.csv --page suspects.html
    """
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
