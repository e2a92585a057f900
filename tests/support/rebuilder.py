"""What the tests of rebuilding share, and run in a process of its own."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from trine.calibration import Calibration
from trine.gallery import Gallery


def make_photos(folder, count):
    folder.mkdir()
    for i in range(count):
        (folder / f"photo{i:02}.txt").write_text(str(i))
    return sorted(folder.iterdir())


@dataclass
class Reader:
    """Embeds the number in a file, in a way of its own for each fingerprint."""

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


def rebuild(path, pipe):
    """Rebuilds a gallery, and says when it begins."""
    with Gallery.open(path) as gallery:
        pipe.send("begun")
        gallery.rebuild(Reader("new", 3), chunk=3)
