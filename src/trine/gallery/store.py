"""Where a gallery keeps its embeddings: a protocol of a few methods, and what a gallery is bound to.

A store holds records (identity, item, embedding, metadata) and finds the nearest ones. Nothing in the
protocol assumes a local file, an order of rows, or a transaction over several identities: a server can
stand behind it as well as a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trine.calibration import Calibration
from trine.distances import Distance
from trine.gallery.decision import Threshold
from trine.gallery.entries import Enrolment, Hit, Record
from trine.shapes import Float32


@dataclass(frozen=True)
class Binding:
    """What a gallery is bound to when it is created, for good.

    Args:
        dimension: D, the length of every embedding; at least 1.
        fingerprint: Which encoder made the embeddings.
        distance: How embeddings are compared; smaller is closer.
        threshold: The threshold at creation; `None` where there was none.
        calibration: The encoder's whole calibration at creation, where it had one.
        model: The folder of the encoder, where the caller said it; so that a later opening finds it.
    """

    dimension: int
    fingerprint: str
    distance: Distance
    threshold: Threshold | None = None
    calibration: Calibration | None = None
    model: str | None = None


@dataclass(frozen=True)
class Scope:
    """Which identities a search may answer with.

    Args:
        only: These identities alone; `None` for all.
        without: All but these.
    """

    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()


EVERYBODY = Scope()


class Store(Protocol):
    """Keeps the records of one gallery and finds the nearest ones.

    A call that writes is durable when it returns, and a call that reads sees every write that was
    acknowledged, by any process, before it began. The records of one identity in one call are written
    together or not at all; those of several identities need not be.
    """

    @property
    def address(self) -> str:
        """How messages name the store: a path, or an address without its password."""

    @property
    def binding(self) -> Binding:
        """What the gallery was bound to at its creation."""

    def put(self, records: Sequence[Record]) -> Enrolment:
        """Writes records by the names of their items; one that is there already is replaced."""

    def remove(self, items: Sequence[str]) -> int:
        """Deletes the named items and returns how many were there."""

    def forget(self, identity: str) -> int:
        """Deletes an identity with all its items and returns how many there were."""

    def get(self, items: Sequence[str]) -> dict[str, Record]:
        """Returns the named items that are there."""

    def search(
        self, queries: Float32[np.ndarray, "q d"], *, k: int, scope: Scope = EVERYBODY
    ) -> list[list[Hit]]:
        """Returns for each query its k nearest items in the scope, nearest first, without metadata.

        Fewer where there are fewer. Equal distances are ordered by the item's name.
        """

    def identities(self) -> dict[str, int]:
        """Returns the number of items of each identity, in the order of their names."""

    def __len__(self) -> int:
        """The number of items."""

    def close(self) -> None:
        """Lets go of the store; closing twice is no error."""
