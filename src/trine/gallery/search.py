"""What is like this? The nearest items whose metadata meets conditions, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trine.errors import SettingError
from trine.gallery.entries import Hit, check_items
from trine.gallery.filters import Filter
from trine.gallery.store import Scope, Store
from trine.shapes import Float32


@dataclass(frozen=True)
class Page:
    """Which of the nearest items are wanted.

    Args:
        k: How many, at least 1.
        offset: How many of the nearest to skip.

    Raises:
        SettingError: A number is out of range.
    """

    k: int
    offset: int = 0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise SettingError(f"k must be at least 1, got {self.k}")
        if self.offset < 0:
            raise SettingError(f"offset must be at least 0, got {self.offset}")


def search(
    store: Store,
    probe: Float32[np.ndarray, "1 d"],
    page: Page,
    where: Mapping[str, Any] | Filter | None,
    exclude: Sequence[str],
) -> list[Hit]:
    """Finds the items most similar to a probe; see `Gallery.search`."""
    scope = Scope(where=Filter.of(where), exclude=frozenset(check_items(exclude, "exclude")))
    (hits,) = store.search(probe, k=page.k, offset=page.offset, scope=scope, metadata=True)
    return hits
