"""A photo with boxes around faces, and what is said of each written next to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trine.errors import InputError, require
from trine.io import output_file
from trine.report.drawing import FONTS, QUIET, RIGHT, WRONG, short
from trine.shapes import UInt8

Verdict = Literal["yes", "no", "open"]
"""Whether a face was accepted, rejected, or neither."""

Corners = tuple[float, float, float, float]
"""Left, top, right and bottom."""

COLOURS: dict[Verdict, str] = {"yes": RIGHT, "no": WRONG, "open": QUIET}
SMALLEST, LARGEST = 960, 2048
"""The longest side of a picture, in pixels: smaller photos are enlarged, so that words can be read."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
LETTERS = 36
"""The most letters in a line; longer ones are cut."""


@dataclass(frozen=True)
class Mark:
    """A box on a photo.

    Attributes:
        box: Left, top, width and height, in pixels of the photo.
        lines: What is written next to it.
        verdict: Decides its colour.
    """

    box: tuple[float, float, float, float]
    lines: tuple[str, ...]
    verdict: Verdict


def face_picture(pixels: UInt8[np.ndarray, "h w c"], marks: Sequence[Mark]) -> UInt8[np.ndarray, "h w 3"]:
    """Draws boxes and words on a photo.

    Args:
        pixels: The photo; it is not changed.
        marks: What to draw; words that do not fit inside the photo are moved.

    Returns:
        The picture: the photo, scaled so that its longer side is 960 to 2,048 pixels.

    Example:
        >>> photo = np.zeros((240, 320, 3), dtype=np.uint8)
        >>> face_picture(photo, [Mark((10, 20, 80, 100), ("ann",), "yes")]).shape
        (720, 960, 3)
    """
    image = require("PIL.Image", extra="images")
    longest = max(pixels.shape[:2])
    scale = min(max(longest, SMALLEST), LARGEST) / longest
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    photo = image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
    picture = photo.resize((width, height)) if (height, width) != pixels.shape[:2] else photo
    draw = require("PIL.ImageDraw", extra="images").Draw(picture)
    size = max(14, round(max(height, width) / 60))
    boxes = [tuple(value * scale for value in mark.box) for mark in marks]
    corners = [(left, top, left + wide, top + high) for left, top, wide, high in boxes]
    for mark, corner in zip(marks, corners, strict=True):
        draw.rectangle(corner, outline=COLOURS[mark.verdict], width=max(2, size // 7))
    taken: list[Corners] = []
    for number, mark in enumerate(marks):
        others = [*corners[:number], *corners[number + 1 :]]
        taken.append(_write(draw, mark, corners[number], (width, height), size, (taken, others)))
    drawn: UInt8[np.ndarray, "h w 3"] = np.asarray(picture)
    return drawn


def side_by_side(pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    """Puts pictures next to each other, on white."""
    height = max(picture.shape[0] for picture in pictures)
    padded = [
        np.pad(
            picture,
            ((0, height - picture.shape[0]), (0, 8 * (at + 1 < len(pictures))), (0, 0)),
            constant_values=255,
        )
        for at, picture in enumerate(pictures)
    ]
    return np.concatenate(padded, axis=1)


def save_picture(pixels: UInt8[np.ndarray, "h w 3"], path: Path) -> None:
    """Writes a picture, without any metadata; its name decides the format.

    Raises:
        InputError: It cannot be written.
    """
    image = require("PIL.Image", extra="images").fromarray(pixels)
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(path.suffix.lower(), "PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {path.parent} ({error.strerror}); choose another place") from error
    with output_file(path) as partial:
        image.save(partial, format=kind, **({"quality": 92} if kind != "PNG" else {}))


def _write(
    draw: Any,
    mark: Mark,
    box: Corners,
    within: tuple[int, int],
    size: int,
    others: tuple[Sequence[Corners], Sequence[Corners]],
) -> Corners:
    """Writes the words of a mark below its box, or where they hide less; returns where they are.

    Args:
        draw: What draws.
        mark: The mark.
        box: Where its box is.
        within: Width and height of the picture.
        size: The height of the letters.
        others: Where other words and the boxes of others are.
    """
    lines = [_font(short(" ".join(text.split()), LETTERS), size) for text in mark.lines if text]
    if not lines:
        return (0, 0, 0, 0)
    pad, step = max(2, size // 5), round(1.25 * size)
    wide = max(draw.textlength(text, font=font) for text, font in lines) + 2 * pad
    high = step * len(lines) + pad
    left, top, right, bottom = box
    places = [(left, bottom), (left, top - high), (right - wide, bottom), (right - wide, top - high)]
    places += [(right, top), (left - wide, top), (left, bottom + high), (left, top - 2 * high)]

    def at(x: float, y: float) -> Corners:
        x, y = max(0.0, min(x, within[0] - wide)), max(0.0, min(y, within[1] - high))
        return (x, y, x + wide, y + high)

    words, boxes = others

    def hidden(place: Corners) -> float:
        hides = sum(_shared(place, each) for each in (*boxes, box))
        return hides + 3 * sum(_shared(place, each) for each in words)

    chosen = min((at(*place) for place in places), key=hidden)
    draw.rectangle(chosen, fill=COLOURS[mark.verdict])
    for number, (text, font) in enumerate(lines):
        draw.text((chosen[0] + pad, chosen[1] + pad / 2 + number * step), text, font=font, fill="white")
    return chosen


def _shared(one: Corners, other: Corners) -> float:
    """The area that two rectangles share."""
    wide, high = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _font(text: str, size: int) -> tuple[str, Any]:
    """The text and a font that has its letters; a letter that the best font lacks becomes a box."""
    fonts = require("PIL.ImageFont", extra="images")
    wanted = {letter for letter in text if not letter.isspace()}
    best: tuple[int, str, frozenset[str]] | None = None
    for path, letters in _installed():
        lacking = sum(letter not in letters for letter in wanted)
        if best is None or lacking < best[0]:
            best = (lacking, path, letters)
    if best is None:
        plain = text.encode("latin-1", "replace").decode("latin-1")
        return plain, fonts.load_default(size)
    shown = "".join(letter if letter.isspace() or letter in best[2] else "□" for letter in text)
    return shown, fonts.truetype(best[1], size)


@cache
def _installed() -> tuple[tuple[str, frozenset[str]], ...]:
    """The fonts of matplotlib and those for letters that they lack, with the letters of each."""
    try:
        manager = require("matplotlib.font_manager", extra="train")
    except ImportError:
        return ()
    paths = {font.name: font.fname for font in manager.fontManager.ttflist}
    found = []
    for name in ("DejaVu Sans", *FONTS):
        if name in paths:
            usual = manager.findfont(manager.FontProperties(family=[name]))
            found.append((usual, frozenset(map(chr, manager.get_font(usual).get_charmap()))))
    return tuple(found)
