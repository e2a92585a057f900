"""Pages: from figures, curves and pictures to one file of HTML that opens anywhere, light or dark.

`document` makes the page out of `Section`s; charts are inline SVG, pictures are inside the page, and every
name is escaped where it is written. Nothing is computed here.
"""

from trine.report.html.axes import Axis
from trine.report.html.charts import Line, histogram_chart, line_chart, range_bar
from trine.report.html.document import Section, Stat, document, side_by_side
from trine.report.html.markup import Child, Markup, element, join
from trine.report.html.scatter import map_chart
from trine.report.html.tables import facts, figure, table
from trine.report.html.thumbnails import Thumbnails
from trine.report.html.tiles import Tile, neighbour_rows, pair_cards

__all__ = [
    "Axis",
    "Child",
    "Line",
    "Markup",
    "Section",
    "Stat",
    "Thumbnails",
    "Tile",
    "document",
    "element",
    "facts",
    "figure",
    "histogram_chart",
    "join",
    "line_chart",
    "map_chart",
    "neighbour_rows",
    "pair_cards",
    "range_bar",
    "side_by_side",
    "table",
]
