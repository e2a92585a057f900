"""Who is in a gallery: enrolled, removed, forgotten, listed, and given to another identity."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from trine.data import Dataset
from trine.errors import GalleryError, InputError, SettingError
from trine.gallery.bulk_write import batched, bulk_write
from trine.gallery.entries import (
    Enrolment,
    Entry,
    Record,
    Vector,
    check_items,
    check_name,
    unknown_identity,
    unknown_item,
)
from trine.gallery.opened import Opened

CHUNK = 1024
"""How many items are written at once."""


class Contents(Opened):
    """The part of a `Gallery` that says who is in it; not to be used by itself."""

    def enrol(
        self,
        identity: str,
        item: str,
        *,
        embedding: Vector | None = None,
        content: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds one item; an item of the same name is replaced.

        Args:
            identity: Whom or what it belongs to; any text.
            item: Its name, unique in the gallery.
            embedding: (D,) finite numbers, where the embedding was made elsewhere.
            content: What the encoder embeds; the item's name is taken for a path where left out.
            metadata: What to keep with the item: text keys, values that JSON can hold.

        Raises:
            GalleryError: The embedding is of another dimension or not finite; there is neither encoder
                nor embedding; or the file cannot be written.
            InputError: A name is empty or no valid text, or the metadata is nothing that JSON can hold.
        """
        self.enrol_many([Entry(identity, item, embedding, content, metadata or {})])

    def enrol_many(
        self,
        entries: Iterable[Entry],
        *,
        chunk: int = CHUNK,
        progress: Callable[[int], None] | None = None,
    ) -> Enrolment:
        """Adds many items from a stream, a chunk at a time, and every chunk whole or not at all.

        Enrolling the same entries again changes nothing, so an enrolment that was interrupted is
        finished by starting it again.

        Args:
            entries: The items; read as they are needed.
            chunk: How many are embedded and written together, at least 1.
            progress: Called with the number of items so far, whenever a chunk is on the disk.

        Returns:
            How many were new, replaced and there already.

        Raises:
            GalleryError: As for `enrol`; the chunks before stay enrolled.
            InputError: As for `enrol`.
        """
        check_chunk(chunk)
        batches = (self._embedder.records(batch) for batch in batched(iter(entries), chunk))
        return bulk_write(self._store, batches, progress=progress)

    def enrol_dataset(
        self,
        dataset: Dataset,
        *,
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
        chunk: int = CHUNK,
        progress: Callable[[int], None] | None = None,
    ) -> Enrolment:
        """Adds every item of a dataset by its name, embedded by the encoder; see `enrol_many`.

        The dataset's columns (camera, group, ...) are kept as metadata.

        Args:
            dataset: The items with their identities; read as they are needed.
            metadata: More to keep with items, by their names; `trine.data.read_metadata` reads a table.
            chunk: How many are embedded and written together, at least 1.
            progress: Called with the number of items so far, whenever a chunk is on the disk.

        Returns:
            How many were new, replaced and there already.

        Raises:
            GalleryError: There is no encoder, or the file cannot be written.
            DataError: A picture cannot be read; the chunks before stay enrolled.
        """
        entries = self._embedder.entries(dataset, chunk=max(chunk, 1), metadata=metadata or {})
        return self.enrol_many(entries, chunk=chunk, progress=progress)

    def remove(self, item: str) -> bool:
        """Deletes one item and says whether it was there; an identity without items is gone too."""
        return self._store.remove([check_name(item, "item")]) > 0

    def forget(self, identity: str) -> int:
        """Deletes an identity with all its items, and every trace of them from the gallery's files.

        The file is written anew for that, which takes room for a second copy and, with a million items,
        some seconds. Copies and backups are for their keepers to see to.

        Returns:
            How many items there were.

        Raises:
            GalleryError: The file was kept busy or the disk is full; the items are gone then, and `repair`
                wipes what is left of them.
        """
        return self._store.forget(check_name(identity, "identity"))

    def get(self, item: str) -> Entry:
        """Returns one enrolled item with its embedding and metadata.

        Raises:
            GalleryError: It is not there.
        """
        found = self._store.get([check_name(item, "item")])
        if item not in found:
            raise unknown_item(item, self._store.address)
        return _entry(found[item])

    def entries(self, identity: str | None = None) -> Iterator[Entry]:
        """Reads the items with their embeddings and metadata one after another, in any order.

        Args:
            identity: Whose items; everybody's where left out.

        Raises:
            GalleryError: The identity is not there.
        """
        if identity is not None:
            self._known(identity)
        return (_entry(record) for record in self._store.scan() if identity in (None, record.identity))

    def identities(self) -> dict[str, int]:
        """Returns the number of items of each identity, in the order of their names."""
        return self._store.identities()

    def __len__(self) -> int:
        return len(self._store)

    def rename(self, identity: str, to: str) -> int:
        """Gives an identity another name.

        Returns:
            How many items it has.

        Raises:
            GalleryError: The identity is not there, or the new name is that of another.
        """
        self._known(identity)
        if check_name(to, "identity") in self._store.identities():
            raise GalleryError(f"{self._name} knows somebody called {to[:80]!r} already: merge the two")
        return self._store.rename(identity, to)

    def merge(self, identity: str, other: str) -> int:
        """Makes two identities one: all items of the other become items of the first.

        Returns:
            How many items changed hands.

        Raises:
            GalleryError: One of the two is not there, or they are the same.
        """
        self._known(identity)
        self._known(other)
        if identity == other:
            raise GalleryError(f"an identity cannot be merged with itself, given {identity[:80]!r} twice")
        return self._store.rename(other, identity)

    def split(self, items: Sequence[str], identity: str) -> int:
        """Makes some items of one identity a new identity.

        Returns:
            How many items changed hands.

        Raises:
            GalleryError: An item is not there, they are of several identities, or the new name is that of
                somebody known.
            InputError: No items are named.
        """
        if not items:
            raise InputError("split takes the items that become a new identity: name at least one")
        items = check_items(items, "split")
        found = self._store.get(items)
        missing = next((item for item in items if item not in found), None)
        if missing is not None:
            raise unknown_item(missing, self._store.address)
        whose = sorted({record.identity for record in found.values()})
        if len(whose) > 1:
            raise GalleryError(
                f"a split takes items of one identity, given items of {whose[0][:80]!r} and "
                f"{whose[1][:80]!r}: merge them first"
            )
        if check_name(identity, "identity") in self._store.identities():
            raise GalleryError(f"{self._name} knows somebody called {identity[:80]!r} already: merge the two")
        return self._store.relabel(list(found), identity)

    @property
    def _name(self) -> str:
        return f"the gallery {self._store.address}"

    def _known(self, identity: str) -> None:
        known = self._store.identities()
        if check_name(identity, "identity") not in known:
            raise unknown_identity(identity, known, self._store.address)


def _entry(record: Record) -> Entry:
    metadata = json.loads(record.metadata)
    return Entry(record.identity, record.item, record.embedding, metadata=metadata, source=record.source)


def check_chunk(chunk: int) -> None:
    """Refuses a number of items that nothing can be cut into."""
    if chunk < 1:
        raise SettingError(f"chunk is a number of items of at least 1, given {chunk}")
