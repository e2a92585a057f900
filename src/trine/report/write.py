"""The files of a report: metrics.json, report.html and picture.png."""

from __future__ import annotations

from collections.abc import Sequence

from trine.io import write_json, write_text
from trine.report.comparison import Comparison
from trine.report.overview_png import picture
from trine.report.pages.context import PageContext
from trine.report.pages.page import comparison_page, report_page

METRICS, PAGE, PICTURE = "metrics.json", "report.html", "picture.png"


def write_report(context: PageContext) -> None:
    """Writes metrics, page and image into the report's folder.

    Args:
        context: The report with the items that its page shows.

    Raises:
        InputError: A file cannot be written.
    """
    report, items = context.report, context.items
    write_json(report.folder / METRICS, report.to_json())
    write_text(report.folder / PAGE, report_page(context))
    if items is not None:
        picture(
            items.dataset,
            items.embeddings,
            path=report.folder / PICTURE,
            distance=items.distance,
            threshold=None if report.calibration is None else report.calibration.threshold,
            look=items.view,
            judged=report.judged,
        )


def write_comparison(contexts: Sequence[PageContext], comparison: Comparison) -> None:
    """Writes metrics and page of a comparison into its folder.

    Args:
        contexts: The reports with the items that the page shows.
        comparison: The same reports, compared.

    Raises:
        InputError: A file cannot be written.
    """
    write_json(comparison.folder / METRICS, comparison.to_json())
    write_text(comparison.folder / PAGE, comparison_page(contexts, comparison))
