"""The gallery: a persistent set of embeddings to identify, search, recommend and cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final, get_args

import numpy as np

from trine.data import Dataset, Items, read_metadata
from trine.data.frames import DataFrame, Tabular
from trine.data.load import as_dataset
from trine.distances import Distance
from trine.errors import Argument, InputError, SettingError, check_choice, check_flags
from trine.faces.journal import crops_among, forget_crops
from trine.gallery import clusters, compare, parquet, rebuild, relabel
from trine.gallery.binding import ExpectedBinding, open_store, repair_binding
from trine.gallery.bulk_write import CHUNK, batched, bulk_write
from trine.gallery.calibration import DEFAULT_FPIR, Calibrator, GalleryCalibration
from trine.gallery.clusters import NOTHING_KNOWN, Clusters, KnownClusters, Linkage
from trine.gallery.compare import EncoderComparison
from trine.gallery.decision import (
    Identification,
    Threshold,
    Verification,
    required_threshold,
    threshold_of,
)
from trine.gallery.embedding import Embedder, EmbeddingEncoder, cluster_threshold_of, entries_of
from trine.gallery.entries import (
    Enrolment,
    Entry,
    Hit,
    Record,
    Vector,
    Vectors,
    check_at_least,
    check_items,
    check_name,
    metadata_of,
    unknown_item,
)
from trine.gallery.filters import Filter
from trine.gallery.identify import Identifier, Ranking, Scoring
from trine.gallery.provenance import from_source, origin_of
from trine.gallery.quantization import Dtype
from trine.gallery.rebuild import RebuildResult
from trine.gallery.recommend import recommend
from trine.gallery.restore import restore
from trine.gallery.stats import Stats
from trine.gallery.store import Binding, Scope, Store
from trine.gallery.sync import Sync
from trine.gallery.sync_result import SyncResult, refused
from trine.gallery.verify import verify_probes
from trine.model import forget_stranger
from trine.rates import RateCurve
from trine.settings import INNER_RATE, RATE, check_number
from trine.shapes import Float32

Progress = Callable[[int], None]


@final
class Gallery:
    """A persistent set of embeddings with identity, item and metadata, bound to one encoder.

    A write is on disk when its call returns: of this machine, or of the server. Several threads may share a
    gallery, and several processes may open the same file. Several machines may open the same gallery in a
    PostgreSQL database, or in a folder or a bucket that they share.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> people = f"{folder.name}/people.db"
        >>> gallery = Gallery.open(people, dimension=2, fingerprint="by hand", threshold=0.5)
        >>> gallery.enrol("ann", "ann/1.png", embedding=[0.0, 1.0], metadata={"year": 2024})
        >>> gallery.enrol("bob", "bob/1.png", embedding=[1.0, 0.0])
        >>> print(gallery.identify(embedding=[0.0, 0.9]))
        this is ann (distance 0.10, threshold 0.50)
        >>> print(gallery.identify(embedding=[3.0, 3.0]))
        no match: the nearest is ann at 3.61, above the threshold 0.50
        >>> (hit,) = gallery.search(embedding=[0.0, 0.9], k=1)
        >>> hit.item, hit.metadata
        ('ann/1.png', {'year': 2024})
        >>> gallery.close()
        >>> folder.cleanup()
    """

    def __init__(
        self, store: Store, *, encoder: EmbeddingEncoder | None = None, threshold: Threshold | None = None
    ) -> None:
        """Takes an open store; `Gallery.open` opens one by its address."""
        if isinstance(store, str | Path):
            raise InputError(f"Gallery takes an open store: use Gallery.open({str(store)!r})")
        self._store = store
        self._embedder = Embedder(store, encoder)
        self._identifier = Identifier(store)
        self._calibrator = Calibrator(store, self._identifier, encoder)
        self._threshold = threshold
        self._threshold_was_passed = threshold is not None  # not taken from the store

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        encoder: EmbeddingEncoder | None = None,
        dimension: int | None = None,
        fingerprint: str | None = None,
        distance: Distance | None = None,
        dtype: Dtype | None = None,
        threshold: float | None = None,
        model: str | Path | None = None,
        create: bool = True,
        exist_ok: bool = True,
    ) -> Self:
        """Opens a gallery, or creates a missing one if the arguments say what to bind it to.

        A new gallery is bound to the fingerprint of its encoder, the dimension, the distance and the dtype,
        and stores the encoder's calibration. Later, the encoder that is passed must agree with these, and so
        must a `fingerprint`, `dimension`, `distance` or `dtype`. The threshold is the one passed here, else
        the encoder's, else the stored one.

        Args:
            path: The file, or `postgresql://user:password@host:port/database?gallery=people` for a gallery in
                a database (extra `pgvector`), or `lance:///shared/people` or `s3://bucket/people` for one in
                a shared folder or a bucket (extra `lancedb`). A file in a read-only folder is opened
                read-only.
            encoder: Embeds the items; without one, every call takes `embedding=`.
            dimension: The length of an embedding, for embeddings computed elsewhere; at least 1.
            fingerprint: Identifies the model behind those embeddings: any string that changes with the model.
            distance: How to compare those embeddings; Euclidean by default.
            dtype: How a new gallery stores embeddings: `"float32"`, `"float16"` or `"int8"` (one byte per
                number).
            threshold: The largest distance that is accepted as the same identity.
            model: The folder of the encoder, stored in a new gallery as `gallery.model`.
            create: Whether to create a missing gallery; otherwise it is an error.
            exist_ok: Whether the gallery may exist already; otherwise it is an error.

        Returns:
            The open gallery; a context manager that closes itself.

        Raises:
            GalleryError: The gallery is missing and create=False, or exists and exist_ok=False; it is bound
                to another encoder, dimension or distance; or the file is not a trine gallery, damaged or
                locked.
            SettingError: The dimension or the threshold is out of range, the encoder is a folder that was not
                loaded, or an encoder is passed together with a dimension, fingerprint or distance.
        """
        expected = ExpectedBinding.of(
            encoder, dimension=dimension, fingerprint=fingerprint, distance=distance, dtype=dtype
        )
        given = threshold_of(threshold, encoder.calibration if encoder is not None else None)
        check_flags(create=create, exist_ok=exist_ok)
        binding = expected.binding(given, encoder, model) if create else None
        store = open_store(path, binding=binding, expected=expected, exist_ok=exist_ok)
        gallery = cls(store, encoder=encoder, threshold=given or store.binding.threshold)
        gallery._threshold_was_passed = threshold is not None
        return gallery

    @classmethod
    def open_for_table(
        cls, table: str | Path, path: str | Path, *, encoder: EmbeddingEncoder | None = None
    ) -> Self:
        """Opens a gallery to import a table into; a missing gallery is created with the table's binding.

        Args:
            table: A Parquet file that `export_parquet` wrote; it is not imported yet, but before a gallery is
                created, all of it is read and checked.
            path: The gallery.
            encoder: As for `open`.

        Raises:
            DataError: The table cannot be read, does not name its encoder, or has an item that cannot be
                stored.
            GalleryError: The gallery is bound to another encoder than the table, or cannot be opened.
        """
        binding = parquet.validated_binding(Path(table))
        store = open_store(path, binding=binding, expected=ExpectedBinding.like(binding))
        gallery = cls(store, threshold=store.binding.threshold)
        if encoder is None:
            return gallery
        try:
            gallery.use_encoder(encoder)
        except BaseException:
            gallery.close()
            raise
        return gallery

    def use_encoder(self, encoder: EmbeddingEncoder) -> None:
        """Embeds items with an encoder from now on, and decides by its threshold if it has one.

        Raises:
            GalleryError: The gallery is bound to another encoder.
        """
        ExpectedBinding.of(encoder).check(self._store)
        self._embedder = Embedder(self._store, encoder)
        self._calibrator = Calibrator(self._store, self._identifier, encoder)
        self._threshold = threshold_of(None, encoder.calibration) or self._threshold

    @property
    def encoder(self) -> EmbeddingEncoder | None:
        """The encoder that embeds items; None if the gallery was opened without one."""
        return self._embedder.encoder

    @property
    def address(self) -> str:
        """The path of the gallery's file, or its address without the password."""
        return self._store.address

    @property
    def revision(self) -> str:
        """A text that changes with every write of any process: what was computed may be kept with it."""
        return self._store.revision()

    @property
    def binding(self) -> Binding:
        """What the gallery was bound to when it was created or last rebuilt."""
        return self._store.binding

    @property
    def threshold(self) -> Threshold | None:
        """The threshold for decisions: the one passed to `open`, else the encoder's, else the stored one."""
        return self._threshold

    @property
    def model(self) -> str | None:
        """The folder of the encoder, if it was passed when the gallery was created or rebuilt."""
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
            identity: The identity the item belongs to.
            item: Its name, unique in the gallery.
            embedding: (D,) finite numbers, if the embedding was computed elsewhere.
            content: What the encoder embeds; by default the item's name is taken as a path.
            metadata: What to store with the item: string keys, JSON values.

        Raises:
            GalleryError: The embedding has another dimension or is not finite; there is neither an encoder
                nor an embedding; or the file cannot be written.
            InputError: A name is empty or not valid Unicode, or the metadata is not valid JSON.
        """
        self.enrol_many([Entry(identity, item, embedding, content, metadata or {})])

    def enrol_many(
        self, entries: Iterable[Entry], *, chunk: int = CHUNK, progress: Progress | None = None
    ) -> Enrolment:
        """Adds a stream of items chunk by chunk; each chunk is written completely or not at all.

        Enrolling an unchanged item again changes nothing, so repeating an interrupted enrolment resumes it.

        Args:
            entries: The items, read lazily.
            chunk: How many items are embedded and written together, at least 1.
            progress: Called with the number of items so far, after each chunk is on disk.

        Returns:
            The number of new, replaced and unchanged items.

        Raises:
            GalleryError: As for `enrol`; earlier chunks stay enrolled.
            InputError: As for `enrol`.
        """
        check_at_least(1, chunk=chunk)
        batches = (self._embedder.records(batch) for batch in batched(iter(entries), chunk))
        return bulk_write(self._store, batches, progress=progress)

    def enrol_dataset(
        self,
        dataset: Any,
        *,
        metadata: Mapping[str, Mapping[str, Any]] | DataFrame | None = None,
        origin: str | None = None,
        chunk: int = CHUNK,
        progress: Progress | None = None,
    ) -> Enrolment:
        """Embeds and adds every item of a dataset, with its columns as metadata; see `enrol_many`.

        Args:
            dataset: The items with their identities, read lazily: a `Dataset`, or data that Python holds,
                which `trine.data.load` loads first.
            metadata: More metadata by item name; `trine.data.read_metadata` reads a table. A DataFrame has a
                column "item".
            origin: Where the items come from, as for `sync`.
            chunk: How many items are embedded and written together, at least 1.
            progress: Called with the number of items so far, after each chunk is on disk.

        Raises:
            GalleryError: There is no encoder, or the file cannot be written.
            DataError: An image cannot be read; earlier chunks stay enrolled.
        """
        items = as_dataset(dataset, "enrol_dataset")
        more = read_metadata(metadata) if isinstance(metadata, DataFrame) else metadata or {}
        origin = origin or origin_of(items.root)
        entries = self._embedder.entries(items, chunk=max(chunk, 1), metadata=more, origin=origin)
        return self.enrol_many(entries, chunk=chunk, progress=progress)

    def sync(
        self,
        entries: Iterable[Entry],
        *,
        origin: str,
        unreadable: Iterable[str] = (),
        undo_renames: bool = False,
        of_content: Iterable[str] = (),
        max_removed: float = 0.2,
        confirm: Callable[[SyncResult], bool] | None = None,
        dry_run: bool = False,
        chunk: int = CHUNK,
        progress: Progress | None = None,
    ) -> SyncResult:
        """Makes the gallery agree with a folder, a table or another origin of items.

        Items that are new there are enrolled, those with another content are embedded again, those with
        another name, identity or metadata get it, and those that are gone are removed. Only items that came
        from this origin are touched: those that an earlier call, or `enrol_dataset`, enrolled from there.

        The gallery keeps with each item the identity that it had at the origin. So an identity that was
        renamed, merged or split in the gallery stays as it is there, and new items of a renamed identity get
        its new name; the result lists them as `kept`. An item that moves to another identity at the origin
        follows, unless the gallery moved it, too.

        Content is compared by digests, and only new content is embedded. Metadata is replaced, unless no
        entry has any. Each chunk is written completely or not at all, and what is gone is removed last; an
        interrupted call is finished by repeating it.

        Args:
            entries: All items of the origin.
            origin: Its name: an absolute path, or any string that stays the same.
            unreadable: Names of items that are there but cannot be read now: they are neither removed nor
                changed. A name with a slash at its end stands for all items whose name begins with it.
            undo_renames: Whether to give items the identity that they have at the origin, in any case.
            of_content: Keys of metadata that say what the content is, such as the box of a face. Other
                metadata stays where no entry has any.
            max_removed: The largest share of the items from there, in [0, 1], that may be removed without
                `confirm`: an empty folder does not empty a gallery.
            confirm: Asked with the planned result whether to remove more than that.
            dry_run: Whether to return what would change, and to change nothing.
            chunk: How many items are embedded and written together, at least 1.
            progress: Called with the number of items written so far, after each chunk is on disk.

        Returns:
            What changed, with the names of the items.

        Raises:
            GalleryError: More than `max_removed` would be removed; or as for `enrol`.
            InputError: An item is listed twice; or as for `enrol`.
            SettingError: A number is out of range.

        Example:
            >>> import tempfile
            >>> folder = tempfile.TemporaryDirectory()
            >>> gallery = Gallery.open(f"{folder.name}/g.db", dimension=1, fingerprint="by hand")
            >>> people = [Entry("anne", "1", [0.0]), Entry("anne", "2", [0.1]), Entry("bob", "3", [5.0])]
            >>> print(gallery.sync(people, origin="people"))
            people: 3 new, 0 unchanged
              new: 1, 2, 3
            >>> gallery.rename("anne", "ann")
            2
            >>> print(gallery.sync(people[:2], origin="people", max_removed=0.5))
            people: 1 gone, 2 unchanged
              gone: 3
              2 with the identity given in the gallery: anne is ann
            >>> gallery.close()
            >>> folder.cleanup()
        """
        check_at_least(1, chunk=chunk)
        check_number("max_removed", max_removed, RATE)
        check_flags(undo_renames=undo_renames, dry_run=dry_run)
        check_name(origin, "origin")
        plan = Sync(
            self._store,
            self._embedder,
            entries,
            origin=origin,
            unreadable=unreadable,
            undo_renames=undo_renames,
            chunk=chunk,
            of_content=of_content,
        )
        if dry_run:
            return plan.result
        too_many = plan.result.share_lost > max_removed
        if too_many and not (confirm is not None and confirm(plan.result)):
            raise refused(plan.result, max_removed)
        return plan.apply(chunk=chunk, progress=progress)

    def sync_dataset(
        self,
        dataset: Any,
        *,
        metadata: Mapping[str, Mapping[str, Any]] | DataFrame | None = None,
        origin: str | None = None,
        **settings: Any,
    ) -> SyncResult:
        """Makes the gallery agree with a dataset; see `sync` and `enrol_dataset`.

        Args:
            dataset: All items of the folder or table, with their identities.
            metadata: More metadata by item name.
            origin: Where the items come from; by default the path that the dataset was loaded from. Name the
                old path after you moved a folder.
            settings: The further arguments of `sync`; for `unreadable`, pass `report.skipped` of the report
                of `trine.data.load`.

        Raises:
            GalleryError: As for `sync`.
            InputError: The dataset was not loaded from a path, and no origin is named.
        """
        items = as_dataset(dataset, "sync_dataset")
        more = read_metadata(metadata) if isinstance(metadata, DataFrame) else metadata or {}
        origin = origin or origin_of(items.root)
        if origin is None:
            raise InputError("the data has no path that a later sync would find again: name it with origin=")
        return self.sync(entries_of(items, more, origin), origin=origin, **settings)

    def get(self, item: str) -> Entry:
        """Returns one item with its embedding and metadata.

        Raises:
            GalleryError: The item is not in the gallery.
        """
        records = self._store.get([check_name(item, "item")])
        if item not in records:
            raise unknown_item(item, self.address)
        return _entry(records[item], self.address)

    def entries(self, identity: str | None = None) -> Iterator[Entry]:
        """Yields the items of one identity or of all, with embeddings and metadata, in any order.

        Raises:
            GalleryError: The identity is not in the gallery.
        """
        if identity is not None:
            relabel.check_known(self._store, identity)
        return (
            _entry(record, self.address)
            for record in self._store.scan()
            if identity in (None, record.identity)
        )

    def items(
        self,
        identity: str | None = None,
        *,
        cluster: int | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[Entry]:
        """Returns one page of the items of one identity, of one cluster, or of all, in order of their names.

        Args:
            identity: Only items of this identity.
            cluster: Only items of this cluster; see `cluster`.
            after: Only items whose name comes after this one: the last of the page before.
            limit: How many at most, at least 1.

        Raises:
            GalleryError: The identity is not in the gallery.
            SettingError: The limit is below 1.
        """
        check_at_least(1, limit=limit)
        after = check_name(after, "item") if after else ""
        if identity is not None:
            relabel.check_known(self._store, identity)
        names = self._store.names(identity=identity, cluster=cluster, after=after, limit=limit)
        records = self._store.get(names)
        return [_entry(records[name], self.address) for name in names if name in records]

    def clusters(self) -> dict[str, int]:
        """Returns the cluster of every item that has one, as `cluster` assigned it."""
        return self._store.clusters()

    def identities(self) -> dict[str, int]:
        """Returns the number of items of each identity, sorted by name."""
        return self._store.identities()

    def __len__(self) -> int:
        return len(self._store)

    def verify(
        self,
        a: Any = None,
        b: Any = None,
        *,
        embedding: Vector | None = None,
        other_embedding: Vector | None = None,
        identity: str | None = None,
        threshold: float | None = None,
    ) -> Verification:
        """Decides whether two probes show the same identity, or whether one shows a claimed identity.

        A claimed identity is scored by its nearest embedding.

        Args:
            a: A probe for the encoder: an image, a vector, a path.
            b: A second probe, unless an identity is claimed.
            embedding: (D,) the embedding of the first probe, in place of `a`.
            other_embedding: (D,) the embedding of the second probe, in place of `b`.
            identity: The claimed identity.
            threshold: The largest distance that is accepted; the gallery's by default. Where the encoder was
                calibrated for none, that of `identify`, which is stricter.

        Returns:
            The decision, with its score, threshold and error rate.

        Raises:
            CalibrationError: There is no threshold.
            GalleryError: The claimed identity is not in the gallery, or a probe cannot be used.
            InputError: There are not exactly two things to compare.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gallery = Gallery.open(f"{folder}/g.db", dimension=2, fingerprint="by hand")
            ...     gallery.enrol("ann", "ann/1.png", embedding=[0.0, 1.0])
            ...     print(gallery.verify(embedding=[0.0, 0.9], identity="ann", threshold=0.5))
            ...     gallery.close()
            the same: this is ann (distance 0.10, threshold 0.50)
        """
        if threshold is None and self._threshold is None:
            # Few strangers come as near as that to anybody here, and fewer to a single one.
            limit = self.calibration().limit or self._limit(None)
        else:
            limit = self._limit(threshold)
        second = (b, other_embedding)
        return verify_probes(self._store, self._embedder, limit, (a, embedding), second, identity)

    def identify(
        self,
        item: Any = None,
        *,
        embedding: Vector | None = None,
        threshold: float | None = None,
        candidates: int = 3,
        scoring: Scoring = "best",
        top: int = 3,
        quality: str | None = None,
    ) -> Identification:
        """Finds the nearest identity, and decides whether it is near enough to be a match.

        The threshold is that of `calibrate`, for this way of scoring; by default for a false-positive
        identification rate of 1 %, or the smallest rate that the gallery has strangers enough for. With fewer
        than two the nearest identities are ranked without a verdict.

        Args:
            item: A probe for the encoder: an image, a vector, a path.
            embedding: (D,) its embedding, in place of `item`.
            threshold: The largest distance that is accepted; by default that of the calibration.
            candidates: How many of the nearest identities to return, at least 1.
            scoring: How an identity is scored: by its nearest embedding (`"best"`), by the mean distance of
                its nearest `top` embeddings (`"mean"`), or by the distance of the mean of its embeddings
                (`"centroid"`), normalised to length 1 if all of them have length 1.
            top: How many embeddings the mean is taken over; all of them if an identity has fewer.
            quality: The metadata key of an item's quality in [0, 1], its weight in a mean or a centroid.

        Returns:
            The decision, with its score, its threshold and the rate that holds for this gallery, and the
            nearest identities.

        Raises:
            GalleryError: The embedding has another dimension or is not finite, there is no encoder, or an
                item lacks the requested quality.
            SettingError: A number is below 1, or `quality` is passed with `"best"`.
        """
        ranking = Ranking(scoring, top, quality, candidates)
        probe = self._embedder.probe(item, embedding)
        return self._identified(probe, ranking, threshold)[0]

    def identify_many(
        self,
        items: Sequence[Any] | Items | None = None,
        *,
        embeddings: Vectors | None = None,
        threshold: float | None = None,
        candidates: int = 3,
        scoring: Scoring = "best",
        top: int = 3,
        quality: str | None = None,
    ) -> list[Identification]:
        """Identifies several probes at once; see `identify`."""
        ranking = Ranking(scoring, top, quality, candidates)
        return self._identified(self._embedder.probes(items, embeddings), ranking, threshold)

    def calibrate(
        self,
        fpir: float = DEFAULT_FPIR,
        *,
        strangers: Any = None,
        embeddings: Vectors | None = None,
        identities: Sequence[str] | None = None,
        scoring: Scoring = "best",
        top: int = 3,
        quality: str | None = None,
    ) -> GalleryCalibration:
        """Chooses the threshold of `identify` for a false-positive identification rate, and stores it.

        The gallery is its own witness: each enrolled identity is a stranger to the others, so it is left out
        in turn, and the nearest other tells how near a stranger comes. Identities that the encoder was
        trained on are no strangers to it; in their place, and where there are too few others, those kept with
        the model are held against this gallery.

        It is made again when the gallery or its encoder has changed: after every change up to 2,000 items,
        then when the number of items or identities has changed by a tenth. At most 1,000 identities with 5
        items each are looked up.

        Args:
            fpir: The share of strangers that may be named, in (0, 1).
            strangers: Items of people who are not enrolled, with their identities, as for `enrol_dataset`:
                measures with these instead. Without labels each item is another person.
            embeddings: (N, D) their embeddings, in place of `strangers`.
            identities: The identity of each embedding; by default each is another person.
            scoring: As for `identify`.
            top: As for `identify`.
            quality: As for `identify`.

        Returns:
            The threshold, its rate with its bound, who the strangers were, and a warning where the gallery
            contradicts the model.

        Raises:
            GalleryError: All strangers are enrolled, or the gallery is empty or has no encoder to embed them.
            InputError: The rate is not in (0, 1).

        Example:
            >>> import tempfile
            >>> import numpy as np
            >>> rows = np.random.default_rng(0).normal(size=(700, 64))
            >>> folder = tempfile.TemporaryDirectory()
            >>> gallery = Gallery.open(f"{folder.name}/g.db", dimension=64, fingerprint="by hand")
            >>> _ = gallery.enrol_many(Entry(f"person {i}", str(i), row) for i, row in enumerate(rows))
            >>> str(gallery.calibrate(fpir=0.01).state)
            'firm'
            >>> gallery.close()
            >>> folder.cleanup()
        """
        check_number("fpir", fpir, INNER_RATE)
        fpir = float(fpir)
        probes = self._embedder.strangers(strangers, embeddings, identities)
        return self._calibrator.calibrate(fpir, Ranking(scoring, top, quality), strangers=probes)

    def calibration(
        self, *, scoring: Scoring = "best", top: int = 3, quality: str | None = None
    ) -> GalleryCalibration:
        """Returns the calibration that `identify` decides by, made again if the gallery has changed since."""
        return self._calibrator.current(Ranking(scoring, top, quality))

    def rates(
        self, *, scoring: Scoring = "best", top: int = 3, quality: str | None = None
    ) -> RateCurve | None:
        """Returns the false-positive identification rate of every threshold; see `calibrate`.

        None with fewer than two strangers.
        """
        return self._calibrator.rates(Ranking(scoring, top, quality))

    def search(
        self,
        item: Any = None,
        *,
        embedding: Vector | None = None,
        k: int = 10,
        where: Mapping[str, Any] | Filter | None = None,
        exclude: Sequence[str] = (),
        offset: int = 0,
    ) -> list[Hit]:
        """Finds the items most similar to a probe.

        Args:
            item: A probe for the encoder: an image, a vector, a path.
            embedding: (D,) its embedding, in place of `item`.
            k: How many to find, at least 1.
            where: What the metadata must match: `{"year": 2024}` is equality, `{"colour": {"red", "blue"}}`
                one of several, `{"price": (10, 20)}` a range that includes both ends; see
                `trine.gallery.Filter`.
            exclude: Items to leave out.
            offset: How many of the nearest to skip: the second page of ten begins at 10.

        Returns:
            Hits with item, identity, score and metadata: nearest first, ties by the item's name;
            fewer than `k` if fewer match.

        Raises:
            GalleryError: The embedding has another dimension or is not finite, or there is no encoder.
            InputError: A condition cannot be compared, or `exclude` is a string rather than a list.
            SettingError: `k` is below 1, or `offset` below 0.
        """
        check_at_least(1, k=k)
        check_at_least(0, offset=offset)
        scope = Scope(where=Filter.of(where), exclude=frozenset(check_items(exclude, "exclude")))
        probe = self._embedder.probe(item, embedding)
        (hits,) = self._store.search(probe, k=k, offset=offset, scope=scope, metadata=True)
        return hits

    def recommend(
        self,
        like: Sequence[str],
        *,
        unlike: Sequence[str] = (),
        k: int = 10,
        diversity: float = 0.0,
        where: Mapping[str, Any] | Filter | None = None,
    ) -> list[Hit]:
        """Finds items near some of the gallery's items and away from others.

        The query is the mean of the wanted embeddings, moved away from the mean of the unwanted ones by a
        quarter of their distance (Rocchio 1971). With a diversity, ten times as many items are considered,
        and each choice weighs how near it is against how far it is from those chosen before (maximal
        marginal relevance: Carbonell, Goldstein 1998).

        Args:
            like: Names of items to be near, at least one.
            unlike: Names of items to keep away from.
            k: How many to find, at least 1.
            diversity: The weight of being unlike earlier choices, in [0, 1]; 0 for the nearest.
            where: As for `search`.

        Returns:
            Hits, none of them a named item, in the order of choice; the score is the distance from the query.

        Raises:
            GalleryError: A named item is not in the gallery.
            InputError: `like` is empty.
            SettingError: `k` or `diversity` is out of range.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     with Gallery.open(f"{folder}/g.db", dimension=1, fingerprint="by hand") as gallery:
            ...         for name, x in [("a", 0.0), ("b", 0.1), ("c", 0.5), ("d", 0.52)]:
            ...             gallery.enrol("things", name, embedding=[x])
            ...         near = gallery.recommend(["a"], k=2)
            ...         varied = gallery.recommend(["a"], k=2, diversity=0.8)
            >>> [hit.item for hit in near], [hit.item for hit in varied]
            (['b', 'c'], ['b', 'd'])
        """
        wanted = Filter.of(where)
        return recommend(self._store, like=like, unlike=unlike, k=k, diversity=diversity, where=wanted)

    def cluster(
        self,
        *,
        threshold: float | None = None,
        neighbours: int = 32,
        recluster: bool = False,
        choose: bool = False,
        linkage: Linkage | None = None,
        known: KnownClusters = NOTHING_KNOWN,
        revise: bool = False,
        progress: Progress | None = None,
    ) -> Clusters:
        """Assigns every item to a cluster; items that have one keep its number.

        With single linkage two items are linked when their distance is at most the threshold, and a cluster
        is a chain of links. With average linkage two clusters are joined when the mean distance of their
        items is at most the threshold; all embeddings are held in memory.

        The gallery stores the clusters. A later call processes only items that are new or have a new
        embedding: each joins a cluster, or starts one. New items that connect two clusters merge them under
        the older number. Removing items never splits a cluster; `recluster` does.

        Args:
            threshold: The longest link, or mean distance; by default that of the existing clusters, else the
                one chosen for the linkage over as many items: the encoder's, or the one stored in the
                gallery. With average linkage it falls as a gallery grows. The threshold for decisions is
                never used.
            neighbours: With single linkage, how many nearest neighbours of a new item it may be linked to, at
                least 1.
            recluster: Whether to discard all clusters and start over, with new numbers.
            choose: Whether to choose the threshold on the gallery's own identities: the one whose clusters
                agree best with them. Those that the encoder was trained on are left out, if it knows.
            linkage: `"connected"` for single linkage, or `"average"`; by default that of the existing
                clusters, else `"connected"`.
            known: What a person knows about the clusters; with average linkage.
            revise: Whether new items may change the clusters that have no name and that no item was moved
                to: their items are clustered again, and those that stay together keep their number. With
                average linkage.
            progress: Called with the number of items so far, with single linkage; nothing is stored before
                all are done.

        Returns:
            The cluster of every item, and which clusters were merged.

        Raises:
            CalibrationError: There is no threshold for clusters, or no identities to choose it on.
            GalleryError: The clusters were made with another linkage or threshold.
            SettingError: A number is out of range, a threshold is passed and to be chosen as well, or
                something is known, or to be revised, with single linkage.

        Example:
            >>> gallery = Gallery.open(":memory:", dimension=1, fingerprint="by hand")
            >>> for name, x in [("a", 0.0), ("b", 0.1), ("c", 0.9)]:
            ...     gallery.enrol("?", name, embedding=[x])
            >>> from trine.gallery import KnownClusters
            >>> dict(gallery.cluster(linkage="average", threshold=0.5).of)
            {'a': 1, 'b': 1, 'c': 2}
            >>> dict(gallery.cluster(known=KnownClusters({1: "ann"}, {"b": "bob"})).of)
            {'a': 1, 'b': 3, 'c': 2}
            >>> gallery.close()
        """
        check_flags(recluster=recluster, choose=choose, revise=revise)
        if choose and threshold is not None:
            given = Argument("threshold")
            raise SettingError(Argument("choose", True), " chooses the threshold: omit ", given)
        if linkage is not None:
            check_choice("linkage", linkage, get_args(Linkage))
        before = None if recluster else clusters.made_with(self._store)
        linkage = linkage or (before.linkage if before else "connected")
        by_hand = threshold is not None
        if before is not None and threshold is None and not choose:
            threshold, by_hand = before.threshold, before.by_hand
        chosen = cluster_threshold_of(self.encoder) or self.binding.cluster_threshold
        if threshold is None:
            if choose:
                trained = getattr(self.encoder, "trained", None)
                without = trained.identities if trained else ()
                chosen = clusters.chosen_on(self._store, without=without, linkage=linkage)
            threshold = clusters.threshold_for(self._store, chosen, linkage)
        elif linkage == "average" and not by_hand and chosen is not None and linkage in chosen.linkages:
            threshold = min(threshold, clusters.threshold_for(self._store, chosen, linkage))
        made = clusters.Made(linkage, self._limit(threshold).value, by_hand)
        return clusters.cluster(
            self._store,
            made=made,
            neighbours=neighbours,
            recluster=recluster,
            known=known,
            revise=revise,
            progress=progress,
        )

    def remove(self, item: str) -> bool:
        """Deletes one item and returns whether it existed; an identity without items is deleted too."""
        return self._store.remove([check_name(item, "item")]) > 0

    def crops(self, identity: str) -> list[Path]:
        """Lists the crops of an identity's items that trine made of photos.

        A crop is one by the journal of the folder that `trine faces`, or `trine cluster --detect`, wrote.
        Other files, such as photos, are none.

        Raises:
            InputError: A journal is damaged.
        """
        name = check_name(identity, "identity")
        items = self._store.names(identity=name, limit=max(len(self), 1))
        sources = (from_source(record.source)[0] for record in self._store.get(items).values())
        return crops_among(sorted(Path(source) for source in sources if source))

    def forget(self, identity: str) -> int:
        """Deletes an identity with all its items, and every trace of them from the gallery's files.

        Traces of items that were removed, moved or replaced earlier are wiped too, even if the identity has
        no items left. The file is rewritten, which needs room for a second copy and takes some seconds for a
        million items. If the model of the gallery keeps the identity as a stranger, it is deleted there, too.
        Copies and backups are not touched.

        Its `crops` are removed first, with what the journal of their folder says of them; the table and the
        page there, which show them, are removed as well, and the next run of `trine faces` makes them again.
        Photos are not touched: delete them, or that run finds the faces again.

        Returns:
            How many items were deleted, embeddings and distances kept with the model included.

        Raises:
            GalleryError: Another process kept the file busy, or the disk is full; the items are deleted, and
                `repair` wipes their traces.
            InputError: A crop cannot be removed, or the journal of its folder is damaged; nothing is deleted
                from the gallery.
        """
        name = check_name(identity, "identity")
        forget_crops(self.crops(name))
        deleted = self._store.forget(name)
        for kept in ("strangers", "left_out"):
            if (held := getattr(self.encoder, kept, None)) is not None:
                setattr(self.encoder, kept, held.without({name}))
        if self.model is not None and (folder := Path(self.model)).is_dir():
            deleted += forget_stranger(folder, name)
        return deleted

    def rename(self, identity: str, to: str) -> int:
        """Gives an identity another name, and returns how many items it has.

        Raises:
            GalleryError: The identity is not in the gallery, or the new name already is.
        """
        return relabel.rename(self._store, identity, to)

    def merge(self, identity: str, other: str) -> int:
        """Moves all items of `other` to `identity`, and returns how many were moved.

        Raises:
            GalleryError: One of the two is not in the gallery, or they are the same.
        """
        return relabel.merge(self._store, identity, other)

    def split(self, items: Sequence[str], identity: str) -> int:
        """Moves some items of one identity to a new identity, and returns how many were moved.

        Raises:
            GalleryError: An item is not in the gallery, the items belong to several identities, or the new
                identity exists already.
            InputError: No items are named.
        """
        return relabel.split(self._store, items, identity)

    def move(self, items: Sequence[str], identity: str) -> int:
        """Moves some items, of any identities, to an existing or a new identity.

        Returns:
            How many were moved; those that belong to it already do not count.

        Raises:
            GalleryError: An item is not in the gallery.
            InputError: No items are named.
        """
        return relabel.move(self._store, items, identity)

    def export_parquet(self, path: str | Path, *, chunk: int = CHUNK) -> int:
        """Writes every item to a Parquet table: item, identity, embedding, metadata (JSON), source.

        The table names its encoder. It is written completely or not at all.

        Returns:
            How many items were written.

        Raises:
            DataError: The file cannot be written.
            MissingDependencyError: pyarrow is not installed.
        """
        check_at_least(1, chunk=chunk)
        return parquet.export_parquet(self._store, Path(path), chunk=chunk)

    def import_parquet(
        self, path: str | Path, *, chunk: int = CHUNK, progress: Progress | None = None
    ) -> Enrolment:
        """Enrols the items of a table that `export_parquet` wrote; repeating it changes nothing.

        All of the table is read and checked before the first item is written. An import that was killed is
        finished by repeating it.

        Returns:
            The number of new, replaced and unchanged items.

        Raises:
            DataError: The file cannot be read, lacks a column, or does not name its encoder; or an item has
                no name, an embedding that is not finite or of another dimension, metadata that is not a JSON
                object, or the name of another. Nothing was imported.
            GalleryError: The table is bound to another encoder.
            MissingDependencyError: pyarrow is not installed.
        """
        check_at_least(1, chunk=chunk)
        return parquet.import_parquet(self._store, self._embedder, Path(path), chunk=chunk, progress=progress)

    def copy_to(
        self,
        address: str | Path,
        *,
        dtype: Dtype | None = None,
        chunk: int = CHUNK,
        progress: Progress | None = None,
    ) -> Enrolment:
        """Copies every item, and the clusters, to another gallery in any store; deletes nothing there.

        An interrupted copy is resumed by repeating it.

        Args:
            address: The other gallery; created if it is missing.
            dtype: How a new gallery stores embeddings; like this one by default.
            chunk: How many items are written together, at least 1.
            progress: Called with the number of items so far, after each chunk is on disk.

        Returns:
            The number of new, replaced and unchanged items.

        Raises:
            GalleryError: The other gallery is bound to another encoder, or has another dtype.
        """
        check_at_least(1, chunk=chunk)
        return parquet.copy_gallery(self._store, address, dtype, chunk=chunk, progress=progress)

    def rebuild(
        self,
        encoder: EmbeddingEncoder,
        *,
        data: Dataset | Tabular | None = None,
        drop_missing: bool = False,
        model: str | Path | None = None,
        chunk: int = CHUNK,
        progress: Progress | None = None,
    ) -> RebuildResult:
        """Embeds every item again with another encoder, then switches atomically to the new embeddings.

        An item is read from `data`, if it is there, or from the file it was enrolled from. New embeddings are
        stored next to the old ones, which stay in use until all are ready, so the gallery always uses one
        encoder. An interrupted rebuild is resumed by repeating it. Other processes that have the gallery open
        get an error that asks them to reopen it. Items keep their clusters; later items are linked to them
        by the new encoder's distances.

        Args:
            encoder: The new encoder; this object uses it, and its threshold, from then on.
            data: The items, by the names they were enrolled under.
            drop_missing: Whether to delete items that can no longer be read.
            model: The folder of the encoder, stored as `gallery.model`.
            chunk: How many items are embedded together, at least 1.
            progress: Called with the number of items so far.

        Returns:
            The number of items embedded, and the items deleted.

        Raises:
            GalleryError: Some items can no longer be read; the message names the first ones.
            DataError: An image is damaged.
        """
        check_at_least(1, chunk=chunk)
        limit = threshold_of(None, encoder.calibration)
        items = None if data is None else as_dataset(data, "rebuild", labelled=None)
        check_flags(drop_missing=drop_missing)
        source = rebuild.Source(encoder, items, drop_missing)
        binding = self._next_binding(encoder, model)
        done = rebuild.rebuild(self._store, source, binding, chunk=chunk, progress=progress)
        self._embedder, self._threshold = Embedder(self._store, encoder), limit
        self._calibrator = Calibrator(self._store, self._identifier, encoder)
        return done

    def compare(
        self,
        encoder: EmbeddingEncoder,
        *,
        data: Dataset | Tabular | None = None,
        model: str | Path | None = None,
        chunk: int = CHUNK,
        progress: Progress | None = None,
    ) -> EncoderComparison:
        """Compares another encoder with the one in use, on the gallery's own items.

        The gallery keeps the embeddings of both, and answers by the one in use until `rebuild` switches.
        Neither `rebuild` with the same encoder, calibration and model nor a second comparison embeds again
        what was embedded here. Embeddings of one other encoder are kept: those of one before are discarded.

        Args:
            encoder: The other encoder.
            data: The items, by the names they were enrolled under; else they are read from the files that
                they were enrolled from.
            model: The folder of the encoder, as for `rebuild`.
            chunk: How many items are embedded together, at least 1.
            progress: Called with the number of items so far.

        Returns:
            Retrieval by both, each item against all others, and the differences with intervals. Items that
            can no longer be read are left out, and listed.

        Raises:
            GalleryError: No item can be read.
            InputError: No identity has two items.
            DataError: An image is damaged.
        """
        check_at_least(1, chunk=chunk)
        items = None if data is None else as_dataset(data, "compare", labelled=None)
        binding = self._next_binding(encoder, model)
        return compare.compare(
            self._store, rebuild.Source(encoder, items), binding, chunk=chunk, progress=progress
        )

    def _next_binding(self, encoder: EmbeddingEncoder, model: str | Path | None) -> Binding:
        """What the gallery is bound to once it is rebuilt with an encoder."""
        limit = threshold_of(None, encoder.calibration)
        expected = ExpectedBinding.of(encoder, dtype=self.binding.dtype)
        binding = expected.binding(limit, encoder, model)
        assert binding is not None, "an encoder has a dimension and a fingerprint"
        return binding

    def stats(self) -> Stats:
        """Counts items, identities, clusters and bytes; see `trine.gallery.Stats`."""
        return Stats.of(self._store)

    def check_usable(self) -> None:
        """Tells within milliseconds whether the gallery can be used now; `check` reads everything.

        Raises:
            GalleryError: Its file was deleted, overwritten or cut short, its server does not answer, or it
                was closed.
        """
        self._store.check_usable()

    def check(self) -> list[str]:
        """Reads everything and returns one sentence for each problem; none for a sound gallery."""
        return self._store.check()

    def repair(self, *, drop_damaged: bool = False) -> list[str]:
        """Fixes what `check` finds and returns one sentence for each fix.

        Isolated items that cannot be read are deleted after they were written to a file beside the gallery,
        `people.damaged-20240531-120000.db`, whose path is in the sentence. If more are damaged, the fault may
        lie elsewhere, and nothing is deleted.

        Args:
            drop_damaged: Whether to delete any number of unreadable items.

        Raises:
            GalleryError: The file itself is damaged: restore it from a backup; or more than isolated items
                cannot be read.
        """
        check_flags(drop_damaged=drop_damaged)
        return self._store.repair(drop_damaged=drop_damaged)

    def backup(self, path: str | Path, *, overwrite: bool = False) -> int:
        """Writes a backup while others go on writing: one gallery file of one moment, compared afterwards.

        The file can be opened like any gallery, or put in its place by `restore`. It appears when it is
        complete and on disk, and only its owner can read it. It still holds identities that are forgotten
        later.

        Args:
            path: The file to write.
            overwrite: Whether a file that is there is replaced.

        Returns:
            How many items the backup has.

        Raises:
            GalleryError: The file exists or cannot be written, or the gallery is damaged.
        """
        check_flags(overwrite=overwrite)
        return self._store.backup(Path(path), overwrite=overwrite)

    @staticmethod
    def restore(backup: str | Path, address: str | Path, *, overwrite: bool = False) -> str | None:
        """Makes a gallery from a backup, completely or not at all.

        A gallery that is there is replaced at once if `overwrite` is set, its log with it, and kept under
        another name. Processes that have it open get an error that asks them to open it again.

        Args:
            backup: A file that `backup` wrote, or any gallery file.
            address: The gallery to make: a file, or a URL.
            overwrite: Whether a gallery that is there is replaced.

        Returns:
            Where the gallery that was there is kept now; None if there was none.

        Raises:
            GalleryError: The backup is missing or damaged, the gallery exists, or it cannot be written.
        """
        check_flags(overwrite=overwrite)
        return restore(backup, address, overwrite=overwrite)

    @staticmethod
    def repair_binding(path: str | Path) -> str:
        """Restores what a gallery is bound to, if it was damaged, from the copy that the gallery has of it.

        A gallery whose dimension, dtype, distance or fingerprint was damaged cannot be opened, so that no
        item is judged by it.

        Returns:
            A sentence about what was restored.

        Raises:
            GalleryError: There is no sound copy, or nothing to restore.
        """
        return repair_binding(path)

    def close(self) -> None:
        """Closes the store; safe to call twice."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    def _identified(
        self, probes: Float32[np.ndarray, "n d"], ranking: Ranking, threshold: float | None
    ) -> list[Identification]:
        by_hand = self._by_hand(ranking) if threshold is None else Threshold(float(threshold))
        if by_hand is not None:
            return self._identifier.identify(probes, by_hand, ranking)
        calibration, own = self._calibrator.current(ranking), self._threshold
        limit = calibration.limit
        if limit is None:
            return self._identifier.identify(probes, None, ranking)
        if own is not None and ranking.scoring == "best":
            limit = replace(limit, curve=own.curve)
        answers = self._identifier.identify(probes, limit, ranking)
        if not calibration.warning:
            return answers
        return [replace(answer, warning=calibration.warning) for answer in answers]

    def _by_hand(self, ranking: Ranking) -> Threshold | None:
        """The gallery's threshold if it was chosen by hand, unless a calibration was asked for since."""
        own = self._threshold
        if own is None or own.promise is not None:
            return None
        return own if self._threshold_was_passed or not self._calibrator.is_chosen(ranking) else None

    def _limit(self, given: float | None) -> Threshold:
        return required_threshold(given, self._threshold, f"the gallery {self.address}")


def _entry(record: Record, gallery: str) -> Entry:
    path, provenance = from_source(record.source)
    metadata = metadata_of(record.metadata, gallery)
    return Entry(record.identity, record.item, record.embedding, None, metadata, path, provenance)
