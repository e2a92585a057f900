"""Where a gallery keeps its embeddings: a protocol of a few methods, and what a gallery is bound to.

A store holds records (identity, item, embedding, metadata) and finds the nearest ones. Nothing in the
protocol assumes a local file, an order of rows, or a transaction over several identities: a server can
stand behind it as well as a file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, Self

import numpy as np

from trine.calibration import Calibration
from trine.distances import Distance
from trine.errors import GalleryError, ModelError
from trine.gallery.decision import Threshold
from trine.gallery.entries import Enrolment, Hit, Record
from trine.gallery.filters import NO_FILTER, Filter
from trine.gallery.quantization import Dtype
from trine.migrations import upgrade_gallery
from trine.shapes import Float32


@dataclass(frozen=True)
class Binding:
    """What a gallery is bound to when it is created, until it is rebuilt with another encoder.

    Args:
        dimension: D, the length of every embedding; at least 1.
        fingerprint: Which encoder made the embeddings.
        distance: How embeddings are compared; smaller is closer.
        threshold: The threshold at creation; `None` where there was none.
        calibration: The encoder's whole calibration at creation, where it had one.
        model: The folder of the encoder, where the caller said it; so that a later opening finds it.
        dtype: How embeddings are kept: `"float32"`, `"float16"` or `"int8"`.
    """

    dimension: int
    fingerprint: str
    distance: Distance
    threshold: Threshold | None = None
    calibration: Calibration | None = None
    model: str | None = None
    dtype: Dtype = "float32"

    def to_texts(self) -> dict[str, str]:
        """Writes the binding as named texts that can be read in a store without trine."""
        return {
            "dimension": str(self.dimension),
            "distance": self.distance,
            "fingerprint": self.fingerprint,
            "threshold": json.dumps(self.threshold and asdict(self.threshold)),
            "calibration": json.dumps(self.calibration and self.calibration.to_json()),
            "model": self.model or "",
            "dtype": self.dtype,
        }

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], address: str) -> Self:
        """Reads what `to_texts` wrote.

        Raises:
            GalleryError: Something is missing or unreadable.
        """
        try:
            texts = upgrade_gallery(texts)
            threshold, calibration = json.loads(texts["threshold"]), json.loads(texts["calibration"])
            return cls(
                dimension=int(texts["dimension"]),
                distance=texts["distance"],  # type: ignore[arg-type]
                fingerprint=texts["fingerprint"],
                threshold=Threshold(**threshold) if threshold else None,
                calibration=Calibration.from_json(calibration) if calibration else None,
                model=texts["model"] or None,
                dtype=texts["dtype"],  # type: ignore[arg-type]
            )
        except (AttributeError, KeyError, TypeError, ValueError, ModelError) as error:
            damage = f"its table 'gallery' cannot be read ({error})"
            raise GalleryError(
                f"the gallery {address} is damaged: {damage}; restore it from a backup"
            ) from error


@dataclass(frozen=True)
class Scope:
    """What a search may answer with.

    Args:
        only: Items of these identities alone; `None` for all.
        without: All but the items of these identities.
        where: What the metadata must match.
        exclude: Items to leave out.
    """

    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    where: Filter = NO_FILTER
    exclude: frozenset[str] = frozenset()


EVERYBODY = Scope()


class Store(Protocol):
    """Keeps the records of one gallery and finds the nearest ones.

    A call that writes is durable when it returns, and a call that reads sees every write that was
    acknowledged, by any process, before it began. The records of one identity in one call are written
    together or not at all; those of several identities need not be. An embedding is kept in the form of
    the binding, and comes back, and is searched, as `trine.gallery.quantization.rounded` gives it. An
    identity is there as long as it has items. A gallery that was switched to another encoder (see `switch`)
    refuses every further call of the stores that were open on it.
    """

    @property
    def address(self) -> str:
        """How messages name the store: a path, or an address without its password."""

    @property
    def binding(self) -> Binding:
        """What the gallery was bound to at its creation, or by the last `switch`."""

    def put(self, records: Sequence[Record]) -> Enrolment:
        """Writes records by the names of their items; one that is there already is replaced.

        Of two records of one item the later counts. A record with another embedding loses its cluster and
        what was staged for it.
        """

    def remove(self, items: Sequence[str]) -> int:
        """Deletes the named items and returns how many were there."""

    def forget(self, identity: str) -> int:
        """Deletes an identity with all its items and returns how many there were.

        A store whose files are its own leaves none of their bytes in them; for a server it is documented
        how its leavings are purged.
        """

    def relabel(self, items: Sequence[str], identity: str) -> int:
        """Gives the named items that are there to an identity, and returns how many were of another."""

    def rename(self, identity: str, to: str) -> int:
        """Gives all items of an identity to another, known or new, and returns how many there were."""

    def get(self, items: Sequence[str]) -> dict[str, Record]:
        """Returns the named items that are there."""

    def scan(self) -> Iterator[Record]:
        """Returns every record, in any order and in bounded memory, without keeping others from writing.

        A record that is there from the first to the last comes once, each as it was at some moment in
        between; one that is written meanwhile may come or not.
        """

    def search(
        self,
        queries: Float32[np.ndarray, "q d"],
        *,
        k: int,
        offset: int = 0,
        scope: Scope = EVERYBODY,
        metadata: bool = False,
    ) -> list[list[Hit]]:
        """Returns for each query `k` items in the scope, nearest first.

        They are the nearest but for the `offset` nearer ones; fewer where there are fewer. Equal distances
        are ordered by the item's name. Hits have their metadata if it is requested.
        """

    def identities(self) -> dict[str, int]:
        """Returns the number of items of each identity, in the order of their names."""

    def __len__(self) -> int:
        """The number of items."""

    def revision(self) -> str:
        """Returns a text that is another one after any write; for what is computed from all records."""

    def size(self) -> int:
        """The bytes that the gallery takes where it lies."""

    def clusters(self) -> dict[str, int]:
        """Returns the cluster of each item that has one."""

    def new_clusters(self, count: int) -> list[int]:
        """Returns ascending numbers, from 1, that no cluster had before."""

    def assign(self, clusters: Mapping[str, int]) -> None:
        """Sets the clusters of the named items that are there; their numbers count as used."""

    def notes(self) -> dict[str, str]:
        """Returns the notes about the gallery as a whole."""

    def note(self, name: str, text: str | None) -> None:
        """Stores a note under a name and replaces an existing one; `None` deletes it."""

    def check(self) -> list[str]:
        """Returns one sentence for each problem, none for a sound gallery."""

    def repair(self) -> list[str]:
        """Fixes what `check` finds, and returns one sentence for each fix.

        A record that cannot be read is deleted.

        Raises:
            GalleryError: It cannot be repaired.
        """

    def unstaged(self, binding: Binding) -> Iterator[Record]:
        """Returns, as `scan` does, the records without an embedding staged for another encoder.

        What was staged for any third binding is given up.
        """

    def stage(self, binding: Binding, records: Sequence[Record]) -> None:
        """Keeps embeddings for another encoder beside those in use; one of no item is passed over."""

    def switch(self, binding: Binding, *, drop: Collection[str] = ()) -> bool:
        """Puts the staged embeddings in place of all others, at once.

        The items in `drop` that have nothing staged are deleted. Where any other item has nothing staged,
        nothing is changed and the answer is `False`. Clusters are dissolved, their numbers stay used.
        """

    def close(self) -> None:
        """Closes the store; closing twice is no error."""
