"""Writes a stream of records to a store in chunks, and measures what a compact dtype costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from trine.gallery.entries import Enrolment, Record
from trine.gallery.quantization import rounded
from trine.gallery.store import Binding, Store
from trine.neighbours import nearest_neighbours

CHUNK = 1024
"""How many items are written at once."""

NOTE = "recall"
"""The note that holds how many of the nearest items a compact dtype keeps."""

SAMPLE = 2000
"""On how many embeddings it is measured."""

ENOUGH = 100
"""On how many at least."""

T = TypeVar("T")


@dataclass(frozen=True)
class QuantizationRecall:
    """How many of the nearest items of full precision a compact dtype keeps.

    Attributes:
        recall: The share of the nearest items that are still among the nearest.
        at: How many nearest items were compared.
        items: Among how many items.

    Example:
        >>> print(QuantizationRecall(0.987, 10, 2000))
        98.7 % of the 10 nearest kept (measured among 2,000 items)
    """

    recall: float
    at: int
    items: int

    def __str__(self) -> str:
        return (
            f"{100 * self.recall:.3g} % of the {self.at} nearest kept (measured among {self.items:,} items)"
        )


def batched(records: Iterator[T], size: int) -> Iterator[list[T]]:
    """Cuts a stream into lists of at most `size`."""
    while batch := list(islice(records, size)):
        yield batch


def bulk_write(
    store: Store,
    batches: Iterable[Sequence[Record]],
    *,
    progress: Callable[[int], None] | None = None,
    full: bool = True,
) -> Enrolment:
    """Writes batches of records one after another.

    Args:
        store: Where to.
        batches: The records; read as they are needed.
        progress: Called with the number of records so far, whenever a batch is on the disk.
        full: Whether the embeddings are in full precision, so that it can be measured what rounding costs.

    Returns:
        How many were new, replaced and there already.
    """
    done, seen = Enrolment(), 0
    sample: list[Record] = []
    for batch in batches:
        done += store.put(batch)
        seen += len(batch)
        if full and len(sample) < SAMPLE:
            sample += batch[: SAMPLE - len(sample)]
        if progress is not None:
            progress(seen)
    if store.binding.dtype != "float32" and len(sample) >= ENOUGH:
        known = noted_recall(store)
        if known is None or known.items < len(sample):
            kept = measure(np.stack([record.embedding for record in sample]), store.binding)
            store.note(NOTE, json.dumps(asdict(kept)))
    return done


def measure(rows: np.ndarray, binding: Binding, *, at: int = 10) -> QuantizationRecall:
    """Measures a dtype on embeddings in full precision, each searched for among the others."""
    own = np.arange(len(rows))
    found = [
        nearest_neighbours(rows, references, k=at, distance=binding.distance, exclude=own).indices
        for references in (rows, rounded(rows, dtype=binding.dtype))
    ]
    same = [len(np.intersect1d(full, compact)) for full, compact in zip(*found, strict=True)]
    return QuantizationRecall(float(np.mean(same)) / found[0].shape[1], found[0].shape[1], len(rows))


def noted_recall(store: Store) -> QuantizationRecall | None:
    """Returns what was measured for the dtype of a store; `None` for float32, or with too few items."""
    noted = store.notes().get(NOTE)
    return None if noted is None else QuantizationRecall(**json.loads(noted))
