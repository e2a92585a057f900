"""What an encoder was trained on: items, known again by their content, and identities, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trine.data.content import DIGEST_BYTES, content_digest, content_digests
from trine.data.dataset import Dataset, Items, Kind
from trine.errors import InputError
from trine.shapes import Bool, UInt8


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """What an encoder was trained on.

    An item is known again under another name, in another order, or in another file of the same pixels;
    another item is not mistaken for it because it has the same name. Identities are known by name only: in
    other data the same name may mean another one.

    Attributes:
        kind: The kind of the items.
        digests: A digest of the content of each item, as of `content_digests`.
        identities: The names of the identities; empty if they were unknown.
        columns: The columns of a table that the encoder sees; None for other items.

    Example:
        >>> from trine.data import Vectors
        >>> rows = np.arange(12, dtype=np.float32).reshape(4, 3)
        >>> data = Dataset(Vectors(rows), np.array([0, 0, 1, 1]), ("ann", "bob"), ("a", "b", "c", "d"))
        >>> trained = TrainedOn.of(data.subset([0, 1]))
        >>> trained.items(data.subset([3, 1])), sorted(trained.identities)
        (array([False,  True]), ['ann'])
        >>> trained.knows([3, 4, 5]), trained.knows([3, 4, 6])
        (True, False)
    """

    kind: Kind
    digests: UInt8[np.ndarray, "n 16"]
    identities: frozenset[str] = frozenset()
    columns: tuple[str, ...] | None = None

    @classmethod
    def of(cls, dataset: Dataset, *, columns: Sequence[str] | None = None) -> TrainedOn:
        """Takes the items and identities of a dataset.

        Args:
            dataset: The training items.
            columns: The columns that the encoder sees, of a table.

        Raises:
            DataError: A picture cannot be read.
        """
        names = (dataset.identities[label] for label in np.unique(dataset.labels).tolist() if label >= 0)
        digests = np.unique(content_digests(dataset, columns=columns), axis=0)
        return cls(dataset.kind, digests, frozenset(names), None if columns is None else tuple(columns))

    def items(self, items: Dataset | Items) -> Bool[np.ndarray, " n"]:
        """Finds the items that were trained on.

        Args:
            items: A dataset or its items; none of another kind, or without the columns, was trained on.

        Raises:
            DataError: A picture cannot be read.
        """
        try:
            if items.kind == self.kind:
                return np.isin(as_keys(content_digests(items, columns=self.columns)), self._keys)
        except InputError:  # a table without the columns
            pass
        return np.zeros(len(items), dtype=np.bool_)

    def knows(self, item: Any) -> bool:
        """Whether an item was trained on.

        Args:
            item: A picture in any form that `Encoder.embed` takes, such as a path or an array; a row of
                numbers, or a mapping from column to value; or a text.

        Raises:
            DataError: The picture cannot be read.
            InputError: The item is not of this kind, or lacks a column.
        """
        digest = np.frombuffer(content_digest(item, kind=self.kind, columns=self.columns), dtype=np.uint8)
        return bool(np.isin(as_keys(digest[None]), self._keys)[0])

    @cached_property
    def _keys(self) -> np.ndarray:
        return as_keys(self.digests)


def as_keys(digests: UInt8[np.ndarray, "n 16"]) -> np.ndarray:
    """Digests as values that can be sorted and compared, one for each."""
    return np.ascontiguousarray(digests).view(f"S{DIGEST_BYTES}")[:, 0]
