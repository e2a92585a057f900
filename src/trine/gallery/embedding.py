"""Turns entries and probes into embeddings: checks names, embeds items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from trine.calibration import Calibration
from trine.cluster_threshold import ClusterThreshold
from trine.data import Dataset, Items, Texts
from trine.data.dataset import FromFiles
from trine.data.load import as_dataset
from trine.distances import Distance
from trine.errors import Argument, GalleryError, InputError
from trine.gallery.entries import (
    Entry,
    Record,
    Vector,
    Vectors,
    as_rows,
    check_name,
    metadata_text,
    stored_path,
)
from trine.gallery.provenance import Provenance, digest_of, to_source
from trine.gallery.store import Store
from trine.shapes import Float32
from trine.strangers import Strangers

TEXT = "text"
"""The metadata key under which the content of text items is stored."""


@runtime_checkable
class EmbeddingSettings(Protocol):
    """The settings of an encoder that a gallery needs."""

    @property
    def dimension(self) -> int:
        """The length of an embedding."""


@runtime_checkable
class EmbeddingEncoder(Protocol):
    """The part of an encoder that a gallery needs (`trine.encoders.Encoder` satisfies it)."""

    @property
    def fingerprint(self) -> str:
        """Identifies the encoder; changes with its weights and its preprocessing."""

    @property
    def distance(self) -> Distance:
        """How its embeddings are compared."""

    @property
    def settings(self) -> EmbeddingSettings:
        """Its settings."""

    @property
    def calibration(self) -> Calibration | None:
        """Its calibration; `None` if it has none."""

    def embed(self, items: Any) -> Float32[np.ndarray, "n d"]:
        """Returns one row per item; items are images, vectors, or paths."""


def cluster_threshold_of(encoder: EmbeddingEncoder | None) -> ClusterThreshold | None:
    """How an encoder clusters; `None` if it does not say, as encoders of other programs need not."""
    return getattr(encoder, "cluster_threshold", None)


class Embedder:
    """Prepares the records and probes of a store, with its encoder if it has one."""

    def __init__(self, store: Store, encoder: EmbeddingEncoder | None) -> None:
        """Takes the store and its encoder."""
        self._store = store
        self.encoder = encoder

    def records(self, batch: Sequence[Entry]) -> list[Record]:
        """Checks entries and embeds those without an embedding.

        Raises:
            GalleryError: An embedding cannot be used, or one is missing and there is no encoder.
            InputError: A name or the metadata cannot be stored.
        """
        for entry in batch:
            if not isinstance(entry, Entry):
                kind = type(entry).__name__
                raise InputError(f"enrol_many takes trine.gallery.Entry objects, given {kind}")
            check_name(entry.identity, "identity")
            check_name(entry.item, "item")
        metadata = [metadata_text(entry.metadata, entry.item) for entry in batch]
        rows = np.empty((len(batch), self._store.binding.dimension), dtype=np.float32)
        given = [i for i, entry in enumerate(batch) if entry.embedding is not None]
        rows[given] = self._rows([batch[i].embedding for i in given], [batch[i].item for i in given])
        others = [i for i, entry in enumerate(batch) if entry.embedding is None]
        if others:
            contents: Any = [content_of(batch[i]) for i in others]
            if all(isinstance(content, Place) for content in contents):
                contents = contents[0].items.subset([content.index for content in contents])
            rows[others] = self._embed(contents, [batch[i].item for i in others])
        return [
            Record(entry.identity, entry.item, row, text, to_source(path_of(entry), entry.provenance))
            for entry, row, text in zip(batch, rows, metadata, strict=True)
        ]

    def entries(
        self,
        dataset: Dataset,
        *,
        chunk: int,
        metadata: Mapping[str, Mapping[str, Any]],
        origin: str | None,
    ) -> Iterator[Entry]:
        """Embeds a dataset in chunks; stores its columns, its texts and the given metadata."""
        parts = [range(at, min(at + chunk, len(dataset))) for at in range(0, len(dataset), chunk)]
        streamed = getattr(self.encoder, "embed_parts", None)  # encoders of other programs have none
        found = None if streamed is None else streamed(dataset.items, parts)
        for positions in parts:
            part = dataset.subset(np.arange(positions.start, positions.stop))
            if found is None:
                rows = self._embed(part.items, part.names)
            else:
                rows = self._rows(next(found), part.names)
            for entry, row in zip(entries_of(part, metadata, origin), rows, strict=True):
                yield replace(entry, embedding=row)

    def probe(self, item: Any, embedding: Vector | None) -> Float32[np.ndarray, "1 d"]:
        """Returns the embedding of one probe, given as an item or as its embedding."""
        if (item is None) == (embedding is None):
            raise InputError("pass one probe: either an item for the encoder, or its embedding")
        names = ["the probe"]
        return self._embed([item], names) if embedding is None else self._rows([embedding], names)

    def probes(
        self, items: Sequence[Any] | Items | None, embeddings: Vectors | None
    ) -> Float32[np.ndarray, "n d"]:
        """Returns the embeddings of several probes, given as items or as embeddings."""
        if (items is None) == (embeddings is None):
            raise InputError("pass either items for the encoder, or their embeddings")
        return self._rows(embeddings, []) if items is None else self._embed(items)  # type: ignore[arg-type]

    def strangers(
        self, dataset: Any, embeddings: Vectors | None, identities: Sequence[str] | None
    ) -> Strangers | None:
        """Returns people outside the gallery, given as data or as embeddings; None if neither is given.

        Without identities each item is another person.
        """
        if dataset is not None:
            if embeddings is not None or identities is not None:
                raise InputError("pass strangers either as data, or as embeddings and identities")
            items = as_dataset(dataset, "calibrate", labelled=None)
            rows = self._embed(items.items, items.names)
            names = [items.identity(i) for i in range(len(items))] if items.identities else None
        elif embeddings is not None:
            rows, names = self._rows(embeddings, []), None if identities is None else list(identities)
        elif identities is not None:
            raise InputError("identities name the embeddings of strangers: pass ", Argument("embeddings"))
        else:
            return None
        if names is None:
            # No identity of a gallery has an empty name, so that none of these is taken for one.
            return Strangers(rows, np.arange(len(rows)), ("",) * len(rows))
        return Strangers.of(rows, names)

    def _rows(self, vectors: Vectors, names: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        return as_rows(vectors, dimension=self._store.binding.dimension, names=names)

    def _embed(self, items: Sequence[Any] | Items, names: Sequence[str] = ()) -> Float32[np.ndarray, "n d"]:
        if self.encoder is None:
            hint = ("open it with ", Argument("encoder"), ", or pass embeddings")
            raise GalleryError(f"the gallery {self._store.address} was opened without an encoder: ", *hint)
        return self._rows(self.encoder.embed(items), names)


@dataclass(frozen=True, eq=False)
class Place:
    """The content of an item of a dataset, which is read when it is embedded."""

    items: Items
    index: int


def entries_of(
    dataset: Dataset, metadata: Mapping[str, Mapping[str, Any]], origin: str | None
) -> Iterator[Entry]:
    """Yields the items of a dataset without embeddings; columns, texts and what is given are metadata."""
    columns = {name: values.tolist() for name, values in dataset.columns.items()}
    for i, name in enumerate(dataset.names):
        about = {column: values[i] for column, values in columns.items()}
        if isinstance(dataset.items, Texts):
            about = {TEXT: dataset.items[i]} | about
        about |= metadata.get(name, {})
        file = dataset.items.file(i) if isinstance(dataset.items, FromFiles) else None
        path, part = (None, "") if file is None else file
        source = None if path is None else stored_path(path, part=part)
        came = None
        if origin is not None:
            digest = digest_of(dataset.items[i] if path is None else path, part=part)
            came = Provenance(origin, dataset.identity(i), digest)
        yield Entry(dataset.identity(i), name, None, Place(dataset.items, i), about, source, came)


def content_of(entry: Entry) -> Any:
    """Returns what the encoder embeds; the name of an item without content is taken as a path."""
    return entry.item if entry.content is None else entry.content


def path_of(entry: Entry) -> str | None:
    """Returns the file from which an item can be read again."""
    if entry.source is not None:
        return entry.source
    content = content_of(entry) if entry.embedding is None else entry.content
    return stored_path(content) if isinstance(content, str | Path) else None
