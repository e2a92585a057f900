"""The gallery: enrol, remove, forget, verify, identify and search over a persistent set of embeddings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from trine.data import Dataset
from trine.distances import Distance
from trine.errors import CalibrationError, GalleryError, InputError, SettingError
from trine.gallery.decision import Identification, Threshold, Verification
from trine.gallery.entries import (
    Enrolment,
    Entry,
    Hit,
    Vector,
    Vectors,
    check_name,
)
from trine.gallery.index import scores_between
from trine.gallery.intake import Intake
from trine.gallery.opening import Claim, open_store
from trine.gallery.store import Binding, Scope, Store
from trine.gallery.verification import EmbeddingEncoder, threshold_of
from trine.shapes import Float32

CHUNK = 1024
"""How many items an enrolment of many writes at once."""

WITH_RUNNER_UP = 8
"""How many hits an identification asks for at first, to have the runner-up among them as a rule."""


class Gallery:
    """A persistent set of embeddings with identity, item and metadata, bound to one encoder.

    What a call has written is on the disk when it returns. A gallery may be used from several threads,
    and its file by several processes at once.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> people = Path(folder.name) / "people.db"
        >>> gallery = Gallery.open(people, dimension=2, fingerprint="by hand", threshold=0.5)
        >>> gallery.enrol("ann", "ann/1.png", embedding=[0.0, 1.0], metadata={"year": 2024})
        >>> gallery.enrol("bob", "bob/1.png", embedding=[1.0, 0.0])
        >>> print(gallery.identify(embedding=[0.0, 0.9]))
        this is ann (distance 0.10, threshold 0.50)
        >>> print(gallery.identify(embedding=[3.0, 3.0]))
        nobody we know: the nearest is ann at 3.61, above the threshold 0.50
        >>> [(hit.item, hit.metadata) for hit in gallery.search(embedding=[0.0, 0.9], k=1)]
        [('ann/1.png', {'year': 2024})]
        >>> gallery.close()
        >>> folder.cleanup()
    """

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
            path: The file. A folder for which nobody has the right to write is read as it stands.
            encoder: What embeds the items; left out, every call takes `embedding=`.
            dimension: The length of an embedding, for embeddings made elsewhere; at least 1.
            fingerprint: What made those embeddings: any text that changes when it does.
            distance: How to compare those embeddings; Euclidean where left out.
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
        claim = Claim.of(encoder, dimension=dimension, fingerprint=fingerprint, distance=distance)
        given = threshold_of(threshold, encoder.calibration if encoder is not None else None)
        binding = claim.binding(given, encoder, model) if create else None
        store = open_store(path, binding=binding)
        try:
            claim.check(store)
        except BaseException:
            store.close()
            raise
        return cls(store, encoder=encoder, threshold=given or store.binding.threshold)

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
        if chunk < 1:
            raise SettingError(f"chunk is a number of items of at least 1, given {chunk}")
        enrolled = Enrolment()
        stream = iter(entries)
        done = 0
        while batch := list(islice(stream, chunk)):
            enrolled += self._store.put(self._intake.records(batch))
            done += len(batch)
            if progress is not None:
                progress(done)
        return enrolled

    def enrol_dataset(
        self,
        dataset: Dataset,
        *,
        chunk: int = CHUNK,
        progress: Callable[[int], None] | None = None,
    ) -> Enrolment:
        """Adds every item of a dataset by its name, embedded by the encoder; see `enrol_many`.

        The dataset's columns (camera, group, ...) are kept as metadata.

        Args:
            dataset: The items with their identities; read as they are needed.
            chunk: How many are embedded and written together, at least 1.
            progress: Called with the number of items so far, whenever a chunk is on the disk.

        Returns:
            How many were new, replaced and there already.

        Raises:
            GalleryError: There is no encoder, or the file cannot be written.
            DataError: A picture cannot be read; the chunks before stay enrolled.
        """
        entries = self._intake.entries(dataset, chunk=max(chunk, 1))
        return self.enrol_many(entries, chunk=chunk, progress=progress)

    def remove(self, item: str) -> bool:
        """Deletes one item and says whether it was there; an identity without items is gone too."""
        return self._store.remove([check_name(item, "item")]) > 0

    def forget(self, identity: str) -> int:
        """Deletes an identity with all its items and returns how many there were."""
        return self._store.forget(check_name(identity, "identity"))

    def get(self, item: str) -> Entry:
        """Returns one enrolled item with its embedding and metadata.

        Raises:
            GalleryError: It is not there.
        """
        found = self._store.get([check_name(item, "item")])
        if item not in found:
            raise GalleryError(f"the gallery {self._store.address} has no item {item[:80]!r}: enrol it first")
        record = found[item]
        return Entry(record.identity, item, record.embedding, metadata=json.loads(record.metadata))

    def identities(self) -> dict[str, int]:
        """Returns the number of items of each identity, in the order of their names."""
        return self._store.identities()

    def __len__(self) -> int:
        return len(self._store)

    def verify(
        self,
        a: Any = None,
        b: Any = None,
        *,
        embedding: Vector | None = None,
        other: Vector | None = None,
        identity: str | None = None,
        threshold: float | None = None,
    ) -> Verification:
        """Says whether two are of the same identity, or whether one is of the identity it claims.

        Either two probes, or one probe and an identity of the gallery, which is scored by its nearest
        embedding.

        Args:
            a: A probe for the encoder: a picture, a vector, a path.
            b: Another, unless an identity is claimed.
            embedding: (D,) the embedding of the first probe, in place of `a`.
            other: (D,) the embedding of the second, in place of `b`.
            identity: The claimed identity.
            threshold: The largest distance that is accepted; that of the gallery where left out.

        Returns:
            The decision, with its score, threshold and false-accept rate.

        Raises:
            CalibrationError: There is no threshold.
            GalleryError: The claimed identity is not in the gallery, or a probe cannot be used.
            InputError: Not exactly two things to compare.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gallery = Gallery.open(Path(folder) / "g.db", dimension=2, fingerprint="by hand")
            ...     gallery.enrol("ann", "ann/1.png", embedding=[0.0, 1.0])
            ...     print(gallery.verify(embedding=[0.0, 0.9], identity="ann", threshold=0.5))
            ...     gallery.close()
            the same: this is ann (distance 0.10, threshold 0.50)
        """
        limit = self._limit(threshold)
        if (b is not None) + (other is not None) + (identity is not None) != 1:
            raise InputError("verify compares a probe with one thing: give b, other= or identity=")
        first = self._intake.probe(a, embedding)
        if identity is None:
            second = self._intake.probe(b, other)
            score = scores_between(first, second, distance=self.binding.distance).item()
        else:
            scope = Scope(only=frozenset([check_name(identity, "identity")]))
            (hits,) = self._store.search(first, k=1, scope=scope)
            if not hits:
                raise GalleryError(
                    f"the gallery {self._store.address} knows nobody called {identity[:80]!r}: enrol "
                    f"them first"
                )
            score = hits[0].score
        return Verification(**limit.judged(score), claim=identity)

    def identify(
        self, item: Any = None, *, embedding: Vector | None = None, threshold: float | None = None
    ) -> Identification:
        """Says who or what this is: the identity of the nearest embedding, or nobody we know.

        Args:
            item: A probe for the encoder: a picture, a vector, a path.
            embedding: (D,) its embedding, in place of `item`.
            threshold: The largest distance that is accepted; that of the gallery where left out.

        Returns:
            The decision, with its score, threshold and false-accept rate, and the runner-up.

        Raises:
            CalibrationError: There is no threshold.
            GalleryError: The embedding is of another dimension or not finite, or there is no encoder.
        """
        limit = self._limit(threshold)
        return self._identify(self._intake.probe(item, embedding), limit)[0]

    def identify_many(
        self,
        items: Sequence[Any] | None = None,
        *,
        embeddings: Vectors | None = None,
        threshold: float | None = None,
    ) -> list[Identification]:
        """Says for each of several probes who or what it is; see `identify`."""
        limit = self._limit(threshold)
        return self._identify(self._intake.probes(items, embeddings), limit)

    def search(self, item: Any = None, *, embedding: Vector | None = None, k: int = 10) -> list[Hit]:
        """Finds the items most like this one.

        Args:
            item: A probe for the encoder: a picture, a vector, a path.
            embedding: (D,) its embedding, in place of `item`.
            k: How many to find, at least 1.

        Returns:
            Hits with item, identity, score and metadata: nearest first, equal scores by the item's name;
            fewer than `k` where the gallery holds fewer.

        Raises:
            GalleryError: The embedding is of another dimension or not finite, or there is no encoder.
            SettingError: `k` is below 1.
        """
        if k < 1:
            raise SettingError(f"k is a number of items of at least 1, given {k}")
        probe = self._intake.probe(item, embedding)
        while True:
            (hits,) = self._store.search(probe, k=k)
            records = self._store.get([hit.item for hit in hits])
            # Another process may remove an item in between; then there is another one to find.
            if all(hit.item in records for hit in hits):
                return [replace(hit, metadata=json.loads(records[hit.item].metadata)) for hit in hits]

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
        return f"Gallery({self._store.address!r})"

    def _limit(self, given: float | None) -> Threshold:
        limit = self._threshold if given is None else Threshold(float(given))
        if limit is None:
            raise CalibrationError(
                f"the gallery {self._store.address} has no threshold to decide by: calibrate its encoder "
                f"with `trine evaluate` and open the gallery with it, or pass threshold="
            )
        return limit

    def _identify(self, probes: Float32[np.ndarray, "n d"], limit: Threshold) -> list[Identification]:
        decisions = []
        for probe, hits in zip(probes, self._store.search(probes, k=WITH_RUNNER_UP), strict=True):
            best = hits[0] if hits else None
            other = next((hit for hit in hits if best and hit.identity != best.identity), None)
            if best and other is None and len(hits) == WITH_RUNNER_UP:
                scope = Scope(without=frozenset([best.identity]))
                (others,) = self._store.search(probe[None], k=1, scope=scope)
                other = others[0] if others else None
            decisions.append(_identification(best, other, limit))
        return decisions


def _identification(best: Hit | None, other: Hit | None, limit: Threshold) -> Identification:
    return Identification(
        **limit.judged(best.score if best else math.inf),
        nearest=best.identity if best else None,
        item=best.item if best else None,
        runner_up=other.identity if other else None,
        runner_up_score=other.score if other else None,
    )
