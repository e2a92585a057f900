"""Encoders for the gallery's tests: small enough to compute by hand."""

from dataclasses import dataclass, field
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
    """Embeds an array as itself, and a path as the two numbers it was told; counts what it embeds."""

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
