"""The storage protocol of galleries, and the binding of a gallery.

A store holds records (identity, item, embedding, metadata) and finds the nearest ones. The protocol assumes
neither a local file, nor an order of rows, nor transactions across identities, so a server can implement it
as well as a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from trine.calibration import Calibration
from trine.cluster_threshold import ClusterThreshold
from trine.distances import Distance, check_distance
from trine.errors import GalleryError, ModelError, check_count
from trine.gallery.decision import Threshold
from trine.gallery.entries import Enrolment, Hit, Record
from trine.gallery.errors import damaged
from trine.gallery.filters import NO_FILTER, Filter
from trine.gallery.quantization import Dtype, check_dtype
from trine.migrations import upgrade_calibration, upgrade_gallery
from trine.plain_json import parse_json
from trine.shapes import Float32

UNREACHED = 1 << 62
"""A number of writes, of rebuilds or of a cluster that no gallery reaches."""


@dataclass(frozen=True)
class Binding:
    """The encoder and settings of a gallery, fixed at creation until a rebuild with another encoder.

    Args:
        dimension: D, the length of every embedding; at least 1.
        fingerprint: Identifies the encoder of the embeddings.
        distance: How embeddings are compared; smaller is closer.
        threshold: The threshold at creation; `None` if there was none.
        calibration: The encoder's calibration at creation; `None` if it had none.
        model: The folder of the encoder, if known, so that it can be found later.
        dtype: How embeddings are stored: `"float32"`, `"float16"` or `"int8"`.
        cluster_threshold: How the encoder clustered at creation; `None` if it was not known.
    """

    dimension: int
    fingerprint: str
    distance: Distance
    threshold: Threshold | None = None
    calibration: Calibration | None = None
    model: str | None = None
    dtype: Dtype = "float32"
    cluster_threshold: ClusterThreshold | None = None

    def to_texts(self) -> dict[str, str]:
        """Writes the binding as named strings that can be read without trine; see also `sealed`."""
        return {
            "dimension": str(self.dimension),
            "distance": self.distance,
            "fingerprint": self.fingerprint,
            "threshold": json.dumps(self.threshold and asdict(self.threshold)),
            "calibration": json.dumps(self.calibration and self.calibration.to_json()),
            "cluster_threshold": json.dumps(self.cluster_threshold and self.cluster_threshold.to_json()),
            "model": self.model or "",
            "dtype": self.dtype,
        }

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], address: str) -> Self:
        """Reads what `to_texts` wrote.

        Raises:
            GalleryError: A value is missing, unreadable or unknown.
        """
        try:
            texts = upgrade_gallery(texts)
            threshold, calibration = parse_json(texts["threshold"]), parse_json(texts["calibration"])
            clusters = parse_json(texts.get("cluster_threshold", "null"))
            distance, dtype = texts["distance"], texts["dtype"]
            check_distance(distance)
            check_dtype(dtype)
            return cls(
                dimension=check_count("dimension", int(texts["dimension"])),
                distance=distance,  # type: ignore[arg-type]
                fingerprint=texts["fingerprint"],
                threshold=Threshold(**upgrade_calibration(threshold)) if threshold else None,
                calibration=Calibration.from_json(calibration) if calibration else None,
                cluster_threshold=ClusterThreshold.from_json(clusters) if clusters else None,
                model=texts["model"] or None,
                dtype=dtype,  # type: ignore[arg-type]
            )
        except (AttributeError, KeyError, TypeError, ValueError, ModelError) as error:
            damage = f"its table 'gallery' cannot be read ({error})"
            raise GalleryError(
                f"the gallery {address} is damaged: {damage}; restore it from a backup"
            ) from error


def sealed(texts: Mapping[str, str]) -> str:
    """Writes what `Binding.to_texts` returned as one JSON text, with a digest for `unsealed`."""
    return json.dumps({**texts, _DIGEST: _digest(texts)}, sort_keys=True)


def unsealed(text: str) -> dict[str, str] | None:
    """Returns the texts that `sealed` wrote; `None` if they are not what was written.

    A text without a digest, as an older trine wrote it, is returned as it is.

    Example:
        >>> unsealed(sealed({"dimension": "2"})), unsealed(sealed({"dimension": "2"}).replace("2", "3", 1))
        ({'dimension': '2'}, None)
    """
    try:
        texts = parse_json(text)
    except ValueError:
        return None
    if not isinstance(texts, dict) or not all(isinstance(value, str) for value in texts.values()):
        return None
    digest = texts.pop(_DIGEST, None)
    return texts if digest in (None, _digest(texts)) else None


_DIGEST = "digest"


def _digest(texts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode(errors="replace")).hexdigest()[:16]


@dataclass(frozen=True)
class Scope:
    """The items that a search may return.

    Args:
        only: Only items of these identities; `None` for all.
        without: No items of these identities.
        where: What the metadata must match.
        exclude: Items to leave out.
    """

    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    where: Filter = NO_FILTER
    exclude: frozenset[str] = frozenset()


EVERYBODY = Scope()


class Store(Protocol):
    """Holds the records of one gallery and finds the nearest ones.

    A write is durable when the call returns, and a read sees every write that any process had completed
    before it began. The records of one identity in one call are written together or not at all; those of
    several identities need not be. An embedding is stored in the dtype of the binding, and is returned and
    searched as `trine.gallery.quantization.rounded` rounds it. An identity exists as long as it has items.
    After a switch to another encoder (see `switch`), other stores open on the gallery raise an error on every
    call.
    """

    @property
    def address(self) -> str:
        """The name of the store for messages: a path, or a URL without its password."""

    @property
    def binding(self) -> Binding:
        """The binding, set at creation or by the last `switch`."""

    def put(self, records: Sequence[Record]) -> Enrolment:
        """Writes records, replacing existing ones with the same item name.

        Of two records of one item, the last wins. A record whose embedding changes loses its cluster and its
        staged embedding.
        """

    def validate(self, records: Sequence[Record]) -> None:
        """Raises an error if `put` could not store one of the records; writes nothing."""

    def remove(self, items: Sequence[str]) -> int:
        """Deletes the named items and returns how many existed."""

    def forget(self, identity: str) -> int:
        """Deletes an identity with all its items and returns how many items it had.

        A file-based store leaves none of their bytes in its files; a server store documents how to purge
        the traces.
        """

    def relabel(self, items: Sequence[str], identity: str) -> int:
        """Moves the named items that exist to an identity, and returns how many were moved."""

    def rename(self, identity: str, to: str) -> int:
        """Moves all items of an identity to another, existing or new, and returns how many were moved."""

    def get(self, items: Sequence[str]) -> dict[str, Record]:
        """Returns the named items that exist."""

    def scan(self) -> Iterator[Record]:
        """Yields every record, in any order and in bounded memory, without blocking writers.

        A record that exists throughout the scan is yielded once; records written during the scan may be
        missing.
        """

    def names(
        self, *, identity: str | None = None, cluster: int | None = None, after: str = "", limit: int
    ) -> list[str]:
        """Returns the names of items in ascending order, at most `limit` of those above `after`.

        Only items of an identity or a cluster, if one is given.
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
        """Returns the `k` nearest items in the scope for each query, nearest first.

        The `offset` nearest ones are skipped; there are fewer hits if fewer items match. Ties are ordered by
        item name. Hits include their metadata if requested.
        """

    def identities(self) -> dict[str, int]:
        """Returns the number of items of each identity, sorted by name."""

    def __len__(self) -> int:
        """The number of items."""

    def check_usable(self) -> None:
        """Raises an error if the file or the server cannot be used now; reads a little of it."""

    def revision(self) -> str:
        """Returns a string that changes with every write; lets callers cache what depends on all records."""

    def size(self) -> int:
        """The size of the gallery on disk in bytes."""

    def clusters(self) -> dict[str, int]:
        """Returns the cluster of each item that has one."""

    def new_clusters(self, count: int) -> list[int]:
        """Returns ascending numbers, from 1, that no cluster has used before."""

    def assign(self, clusters: Mapping[str, int]) -> None:
        """Sets the clusters of the named items that exist, and marks the numbers as used."""

    def notes(self) -> dict[str, str]:
        """Returns the notes about the gallery as a whole."""

    def note(self, name: str, text: str | None) -> None:
        """Stores a note under a name and replaces an existing one; `None` deletes it."""

    def check(self) -> list[str]:
        """Returns one sentence for each problem."""

    def repair(self, *, drop_damaged: bool = False) -> list[str]:
        """Fixes what `check` finds, and returns one sentence for each fix.

        Isolated records that cannot be read are written elsewhere, then deleted; with `drop_damaged`, any
        number of them.

        Raises:
            GalleryError: The gallery cannot be repaired, or more than isolated records cannot be read.
        """

    def backup(self, path: Path, *, overwrite: bool = False) -> int:
        """Writes a consistent snapshot to a gallery file, atomically, and returns how many items it has."""

    def unstaged(self, binding: Binding) -> Iterator[Record]:
        """Yields, like `scan`, the records that have no embedding staged for another encoder.

        Embeddings staged for any other binding are discarded.
        """

    def stage(self, binding: Binding, records: Sequence[Record]) -> None:
        """Stores embeddings for another encoder next to those in use; skips items that no longer exist."""

    def staged(self, binding: Binding) -> Iterator[tuple[str, Float32[np.ndarray, " d"]]]:
        """Yields the name and the staged embedding of each item that has one for this binding.

        An embedding that was staged before its item changed is left out.
        """

    def switch(self, binding: Binding, *, drop: Collection[str] = ()) -> bool:
        """Replaces all embeddings by the staged ones, atomically.

        Items in `drop` without a staged embedding are deleted. If any other item has no staged embedding,
        nothing changes and the result is `False`. Items keep their clusters.
        """

    def close(self) -> None:
        """Closes the store; safe to call twice."""


def read_note(store: Store, name: str) -> Any:
    """Reads a note in JSON; None if there is none.

    Raises:
        GalleryError: It is damaged.
    """
    text = store.notes().get(name)
    try:
        return None if text is None else parse_json(text)
    except ValueError as error:
        raise damaged(store.address, f"its note {name!r} cannot be read ({error})") from error
