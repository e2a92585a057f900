"""Writes a stream of records to a store in chunks, and measures the recall of a compact dtype."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from trine.gallery.entries import Enrolment, Record
from trine.gallery.errors import damaged
from trine.gallery.quantization import rounded
from trine.gallery.store import Binding, Store, read_note
from trine.neighbours import nearest_neighbours

CHUNK = 1024
"""The number of items written at once."""

NOTE = "recall"
"""The note that stores the recall of a compact dtype."""

SAMPLE = 2000
"""The largest number of embeddings to measure recall on."""

ENOUGH = 100
"""The smallest number of embeddings to measure recall on."""

T = TypeVar("T")


@dataclass(frozen=True)
class QuantizationRecall:
    """How many of the nearest items of full precision a compact dtype keeps.

    Attributes:
        recall: The share of the nearest items that are still among the nearest.
        at: The number of nearest items compared.
        items: The number of items searched.

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
        store: The destination.
        batches: The records, read lazily.
        progress: Called with the number of records so far, after each batch is on disk.
        full: Whether the embeddings have full precision, so that the recall of the dtype can be measured.

    Returns:
        The number of new, replaced and unchanged records.
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
    """Measures the recall of a dtype: searches each full-precision embedding among the others."""
    own = np.arange(len(rows))
    nearest = [
        nearest_neighbours(rows, references, k=at, distance=binding.distance, exclude=own).indices
        for references in (rows, rounded(rows, dtype=binding.dtype))
    ]
    same = [len(np.intersect1d(full, compact)) for full, compact in zip(*nearest, strict=True)]
    return QuantizationRecall(float(np.mean(same)) / nearest[0].shape[1], nearest[0].shape[1], len(rows))


def noted_recall(store: Store) -> QuantizationRecall | None:
    """Returns the recall measured for a store's dtype; `None` for float32, or with too few items."""
    noted = read_note(store, NOTE)
    try:
        return None if noted is None else QuantizationRecall(**noted)
    except TypeError as error:
        raise damaged(store.address, f"its note {NOTE!r} is not one of a recall ({error})") from error
