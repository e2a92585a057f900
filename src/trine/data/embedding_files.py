"""Embeddings in Parquet files, as `trine embed` writes them, laid out on disk for work beyond the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trine.distances import DISTANCES, PROPERTIES, Distance
from trine.errors import DataError, require
from trine.shapes import Float32, Int64

NEEDED = ("item", "identity", "embedding")
"""The columns that are read."""

FINGERPRINT, DISTANCE = "trine.fingerprint", "trine.distance"
"""The metadata of a file: which encoder made the embeddings, and how they are compared."""

AT_ONCE = 8192
"""How many rows are read at a time."""


@dataclass(frozen=True, eq=False)
class EmbeddingsOnDisk:
    """Embeddings of labelled items, of which only identities are in memory.

    Attributes:
        rows: A memory-mapped array, one row per item; of length 1 if the distance is cosine.
        codes: The number of each item's identity, in the order of their names.
        distance: How embeddings are compared.
        fingerprint: The encoder that made them.
    """

    rows: Float32[np.ndarray, "n d"]
    codes: Int64[np.ndarray, " n"]
    distance: Distance
    fingerprint: str
    _names: Any

    def __len__(self) -> int:
        return len(self.codes)

    def names(self, rows: Int64[np.ndarray, " m"]) -> Sequence[str]:
        """The names of some items."""
        taken: list[str] = self._names.take(rows).to_pylist()
        return taken


def lay_out(source: str | Path, folder: Path) -> EmbeddingsOnDisk:
    """Reads embeddings from Parquet, a part at a time, and lays them out in a folder.

    Args:
        source: A .parquet file, or a folder of such files, which are read in the order of their names.
        folder: An existing folder, for as many bytes as the embeddings and their names have.

    Returns:
        The embeddings; they last as long as the folder.

    Raises:
        DataError: There is no such file, it is not a table of embeddings of labelled items, or the files
            are of different encoders.
        MissingDependencyError: pyarrow is not installed.
    """
    pa = require("pyarrow", extra="train")
    parts = _Parts.open(source)
    rows = np.lib.format.open_memmap(
        folder / "rows.npy", mode="w+", dtype=np.float32, shape=(parts.count, parts.width)
    )
    numbers: dict[str, int] = {}
    codes = np.empty(parts.count, dtype=np.int64)
    start = 0
    with pa.OSFile(str(folder / "names.arrow"), "wb") as file:
        schema = pa.schema([("item", pa.large_string())])
        with pa.ipc.new_file(file, schema) as names:
            for batch in parts.batches():
                stop = start + len(batch)
                part = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)
                rows[start:stop] = _placed(part.reshape(-1, parts.width), parts.distance, parts.source, start)
                codes[start:stop] = _numbered(batch.column("identity"), numbers, parts.source, start)
                item = batch.column("item").cast(pa.large_string())
                names.write_batch(pa.record_batch([item], schema=schema))
                start = stop
    order = np.empty(len(numbers), dtype=np.int64)
    order[[numbers[name] for name in sorted(numbers)]] = np.arange(len(numbers))
    for begin in range(0, len(codes), AT_ONCE):
        codes[begin : begin + AT_ONCE] = order[codes[begin : begin + AT_ONCE]]
    table = pa.ipc.open_file(pa.memory_map(str(folder / "names.arrow"))).read_all()
    return EmbeddingsOnDisk(rows, codes, parts.distance, parts.fingerprint, table.column("item"))


@dataclass(frozen=True)
class _Parts:
    """The files of a set of embeddings."""

    source: str
    files: tuple[Path, ...]
    count: int
    width: int
    distance: Distance
    fingerprint: str

    @classmethod
    def open(cls, source: str | Path) -> _Parts:
        parquet = require("pyarrow.parquet", extra="train")
        arrow = require("pyarrow", extra="train")
        path = Path(source)
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise DataError(
                f"{source} is neither a .parquet file nor a folder of them: write one with trine embed"
            )
        count, known = 0, None
        for file in files:
            try:
                found = parquet.ParquetFile(file)
            except (OSError, arrow.ArrowException) as error:
                raise DataError(f"{file} cannot be read as Parquet ({error}); write it again") from error
            schema = found.schema_arrow
            missing = [name for name in NEEDED if name not in schema.names]
            kind: Any = None if missing else schema.field("embedding").type
            if missing or not arrow.types.is_fixed_size_list(kind):
                raise DataError(
                    f"{file} is not a table of embeddings ("
                    + (f"it lacks the column {missing[0]!r}" if missing else f"its embeddings are {kind}")
                    + "): write one with trine embed"
                )
            about = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
            fact = (about.get(FINGERPRINT, ""), about.get(DISTANCE, ""), kind.list_size)
            if fact[1] not in DISTANCES:
                raise DataError(f"{file} does not say how embeddings are compared: write it with trine embed")
            if known is not None and fact != known:
                raise DataError(
                    f"{file} and {files[0]} are of different encoders: embed all items with one of them"
                )
            known = fact
            count += found.metadata.num_rows
        assert known is not None
        return cls(str(source), tuple(files), count, known[2], known[1], known[0])

    def batches(self) -> Iterator[Any]:
        """Yields the rows of all files, some at a time."""
        parquet = require("pyarrow.parquet", extra="train")
        for file in self.files:
            yield from parquet.ParquetFile(file).iter_batches(AT_ONCE, columns=list(NEEDED))


def _placed(
    part: Float32[np.ndarray, "n d"], distance: Distance, source: str, first: int
) -> Float32[np.ndarray, "n d"]:
    """Checks rows; those that are compared by cosine get length 1."""
    finite = np.isfinite(part).all(axis=1)
    if not finite.all():
        row = first + int(np.argmin(finite))
        raise DataError(
            f"the embedding of row {row} of {source} is not finite: embed its item again, or remove it"
        )
    if not PROPERTIES[distance].of_directions:
        return part
    lengths = np.linalg.norm(part.astype(np.float64), axis=1)
    if not lengths.all():
        row = first + int(np.argmin(lengths))
        raise DataError(
            f"the embedding of row {row} of {source} is zero, and cosine compares directions: remove it"
        )
    unit: Float32[np.ndarray, "n d"] = (part / lengths[:, None]).astype(np.float32)
    return unit


def _numbered(identities: Any, numbers: dict[str, int], source: str, first: int) -> Int64[np.ndarray, " n"]:
    """The numbers of identities, in the order in which they are met."""
    encoded = identities.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    if encoded.null_count or "" in values:
        listed = identities.to_pylist()
        row = first + next(at for at, name in enumerate(listed) if not name)
        raise DataError(f"row {row} of {source} has no identity: embed labelled items")
    known = np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
    found: Int64[np.ndarray, " n"] = known[encoded.indices.to_numpy()]
    return found
