"""Compares two encoders on a gallery's own items, before a rebuild switches from one to the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trine.errors import GalleryError
from trine.evaluation import retrieval
from trine.evaluation.intervals import Interval, percentile_interval
from trine.gallery.rebuild import Source, stage_missing
from trine.gallery.store import Binding, Store
from trine.neighbours import nearest_neighbours

METRICS = {"rank 1": "precision_at_1", "MAP@R": "map_at_r"}
"""The metrics of a comparison, and their names in `trine.evaluation.retrieval`."""


@dataclass(frozen=True)
class MetricPair:
    """One metric of both encoders.

    Attributes:
        name: Its name.
        first: That of the encoder in use.
        second: That of the other encoder.
        interval: The 95 % confidence interval of the difference, second minus first; both are resampled
            with the same identities.
    """

    name: str
    first: float
    second: float
    interval: Interval

    @property
    def difference(self) -> float:
        """By how much the other encoder is better."""
        return self.second - self.first

    def __str__(self) -> str:
        shown = self.interval.brackets(signed=True)
        return f"{self.name}: {self.first:.3f} -> {self.second:.3f}, {self.difference:+.3f}{shown}"


@dataclass(frozen=True)
class EncoderComparison:
    """The result of `Gallery.compare`.

    Attributes:
        items: How many items both encoders embedded.
        identities: Of how many identities.
        embedded: How many of the items this call embedded; the others were embedded before.
        skipped: The items that can no longer be read.
        metrics: The metrics of both encoders.
        agreement: The share of items for which the nearest other item has the same identity by both.
    """

    items: int
    identities: int
    embedded: int
    skipped: tuple[str, ...]
    metrics: tuple[MetricPair, ...]
    agreement: float

    def __str__(self) -> str:
        skipped = f", {len(self.skipped):,} can no longer be read" if self.skipped else ""
        lines = [
            f"{self.items:,} items of {self.identities:,} identities; "
            f"{self.embedded:,} embedded now{skipped}",
            *map(str, self.metrics),
            f"both name the same identity for {self.agreement:.1%} of the items",
        ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        pairs = {
            each.name: {
                "first": each.first,
                "second": each.second,
                "difference": each.difference,
                "interval": each.interval.to_json(),
            }
            for each in self.metrics
        }
        return {**asdict(self), "metrics": pairs, "skipped": list(self.skipped)}


def compare(
    store: Store, source: Source, binding: Binding, *, chunk: int, progress: Callable[[int], None] | None
) -> EncoderComparison:
    """Embeds what the other encoder has not embedded yet, and measures both; see `Gallery.compare`."""
    embedded, missing = stage_missing(store, source, binding, chunk=chunk, progress=progress)
    theirs = dict(store.staged(binding))
    records = [record for record in store.scan() if record.item in theirs]
    if not records:
        raise GalleryError(
            f"no item of the gallery {store.address} can be read to embed it with the other encoder; "
            "pass the data that holds them"
        )
    labels = [record.identity for record in records]
    sides = (
        (np.stack([record.embedding for record in records]), store.binding.distance),
        (np.stack([theirs[record.item] for record in records]), binding.distance),
    )
    reports = [retrieval(rows, labels, distance=distance, at=(1,)) for rows, distance in sides]
    named = [
        np.asarray(labels)[nearest_neighbours(rows, k=1, distance=distance).indices[:, 0]]
        for rows, distance in sides
    ]
    first, second = reports
    metrics = tuple(
        MetricPair(
            name,
            getattr(first, metric),
            getattr(second, metric),
            percentile_interval(second.resampled(metric) - first.resampled(metric)),
        )
        for name, metric in METRICS.items()
    )
    return EncoderComparison(
        items=len(records),
        identities=len(set(labels)),
        embedded=embedded,
        skipped=tuple(sorted(missing)),
        metrics=metrics,
        agreement=float((named[0] == named[1]).mean()),
    )
