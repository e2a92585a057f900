"""Shared drawing code: figures, axes, colours, titles, and images shrunk to tiles."""

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

FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Source Han Sans", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Microsoft YaHei",
    "Yu Gothic", "Malgun Gothic", "Arial Unicode MS", "Noto Sans Devanagari", "Nirmala UI", "Noto Sans Thai",
)  # fmt: skip
"""Fonts for letters that the usual one lacks, where they are installed."""


def new_figure(width: float, height: float, *, dpi: int = 110) -> Any:
    """An empty white figure of this many inches, drawn without a display."""
    figures = require("matplotlib.figure", extra="train")
    figure = figures.Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    require("matplotlib.backends.backend_agg", extra="train").FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Any) -> None:
    """Writes a figure as PNG, in fonts that have its letters; a letter that no font has becomes a box.

    Args:
        figure: The figure.
        path: The file, or its name.
    """
    fonts = require("matplotlib.font_manager", extra="train")
    installed = {font.name for font in fonts.fontManager.ttflist}
    families = [
        *require("matplotlib", extra="train").rcParams["font.family"],
        *(name for name in FONTS if name in installed),
    ]
    drawn = {
        code
        for family in families
        for code in fonts.get_font(fonts.findfont(fonts.FontProperties(family=[family]))).get_charmap()
    } | {ord("\n")}
    for text in figure.findobj(require("matplotlib.text", extra="train").Text):
        text.set_fontfamily(families)
        text.set_text("".join(letter if ord(letter) in drawn else "□" for letter in text.get_text()))
    figure.savefig(path, format="png", facecolor="white")


def title(axes: Any, title: str, subtitle: str, *, sizes: tuple[float, float] = (13, 9)) -> None:
    """Writes a title and a subtitle above axes."""
    lines = ((title, sizes[0], "bold", INK, sizes[0] + 9), (subtitle, sizes[1], "normal", QUIET, 8))
    for text, size, weight, colour, up in lines:
        axes.annotate(
            text, (0, 1), xycoords="axes fraction", xytext=(0, up), textcoords="offset points", size=size,
            weight=weight, color=colour, va="bottom", annotation_clip=False, parse_math=False,
        )  # fmt: skip


def bare(axes: Any, *, size: float = 9) -> None:
    """Reduces axes to a thin bottom line and grey labels."""
    axes.tick_params(colors=QUIET, labelsize=size, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#c9ccd4")


def small_enough(item: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image in three channels, no larger than a tile: dozens at full size would use too much memory."""
    shown = np.repeat(item, 3, axis=2) if item.shape[2] == 1 else item
    if max(item.shape[:2]) > TILE_PIXELS:
        photograph = require("PIL.Image", extra="images").fromarray(shown)
        photograph.thumbnail((TILE_PIXELS, TILE_PIXELS))
        shown = np.asarray(photograph)
    return shown


def short(text: str, most: int) -> str:
    """Truncates the text to `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
