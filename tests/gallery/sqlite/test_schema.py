"""Galleries that an older trine wrote, and what is left of them when the way to the new is cut short."""

import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest

from support.gallery_stores import without_privileges
from trine.errors import GalleryError
from trine.gallery import Gallery
from trine.gallery.sqlite import database as database_of
from trine.gallery.sqlite.schema import APPLICATION, SCHEMA

# The tables of version 1, as trine wrote them.
VERSION_1 = """
CREATE TABLE gallery (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE identities (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    item TEXT NOT NULL UNIQUE,
    identity INTEGER NOT NULL REFERENCES identities (id),
    embedding BLOB NOT NULL CHECK (length(embedding) = 8),
    metadata TEXT NOT NULL,
    changed INTEGER NOT NULL
);
CREATE INDEX items_of_identity ON items (identity);
CREATE INDEX items_changed ON items (changed);
CREATE TABLE removed (id INTEGER PRIMARY KEY, changed INTEGER NOT NULL);
CREATE INDEX removed_changed ON removed (changed);
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), changed INTEGER NOT NULL);
INSERT INTO state VALUES (1, 0);
"""
BINDING = {
    "dimension": "2", "distance": "euclidean", "fingerprint": "by hand", "model": "",
    "threshold": '{"value": 1.0, "far": null, "provisional": false}', "calibration": "null",
}  # fmt: skip
ROWS = {f"item {i}": (f"id {i % 7}", (float(i), -float(i)), f'{{"number": {i}}}') for i in range(300)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(
        f"BEGIN; {VERSION_1} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 1; COMMIT;"
    )
    connection.executemany("INSERT INTO gallery VALUES (?, ?)", BINDING.items())
    connection.executemany("INSERT INTO identities (name) VALUES (?)", [(f"id {i}",) for i in range(7)])
    connection.executemany(
        "INSERT INTO items (item, identity, embedding, metadata, changed) VALUES"
        " (?, (SELECT id FROM identities WHERE name = ?), ?, ?, 1)",
        [(item, who, np.array(row, dtype="<f4").tobytes(), meta) for item, (who, row, meta) in ROWS.items()],
    )
    connection.execute("UPDATE state SET changed = 1")
    connection.close()
    return path


def contents(path):
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT item, name, embedding, metadata FROM items JOIN identities ON identities.id = identity"
        ).fetchall()
    connection.close()
    return {
        item: (who, tuple(np.frombuffer(row, dtype="<f4").tolist()), meta) for item, who, row, meta in rows
    }


def version(path):
    with sqlite3.connect(path) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return found


def test_an_older_gallery_is_brought_up_to_date_and_loses_nothing(path):
    with Gallery.open(path, dimension=2, fingerprint="by hand") as gallery:
        assert len(gallery) == 300
        assert gallery.binding.dtype == "float32"
        assert gallery.threshold.value == 1.0
        assert gallery.get("item 7").metadata == {"number": 7}
        assert gallery.identify(embedding=[8.0, -8.0]).item == "item 8"
        assert gallery._store.check() == []
        gallery.enrol("new", "new", embedding=[-1.0, -1.0])
        gallery.remove("new")
    assert contents(path) == ROWS
    assert version(path) == SCHEMA
    Gallery.open(path).close()


@pytest.mark.parametrize("after", range(7))
def test_a_way_to_the_new_that_is_cut_short_leaves_the_old(path, after, monkeypatch):
    real = database_of.Database.run
    count = 0

    def cut_short(self, statement, values=()):
        nonlocal count
        count += statement.startswith(("ALTER", "CREATE", "INSERT", "PRAGMA user_version ="))
        if count > after:
            raise KeyboardInterrupt
        return real(self, statement, values)

    monkeypatch.setattr(database_of.Database, "run", cut_short)
    with pytest.raises(KeyboardInterrupt):
        Gallery.open(path)
    monkeypatch.undo()
    assert count == after + 1
    assert version(path) == 1
    assert contents(path) == ROWS
    Gallery.open(path).close()
    assert (version(path), contents(path)) == (SCHEMA, ROWS)


def test_two_who_open_an_older_gallery_at_once_do_not_disturb_each_other(path, monkeypatch):
    real = database_of.Database.run

    def another_is_first(self, statement, values=()):
        if statement == "BEGIN IMMEDIATE":
            monkeypatch.undo()
            Gallery.open(path).close()
        return real(self, statement, values)

    monkeypatch.setattr(database_of.Database, "run", another_is_first)
    with Gallery.open(path) as gallery:
        assert len(gallery) == 300
        gallery.enrol("new", "new", embedding=[0.0, 0.0])
    assert version(path) == SCHEMA


def test_an_older_gallery_that_may_only_be_read_says_so(path):
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(path, folder))
        copy.chmod(0o444)
        Path(folder).chmod(0o555)
        with (
            without_privileges(),
            pytest.raises(GalleryError, match="was written by an older trine and is read-only: make"),
        ):
            Gallery.open(copy)
        Path(folder).chmod(0o755)
    assert version(path) == 1
