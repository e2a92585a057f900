"""The stores that a gallery can live in; each yields the address of an empty one."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.postgres_server import a_gallery, drop
from trine.gallery import LanceStore, PostgresStore, SqliteStore
from trine.gallery.index import IndexSettings
from trine.gallery.lance import LanceSettings

# In memory where possible: tests on all stores compare answers and do not exercise the disk.
FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None


@contextmanager
def sqlite():
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        yield Path(folder) / "g.db"


@contextmanager
def postgres():
    address = a_gallery("exact")
    yield address
    drop(address)


@contextmanager
def lance():
    pytest.importorskip("lancedb", reason="needs lancedb: pip install 'trine[lancedb]'")
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        yield f"lance://{folder}/people"


STORES = {"sqlite": sqlite, "postgres": postgres, "lance": lance}


def open_with_small_segments(address, binding):
    """Opens a store whose index in memory, where it has one, is merged all the time."""
    if str(address).startswith("lance://"):
        settings = LanceSettings(compact=3, keep=0)
        return LanceStore(address, binding=binding, settings=settings, index=IndexSettings(recent=3))
    if "://" in str(address):
        return PostgresStore(str(address), binding=binding)
    return SqliteStore(Path(address), binding=binding, index=IndexSettings(recent=3))


EXAMPLES = {"postgres": 12, "lance": 3}
"""Number of call sequences to try on a store slower than a file; 60 on others."""


@contextmanager
def without_privileges():
    """Drops root privileges: file permissions do not bind the superuser."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
