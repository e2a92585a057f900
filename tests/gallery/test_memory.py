"""What reads a whole gallery holds some thousand items at a time, however many there are."""

import sqlite3

import numpy as np
import pytest

from support import fork_server
from support.effort import thorough
from support.gallery_processes import memory_of
from trine.gallery import Entry, Gallery

ITEMS, DIMENSION = 60_000, 256
MIB = 1 << 20
WORK = (
    *("repair", "restore", "export", "scan"),
    *(pytest.param(work, marks=thorough) for work in ("import", "check", "backup", "copy", "identities")),
)

LIMITS = {"export": 170, "import": 100}
"""In MiB; those of Arrow, which are the same for a gallery a third as large."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "g.db"
    rng = np.random.default_rng(0)
    with Gallery.open(path, dimension=DIMENSION, fingerprint="x", threshold=1.0) as gallery:
        for start in range(0, ITEMS, 10_000):
            rows = rng.standard_normal((10_000, DIMENSION), dtype=np.float32)
            gallery.enrol_many(
                Entry(f"person {i % 300}", f"item {start + i}", row) for i, row in enumerate(rows)
            )
        gallery.backup(path.with_name("backup.db"))
        gallery.export_parquet(path.with_name("table.parquet"))
    with sqlite3.connect(path) as damage:
        damage.execute("UPDATE items SET metadata = 'x' WHERE id = 77")
    damage.close()
    assert path.stat().st_size > 60 * MIB
    return path


def grown(work, path):
    context = fork_server.processes()
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=memory_of, args=(work, path, theirs))
    worker.start()
    theirs.close()
    size = ours.recv()
    worker.join()
    return size


@pytest.mark.parametrize("work", WORK)
def test_memory_does_not_grow_with_the_gallery(path, work):
    assert grown(work, path) < LIMITS.get(work, 45) * MIB


def test_memory_is_measured(path):
    """The search index is in memory, which this must see."""
    assert grown("search", path) > 60 * MIB
