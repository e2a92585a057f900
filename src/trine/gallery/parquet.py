"""Exports and imports galleries as Parquet tables, and copies them between stores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from trine.errors import DataError, GalleryError, InputError, require
from trine.gallery.binding import ExpectedBinding, open_store
from trine.gallery.bulk_write import CHUNK, batched, bulk_write
from trine.gallery.bulk_write import NOTE as RECALL
from trine.gallery.clusters import NOTE as CLUSTERS
from trine.gallery.embedding import Embedder
from trine.gallery.entries import Enrolment, Entry, Record
from trine.gallery.quantization import Dtype
from trine.gallery.sqlite.file import PRIVATE
from trine.gallery.store import Binding, Store, sealed, unsealed
from trine.io import atomic_file, open_regular
from trine.plain_json import parse_json

BOUND = b"trine"
"""The key of the Parquet metadata that stores the binding of the embeddings."""

COLUMNS = ("item", "identity", "embedding", "metadata")

Progress = Callable[[int], None]


def export_parquet(store: Store, path: Path, *, chunk: int) -> int:
    """Writes every record to a table; see `Gallery.export_parquet`."""
    arrow, parquet = _arrow()
    bound = store.binding
    columns = dict.fromkeys((*COLUMNS, "source"), arrow.string())
    columns["embedding"] = arrow.list_(arrow.float32(), bound.dimension)
    schema = arrow.schema(columns.items(), metadata={BOUND: sealed(bound.to_texts())})
    if not path.parent.is_dir():
        raise DataError(f"{path} cannot be written: the folder {path.parent} does not exist")
    count = 0
    try:
        with atomic_file(path) as unfinished:
            unfinished.unlink(missing_ok=True)
            unfinished.touch(PRIVATE, exist_ok=False)
            with parquet.ParquetWriter(unfinished, schema) as writer:
                for batch in batched(store.scan(), chunk):
                    writer.write_table(arrow.table(_columns(arrow, batch), schema=schema))
                    count += len(batch)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
    return count


def import_parquet(
    store: Store, embedder: Embedder, path: Path, *, chunk: int, progress: Progress | None
) -> Enrolment:
    """Writes the records of a table; see `Gallery.import_parquet`."""
    with _opened(path) as file:
        bound = _bound(file, path)
        ExpectedBinding.like(bound).check(store)
        _validate(file, path, store, embedder, chunk=chunk)
        return bulk_write(
            store,
            (embedder.records(entries) for entries in _entries(file, path, chunk)),
            progress=progress,
            full=bound.dtype == "float32",
        )


def validated_binding(path: Path) -> Binding:
    """Returns the binding of a table, all of whose records a gallery with that binding could store.

    Raises:
        DataError: The file cannot be read, lacks a column or its binding, or a record cannot be stored.
    """
    with _opened(path) as file:
        bound = _bound(file, path)
        with closing(open_store(":memory:", binding=bound)) as store:
            _validate(file, path, store, Embedder(store, None), chunk=CHUNK)
        return bound


def _validate(file: Any, path: Path, store: Store, embedder: Embedder, *, chunk: int) -> None:
    """Raises a `DataError` unless every record of a table can be stored, so that all or none are written."""
    hashes = [np.empty(0, dtype=np.uint64)]
    try:
        for entries in _entries(file, path, chunk):
            store.validate(embedder.records(entries))
            hashes.append(np.array([_hashed(entry.item) for entry in entries], dtype=np.uint64))
    except (InputError, GalleryError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be imported, and nothing of it was: ", *error.args) from error
    values, counts = np.unique(np.concatenate(hashes), return_counts=True)
    repeated = set(values[counts > 1].tolist())
    if repeated:
        _check_distinct(file, path, repeated, chunk)


def _check_distinct(file: Any, path: Path, hashes: set[int], chunk: int) -> None:
    """Raises an error if two items have the same name, rather than only the same hash."""
    seen: set[str] = set()
    for rows in _tables(file, path, chunk=chunk, columns=["item"]):
        for item in (row["item"] for row in rows):
            if item in seen:
                raise DataError(f"{path} names the item {item[:80]!r} twice, and nothing of it was imported")
            if _hashed(item) in hashes:
                seen.add(item)


def _hashed(item: str) -> int:
    return int.from_bytes(hashlib.blake2b(item.encode(), digest_size=8).digest(), "big")


def _entries(file: Any, path: Path, chunk: int) -> Iterator[list[Entry]]:
    columns = [*COLUMNS, *(["source"] if "source" in file.schema_arrow.names else [])]
    # A table is read by its row groups, which may be smaller or larger than a chunk.
    rows = chain.from_iterable(_tables(file, path, chunk=chunk, columns=columns))
    return batched((_entry(row, path) for row in rows), chunk)


def copy_gallery(
    source: Store, target: str | Path, dtype: Dtype | None, *, chunk: int, progress: Progress | None
) -> Enrolment:
    """Copies every record of a store, its clusters and its notes to another; see `Gallery.copy_to`."""
    bound = source.binding
    new, expected = replace(bound, dtype=dtype or bound.dtype), ExpectedBinding.like(bound, dtype=dtype)
    with closing(open_store(target, binding=new, expected=expected)) as other:
        full = bound.dtype == "float32"
        done = bulk_write(other, batched(source.scan(), chunk), progress=progress, full=full)
        other.assign(source.clusters())
        for name, text in source.notes().items():
            if name == CLUSTERS or (name == RECALL and bound.dtype == other.binding.dtype):
                other.note(name, text)
        return done


def _opened(path: Path) -> Any:
    _, parquet = _arrow()
    try:
        open_regular(path).close()
        return parquet.ParquetFile(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # the base class of pyarrow's errors
        raise DataError(f"{path} is not a Parquet table: {str(error).partition('. ')[0]}") from error


def _tables(file: Any, path: Path, *, chunk: int, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    arrow, _ = _arrow()
    try:
        # One row group after another: a reader of several keeps what it has read.
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(chunk, row_groups=[group], columns=columns):
                yield batch.to_pylist()
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}): export it again") from error


def _bound(file: Any, path: Path) -> Binding:
    schema = file.schema_arrow
    missing = [name for name in COLUMNS if name not in schema.names]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}: expected {', '.join(COLUMNS)}")
    texts = (schema.metadata or {}).get(BOUND)
    if texts is None:
        raise DataError(f"{path} does not name the encoder of its embeddings: export it from a gallery")
    bound = unsealed(texts.decode(errors="replace"))
    hint = "export it again, or upgrade trine if a newer one wrote it"
    if bound is None:
        raise DataError(f"{path} has an unreadable binding (it is damaged): {hint}")
    try:
        return Binding.from_texts(bound, str(path))
    except GalleryError as error:
        raise DataError(f"{path} has an unreadable binding ({error.__cause__ or error}): {hint}") from error


def _columns(arrow: Any, batch: Sequence[Record]) -> dict[str, Any]:
    rows = np.stack([record.embedding for record in batch])
    columns = {name: [getattr(record, name) for record in batch] for name in (*COLUMNS, "source")}
    columns["embedding"] = arrow.FixedSizeListArray.from_arrays(arrow.array(rows.ravel()), rows.shape[1])
    return columns


def _entry(row: dict[str, Any], path: Path) -> Entry:
    try:
        metadata = parse_json(row["metadata"] or "{}")
        if not isinstance(metadata, dict):
            raise ValueError("not a JSON object")
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} has unreadable metadata for the item {row['item']!r}: {error}") from error
    if row["embedding"] is None:
        raise DataError(f"{path} has no embedding for the item {row['item']!r}: export it again")
    return Entry(row["identity"], row["item"], row["embedding"], metadata=metadata, source=row.get("source"))


def _arrow() -> tuple[Any, Any]:
    return require("pyarrow", extra="gallery"), require("pyarrow.parquet", extra="gallery")
