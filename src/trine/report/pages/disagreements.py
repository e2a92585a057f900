"""The queries on which runs disagree most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from trine.evaluation import Retrieval
from trine.neighbours import nearest_neighbours
from trine.report.html import Markup, Section, element, join, neighbour_rows
from trine.report.pages.context import PageContext, ShownItems, TileFactory
from trine.shapes import Int64

SHOWN, NEIGHBOURS = 3, 8


def disagreements_section(contexts: Sequence[PageContext]) -> Section:
    """Shows the queries that each run ranks better than the first one, and worse.

    Args:
        contexts: The runs, on the same items.
    """
    first, *others = contexts
    tiles = TileFactory(_items(first).dataset)
    queries = _retrieval(first).queries
    parts: list[Markup] = []
    for other in others:
        gain = _retrieval(other).maps_at_r - _retrieval(first).maps_at_r
        for better, above in ((other, gain), (first, -gain)):
            count = int((above > 0).sum())
            parts.append(element("h3", f"{better.name} ranks better: {count:,} of {len(queries):,} queries"))
            if count:
                chosen = queries[np.argsort(-above, kind="stable")[: min(SHOWN, count)]]
                parts.append(_rows(chosen, (first, other), tiles))
    lead = f"By MAP@R of each query: at most {SHOWN} queries of each kind, the largest differences first."
    return Section("differ", "Largest differences", lead, join(*parts))


def _rows(queries: Int64[np.ndarray, " q"], contexts: Sequence[PageContext], tiles: TileFactory) -> Markup:
    found = []
    for context in contexts:
        items = _items(context)
        rows = torch.from_numpy(items.embeddings)
        asked = rows[torch.from_numpy(queries)]
        found.append(nearest_neighbours(asked, rows, k=NEIGHBOURS, distance=items.distance, exclude=queries))
    return neighbour_rows(
        [
            (
                tiles.tile(query, note=context.name),
                tiles.neighbours(query, near.indices[row].tolist(), near.distances[row].tolist()),
            )
            for row, query in enumerate(queries.tolist())
            for context, near in zip(contexts, found, strict=True)
        ]
    )


def _items(context: PageContext) -> ShownItems:
    assert context.items is not None, "runs are compared on items"
    return context.items


def _retrieval(context: PageContext) -> Retrieval:
    found = context.report.after.retrieval
    assert found is not None, "runs are compared on items with identities"
    return found
