"""Encoders for the tests of the gallery, simple enough to compute by hand."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from support.promises import promise
from trine.calibration import Calibration
from trine.cluster_threshold import ClusterThreshold, LinkageThreshold


def calibration(threshold=0.63, *, far=0.01, state="firm", distance="euclidean"):
    return Calibration(
        threshold=threshold, promise=promise(far, state=state), tar=0.9, impostor_pairs=900, genuine_pairs=90,
        distance=distance,
    )  # fmt: skip


def cluster_threshold(threshold=0.5, *, by_items=None, distance="euclidean", linkage="connected"):
    """One for one linkage, single by default; `by_items` maps numbers of items to thresholds."""
    knots = tuple((by_items or {100: threshold}).items())
    return ClusterThreshold(
        linkage=linkage, linkages={linkage: LinkageThreshold(threshold, 0.8, 25, knots)},
        metric="bcubed_f", distance=distance, items=100, identities=20, alone=0.3, all_in_one=0.1,
    )  # fmt: skip


@dataclass
class FakeEncoder:
    """Embeds an array as itself and a string as `pictures` says; counts the items it embeds."""

    dimension: int = 2
    fingerprint: str = "f" * 64
    distance: str = "euclidean"
    calibration: Calibration | None = None
    pictures: dict = field(default_factory=dict)
    embedded: int = 0
    cluster_threshold: ClusterThreshold | None = None

    @property
    def settings(self):
        return SimpleNamespace(dimension=self.dimension)

    def embed(self, items):
        rows = [self.pictures[item] if isinstance(item, str) else item for item in items]
        self.embedded += len(rows)
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.dimension)


@dataclass
class FileEncoder:
    """Embeds a file as the number in it, padded with the dimension; counts the items it embeds."""

    fingerprint: str
    dimension: int
    calibration: Calibration | None = None
    distance: str = "euclidean"
    embedded: int = 0
    cluster_threshold: ClusterThreshold | None = None

    @property
    def settings(self):
        return SimpleNamespace(dimension=self.dimension)

    def row_of(self, path):
        number = float(Path(path).read_text())
        return (number, *[float(self.dimension)] * (self.dimension - 1))

    def embed(self, items):
        self.embedded += len(items)
        return np.array([self.row_of(item) for item in items], dtype=np.float32)


def write_number_files(folder, count):
    """Writes files that `FileEncoder` embeds, and returns their paths."""
    folder.mkdir()
    for i in range(count):
        (folder / f"photo{i:02}.txt").write_text(str(i))
    return sorted(folder.iterdir())
