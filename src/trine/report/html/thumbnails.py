"""Thumbnails inside a page, up to a limit of bytes."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from trine.errors import require
from trine.report.html.markup import Markup, element
from trine.shapes import UInt8

PIXELS = 112
MOST_BYTES = 3_000_000
SMALL = 48
"""The number of pixels below which a picture is shown pixel by pixel."""


class Thumbnails:
    """Embeds pictures in a page as small data URIs until the page is full.

    Args:
        most_bytes: How many bytes of a page pictures may take.

    Attributes:
        used: How many bytes they have taken.
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self.used = 0

    def show(self, picture: UInt8[np.ndarray, "h w c"], *, about: str) -> Markup | None:
        """Makes an image element of a picture.

        Args:
            picture: Height × width × 1 or 3 channels.
            about: The alternative text.

        Returns:
            The element; None where the page is full.
        """
        image = require("PIL.Image", extra="images")
        pixels = picture[..., 0] if picture.shape[2] == 1 else picture
        small = image.fromarray(np.ascontiguousarray(pixels))
        small.thumbnail((PIXELS, PIXELS))
        source = _data_uri(small)
        if self.used + len(source) > self._most:
            return None
        self.used += len(source)
        return element(
            "img", src=source, alt=about, title=about, loading="lazy", width=small.width, height=small.height,
            class_="pixels" if max(small.size) < SMALL else None,
        )  # fmt: skip


def _data_uri(small: Any) -> str:
    written = io.BytesIO()
    # JPEG artefacts would hide a handful of pixels.
    kind = "PNG" if max(small.size) < SMALL else "JPEG"
    small.save(written, format=kind, **({"optimize": True} if kind == "PNG" else {"quality": 80}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
