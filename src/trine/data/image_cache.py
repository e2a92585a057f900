"""Pictures kept in memory, so that a training image is not decoded again for every use."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trine.shapes import UInt8

MIB = 1 << 20
DECODED_BYTES, PREPARED_BYTES = 512 * MIB, 2048 * MIB

PASS_SHARE = 0.75
"""The share of the decoded bytes for passes over all images; the rest is for images that a page shows."""


class Budget:
    """Values by key until a number of bytes is reached; later ones are not kept.

    Nothing is evicted: training visits its items in random order, so recent ones are not more likely to be
    needed than the first. All methods may be called from several threads.

    Args:
        most: How many bytes may be kept.

    Attributes:
        used: How many bytes are kept.

    Example:
        >>> kept = Budget(10)
        >>> kept.put("a", b"12345678", 8), kept.put("b", b"12345678", 8)
        (True, False)
        >>> kept.get("a"), kept.get("b")
        (b'12345678', None)
    """

    def __init__(self, most: float) -> None:
        self.most = most
        self.used = 0
        self._values: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """Returns the value of a key, or None."""
        return self._values.get(key)

    def put(self, key: Hashable, value: Any, size: int, *, share: float = 1.0) -> bool:
        """Keeps a value if it fits into a share of the budget; returns whether it is kept."""
        with self._lock:
            if key not in self._values:
                if self.used + size > share * self.most:
                    return False
                self._values[key] = value
                self.used += size
        return True


class ImageCache:
    """What is kept in memory of the images of one data set; all subsets of its items share it.

    Loading decodes every image once to check it, and keeps the pixels that fit. An encoder keeps its
    prepared images (`trine.encoders.preprocessing`). So an image is decoded once if decoded images fit;
    twice, for the check and for the encoder, if only prepared ones fit; and again at every use if neither
    fits.

    Args:
        decoded_bytes: How many bytes of decoded images to keep.
        prepared_bytes: How many bytes of prepared images to keep.

    Attributes:
        decoded: Pixels, by path.
        shapes: Height, width and channels of each image that was decoded, by path.
        digests: The digest of the pixels of each image, by path; see `trine.data.content`.
        prepared: Prepared images, by path, channels and size.
    """

    def __init__(
        self, *, decoded_bytes: float = DECODED_BYTES, prepared_bytes: float = PREPARED_BYTES
    ) -> None:
        self.prepared = Budget(prepared_bytes)
        self.decoded = Budget(decoded_bytes)
        self.shapes: dict[Path, tuple[int, ...]] = {}
        self.digests: dict[Path, bytes] = {}

    def keep(self, path: Path, pixels: UInt8[np.ndarray, "h w c"], *, share: float = 1.0) -> None:
        """Remembers the shape of a decoded image, and its pixels if they fit into a share of the budget."""
        self.shapes[path] = pixels.shape
        self.decoded.put(path, pixels, pixels.nbytes, share=share)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process starts with an empty cache of the same size.
        sizes = {"decoded_bytes": self.decoded.most, "prepared_bytes": self.prepared.most}
        return partial(ImageCache, **sizes), ()
