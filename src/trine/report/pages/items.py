"""The items of a page: neighbour rows, the hardest pairs, and the map."""

from __future__ import annotations

import numpy as np

from trine.data import Dataset
from trine.evaluation.hardest import Hardest, HardPairs, hardest_pairs
from trine.report.html import Markup, Section, element, join, map_chart, neighbour_rows, pair_cards
from trine.report.pages.context import Shelf, Subject, distance_note
from trine.report.selection import View

PAIRS, NAME = 12, 14


def neighbours_section(data: Dataset, view: View, shelf: Shelf) -> Section:
    """Shows queries with their neighbours, right or wrong where identities are known."""
    rows = []
    for query, found, distances in zip(
        view.queries.tolist(), view.neighbours.indices, view.neighbours.distances, strict=True
    ):
        own = data.labels[query]
        tiles = []
        for at, d in zip(found.tolist(), distances.tolist(), strict=True):
            mark = ("right" if data.labels[at] == own else "wrong") if data.identities else None
            tiles.append(shelf.tile(at, note=distance_note(d), mark=mark))
        rows.append((shelf.tile(query, note="query"), tiles))
    if not data.identities:
        lead = "Queries drawn at random, each with its nearest items and their distance."
        return Section("neighbours", "Nearest neighbours", lead, neighbour_rows(rows))
    last = (
        f" The last {view.failing} are ones whose nearest neighbour is wrong."
        if view.failing > 1
        else " The last is one whose nearest neighbour is wrong."
        if view.failing
        else " No query was drawn whose nearest neighbour is wrong."
    )
    lead = (
        "Queries drawn at random, each with its nearest items and their distance: ✓ is of the query's "
        f"identity, ✗ is not.{last if len(rows) > view.failing or view.failing == 0 else ''}"
    )
    return Section("neighbours", "Nearest neighbours", lead, neighbour_rows(rows))


def hardest_section(subject: Subject, shelf: Shelf) -> Section:
    """Shows the pairs on which the encoder fails worst."""
    data = subject.dataset
    found = hardest_pairs(subject.embeddings, data.labels, distance=subject.encoder.distance, count=PAIRS)
    body = join(
        element("h3", "Two identities, nearest to each other"),
        _cards(found.negatives, subject, shelf, same=False),
        element("h3", "One identity, farthest apart"),
        _cards(found.positives, subject, shelf, same=True),
    )
    return Section("hardest", "Hardest pairs", _hardest_lead(found), body)


def map_section(data: Dataset, view: View) -> Section:
    """Shows the 2-D map."""
    present, kinds = np.unique(data.labels[view.shown], return_inverse=True)
    names = [data.identities[label] if data.identities else "" for label in present.tolist()]
    of = f" of {len(data):,}, drawn at random" if len(view.shown) < len(data) else ""
    count = f"{len(view.shown):,} items{of}"
    if data.identities:
        coloured, pointed = f", in the colours of {len(present):,} identities", "an identity's name"
    else:
        coloured, pointed = "", "an item's name"
        names, kinds = [data.names[at] for at in view.shown], np.arange(len(view.shown))
    if view.projected:
        lead = (
            f"{count}, laid out by t-SNE{coloured}: items that lie together are near each other in the "
            f"embedding; the distance between groups says little. The pointer shows {pointed}."
        )
    else:
        lead = (
            f"{count}{coloured}: the embedding has two numbers, and this is where they place each item, in "
            f"one scale. The pointer shows {pointed}."
        )
    chart = map_chart(
        view.points,
        kinds.astype(np.int64),
        names,
        one_scale=not view.projected,
        about="Map of the items, coloured by identity" if data.identities else "Map of the items",
    )
    return Section("map", "Map", lead, element("div", chart, class_="card"))


def _cards(pairs: HardPairs, subject: Subject, shelf: Shelf, *, same: bool) -> Markup:
    names, known = subject.dataset.names, subject.report.calibration
    cards = []
    for a, b, d in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.distances.tolist(), strict=True):
        said = join(f"distance {distance_note(d)}")
        if known is not None:
            accepted = known.accepts(d)
            sign, kind = ("✓", "right") if accepted == same else ("✗", "wrong")
            verdict = "accepted" if accepted else "rejected"
            said = join(said, ": ", element("span", f"{sign} {verdict}", class_=f"verdict {kind}"))
        cards.append((shelf.tile(a, note=_tail(names[a])), shelf.tile(b, note=_tail(names[b])), said))
    return pair_cards(cards)


def _hardest_lead(found: Hardest) -> str:
    asked = f" Looked for around {found.anchors:,} items drawn at random." if found.sampled else ""
    return (
        "The first place to look for wrong labels: what seems to be one thing under two names, and two "
        f"things under one name.{asked}"
    )


def _tail(name: str) -> str:
    """The end of a long name, which tells items of one identity apart."""
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"
