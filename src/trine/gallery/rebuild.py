"""A gallery for a new encoder: all embedded again beside the old embeddings, then put in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trine.data import Dataset
from trine.errors import Argument, GalleryError
from trine.gallery.bulk_write import NOTE as RECALL
from trine.gallery.bulk_write import batched
from trine.gallery.clusters import NOTE as CLUSTERS
from trine.gallery.entries import Record, as_rows
from trine.gallery.store import Binding, Store
from trine.gallery.verify import EmbeddingEncoder

_SHOWN = 5


@dataclass(frozen=True)
class RebuildResult:
    """What a rebuild did.

    Attributes:
        embedded: How many items were embedded anew by this call.
        dropped: The items that were deleted, since nothing was left to embed.

    Example:
        >>> print(RebuildResult(120, ("ann/1.png",)))
        120 items embedded anew, 1 dropped
    """

    embedded: int
    dropped: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.embedded:,} items embedded anew, {len(self.dropped):,} dropped"


def rebuild(
    store: Store,
    encoder: EmbeddingEncoder,
    binding: Binding,
    *,
    data: Dataset | None,
    drop_missing: bool,
    chunk: int,
    progress: Callable[[int], None] | None,
) -> RebuildResult:
    """Embeds everything anew and switches; see `Gallery.rebuild`."""
    places = {} if data is None else {name: place for place, name in enumerate(data.names)}
    embedded = 0
    while True:
        missing: list[str] = []
        for batch in batched(store.unstaged(binding), chunk):
            found = [record for record in batch if _has_source(record, places)]
            missing += [record.item for record in batch if not _has_source(record, places)]
            if found:
                rows = encoder.embed(_contents(found, data, places))
                rows = as_rows(rows, dimension=binding.dimension, names=[record.item for record in found])
                store.stage(
                    binding, [replace(record, embedding=row) for record, row in zip(found, rows, strict=True)]
                )
                embedded += len(found)
                if progress is not None:
                    progress(embedded)
        if missing and not drop_missing:
            raise _lost(store, missing)
        # Where others have enrolled in the meantime, the rest has its turn first.
        if store.switch(binding, drop=set(missing)):
            break
    for note in (CLUSTERS, RECALL):
        store.note(note, None)
    return RebuildResult(embedded, tuple(sorted(missing)))


def _has_source(record: Record, places: Mapping[str, int]) -> bool:
    return record.item in places or _path(record) is not None


def _path(record: Record) -> Path | None:
    """The file of an item: where it was enrolled from; its own name where that was never said.

    A name such as "1.png" may be that of any file, from wherever somebody stands: it counts for nothing where
    the source is known, and gone.
    """
    path = Path(record.item if record.source is None else record.source)
    try:
        return path if path.is_file() else None
    except OSError:  # a name too long for a file
        return None


def _contents(records: Sequence[Record], data: Dataset | None, places: Mapping[str, int]) -> list[Any]:
    return [
        data.items[places[record.item]] if data is not None and record.item in places else str(_path(record))
        for record in records
    ]


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
