"""Items side by side: queries with their neighbours, and pairs; a sign and a colour mark right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trine.report.html.markup import Child, Markup, element, join

SIGNS = {"right": ("✓", "right"), "wrong": ("✗", "wrong")}


@dataclass(frozen=True)
class Tile:
    """One item on a page.

    Attributes:
        name: Its identity.
        item: The name of the item itself.
        image: Its image; None shows only the names.
        note: The text below it, such as its distance.
        mark: `"right"`, `"wrong"`, or None for neither.
        link: Where its image leads; "" for nowhere.
    """

    name: str
    item: str
    image: Markup | None = None
    note: str = ""
    mark: str | None = None
    link: str = ""


def neighbour_rows(rows: Sequence[tuple[Tile, Sequence[Tile]]]) -> Markup:
    """Shows queries, each with its neighbours, nearest first.

    Args:
        rows: Each query and its neighbours.
    """
    return element(
        "div",
        *(
            element("div", _tile(query, "query"), *(_tile(tile) for tile in neighbours), class_="row")
            for query, neighbours in rows
        ),
        class_="rows",
    )


def tile_grid(tiles: Sequence[Tile]) -> Markup:
    """Shows items in as many rows as they need.

    Args:
        tiles: The items.
    """
    return element("div", *map(_tile, tiles), class_="grid")


def pair_cards(pairs: Sequence[tuple[Tile, Tile, Child]]) -> Markup:
    """Shows pairs of items, each with a caption.

    Args:
        pairs: The two items and the caption.
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
    shown = tile.image or element("span", tile.item, class_="words")
    if tile.link:
        shown = element("a", shown, href=tile.link)
    # With an image, the item's own name is in the tooltip.
    return element(
        "div",
        element("div", shown, sign, class_="frame"),
        element("div", join(element("b", tile.name, title=f"{tile.name}: {tile.item}")), class_="who"),
        element("div", tile.note, title=tile.note, class_="note") if tile.note else None,
        class_=" ".join(filter(None, ("tile", kind, tile.mark))),
    )
