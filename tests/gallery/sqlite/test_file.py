"""The file of a gallery stays the same file, is its owner's alone, and leaves nothing behind."""

import os
import shutil
import sqlite3
import stat
from pathlib import Path

import numpy as np
import pytest

from support import fork_server
from support.gallery_processes import create_slowly, open_and_close
from trine.errors import GalleryError
from trine.gallery import Entry, Gallery
from trine.gallery.sqlite import file as gallery_file

OPENING = {"dimension": 2, "fingerprint": "x", "threshold": 0.5}


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


@pytest.fixture
def path(tmp_path):
    with Gallery.open(tmp_path / "g.db", **OPENING) as gallery:
        gallery.enrol_many(Entry("ann", str(i), [i, 0]) for i in range(3))
    return tmp_path / "g.db"


def deleted(path):
    path.unlink()


def replaced(path):
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    copy.rename(path)


def moved(path):
    path.rename(path.with_name("elsewhere.db"))


def log_deleted(path):
    Path(f"{path}-wal").unlink()


def index_deleted(path):
    Path(f"{path}-shm").unlink()


@pytest.mark.parametrize("gone", [deleted, replaced, moved, log_deleted, index_deleted])
def test_an_open_gallery_whose_file_is_gone_says_so_and_takes_nothing(path, gone):
    gallery = Gallery.open(path)
    assert len(gallery) == 3
    gone(path)
    for use in (
        lambda: gallery.enrol("bob", "b", embedding=[1, 1]),
        lambda: gallery.remove("1"),
        lambda: gallery.forget("ann"),
        lambda: len(gallery),
        lambda: gallery.search(embedding=[0, 0]),
        gallery.check,
        gallery.repair,
    ):
        with pytest.raises(GalleryError, match=r"deleted or replaced after it was opened: nothing was wri"):
            use()
    gallery.close()


def test_a_link_that_points_elsewhere_is_noticed(path, tmp_path):
    other, link = tmp_path / "other.db", tmp_path / "link.db"
    shutil.copy(path, other)
    link.symlink_to(path)
    with Gallery.open(link) as gallery:
        assert gallery.stats().bytes == path.stat().st_size + Path(f"{path}-wal").stat().st_size
        gallery.enrol("bob", "b", embedding=[1, 1])
        link.unlink()
        link.symlink_to(other)
        with pytest.raises(GalleryError, match="deleted or replaced"):
            gallery.enrol("bob", "c", embedding=[1, 1])
    with Gallery.open(path) as gallery:
        assert gallery.identities() == {"ann": 3, "bob": 1}


def test_opening_a_gallery_twice_does_not_unlock_it(path):
    """A second opening of a file in one process must not let another process delete the log."""
    with Gallery.open(path) as gallery:
        gallery.enrol("bob", "b", embedding=[1, 1])
        Gallery.open(path).close()
        with pytest.raises(GalleryError, match="encoder"):
            Gallery.open(path, dimension=2, fingerprint="y")
        other = fork_server.processes().Process(target=open_and_close, args=(path,))
        other.start()
        other.join()
        assert Path(f"{path}-wal").exists()
        gallery.enrol("bob", "c", embedding=[1, 1])
    with Gallery.open(path) as gallery:
        assert gallery.identities() == {"ann": 3, "bob": 2}


def test_a_gallery_and_its_log_are_readable_by_their_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        with Gallery.open(tmp_path / "g.db", **OPENING) as gallery:
            gallery.enrol("ann", "1", embedding=[0, 1])
            assert {left.name: mode(left) for left in tmp_path.iterdir()} == dict.fromkeys(
                ("g.db", "g.db-wal", "g.db-shm"), 0o600
            )
            gallery.copy_to(tmp_path / "copy.db")
            gallery.export_parquet(tmp_path / "table.parquet")
    finally:
        os.umask(before)
    assert {left.name: mode(left) for left in tmp_path.iterdir()} == dict.fromkeys(
        ("g.db", "copy.db", "table.parquet"), 0o600
    )


def test_what_interrupted_creations_left_is_removed_unless_its_process_lives(tmp_path):
    context = fork_server.processes()
    ours, theirs = context.Pipe(duplex=False)
    workers = [context.Process(target=create_slowly, args=(tmp_path / name, theirs)) for name in "ab"]
    left = []
    for worker in workers:
        worker.start()
        left.append(ours.recv())
    dead, alive = left
    workers[0].kill()
    workers[0].join()
    foreign = tmp_path / ".trine-notes"
    foreign.write_text("mine")
    (tmp_path / ".trine-0.unfinished").mkdir()
    (tmp_path / ".trine-1.unfinished").symlink_to(foreign)
    Gallery.open(tmp_path / "g.db", **OPENING).close()
    left = {path.name for path in tmp_path.iterdir()}
    workers[1].kill()
    workers[1].join()
    assert left == {
        *("g.db", ".trine-notes", ".trine-0.unfinished", ".trine-1.unfinished"),
        *(alive.name, f"{alive.name}-wal"),
    }
    assert not dead.exists()


@pytest.mark.parametrize("suffix", gallery_file.SIDE_FILES)
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_pipe_or_a_link_in_place_of_the_log_is_refused(path, tmp_path, suffix, kind):
    side, aim = Path(f"{path}{suffix}"), tmp_path / "aim"
    aim.write_bytes(b"precious")
    os.mkfifo(side) if kind == "pipe" else side.symlink_to(aim)
    with pytest.raises(GalleryError, match=f"g.db{suffix} beside it is not a file; remove it"):
        Gallery.open(path)
    assert aim.read_bytes() == b"precious"


PLANTED = {
    "a trigger": "CREATE TRIGGER t AFTER UPDATE ON state BEGIN DELETE FROM items WHERE item = '1'; END",
    "a view": "CREATE VIEW v AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT 1",
    "a view in place of a table": "DROP TABLE notes; CREATE VIEW notes AS SELECT 'a' AS name, 'b' AS value",
    "a table": "CREATE TABLE more (x)",
    "a virtual table": "CREATE VIRTUAL TABLE words USING fts5(x)",
    "a generated column": "ALTER TABLE notes ADD COLUMN g AS (length(value)) VIRTUAL",
    "a default": "ALTER TABLE notes ADD COLUMN d DEFAULT 7",
    "an index on an expression": "CREATE INDEX i ON items (length(metadata))",
    "a partial index": "CREATE INDEX i ON items (id) WHERE item > 'a'",
    "an index": "CREATE INDEX i ON items (metadata)",
    "no table": "DROP TABLE removed",
    "no index": "DROP INDEX items_changed",
    "no column": "ALTER TABLE items DROP COLUMN source",
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_schema_that_trine_did_not_make_is_refused(path, what):
    connection = sqlite3.connect(path)
    connection.executescript(PLANTED[what])
    connection.close()
    content = path.read_bytes()
    with pytest.raises(GalleryError, match=r"g\.db (contains what trine did not make so|is damaged: it has)"):
        Gallery.open(path)
    assert path.read_bytes() == content


def test_a_schema_that_changes_while_the_gallery_is_open_is_refused(path):
    with Gallery.open(path) as gallery:
        connection = sqlite3.connect(path)
        connection.executescript(PLANTED["a trigger"])
        connection.close()
        for use in (lambda: gallery.enrol("eve", "e", embedding=np.ones(2)), gallery.identities):
            with pytest.raises(GalleryError, match="trigger 't'"):
                use()


def test_statistics_of_sqlite_are_allowed(path):
    connection = sqlite3.connect(path)
    connection.execute("ANALYZE")
    connection.close()
    with Gallery.open(path) as gallery:
        gallery.enrol("bob", "b", embedding=np.ones(2))
        assert gallery.check() == []
