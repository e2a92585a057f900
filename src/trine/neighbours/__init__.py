"""Exact nearest neighbours over N × M distances, without ever holding them.

A fast search in single precision (a tiled matrix product, or FAISS where installed) proposes a few more
neighbours than were asked for; their distances are computed again from differences in float64 and rank
them. Each proposal comes with a lower bound on the distance of everything it left out, so a row whose
answer the rounding error could have changed is known, and searched again in double precision or, at last,
over every reference. So the answer is that of a stable sort of all distances, whichever search proposed it:
equal distances rank by index, and FAISS and torch agree to the last bit.

`RankSearch` counts the ranks of given references without ranking the others.

From a million rows on, `make_search` trades exactness for FAISS's inverted lists.
"""

from __future__ import annotations

from trine.neighbours.inverted import InvertedSearch, make_search
from trine.neighbours.on_disk import DiskSearch
from trine.neighbours.ranks import NEVER, RankSearch
from trine.neighbours.rows import as_rows
from trine.neighbours.search import Backend, ExactSearch, Neighbours, nearest_neighbours

__all__ = [
    "NEVER",
    "Backend",
    "DiskSearch",
    "ExactSearch",
    "InvertedSearch",
    "Neighbours",
    "RankSearch",
    "as_rows",
    "make_search",
    "nearest_neighbours",
]
