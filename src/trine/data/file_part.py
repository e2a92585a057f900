"""The part of a file that an item is, such as a face of a photo: a fragment as in addresses of the web."""

from __future__ import annotations

import re
from collections.abc import Sequence

Box = tuple[int, int, int, int]
"""Left, top, width and height, in pixels."""

_PART = re.compile(r"#xywh=(-?\d{1,6}),(-?\d{1,6}),(\d{1,6}),(\d{1,6})$")


def part_of(box: Sequence[int]) -> str:
    """Writes a box as the part of its picture.

    Args:
        box: Left, top, width and height, in pixels.

    Example:
        >>> part_of((-1, 20, 30, 40))
        'xywh=-1,20,30,40'
    """
    return "xywh=" + ",".join(map(str, box))


def file_of(source: str | None) -> str | None:
    """The file in the source of an item, without the part of it that the item is.

    Args:
        source: A path, perhaps with `#` and a part; None for none.

    Example:
        >>> file_of("/photos/1.jpg#xywh=10,20,30,40"), file_of("/photos/#1.jpg"), file_of(None)
        ('/photos/1.jpg', '/photos/#1.jpg', None)
    """
    return None if source is None else _PART.sub("", source)


def box_of(source: str) -> Box | None:
    """The part of its picture that an item is; None for all of it.

    Args:
        source: A path, perhaps with `#` and a part.

    Example:
        >>> box_of("/photos/1.jpg#xywh=-1,20,30,40"), box_of("/photos/1.jpg")
        ((-1, 20, 30, 40), None)
    """
    found = _PART.search(source)
    if found is None:
        return None
    left, top, width, height = map(int, found.groups())
    return left, top, width, height
