"""Reports: what was measured as typed values, their tables, pages and pictures.

Nothing here trains or embeds: a report is filled by `trine.pipelines` and written as JSON, HTML or PNG.
"""

from trine.report.overview_png import picture
from trine.report.projection import plane_picture

__all__ = ["picture", "plane_picture"]
