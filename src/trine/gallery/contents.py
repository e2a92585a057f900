"""What a gallery holds, and everything that changes it: enrol, remove, arrange, exchange, rebuild, mend."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trine.data import Dataset
from trine.distances import Distance
from trine.errors import GalleryError, InputError, SettingError
from trine.gallery import exchange
from trine.gallery.decision import Threshold
from trine.gallery.entries import Enrolment, Entry, Record, Vector, check_name, unknown_identity
from trine.gallery.exchange import batched
from trine.gallery.forms import Form
from trine.gallery.identify import Identifier
from trine.gallery.intake import Intake
from trine.gallery.opening import Claim, open_store
from trine.gallery.pouring import pour
from trine.gallery.rebuild import Rebuilt, rebuild
from trine.gallery.stats import Stats
from trine.gallery.store import Binding, Store
from trine.gallery.verification import EmbeddingEncoder, threshold_of

CHUNK = 1024
"""How many items are written at once."""


class Contents:
    """The part of a `Gallery` that holds and changes what is enrolled; not to be used by itself."""

    def __init__(
        self,
        store: Store,
        *,
        encoder: EmbeddingEncoder | None = None,
        threshold: Threshold | None = None,
    ) -> None:
        """Takes a store that is open; `Gallery.open` opens one by its address."""
        self._store = store
        self._intake = Intake(store, encoder)
        self._identifier = Identifier(store)
        self._threshold = threshold

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        encoder: EmbeddingEncoder | None = None,
        dimension: int | None = None,
        fingerprint: str | None = None,
        distance: Distance | None = None,
        form: Form | None = None,
        threshold: float | None = None,
        model: str | Path | None = None,
        create: bool = True,
    ) -> Self:
        """Opens a gallery, and creates it where it is missing and the arguments say what it is bound to.

        What a gallery is bound to is fixed at its creation: the fingerprint of the encoder, the dimension
        and the distance. Opened with an encoder, or with any of the three by hand, they must agree. The
        encoder's calibration is stored at creation; later, the threshold is the one given here, or else
        the encoder's, or else the stored one.

        Args:
            path: The file, or `postgresql://user:password@host:port/database?gallery=people` for a gallery in
                a database (extra `pgvector`). A folder for which nobody has the right to write is read as it
                stands.
            encoder: What embeds the items; left out, every call takes `embedding=`.
            dimension: The length of an embedding, for embeddings made elsewhere; at least 1.
            fingerprint: What made those embeddings: any text that changes when it does.
            distance: How to compare those embeddings; Euclidean where left out.
            form: How a new gallery keeps embeddings: `"float32"`, `"float16"` or `"int8"`, of which the last
                takes a byte a number.
            threshold: The largest distance that is accepted as the same identity.
            model: The folder of the encoder, to be remembered in a new gallery as `gallery.model`.
            create: Whether a missing gallery is created rather than refused.

        Returns:
            The open gallery; a context manager that closes itself.

        Raises:
            GalleryError: The gallery is missing and is not to be created; it is bound to another
                encoder, dimension or distance; or the file is foreign, damaged or locked.
            SettingError: The dimension or the threshold is out of range, or both an encoder and what
                stands in for one are given.
        """
        claim = Claim.of(encoder, dimension=dimension, fingerprint=fingerprint, distance=distance, form=form)
        given = threshold_of(threshold, encoder.calibration if encoder is not None else None)
        binding = claim.binding(given, encoder, model) if create else None
        store = open_store(path, binding=binding)
        try:
            claim.check(store)
        except BaseException:
            store.close()
            raise
        return cls(store, encoder=encoder, threshold=given or store.binding.threshold)

    @classmethod
    def open_for_table(
        cls, table: str | Path, path: str | Path, *, encoder: EmbeddingEncoder | None = None
    ) -> Self:
        """Opens a gallery to import a table into, and creates it where it is missing, as the table says.

        Args:
            table: A Parquet file that `export_parquet` wrote.
            path: The gallery.
            encoder: As for `open`.

        Returns:
            The open gallery; what is in the table is not imported yet.

        Raises:
            DataError: The table cannot be read, or does not say of which encoder it is.
            GalleryError: The gallery is of another encoder than the table, or cannot be opened.
        """
        bound = exchange.bound_by(Path(table))
        store = open_store(path, binding=bound)
        try:
            Claim(bound.dimension, bound.fingerprint, bound.distance).check(store)
        except BaseException:
            store.close()
            raise
        store.close()
        return cls.open(path, encoder=encoder, create=False)

    @property
    def address(self) -> str:
        """Where the gallery is: the path of its file, or its address without the password."""
        return self._store.address

    @property
    def binding(self) -> Binding:
        """What the gallery was bound to at its creation."""
        return self._store.binding

    @property
    def threshold(self) -> Threshold | None:
        """What decides here: the threshold given at opening, the encoder's, or the stored one."""
        return self._threshold

    @property
    def model(self) -> str | None:
        """The folder of the encoder, where the creator of the gallery named it."""
        return self.binding.model

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
        _check_chunk(chunk)
        batches = (self._intake.records(batch) for batch in batched(iter(entries), chunk))
        return pour(self._store, batches, progress=progress)

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
        entries = self._intake.entries(dataset, chunk=max(chunk, 1), metadata=metadata or {})
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
            raise GalleryError(f"the gallery {self._store.address} has no item {item[:80]!r}: enrol it first")
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
        found = self._store.get([check_name(item, "item") for item in items])
        missing = next((item for item in items if item not in found), None)
        if missing is not None:
            raise GalleryError(f"{self._name} has no item {missing[:80]!r}: enrol it first")
        whose = sorted({record.identity for record in found.values()})
        if len(whose) > 1:
            raise GalleryError(
                f"a split takes items of one identity, given items of {whose[0][:80]!r} and "
                f"{whose[1][:80]!r}: merge them first"
            )
        if check_name(identity, "identity") in self._store.identities():
            raise GalleryError(f"{self._name} knows somebody called {identity[:80]!r} already: merge the two")
        return self._store.relabel(list(found), identity)

    def export_parquet(self, path: str | Path, *, chunk: int = CHUNK) -> int:
        """Writes every item as a Parquet table: item, identity, embedding, metadata (JSON), source.

        The table says which encoder its embeddings are of. It is whole or not there at all.

        Returns:
            How many items it has.

        Raises:
            DataError: The file cannot be written.
            MissingDependencyError: pyarrow is not installed.
        """
        _check_chunk(chunk)
        return exchange.export_parquet(self._store, Path(path), chunk=chunk)

    def import_parquet(
        self, path: str | Path, *, chunk: int = CHUNK, progress: Callable[[int], None] | None = None
    ) -> Enrolment:
        """Enrols the items of a table that `export_parquet` wrote; done again it changes nothing.

        Returns:
            How many were new, replaced and there already.

        Raises:
            DataError: The file cannot be read, or lacks a column or the name of its encoder.
            GalleryError: The table is of another encoder.
            MissingDependencyError: pyarrow is not installed.
        """
        _check_chunk(chunk)
        return exchange.import_parquet(
            self._store, Path(path), chunk=chunk, progress=progress, intake=self._intake
        )

    def copy_to(
        self,
        address: str | Path,
        *,
        form: Form | None = None,
        chunk: int = CHUNK,
        progress: Callable[[int], None] | None = None,
    ) -> Enrolment:
        """Copies every item, and the clusters, into another gallery, of any store.

        Nothing is deleted there. A copy that was interrupted is finished by starting it again.

        Args:
            address: The other gallery; made where it is missing.
            form: How a new gallery keeps embeddings; as this one where left out.
            chunk: How many items are written together, at least 1.
            progress: Called with the number of items so far, whenever a chunk is on the disk.

        Returns:
            How many were new, replaced and there already.

        Raises:
            GalleryError: The other gallery is of another encoder or form.
        """
        _check_chunk(chunk)
        return exchange.copy_gallery(self._store, address, form=form, chunk=chunk, progress=progress)

    def rebuild(
        self,
        encoder: EmbeddingEncoder,
        *,
        data: Dataset | None = None,
        drop_missing: bool = False,
        model: str | Path | None = None,
        chunk: int = CHUNK,
        progress: Callable[[int], None] | None = None,
    ) -> Rebuilt:
        """Embeds every item anew with another encoder, and then uses the new embeddings at once.

        An item is read from `data`, where that has its name, or from the file it was enrolled from. The new
        embeddings grow beside the old ones, which answer until all are there: whatever happens, the gallery
        is wholly of the one encoder or wholly of the other. A rebuild that was interrupted goes on where it
        stopped. Whoever else has the gallery open is told to open it again. Clusters are dissolved.

        Args:
            encoder: The new encoder, which this object uses from then on, with its threshold.
            data: The items, by the names they were enrolled under.
            drop_missing: Whether items that cannot be read from anywhere are deleted.
            model: The folder of the encoder, to be remembered as `gallery.model`.
            chunk: How many items are embedded together, at least 1.
            progress: Called with the number of items so far.

        Returns:
            How many items were embedded, and which were deleted.

        Raises:
            GalleryError: Items cannot be read from anywhere; the message names the first.
            DataError: A picture is damaged.
        """
        _check_chunk(chunk)
        limit = threshold_of(None, encoder.calibration)
        claim = Claim.of(encoder, dimension=None, fingerprint=None, distance=None, form=self.binding.form)
        binding = claim.binding(limit, encoder, model)
        if binding is None:
            raise GalleryError("the encoder has no fingerprint, so nothing can be bound to it: load it anew")
        done = rebuild(
            self._store,
            encoder,
            binding,
            data=data,
            drop_missing=drop_missing,
            chunk=chunk,
            progress=progress,
        )
        self._intake = Intake(self._store, encoder)
        self._threshold = limit
        return done

    def stats(self) -> Stats:
        """Counts what is here; see `trine.gallery.Stats`."""
        return Stats.of(self._store)

    def check(self) -> list[str]:
        """Reads everything and returns a sentence for each thing that is wrong; none where all is sound."""
        return self._store.check()

    def repair(self) -> list[str]:
        """Mends what `check` finds and returns a sentence for each thing done.

        An item whose embedding or metadata cannot be read is deleted.

        Raises:
            GalleryError: The file itself is damaged: restore it from a backup.
        """
        return self._store.repair()

    def close(self) -> None:
        """Lets go of the store; closing twice is no error."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store.address!r})"

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


def _check_chunk(chunk: int) -> None:
    if chunk < 1:
        raise SettingError(f"chunk is a number of items of at least 1, given {chunk}")
