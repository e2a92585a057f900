"""The table of a gallery in LanceDB: its columns, its rows, and its state, which is a row of its own.

Every write replaces the state's row in the same commit as the rows that it changes. LanceDB lets only one
of two commits replace the same row, so writes happen one after another as if in transactions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from trine.errors import require
from trine.gallery.entries import Record
from trine.gallery.quantization import pack, unpack
from trine.gallery.store import Binding, sealed, unsealed
from trine.shapes import Float32

STATE = "\0state"
"""The key of the state; names of items contain no NUL."""

BINDING = "\0binding"
"""The key of the copy of what the gallery is bound to."""

NOTES = "\0note "
"""What the keys of notes begin with."""

ITEMS = "state IS NULL"
"""The condition for rows that are items."""

GUARD = "source.was IS NULL OR 1 / CAST(target.changed = source.was AS BIGINT) = 1"
"""The condition under which a row replaces another.

Only the row of the state has a value in `was`. If the state is another by now, this divides by zero, so that
the whole write fails, also when LanceDB itself tries it again.
"""

AT_ONCE = 4096
"""The number of rows read or written at once."""


@dataclass(frozen=True)
class State:
    """The state of a gallery, replaced by every write.

    Attributes:
        stamp: The number of writes.
        tokens: Names the last writes.
        live: Whether the table is complete.
        moved: The table that took this one's place.
        bound: How often the gallery was rebuilt with another encoder, or restored.
        items: The number of items.
        clusters: The largest number that a cluster had.
        numbers: The largest number that an item had.
        removed: The last write that removed items.
        indexed: The number of items when LanceDB's index was built.
        traces: Whether traces of forgotten items may remain.
        staged: The binding of the staged embeddings, and their table.
    """

    stamp: int = 0
    tokens: tuple[str, ...] = ()
    live: bool = True
    moved: str | None = None
    bound: int = 0
    items: int = 0
    clusters: int = 0
    numbers: int = 0
    removed: int = 0
    indexed: int = 0
    traces: bool = False
    staged: tuple[str, str] | None = None

    def to_text(self, binding: dict[str, str]) -> str:
        """Writes the state and what the gallery is bound to as one text with a digest."""
        return sealed({"state": json.dumps(asdict(self)), **{f"binding {k}": v for k, v in binding.items()}})

    @classmethod
    def from_text(cls, text: str) -> tuple[Self, dict[str, str]] | None:
        """Reads what `to_text` wrote; `None` if it is damaged."""
        texts = unsealed(text)
        if texts is None or "state" not in texts:
            return None
        fields = json.loads(texts["state"])
        if fields["staged"] is not None:
            fields["staged"] = tuple(fields["staged"])
        fields["tokens"] = tuple(fields["tokens"])
        bound = {name[8:]: value for name, value in texts.items() if name.startswith("binding ")}
        return cls(**fields), bound


def schema(binding: Binding) -> Any:
    """Returns the columns of a table for embeddings of a binding."""
    pa = require("pyarrow", extra="lancedb")
    return pa.schema(
        [
            ("item", pa.string()),
            ("identity", pa.string()),
            ("embedding", pa.list_(_number(binding), binding.dimension)),
            ("metadata", pa.string()),
            ("source", pa.string()),
            ("cluster", pa.int64()),
            ("number", pa.int64()),
            ("written", pa.int64()),
            ("changed", pa.int64()),
            ("state", pa.string()),
            ("was", pa.int64()),
        ]
    )


def staged_schema(binding: Binding) -> Any:
    """Returns the columns of a table for staged embeddings."""
    pa = require("pyarrow", extra="lancedb")
    embedding = pa.list_(_number(binding), binding.dimension)
    return pa.schema([("item", pa.string()), ("written", pa.int64()), ("embedding", embedding)])


def _number(binding: Binding) -> Any:
    pa = require("pyarrow", extra="lancedb")
    return pa.float16() if binding.dtype == "float16" else pa.float32()


def stored(
    rows: Float32[np.ndarray, "n d"], binding: Binding, names: Sequence[str]
) -> Float32[np.ndarray, "n d"]:
    """Returns rows as the gallery stores them.

    Raises:
        GalleryError: A number is too large for float16.
    """
    if binding.dtype == "float32":
        return rows
    return unpack(
        pack(rows, dtype=binding.dtype, names=names), dtype=binding.dtype, dimension=binding.dimension
    )


def vectors(rows: Float32[np.ndarray, "n d"], binding: Binding) -> Any:
    """Returns rows as a column."""
    pa = require("pyarrow", extra="lancedb")
    numbers = np.ascontiguousarray(rows, dtype="f2" if binding.dtype == "float16" else "f4").ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers), binding.dimension)


def numbers(column: Any, dimension: int) -> Float32[np.ndarray, "n d"]:
    """Reads rows from a column.

    Raises:
        ValueError: Some are missing.
    """
    if column.null_count:
        raise ValueError("it is missing")
    parts = column.chunks if hasattr(column, "chunks") else [column]
    rows = [part.flatten().to_numpy(zero_copy_only=False) for part in parts]
    joined = np.concatenate(rows) if rows else np.empty(0, dtype=np.float32)
    return joined.astype(np.float32).reshape(-1, dimension)


def item_rows(records: Sequence[Record], binding: Binding, **columns: Sequence[Any]) -> Any:
    """Returns records as rows; the other columns are given by name."""
    rows = np.empty((0, binding.dimension), dtype=np.float32)
    if records:
        rows = np.stack([record.embedding for record in records])
    return _rows(
        binding,
        item=[record.item for record in records],
        identity=[record.identity for record in records],
        embedding=vectors(rows, binding),
        metadata=[record.metadata for record in records],
        source=[record.source for record in records],
        **columns,
    )


def special_rows(texts: dict[str, str], binding: Binding, *, changed: int, was: int | None = None) -> Any:
    """Returns rows that are no items, from texts by key; `was` is for the guard of the state."""
    keys = list(texts)
    return _rows(
        binding,
        item=keys,
        state=[texts[key] for key in keys],
        changed=[changed] * len(keys),
        was=[was if key == STATE else None for key in keys],
    )


def _rows(binding: Binding, **columns: Any) -> Any:
    pa = require("pyarrow", extra="lancedb")
    count = len(columns["item"])
    wanted = schema(binding)
    arrays = [
        pa.nulls(count, field.type)
        if field.name not in columns
        else columns[field.name]
        if field.name == "embedding"
        else pa.array(columns[field.name], field.type)
        for field in wanted
    ]
    return pa.Table.from_arrays(arrays, schema=wanted)


def among(column: str, values: Iterable[str]) -> str:
    """Returns the condition that a column is one of some texts."""
    listed = ", ".join(map(quoted, values))
    return f"{column} IN ({listed})" if listed else "false"


def quoted(text: str) -> str:
    """Writes a text for a condition.

    Example:
        >>> print(quoted("o'brien"))
        'o''brien'
    """
    return "'" + text.replace("'", "''") + "'"
