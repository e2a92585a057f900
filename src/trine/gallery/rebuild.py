"""Rebuilds a gallery for a new encoder: stages the new embeddings, then switches atomically."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from trine.data import Dataset
from trine.errors import Argument, GalleryError
from trine.gallery.bulk_write import NOTE as RECALL
from trine.gallery.bulk_write import batched
from trine.gallery.calibration import NOTE as CALIBRATION
from trine.gallery.clusters import NOTE as CLUSTERS
from trine.gallery.embedding import EmbeddingEncoder
from trine.gallery.entries import Record, as_rows
from trine.gallery.provenance import from_source
from trine.gallery.store import Binding, Store

_SHOWN = 5


@dataclass(frozen=True)
class RebuildResult:
    """The result of a rebuild.

    Attributes:
        embedded: The number of items that this call embedded.
        dropped: The items that were deleted because they could no longer be read.

    Example:
        >>> print(RebuildResult(120, ("ann/1.png",)))
        120 items embedded, 1 dropped
    """

    embedded: int
    dropped: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.embedded:,} items embedded, {len(self.dropped):,} dropped"


@dataclass(frozen=True)
class Source:
    """Where a rebuild reads items, and the encoder that embeds them.

    Attributes:
        encoder: The new encoder.
        data: The items, by the names they were enrolled under.
        drop_missing: Whether to delete items that can no longer be read.
    """

    encoder: EmbeddingEncoder
    data: Dataset | None = None
    drop_missing: bool = False

    @cached_property
    def places(self) -> dict[str, int]:
        """The position of each item in the data."""
        return {} if self.data is None else {name: place for place, name in enumerate(self.data.names)}

    def content(self, record: Record) -> Any:
        """The content of an item for the encoder; `None` if it can no longer be read."""
        if self.data is not None and record.item in self.places:
            return self.data.items[self.places[record.item]]
        return _path(record)

    def has(self, record: Record) -> bool:
        """Returns whether an item can still be read."""
        return record.item in self.places or _path(record) is not None


def rebuild(
    store: Store, source: Source, binding: Binding, *, chunk: int, progress: Callable[[int], None] | None
) -> RebuildResult:
    """Embeds every item again and switches; see `Gallery.rebuild`."""
    embedded = 0
    while True:
        now, missing = stage_missing(
            store, source, binding, chunk=chunk, progress=progress, embedded=embedded
        )
        embedded += now
        if missing and not source.drop_missing:
            raise _lost(store, missing)
        # If other processes have enrolled items in the meantime, embed these first.
        if store.switch(binding, drop=set(missing)):
            break
    for note in (CLUSTERS, RECALL, CALIBRATION):
        store.note(note, None)
    return RebuildResult(embedded, tuple(sorted(missing)))


def stage_missing(
    store: Store,
    source: Source,
    binding: Binding,
    *,
    chunk: int,
    progress: Callable[[int], None] | None,
    embedded: int = 0,
) -> tuple[int, list[str]]:
    """Embeds the items that have no embedding staged, and stages it.

    Args:
        store: The store.
        source: Where the items are read, and their encoder.
        binding: What the gallery will be bound to.
        chunk: How many items are embedded together.
        progress: Called with the number of items so far.
        embedded: How many were embedded before, for `progress`.

    Returns:
        How many were embedded, and the names of those that can no longer be read.
    """
    before, missing = embedded, []
    for batch in batched(store.unstaged(binding), chunk):
        readable = [record for record in batch if source.has(record)]
        missing += [record.item for record in batch if not source.has(record)]
        if readable:
            _stage(store, source, binding, readable)
            embedded += len(readable)
            if progress is not None:
                progress(embedded)
    return embedded - before, missing


def _stage(store: Store, source: Source, binding: Binding, records: Sequence[Record]) -> None:
    rows = source.encoder.embed([source.content(record) for record in records])
    rows = as_rows(rows, dimension=binding.dimension, names=[record.item for record in records])
    store.stage(binding, [replace(record, embedding=row) for record, row in zip(records, rows, strict=True)])


def _path(record: Record) -> str | None:
    """The file of an item: its source, or its name if no source is known.

    A name such as "1.png" may match any file in the current folder, so it is ignored if the source is known.
    """
    known, _ = from_source(record.source)
    path = Path(record.item if known is None else known)
    try:
        return str(path) if path.is_file() else None
    except OSError:  # the name is too long for a file
        return None


def _lost(store: Store, missing: Sequence[str]) -> GalleryError:
    shown = ", ".join(repr(item[:80]) for item in sorted(missing)[:_SHOWN])
    more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
    return GalleryError(
        f"the gallery {store.address} is unchanged: {len(missing):,} of its items can no longer be read: "
        f"{shown}{more}; pass the data that holds them with ",
        Argument("data"),
        ", or delete them with ",
        Argument("drop_missing", True),
        "; the embeddings computed so far are kept for the next call",
    )
