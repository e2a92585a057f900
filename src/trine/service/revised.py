"""What is computed from a gallery, kept until the gallery changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from trine.gallery import Gallery

T = TypeVar("T")


class Revised(Generic[T]):
    """A value computed from a gallery, and computed again once the gallery has changed.

    Args:
        gallery: The gallery.
        compute: Computes the value.

    Example:
        >>> gallery = Gallery.open(":memory:", dimension=1, fingerprint="by hand")
        >>> count = Revised(gallery, len)
        >>> count.get()
        0
        >>> gallery.enrol("ann", "1", embedding=[0.0])
        >>> count.get()
        1
        >>> gallery.close()
    """

    def __init__(self, gallery: Gallery, compute: Callable[[Gallery], T]) -> None:
        self._gallery, self._compute = gallery, compute
        self._held: tuple[str, T] | None = None
        self._lock = threading.Lock()

    def get(self) -> T:
        """Returns the value; several who ask at once wait for one computation."""
        with self._lock:
            revision = self._gallery.revision
            if self._held is None or self._held[0] != revision:
                self._held = revision, self._compute(self._gallery)
            return self._held[1]

    def last(self) -> T | None:
        """Returns the value that was computed last; None if there was none yet."""
        held = self._held
        return None if held is None else held[1]

    def forget(self) -> None:
        """Drops the value, which may hold a name that was forgotten."""
        with self._lock:
            self._held = None
