"""What pictures share: colours, titles, and photographs that do not fill the memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from trine.errors import require
from trine.shapes import UInt8

INK, QUIET, RIGHT, WRONG = "#1f2430", "#70778a", "#12807a", "#d23c32"
PALETTE = (
    "#3b6fb6", "#e08a1e", "#2f9e6e", "#c8423b", "#8257b5", "#8a5a3c",
    "#d667a8", "#6b7280", "#a3a51f", "#1fa3b8", "#17427a", "#7f1d3f",
)  # fmt: skip
TILE_PIXELS = 256


def title(axes: Any, title: str, subtitle: str) -> None:
    """Writes a title and a quieter line above axes."""
    for text, size, weight, colour, up in ((title, 13, "bold", INK, 22), (subtitle, 9, "normal", QUIET, 8)):
        axes.annotate(
            text, (0, 1), xycoords="axes fraction", xytext=(0, up), textcoords="offset points", size=size,
            weight=weight, color=colour, va="bottom", annotation_clip=False, parse_math=False,
        )  # fmt: skip


def small_enough(item: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """A picture in three channels, no side longer than a tile: dozens at full size would fill the memory."""
    shown = np.repeat(item, 3, axis=2) if item.shape[2] == 1 else item
    if max(item.shape[:2]) > TILE_PIXELS:
        photograph = require("PIL.Image", extra="images").fromarray(shown)
        photograph.thumbnail((TILE_PIXELS, TILE_PIXELS))
        shown = np.asarray(photograph)
    return shown


def short(text: str, most: int) -> str:
    """The text, cut where it is longer than `most`."""
    return text if len(text) <= most else text[: most - 1] + "…"
