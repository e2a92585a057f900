"""Statistics of a gallery."""

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
    """The counts and the settings of a gallery.

    Attributes:
        items: The number of items.
        identities: The number of identities.
        per_identity: The smallest, median and largest number of items per identity.
        clusters: The number of clusters.
        dimension: The length of an embedding.
        dtype: How embeddings are stored.
        distance: How embeddings are compared.
        fingerprint: Identifies the encoder.
        bytes: The size of the gallery on disk.
        recall: The share of the nearest items that the dtype preserves; `None` for float32, or if too few
            items were enrolled at once to measure it.

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
        """Counts the contents of a store."""
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
