"""The items of a page: neighbour rows, contradicted judgements, the hardest pairs, and the map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from trine.calibration import Calibration
from trine.evaluation import Retrieval
from trine.evaluation.hardest import HardPairs, hardest_pairs
from trine.neighbours import nearest_neighbours
from trine.report.html.document import Section
from trine.report.html.markup import Markup, element, join
from trine.report.html.scatter import map_chart
from trine.report.html.tiles import neighbour_rows, pair_cards
from trine.report.pages.context import PageContext, ShownItems, TileFactory, distance_note
from trine.report.report import Report
from trine.report.selection import View
from trine.shapes import Int64

PAIRS, JUDGEMENTS, DIFFERENCES, NEIGHBOURS, NAME = 12, 8, 3, 8, 14


def neighbours_section(items: ShownItems, tiles: TileFactory) -> Section:
    """Shows queries with their neighbours, right or wrong where identities are known."""
    view = items.view
    rows = [
        (tiles.tile(query, note="query"), tiles.neighbours(query, nearest.tolist(), distances.tolist()))
        for query, nearest, distances in zip(
            view.queries.tolist(), view.neighbours.indices, view.neighbours.distances, strict=True
        )
    ]
    lead = "Random queries, each with its nearest items and their distances."
    if items.dataset.identities:
        lead = f"{lead[:-1]}: ✓ same identity, ✗ another one.{_failures(view)}"
    return Section("neighbours", "Nearest neighbours", lead, neighbour_rows(rows))


def _failures(view: View) -> str:
    if view.failing == 0:
        return " The nearest neighbour of every query is right."
    if view.failing == len(view.queries):
        return ""
    last = "row shows a query" if view.failing == 1 else f"{view.failing} rows show queries"
    return f" The last {last} whose nearest neighbour is wrong."


def contradicted_section(report: Report, tiles: TileFactory) -> Section | None:
    """Shows the judgements that the encoder contradicts most; None unless only judgements were measured."""
    judged = report.judged
    if judged is None:
        return None
    order = np.argsort(judged.margins, kind="stable")
    wrong = order[judged.margins[order] <= 0]
    # One per anchor: otherwise a single item could fill the page.
    first = np.sort(np.unique(judged.triplets[wrong, 0], return_index=True)[1])[:JUDGEMENTS]
    if not len(first):
        return None
    rows = []
    for at in wrong[first].tolist():
        anchor, positive, negative = judged.triplets[at].tolist()
        farther = distance_note(-float(judged.margins[at]))
        pair = [
            tiles.tile(positive, note=f"positive: {farther} farther"),
            tiles.tile(negative, note="negative"),
        ]
        rows.append((tiles.tile(anchor, note="anchor"), pair))
    lead = "The judgements that the encoder contradicts most, one per anchor: either may be wrong."
    return Section("missed", "Contradicted judgements", lead, neighbour_rows(rows))


def hardest_section(items: ShownItems, calibration: Calibration | None, tiles: TileFactory) -> Section | None:
    """Shows the worst failures among pairs; None without identities."""
    data = items.dataset
    if not data.identities:
        return None
    hardest = hardest_pairs(items.embeddings, data.labels, distance=items.distance, count=PAIRS)
    sampled = f" Searched among {hardest.anchors:,} random items." if hardest.sampled else ""
    lead = f"Check these for wrong labels first: one thing with two names, or two with one name.{sampled}"
    body = join(
        element("h3", "Different identities, smallest distance"),
        _cards(hardest.negatives, data.names, calibration, tiles, same=False),
        element("h3", "Same identity, largest distance"),
        _cards(hardest.positives, data.names, calibration, tiles, same=True),
    )
    return Section("hardest", "Hardest pairs", lead, body)


def map_section(items: ShownItems) -> Section:
    """Shows the 2-D map."""
    data, view = items.dataset, items.view
    present, kinds = np.unique(data.labels[view.shown], return_inverse=True)
    names = [data.identities[label] if data.identities else "" for label in present.tolist()]
    of = f" of {len(data):,}, chosen at random" if len(view.shown) < len(data) else ""
    count = f"{len(view.shown):,} items{of}"
    if data.identities:
        coloured, pointed = f", coloured by identity ({len(present):,})", "its identity"
    else:
        coloured, pointed = "", "its name"
        names, kinds = [data.names[at] for at in view.shown], np.arange(len(view.shown))
    if view.projected:
        lead = (
            f"t-SNE of {count}{coloured}. Items close together are close in the embedding; distances between "
            f"groups mean little. Point at an item to see {pointed}."
        )
    else:
        lead = f"The 2-D embeddings of {count}{coloured}, at one scale. Point at an item to see {pointed}."
    chart = map_chart(
        view.points,
        kinds.astype(np.int64),
        names,
        one_scale=not view.projected,
        about="Map of the items, coloured by identity" if data.identities else "Map of the items",
    )
    return Section("map", "Map", lead, element("div", chart, class_="card"))


def _cards(
    pairs: HardPairs, names: Sequence[str], calibration: Calibration | None, tiles: TileFactory, *, same: bool
) -> Markup:
    cards = []
    for a, b, d in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.distances.tolist(), strict=True):
        said = join(f"distance {distance_note(d)}")
        if calibration is not None:
            accepted = calibration.accepts(d)
            sign, kind = ("✓", "right") if accepted == same else ("✗", "wrong")
            verdict = "accepted" if accepted else "rejected"
            said = join(said, ": ", element("span", f"{sign} {verdict}", class_=f"verdict {kind}"))
        cards.append((tiles.tile(a, note=_tail(names[a])), tiles.tile(b, note=_tail(names[b])), said))
    return pair_cards(cards)


def _tail(name: str) -> str:
    """The end of a long name, which distinguishes items of one identity."""
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"


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
                chosen = queries[np.argsort(-above, kind="stable")[: min(DIFFERENCES, count)]]
                parts.append(_rows(chosen, (first, other), tiles))
    lead = (
        f"By MAP@R of each query: at most {DIFFERENCES} queries of each kind, the largest differences first."
    )
    return Section("differ", "Largest differences", lead, join(*parts))


def _rows(queries: Int64[np.ndarray, " q"], contexts: Sequence[PageContext], tiles: TileFactory) -> Markup:
    nearest = []
    for context in contexts:
        items = _items(context)
        rows = torch.from_numpy(items.embeddings)
        asked = rows[torch.from_numpy(queries)]
        nearest.append(
            nearest_neighbours(asked, rows, k=NEIGHBOURS, distance=items.distance, exclude=queries)
        )
    return neighbour_rows(
        [
            (
                tiles.tile(query, note=context.name),
                tiles.neighbours(query, near.indices[row].tolist(), near.distances[row].tolist()),
            )
            for row, query in enumerate(queries.tolist())
            for context, near in zip(contexts, nearest, strict=True)
        ]
    )


def _items(context: PageContext) -> ShownItems:
    assert context.items is not None, "runs are compared on items"
    return context.items


def _retrieval(context: PageContext) -> Retrieval:
    retrieval = context.report.after.retrieval
    assert retrieval is not None, "runs are compared on items with identities"
    return retrieval
