"""Thumbnails inside a page, up to a limit of bytes."""

from __future__ import annotations

import base64
import io

import numpy as np

from trine.data import Items
from trine.errors import require
from trine.report.html.markup import Markup, element
from trine.shapes import UInt8

PIXELS = 112
MOST_BYTES = 3_000_000
SMALL = 48
"""The number of pixels below which an image is shown pixel by pixel."""


class Thumbnails:
    """Embeds images in a page as small data URIs until the page is full.

    An image is decoded once, however often the page shows it.

    Args:
        images: The images to choose from.
        most_bytes: The largest total size of the thumbnails in bytes.

    Attributes:
        used: Their total size so far in bytes.
    """

    def __init__(self, images: Items, *, most_bytes: int = MOST_BYTES) -> None:
        self._images = images
        self._most = most_bytes
        self._small: dict[int, tuple[str, tuple[int, int]]] = {}
        self.used = 0

    def show(self, at: int, *, about: str) -> Markup | None:
        """Makes an image element of an image.

        Args:
            at: The position of the image.
            about: The alternative text.

        Returns:
            The element; None if the page is full.
        """
        if at not in self._small:
            self._small[at] = _shrunk(self._images[at])
        source, (width, height) = self._small[at]
        if self.used + len(source) > self._most:
            return None
        self.used += len(source)
        return element(
            "img", src=source, alt=about, title=about, loading="lazy", width=width, height=height,
            class_="pixels" if max(width, height) < SMALL else None,
        )  # fmt: skip


def _shrunk(image: UInt8[np.ndarray, "h w c"]) -> tuple[str, tuple[int, int]]:
    """A thumbnail as a data URI, and its width and height."""
    pixels = image[..., 0] if image.shape[2] == 1 else image
    small = require("PIL.Image", extra="images").fromarray(np.ascontiguousarray(pixels))
    small.thumbnail((PIXELS, PIXELS))
    written = io.BytesIO()
    # JPEG artefacts would hide a handful of pixels.
    kind = "PNG" if max(small.size) < SMALL else "JPEG"
    small.save(written, format=kind, **({"optimize": True} if kind == "PNG" else {"quality": 80}))
    source = f"data:image/{kind.lower()};base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
    return source, small.size
