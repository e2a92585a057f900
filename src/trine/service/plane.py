"""All items of a gallery on a plane: the two directions in which their embeddings differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trine.gallery import Gallery
from trine.shapes import Float32, Float64

MOST = 100_000
"""The most items that are shown; of more, some are drawn."""


@dataclass(frozen=True, eq=False)
class Plane:
    """Where each item is.

    Attributes:
        items: The names of the items.
        identities: The identity of each.
        positions: x and y of each, from -1 to 1.
        explained: The share of the variance that the plane shows.
        sampled: Whether only some of the items are shown.
    """

    items: list[str]
    identities: list[str]
    positions: Float64[np.ndarray, "n 2"]
    explained: float
    sampled: bool

    @classmethod
    def of(cls, gallery: Gallery, *, most: int = MOST) -> Plane:
        """Projects the items of a gallery.

        Args:
            gallery: The gallery.
            most: The most items to show.
        """
        items, identities, rows = [], [], []
        total = len(gallery)
        every = max(1, -(-total // most))
        for place, entry in enumerate(gallery.entries()):
            if place % every == 0:
                items.append(entry.item)
                identities.append(entry.identity)
                rows.append(np.asarray(entry.embedding))
        positions, explained = projected(np.stack(rows)) if rows else (np.zeros((0, 2)), 0.0)
        return cls(items, identities, positions, explained, every > 1)


def projected(rows: Float32[np.ndarray, "n d"]) -> tuple[Float64[np.ndarray, "n 2"], float]:
    """Projects rows on their first two principal directions.

    Args:
        rows: One row per item.

    Returns:
        x and y of each, from -1 to 1 with the same scale for both; and the share of the variance there.

    Example:
        >>> positions, explained = projected(np.array([[0, 0, 0], [2, 0, 0], [4, 0, 0]], dtype=np.float32))
        >>> positions.tolist(), explained
        ([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], 1.0)
    """
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    first = vectors[:, ::-1][:, :2]
    # The sign of a direction is not determined: its largest coordinate is above 0.
    signs = np.sign(first[np.abs(first).argmax(axis=0), np.arange(first.shape[1])])
    positions = centred @ (first * np.where(signs == 0, 1, signs))
    if positions.shape[1] < 2:
        positions = np.concatenate([positions, np.zeros((len(rows), 2 - positions.shape[1]))], axis=1)
    largest, total = float(np.abs(positions).max(initial=0.0)), float(values.clip(0).sum())
    scaled = positions / largest if largest > 0 else positions
    return np.round(scaled, 5) + 0.0, float(values[::-1][:2].clip(0).sum() / total) if total > 0 else 0.0
