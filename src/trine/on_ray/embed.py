"""Embeddings of many items as Parquet: written in parts, so that a command that died goes on where it was.

OUT.parquet.parts/ or OUT/
  _parts.json                         what the parts are of: the encoder, the data, the size of a batch
  part-000000000000-000000004096.parquet   the items at positions 0 to 4,095, complete or absent
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from trine.data import Dataset
from trine.data.content import content_digests
from trine.data.dataset import FromFiles
from trine.data.frames import Tabular
from trine.data.load import as_dataset
from trine.encoders import Encoder
from trine.encoders.encoder import BATCH_SIZE, batches_of
from trine.errors import InputError, require
from trine.io import is_leftover, lock_at_once, output_file, read_small, remove_leftovers, write_json
from trine.on_ray.stream import stream
from trine.pipelines.export import check_output, item_table, with_embeddings, write_embeddings
from trine.plain_json import parse_json

JOURNAL = "_parts.json"
"""The file of a folder of parts that says what they are of; readers of Parquet skip it for its underscore."""

PART_ITEMS = 16 * BATCH_SIZE
"""A part is stored once it has so many items."""

ROW_GROUP = 1 << 16
"""So many rows of parts are put together in memory to one row group of the file."""

_PART = re.compile(r"part-(\d{12})-(\d{12})\.parquet")


def write_embeddings_on(
    ray: ModuleType, on: str, encoder: Encoder, dataset: Dataset | Tabular, *, out: str | Path
) -> None:
    """Writes what `trine.pipelines.write_embeddings` writes, embedded in Ray's workers.

    Called again after it was killed, it embeds only what is not in a part yet.

    Args:
        ray: What `connected` lends.
        on: Its address.
        encoder: Embeds the items.
        dataset: The items; workers read their files, so that paths must be the same on all nodes.
        out: The .parquet file; parts are in a folder beside it until it is complete. Or a folder, which keeps
            the parts: together they are the file, in the order of their names.

    Raises:
        InputError: It cannot be written, or parts there are of another encoder or other data.
        DataError: An image cannot be read.
    """
    dataset = as_dataset(dataset, "write_embeddings_on", labelled=None)
    path = Path(out)
    single = path.suffix.lower() == ".parquet"
    check_output(out)
    if not single and path.is_file():
        raise InputError(f"{path} is a file: name a .parquet file, or a folder for the parts")
    if not len(dataset):
        write_embeddings(encoder, dataset, out=path if single else path / f"{_name(range(0))}.parquet")
        return
    folder = path.with_name(f"{path.name}.parts") if single else path
    about = _About(
        encoder.fingerprint, encoder.distance, _digest(dataset), len(dataset), encoder.settings.dimension
    )
    with _parts(folder, about) as done:
        _write_missing(ray, on, encoder, dataset, folder, done)
        if single:
            _join(folder, path)
            # The journal is last: without it, what a killed command left would be refused as another's.
            for _, part in _stored(folder):
                part.unlink()
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _About:
    """What parts are of; those of something else are not mixed with them."""

    fingerprint: str
    distance: str
    data: str
    items: int
    dimension: int
    batch_size: int = BATCH_SIZE


@contextmanager
def _parts(folder: Path, about: _About) -> Iterator[list[range]]:
    """Opens a folder of parts for this process alone; yields the positions of the parts that it holds."""
    journal = folder / JOURNAL
    if not journal.is_file():
        if folder.is_dir() and any(not is_leftover(entry) for entry in folder.iterdir()):
            raise InputError(f"{folder} is not empty and holds no {JOURNAL}: choose another output")
        write_json(journal, asdict(about))
    try:
        kept = parse_json(read_small(journal))
    except (OSError, ValueError) as error:
        raise InputError(f"{journal} cannot be read ({error}): remove {folder}, and run it again") from error
    given = asdict(about)
    different = [name for name in given if not isinstance(kept, dict) or kept.get(name) != given[name]]
    if different:
        what = "another model" if "fingerprint" in different else "other data"
        raise InputError(
            f"{folder} holds embeddings of {what} ({', '.join(different)} differ): choose another output, or "
            "remove the folder"
        )
    with ExitStack() as stack:
        descriptor = os.open(journal, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        try:
            lock_at_once(descriptor)
        except BlockingIOError:
            raise InputError(f"another process is writing to {folder}: wait for it to end") from None
        remove_leftovers(folder)
        yield [positions for positions, _ in _stored(folder)]


def _stored(folder: Path) -> list[tuple[range, Path]]:
    """The parts in a folder by their positions, in order."""
    found = ((path, _PART.fullmatch(path.name)) for path in folder.iterdir())
    parts = [(range(int(part[1]), int(part[2])), path) for path, part in found if part is not None]
    return sorted(parts, key=lambda part: part[0].start)


def _name(positions: range) -> str:
    return f"part-{positions.start:012d}-{positions.stop:012d}"


def _write_missing(
    ray: ModuleType, on: str, encoder: Encoder, dataset: Dataset, folder: Path, done: Sequence[range]
) -> None:
    parquet = require("pyarrow.parquet", extra="train")
    known = {start for part in done for start in range(part.start, part.stop, BATCH_SIZE)}
    todo = [batch for batch in batches_of(range(len(dataset)), BATCH_SIZE) if batch.start not in known]
    if not todo:
        return
    table = item_table(encoder, dataset)
    batches: list[range] = []
    rows: list[np.ndarray] = []

    def store() -> None:
        positions = range(batches[0].start, batches[-1].stop)
        part = with_embeddings(table.slice(positions.start, len(positions)), np.concatenate(rows))
        with output_file(folder / f"{_name(positions)}.parquet") as unfinished:
            parquet.write_table(part, unfinished)
        batches.clear()
        rows.clear()

    for batch, found in zip(todo, stream(ray, on, encoder, dataset.items, todo), strict=True):
        if batches and batches[-1].stop != batch.start:
            store()
        batches.append(batch)
        rows.append(found)
        if batch.stop - batches[0].start >= PART_ITEMS:
            store()
    if batches:
        store()


def _join(folder: Path, out: Path) -> None:
    """Writes one file of all parts, in order; a few row groups are in memory at once."""
    pa, parquet = require("pyarrow", extra="train"), require("pyarrow.parquet", extra="train")
    parts = [path for _, path in _stored(folder)]
    with (
        output_file(out) as unfinished,
        parquet.ParquetWriter(unfinished, parquet.read_schema(parts[0])) as writer,
    ):
        waiting: list[Any] = []
        for path in parts:
            waiting.append(parquet.read_table(path))
            if sum(map(len, waiting)) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting.clear()
        if waiting:
            writer.write_table(pa.concat_tables(waiting))


def _digest(dataset: Dataset) -> str:
    """A digest of names, identities and columns, and of what tells that an item has changed.

    Of files that is their path, size and time of change, as reading them all again would take long.
    """
    digest = hashlib.blake2b(digest_size=16)
    for i, name in enumerate(dataset.names):
        digest.update(repr((name, dataset.identity(i))).encode())
    for name, values in dataset.columns.items():
        digest.update(repr((name, values.tolist())).encode())
    items = dataset.items
    files = [items.file(i) for i in range(len(items))] if isinstance(items, FromFiles) else [None]
    if None in files:
        digest.update(content_digests(items).tobytes())
        return digest.hexdigest()
    for path, part in filter(None, files):
        stat = path.stat()
        digest.update(repr((str(path), part, stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()
