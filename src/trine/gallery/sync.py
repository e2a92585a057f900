"""Makes a gallery agree with the folder or table that its items came from (`Gallery.sync`)."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trine.errors import DataError, InputError
from trine.gallery.bulk_write import batched, bulk_write
from trine.gallery.embedding import Embedder, Place, content_of, path_of
from trine.gallery.entries import Entry, Record, as_rows, check_name, metadata_of, metadata_text
from trine.gallery.provenance import Provenance, digest_of, from_source, to_source
from trine.gallery.quantization import rounded
from trine.gallery.store import Store
from trine.gallery.sync_result import Kept, Moved, SyncResult, Taken

SAME = 0.01
"""Embeddings are of the same content if they differ by at most this share of their largest number.

More than float32, float16 and int8 round, and asked only of items whose digest is not known."""


@dataclass(frozen=True)
class _Held:
    """What is known of an item of the gallery."""

    identity: str
    metadata: str
    source: str | None
    provenance: Provenance | None

    @property
    def digest(self) -> str | None:
        return None if self.provenance is None else self.provenance.digest


@dataclass(frozen=True)
class _Write:
    """An item to write.

    Attributes:
        entry: The item as it is to be; its embedding is missing.
        held: The item of the gallery that has its content; `None` embeds it.
        stays: Whether the identity is the one that the item has already.
    """

    entry: Entry
    held: str | None
    stays: bool


class Sync:
    """A sync that is planned, and not yet done.

    Args:
        store: The gallery.
        embedder: Embeds items for it.
        entries: All items of the origin.
        origin: The name of the folder or table.
        unreadable: Names of items that the origin has, but that cannot be read now; a name that ends with a
            slash stands for all items whose name begins with it.
        undo_renames: Whether items get back the identity that they have at the origin.
        of_content: The keys of metadata that say what the content is.

    Raises:
        GalleryError: As for `Gallery.enrol`.
        InputError: An item is listed twice, or cannot be stored.
    """

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        entries: Iterable[Entry],
        *,
        origin: str,
        unreadable: Iterable[str],
        undo_renames: bool,
        chunk: int,
        of_content: Iterable[str] = (),
    ) -> None:
        self._of_content = frozenset(of_content)
        self._store, self._embedder, self._origin, self._undo = store, embedder, origin, undo_renames
        self._wanted = self._with_provenance(entries)
        self._unreadable = dict.fromkeys(name for name in unreadable if name not in self._wanted)
        self._taken: list[Taken] = []
        self._held = self._items_held()
        self._metadata = self._metadata_wanted()
        self._renames = self._identities_renamed()
        self._from = self._contents_held(chunk)
        self._writes: list[_Write] = []
        self.result = self._plan()

    def apply(self, *, chunk: int, progress: Callable[[int], None] | None) -> SyncResult:
        """Writes what is planned chunk by chunk, and removes what is gone at the end."""
        renamed = {w.entry.item: w.held for w in self._writes if w.held and w.held != w.entry.item}
        before = self._store.clusters() if renamed else {}
        full = all(write.held is None for write in self._writes)
        bulk_write(self._store, self._batches(chunk), progress=progress, full=full)
        self._store.assign({item: before[held] for item, held in renamed.items() if held in before})
        left = {held for item, held in renamed.items() if item not in self._unreadable} - self._wanted.keys()
        for batch in batched(iter([*self.result.removed, *sorted(left)]), chunk):
            self._store.remove(batch)
        return self._without_failed(replace(self.result, dry_run=False))

    def _with_provenance(self, entries: Iterable[Entry]) -> dict[str, Entry]:
        wanted: dict[str, Entry] = {}
        for entry in entries:
            if not isinstance(entry, Entry):
                raise InputError(f"sync takes trine.gallery.Entry objects, given {type(entry).__name__}")
            check_name(entry.identity, "identity")
            if check_name(entry.item, "item") in wanted:
                raise InputError(f"the item {entry.item[:80]!r} is listed twice: names must be unique")
            wanted[entry.item] = replace(entry, provenance=self._provenance(entry))
        return wanted

    def _provenance(self, entry: Entry) -> Provenance:
        if isinstance(entry.content, Place) and entry.provenance is not None:
            return entry.provenance
        if entry.embedding is None:
            return Provenance(self._origin, entry.identity, digest_of(content_of(entry)))
        dimension = self._store.binding.dimension
        row = as_rows([entry.embedding], dimension=dimension, names=[entry.item])
        return Provenance(self._origin, entry.identity, digest_of(row))

    def _items_held(self) -> dict[str, _Held]:
        """The items of the gallery that came from the origin; notes those that have a name of another's."""
        held = {}
        for record in self._store.scan():
            path, provenance = from_source(record.source)
            wanted = self._wanted.get(record.item)
            if self._is_from_here(record.item, path, provenance, wanted):
                held[record.item] = _Held(record.identity, record.metadata, record.source, provenance)
            elif wanted is not None:
                origin = path or "" if provenance is None else provenance.origin
                self._taken.append(Taken(record.item, origin))
                del self._wanted[record.item]
        return held

    def _is_from_here(
        self, item: str, path: str | None, provenance: Provenance | None, wanted: Entry | None
    ) -> bool:
        if provenance is not None:
            return provenance.origin == self._origin
        # An earlier version kept only the path, or nothing.
        if path is None:
            return wanted is not None
        expected = None if wanted is None else path_of(wanted)
        return _is_at(path, self._origin, item) or (expected is not None and _is_at(path, expected))

    def _metadata_wanted(self) -> dict[str, str]:
        """The metadata of each item; none if the origin has none but of the content, so that it stays."""
        if not any(entry.metadata.keys() - self._of_content for entry in self._wanted.values()):
            return {}
        return {item: metadata_text(entry.metadata, item) for item, entry in self._wanted.items()}

    def _metadata_with(self, entry: Entry, held: _Held | None) -> str:
        """What the gallery holds of an item, but for what the content itself says."""
        if held is None or not self._of_content:
            return held.metadata if held else metadata_text(entry.metadata, entry.item)
        known = metadata_of(held.metadata, self._store.address)
        kept = {key: value for key, value in known.items() if key not in self._of_content}
        return metadata_text({**kept, **entry.metadata}, entry.item)

    def _identities_renamed(self) -> dict[str, str]:
        """The identities that have one other name in the gallery, and that name."""
        names: dict[str, set[str]] = defaultdict(set)
        for item, held in self._held.items():
            if (origin := self._identity_before(item, held)) is not None:
                names[origin].add(held.identity)
        return {origin: given for origin, (given, *others) in names.items() if not others}

    def _identity_before(self, item: str, held: _Held) -> str | None:
        """The identity that an item had at the origin when it was written last."""
        if held.provenance is not None:
            return held.provenance.identity
        # An earlier version did not keep it: take a difference for a change in the gallery.
        return self._wanted[item].identity if item in self._wanted else None

    def _contents_held(self, chunk: int) -> dict[str, str]:
        """For each item whose content the gallery holds, the item there that has it."""
        found, unsure = {}, []
        for item, entry in self._wanted.items():
            digest, held = _digest(entry), self._held.get(item)
            if held is not None and None in (digest, held.digest):
                unsure.append(entry)
            elif held is not None and held.digest == digest:
                found[item] = item
        for batch in batched(iter(unsure), chunk):
            stored = self._store.get([entry.item for entry in batch])
            for record in self._records(batch):
                if record.item in stored and self._is_same(record, stored[record.item]):
                    found[record.item] = record.item
        # What has another content now, or is gone, may be what other names have.
        free: dict[str, list[str]] = defaultdict(list)
        for item, held in self._held.items():
            if held.digest is not None and item not in found and not self._is_unreadable(item):
                free[held.digest].append(item)
        for item, entry in self._wanted.items():
            names = free.get(_digest(entry) or "")
            if item not in found and names:
                same = (n for n in names if self._identity_before(n, self._held[n]) == entry.identity)
                found[item] = next(same, names[0])
                names.remove(found[item])
        return found

    def _is_same(self, record: Record, stored: Record) -> bool:
        row = rounded(record.embedding[None], dtype=self._store.binding.dtype)[0]
        return bool(np.abs(row - stored.embedding).max() <= SAME * np.abs(stored.embedding).max())

    def _identity(self, entry: Entry, name: str | None) -> str:
        """The identity that an item is to have, if `name` is what the gallery holds of it."""
        if self._undo:
            return entry.identity
        renamed = self._renames.get(entry.identity, entry.identity)
        if name is None:
            return renamed
        held = self._held[name]
        before = self._identity_before(name, held)
        if before is None or before == entry.identity:
            return held.identity
        # It was moved at the origin: follow it, unless the gallery moved it, too.
        return renamed if held.identity == self._renames.get(before, before) else held.identity

    def _plan(self) -> SyncResult:
        lists: dict[str, list[str]] = {name: [] for name in ("new", "changed", "described")}
        moved: list[Moved] = []
        renamed: list[Moved] = []
        kept: list[Kept] = []
        unchanged = 0
        for item, entry in self._wanted.items():
            if item in self._unreadable:
                continue
            source = self._from.get(item)
            known = source or (item if item in self._held else None)
            identity = self._identity(entry, known)
            held = None if known is None else self._held[known]
            text = self._metadata.get(item) or self._metadata_with(entry, held)
            if identity != entry.identity:
                kept.append(Kept(item, identity, entry.identity))
            whats = []
            if held is None or known is None:
                whats.append(lists["new"])
            else:
                if source is None:
                    whats.append(lists["changed"])
                if text != held.metadata:
                    whats.append(lists["described"])
                step = Moved(item, identity, known, held.identity)
                if identity != held.identity:
                    moved.append(step)
                elif known != item:
                    renamed.append(step)
                elif not whats:
                    unchanged += 1
            for what in whats:
                what.append(item)
            to = to_source(path_of(entry), entry.provenance)
            if whats or known != item or held is None or (identity, to) != (held.identity, held.source):
                planned = replace(
                    entry, identity=identity, metadata=metadata_of(text, self._store.address), embedding=None
                )
                self._writes.append(_Write(planned, source, held is not None and identity == held.identity))
        used, there = set(self._from.values()), {_digest(entry) for entry in self._wanted.values()}
        removed = tuple(
            item
            for item in sorted(self._held)
            if item not in self._wanted and item not in used and not self._is_unreadable(item)
        )
        return SyncResult(
            self._origin,
            True,
            len(self._held),
            sum(self._held[item].digest is None or self._held[item].digest not in there for item in removed),
            **{name: tuple(items) for name, items in lists.items()},
            moved=tuple(moved),
            renamed=tuple(renamed),
            removed=removed,
            unchanged=unchanged,
            kept=tuple(kept),
            unreadable=tuple(sorted(self._unreadable)),
            taken=tuple(sorted(self._taken, key=lambda each: each.item)),
        )

    def _is_unreadable(self, item: str) -> bool:
        folders = (item[: at + 1] for at, letter in enumerate(item) if letter == "/")
        return item in self._unreadable or any(folder in self._unreadable for folder in folders)

    def _batches(self, chunk: int) -> Iterator[list[Record]]:
        for part in batched(iter(self._writes), chunk):
            names = {write.held for write in part} | {write.entry.item for write in part}
            stored = self._store.get([name for name in names if name is not None])
            entries = []
            for write in part:
                entry = write.entry
                now, content = stored.get(entry.item), stored.get(write.held or "")
                if write.stays and now is not None and write.held in (None, entry.item):
                    entry = replace(entry, identity=now.identity)  # as another process may have renamed it
                if content is not None and self._has_content(content, entry):
                    entry = replace(entry, embedding=content.embedding)
                else:
                    entry = replace(entry, embedding=self._wanted[entry.item].embedding)
                entries.append(entry)
            yield self._records(entries)

    def _has_content(self, stored: Record, entry: Entry) -> bool:
        """Whether a record still has the content; an earlier chunk may have written over it."""
        _, provenance = from_source(stored.source)
        digest = None if provenance is None else provenance.digest
        return digest == _digest(entry) or (digest is None and stored.item == entry.item)

    def _records(self, entries: Sequence[Entry]) -> list[Record]:
        """Embeds items; those that cannot be read are noted."""
        try:
            return self._embedder.records(entries)
        except DataError:
            if len(entries) == 1:
                self._unreadable[entries[0].item] = None
                return []
            return [record for entry in entries for record in self._records([entry])]

    def _without_failed(self, result: SyncResult) -> SyncResult:
        failed = self._unreadable.keys() - set(result.unreadable)
        if not failed:
            return result
        return replace(
            result,
            new=tuple(item for item in result.new if item not in failed),
            changed=tuple(item for item in result.changed if item not in failed),
            described=tuple(item for item in result.described if item not in failed),
            moved=tuple(each for each in result.moved if each.item not in failed),
            renamed=tuple(each for each in result.renamed if each.item not in failed),
            unreadable=tuple(sorted(self._unreadable)),
        )


def _is_at(path: str, *parts: str) -> bool:
    return os.path.normpath(path) == os.path.normpath(Path(*parts))


def _digest(entry: Entry) -> str | None:
    return None if entry.provenance is None else entry.provenance.digest
