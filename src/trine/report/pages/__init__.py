"""The pages: a report, several reports side by side, and suspicious labels."""

from trine.report.pages.context import PageContext, ShownItems, shown_items
from trine.report.pages.page import comparison_page, label_error_page, report_page

__all__ = [
    "PageContext",
    "ShownItems",
    "comparison_page",
    "label_error_page",
    "report_page",
    "shown_items",
]
