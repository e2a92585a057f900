"""Exports and imports galleries as Parquet tables, and copies them between stores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trine.errors import DataError, GalleryError, require
from trine.gallery.binding import ExpectedBinding, open_store
from trine.gallery.bulk_write import NOTE as RECALL
from trine.gallery.bulk_write import batched, bulk_write
from trine.gallery.clusters import NOTE as CLUSTERS
from trine.gallery.embedding import Embedder
from trine.gallery.entries import Enrolment, Entry, Record
from trine.gallery.quantization import Dtype
from trine.gallery.sqlite.file import PRIVATE
from trine.gallery.store import Binding, Store
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
    schema = arrow.schema(columns.items(), metadata={BOUND: json.dumps(bound.to_texts())})
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
    file = _opened(path)
    with file:
        bound = _bound(file, path)
        ExpectedBinding.like(bound).check(store)
        schema = file.schema_arrow
        columns = [*COLUMNS, *(["source"] if "source" in schema.names else [])]
        tables = _tables(file, path, chunk=chunk, columns=columns)
        batches = (embedder.records([_entry(row, path) for row in rows]) for rows in tables)
        return bulk_write(store, batches, progress=progress, full=bound.dtype == "float32")


def binding_of(path: Path) -> Binding:
    """Returns the binding of the gallery that a table was exported from.

    Raises:
        DataError: The file cannot be read, or lacks a column or its binding.
    """
    with _opened(path) as file:
        return _bound(file, path)


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
        for batch in file.iter_batches(chunk, columns=columns):
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
    try:
        return Binding.from_texts(parse_json(texts), str(path))
    except (GalleryError, TypeError, ValueError) as error:
        hint = "export it again, or upgrade trine if a newer one wrote it"
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
    return Entry(row["identity"], row["item"], row["embedding"], metadata=metadata, source=row.get("source"))


def _arrow() -> tuple[Any, Any]:
    return require("pyarrow", extra="gallery"), require("pyarrow.parquet", extra="gallery")
