"""How many of the nearest items do the compact dtypes of a gallery keep, in how many bytes?

Rows of 128 numbers and length 1: at random, and in groups of ten, which stand for identities (each the
group's random direction plus random noise 0.7 times as long). Recall: of the 10 nearest by float32, among
2,000 rows. Bytes: of the whole file for each of 100,000 rows with names and a short value of metadata.

    python benchmarks/gallery_dtypes.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import get_args

import numpy as np

from results import keep
from trine.gallery import Entry, Gallery, Stats
from trine.gallery.quantization import Dtype

GROUP = 10


def rows_of(count: int, *, noise: float | None, seed: int) -> np.ndarray:
    """Rows of length 1, in groups of ten where there is a noise."""
    rng = np.random.default_rng(seed)
    if noise is None:
        rows = rng.standard_normal((count, 128))
    else:
        rows = np.repeat(rng.standard_normal((count // GROUP, 128)), GROUP, axis=0)
        rows += noise * rng.standard_normal((count, 128))
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def stats_of(rows: np.ndarray, dtype: Dtype) -> Stats:
    """What a gallery says of itself that keeps these rows in a form."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g.db"
        with Gallery.open(path, dimension=128, fingerprint="by hand", dtype=dtype) as gallery:
            gallery.enrol_many(
                Entry(f"id {i // GROUP}", f"{i // GROUP}/{i % GROUP}.jpg", row, metadata={"shop": i % 100})
                for i, row in enumerate(rows)
            )
        with Gallery.open(path) as gallery:  # once closed, the log is in the file
            return gallery.stats()


def main() -> None:
    figures: dict[str, object] = {}
    for dtype in get_args(Dtype):
        large = stats_of(rows_of(100_000, noise=None, seed=0), dtype)
        figures[f"{dtype}, bytes a row"] = round(large.bytes / large.items)
        for name, noise in (("random rows", None), ("rows in groups of ten", 0.7)):
            kept = stats_of(rows_of(2_000, noise=noise, seed=0), dtype).recall
            figures[f"{dtype}, {name}"] = "all" if kept is None else str(kept)
    keep("gallery_dtypes", str(__doc__), rows=[figures], summary=figures)


if __name__ == "__main__":
    main()
