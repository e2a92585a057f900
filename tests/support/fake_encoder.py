"""Encoders for the tests of the gallery, simple enough to compute by hand."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from trine.calibration import Calibration


def calibration(threshold=0.63, *, far=0.01, provisional=False, distance="euclidean"):
    return Calibration(
        threshold=threshold, far=far, tar=0.9, identities=40, impostor_pairs=900, genuine_pairs=90,
        provisional=provisional, distance=distance,
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
