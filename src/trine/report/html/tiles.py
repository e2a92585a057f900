"""Items side by side: a query with its neighbours, and pairs; right and wrong marked by sign and colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trine.report.html.markup import Child, Markup, element, join

SIGNS = {"right": ("✓", "right"), "wrong": ("✗", "wrong")}


@dataclass(frozen=True)
class Tile:
    """One item as it is shown.

    Attributes:
        name: Its identity.
        item: What the item itself is called.
        picture: Its picture; None shows the names alone.
        note: What is said below it, such as its distance.
        mark: `"right"`, `"wrong"`, or None for neither.
    """

    name: str
    item: str
    picture: Markup | None = None
    note: str = ""
    mark: str | None = None


def neighbour_rows(rows: Sequence[tuple[Tile, Sequence[Tile]]]) -> Markup:
    """Shows queries, each with its neighbours, nearest first.

    Args:
        rows: Each query and its neighbours.
    """
    return element(
        "div",
        *(
            element("div", _tile(query, "query"), *(_tile(tile) for tile in found), class_="row")
            for query, found in rows
        ),
        class_="rows",
    )


def pair_cards(pairs: Sequence[tuple[Tile, Tile, Child]]) -> Markup:
    """Shows pairs of items, each with what is said about it.

    Args:
        pairs: The two items and a line of text.
    """
    return element(
        "div",
        *(
            element(
                "figure", element("div", _tile(a), _tile(b), class_="two"), element("figcaption", said),
                class_="pair",
            )
            for a, b, said in pairs
        ),
        class_="pairs",
    )  # fmt: skip


def _tile(tile: Tile, kind: str = "") -> Markup:
    sign = None
    if tile.mark is not None:
        drawn, word = SIGNS[tile.mark]
        sign = element("span", drawn, class_="sign", role="img", aria_label=word)
    shown = tile.picture or element("span", tile.item, class_="words")
    # The item's own name tells apart what the identity's does not; with a picture it is in the tooltip.
    return element(
        "div",
        element("div", shown, sign, class_="frame"),
        element("div", join(element("b", tile.name, title=f"{tile.name}: {tile.item}")), class_="who"),
        element("div", tile.note, title=tile.note, class_="note") if tile.note else None,
        class_=" ".join(filter(None, ("tile", kind, tile.mark))),
    )
