"""Reports: measurements as typed values, and their tables, pages and images.

Nothing here trains or embeds: `trine.pipelines` fills a report, and it is written as JSON, HTML and PNG.
"""

from trine.report.comparison import Comparison
from trine.report.label_error_report import LabelErrorReport
from trine.report.metrics import Metrics, TripletCensus
from trine.report.metrics_table import headline
from trine.report.overview_png import picture
from trine.report.pages.context import PageContext, shown_items
from trine.report.pages.page import label_error_page
from trine.report.projection import plane_picture
from trine.report.report import Baseline, BaselineKind, EvaluatedPart, Report
from trine.report.verdict import Fitness, Learning, Verdict
from trine.report.write import write_comparison, write_report

__all__ = [
    "Baseline",
    "BaselineKind",
    "Comparison",
    "EvaluatedPart",
    "Fitness",
    "LabelErrorReport",
    "Learning",
    "Metrics",
    "PageContext",
    "Report",
    "TripletCensus",
    "Verdict",
    "headline",
    "label_error_page",
    "picture",
    "plane_picture",
    "shown_items",
    "write_comparison",
    "write_report",
]
