"""Puts a backup in the place of a gallery in LanceDB's tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from trine.errors import Argument, GalleryError
from trine.gallery.bulk_write import CHUNK, batched
from trine.gallery.lance.address import Address
from trine.gallery.lance.database import Database, Snapshot
from trine.gallery.lance.rows import BINDING, NOTES, STATE, State, item_rows, quoted, special_rows
from trine.gallery.lance.settings import LanceSettings
from trine.gallery.sqlite import SqliteStore
from trine.gallery.store import Binding


def restore(source: SqliteStore, address: str, *, overwrite: bool) -> str | None:
    """Makes a gallery from a backup at once; returns where the one that was there is kept now.

    Raises:
        GalleryError: There is one, and `overwrite` is not set; or it cannot be written.
    """
    place, settings, bound = Address.parse(address), LanceSettings(), source.binding
    content = _Backup(source)
    new = content.state(State()), content.rows
    with closing(Database(place, binding=bound, settings=settings, content=new)) as database:
        if database.created:
            return None
        if not overwrite:
            hint = ("choose another name, or pass ", Argument("overwrite", True))
            raise GalleryError(f"the gallery {place.shown} exists already: ", *hint)
        kept = place.beside(f".replaced-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 1000:03}")

        def rows(snapshot: Snapshot) -> Iterator[Any]:
            _copy(snapshot, kept, settings)
            return content.rows(snapshot.state.stamp)

        database.rewrite(rows, state=content.state, binding=bound)
        return kept.shown


class _Backup:
    """What a backup holds, as rows of a table."""

    def __init__(self, source: SqliteStore) -> None:
        self._source = source
        self._clusters = source.clusters()
        self._items = len(source)

    def rows(self, stamp: int = 0) -> Iterator[Any]:
        """Yields all rows but those of the state and of the binding."""
        bound, number = self._source.binding, 0
        notes = {NOTES + name: text for name, text in self._source.notes().items()}
        yield special_rows(notes, bound, changed=stamp)
        for records in batched(self._source.scan(), CHUNK):
            count = len(records)
            yield item_rows(
                records,
                bound,
                cluster=[self._clusters.get(record.item) for record in records],
                number=range(number + 1, number + count + 1),
                written=[stamp] * count,
                changed=[stamp] * count,
            )
            number += count

    def state(self, before: State) -> State:
        """Makes the new state of the one that is replaced."""
        return State(
            stamp=before.stamp,
            tokens=before.tokens,
            bound=before.bound + 1,
            items=self._items,
            clusters=self._source.used_clusters(),
            numbers=self._items,
            removed=before.stamp,
        )


def _copy(snapshot: Snapshot, to: Address, settings: LanceSettings) -> None:
    """Copies a gallery to another place, or what is newer there."""
    binding = Binding.from_texts(snapshot.texts, to.shown)
    with closing(Database(to, binding=binding, settings=settings)) as copy:
        copy.rewrite(
            lambda _: snapshot.batches(f"item NOT IN ({quoted(STATE)}, {quoted(BINDING)})"),
            state=lambda _: replace(snapshot.state, staged=None, moved=None),
        )
