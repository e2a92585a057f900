"""Pages: from figures, curves and pictures to one file of HTML that opens anywhere, light or dark.

`document` makes the page out of `Section`s; charts are inline SVG, pictures are inside the page, and every
name is escaped where it is written. Nothing is computed here.
"""

from trine.page.axes import Axis
from trine.page.charts import Line, histogram_chart, line_chart, range_bar
from trine.page.document import Section, Stat, document, side_by_side
from trine.page.markup import Child, Markup, element, join
from trine.page.pictures import Thumbnails
from trine.page.scatter import map_chart
from trine.page.tables import facts, figure, table
from trine.page.tiles import Tile, neighbour_rows, pair_cards

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
