"""Counts what a gallery holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from trine.distances import Distance
from trine.gallery.bulk_write import QuantizationRecall, noted_recall
from trine.gallery.quantization import Dtype
from trine.gallery.store import Store


@dataclass(frozen=True)
class Stats:
    """What a gallery holds.

    Attributes:
        items: How many items.
        identities: Of how many identities.
        per_identity: The least, the median and the greatest number of items of an identity.
        clusters: How many clusters the items were put into.
        dimension: The length of an embedding.
        dtype: How embeddings are kept.
        distance: How they are compared.
        fingerprint: Which encoder made them.
        bytes: What the gallery takes where it lies.
        recall: How many of the nearest items the dtype keeps; `None` for float32, or where too few items
            were enrolled at once to measure it.

    Example:
        >>> print(Stats(2000, 100, (3, 20.0, 41), 0, 128, "float32", "cosine", "by hand", 2_500_000, None))
        2,000 items of 100 identities (3 to 41 each, median 20), float32 of 128 numbers, 2.5 MB
    """

    items: int
    identities: int
    per_identity: tuple[int, float, int]
    clusters: int
    dimension: int
    dtype: Dtype
    distance: Distance
    fingerprint: str
    bytes: int
    recall: QuantizationRecall | None

    @classmethod
    def of(cls, store: Store) -> Stats:
        """Counts what is in a store."""
        counts: Mapping[str, int] = store.identities()
        sizes = np.array(sorted(counts.values()) or [0])
        bound = store.binding
        return cls(
            items=int(sizes.sum()),
            identities=len(counts),
            per_identity=(int(sizes[0]), float(np.median(sizes)), int(sizes[-1])),
            clusters=len(set(store.clusters().values())),
            dimension=bound.dimension,
            dtype=bound.dtype,
            distance=bound.distance,
            fingerprint=bound.fingerprint,
            bytes=store.size(),
            recall=noted_recall(store),
        )

    def to_json(self) -> dict[str, object]:
        """Returns the counts as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        least, median, most = self.per_identity
        text = (
            f"{self.items:,} items of {self.identities:,} identities ({least:,} to {most:,} each, median "
            f"{median:g}), {self.dtype} of {self.dimension} numbers, {self.bytes / 1e6:.2g} MB"
        )
        if self.clusters:
            text += f", {self.clusters:,} clusters"
        return text if self.recall is None else f"{text}; {self.recall}"
