"""The kinds of store that a gallery may lie in; each gives an address where nothing is yet."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from support.postgres_server import a_gallery, drop

# In memory where there is such a folder: what is tested on all stores is the answer, not the disk.
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


STORES = {"sqlite": sqlite, "postgres": postgres}

EXAMPLES = {"postgres": 12}
"""How many sequences of calls are tried on a store that is slower than a file; 60 on any other."""


@contextmanager
def without_privileges():
    """Permissions hold for everybody but the superuser, so a test that runs as one steps down."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
