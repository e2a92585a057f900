"""The file behind a gallery: what it refuses, and what it promises the disk."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from support.gallery_stores import without_privileges
from trine.errors import GalleryError
from trine.gallery import Binding, Entry, Gallery, SqliteStore, Store
from trine.gallery.entries import Record
from trine.gallery.errors import UnusableStoreError

OPENING = {"dimension": 2, "fingerprint": "by hand", "threshold": 1.0}
BINDING = Binding(2, "by hand", "euclidean")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "people.db"


def filled(path, count=3):
    with Gallery.open(path, **OPENING) as gallery:
        for i in range(count):
            gallery.enrol("ann", str(i), embedding=[float(i), 0.0])
    return path


def record(item, *vector):
    return Record("ann", item, np.array(vector, dtype=np.float32))


def test_a_write_waits_for_the_disk(path):
    store = SqliteStore(path, binding=BINDING)
    pragma = {name: store._database.run(f"PRAGMA {name}").fetchone()[0] for name in
              ("journal_mode", "synchronous", "foreign_keys", "secure_delete")}  # fmt: skip
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    assert isinstance(store.address, str)
    _: Store = store
    store.close()


def test_what_is_written_reaches_the_disk_before_the_call_returns(path, monkeypatch):
    folders = []
    real = os.fsync

    def traced(descriptor):
        folders.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", traced)
    SqliteStore(path, binding=BINDING).close()
    file, folder = folders  # SQLite sees to the rest
    assert (file.endswith(".unfinished"), folder) == (True, str(path.parent))


def test_closing_leaves_one_file_and_twice_is_no_error(path):
    gallery = Gallery.open(path, **OPENING)
    gallery.enrol("ann", "1", embedding=[0.0, 0.0])
    gallery.close()
    gallery.close()
    assert [left.name for left in path.parent.iterdir()] == ["people.db"]
    for use in (
        gallery.identities,
        lambda: gallery.search(embedding=[0.0, 0.0]),
        lambda: gallery.remove("1"),
    ):
        with pytest.raises(GalleryError, match="is closed: open it again"):
            use()


def test_nothing_there(path):
    with pytest.raises(GalleryError, match=r"the gallery .*people\.db does not exist: enrol into it first"):
        Gallery.open(path)
    with pytest.raises(GalleryError, match="does not exist"):
        Gallery.open(path, **OPENING, create=False)
    with pytest.raises(GalleryError, match="cannot be created: the folder"):
        Gallery.open(path.parent / "nowhere" / "people.db", **OPENING)
    assert list(path.parent.iterdir()) == []


def test_a_folder(path):
    with pytest.raises(GalleryError, match=r"is a folder, not a gallery: name a file, such as .*people\.db"):
        Gallery.open(path.parent, **OPENING)


def test_an_empty_file(path):
    path.touch()
    with pytest.raises(
        GalleryError, match="is an empty file, not a gallery: remove it, or choose a new path"
    ):
        Gallery.open(path, **OPENING)
    assert path.read_bytes() == b""


def test_a_foreign_file_is_refused_and_left_alone(path):
    contents = [b"hello " * 100, b"SQLite format 3", os.urandom(5000)]
    foreign = path.with_name("foreign.db")
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE something (x)")
    connection.commit()
    connection.close()
    contents.append(foreign.read_bytes())
    foreign.unlink()
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(GalleryError, match="is not a trine gallery: choose another file"):
            Gallery.open(path, **OPENING)
        assert path.read_bytes() == content
    assert [left.name for left in path.parent.iterdir()] == ["people.db"]


def test_a_newer_schema(path):
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    # Not yet in the file itself, but in the log beside it.
    with pytest.raises(
        GalleryError, match=r"newer trine \(schema version 9, supported up to 2\): upgrade with: pip"
    ):
        Gallery.open(path, **OPENING)
    connection.close()
    with pytest.raises(GalleryError, match="newer trine"):
        Gallery.open(path, **OPENING)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.99])
def test_a_truncated_file(path, share):
    filled(path, count=50)
    size = path.stat().st_size
    os.truncate(path, int(size * share))
    with pytest.raises(GalleryError, match=r"is damaged or cut short|is not a trine gallery"):
        Gallery.open(path, **OPENING)


def overwrite(path, content):
    """Changes a file in place, as another process does: this one must not close it while it is open."""
    code = "import sys; open(sys.argv[1], 'r+b').write(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", code, path], input=content, check=True)


@pytest.mark.parametrize("checkpoint", ["PASSIVE", "TRUNCATE"])
@pytest.mark.parametrize("how", [0, 0.3, 0.7, 0.99, "zeros", "noise", "another", "an older state"])
def test_a_file_that_changes_under_an_open_gallery_is_not_usable(path, tmp_path, how, checkpoint):
    older = filled(tmp_path / "older.db", 40).read_bytes()
    path.write_bytes(older)
    with Gallery.open(path, **OPENING) as gallery:
        gallery.enrol_many(Entry("bob", f"b/{i}", [9.0, i]) for i in range(200))
        gallery._store._database.run(f"PRAGMA wal_checkpoint({checkpoint})").fetchall()
        gallery.check_usable()
        size = path.stat().st_size
        if isinstance(how, float | int):
            os.truncate(path, int(size * how))
        else:
            other = filled(tmp_path / "another.db", 70).read_bytes()
            content = {
                "zeros": bytes(size),
                "noise": os.urandom(size),
                "another": other,
                "an older state": older,
            }
            overwrite(path, content[how])
        assert len(gallery) == 240, "it is in memory"
        with pytest.raises(UnusableStoreError, match=r"damaged|cut short|overwritten"):
            gallery.check_usable()


def test_a_gallery_that_others_write_to_is_usable(path):
    """Also while they move the log into the file, and while they rewrite it."""
    writing, done = Gallery.open(path, **OPENING), threading.Event()

    def write():
        database = writing._store._database
        database.run("PRAGMA wal_autocheckpoint = 5")
        for round_ in range(12):
            writing.enrol_many(Entry(f"p{round_}", f"{round_}/{i}", [0.0, i]) for i in range(300))
            if round_ % 3:
                writing.forget(f"p{round_}")
        done.set()

    with writing, Gallery.open(path, **OPENING) as gallery:
        thread = threading.Thread(target=write)
        thread.start()
        checks = 0
        while not done.is_set():
            gallery.check_usable()
            checks += 1
        thread.join()
        assert checks > 10
    with pytest.raises(UnusableStoreError, match="is closed"):
        gallery.check_usable()


def test_a_damaged_binding(path):
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM gallery WHERE name = 'distance'")
        connection.execute("DELETE FROM notes")
    connection.close()
    with pytest.raises(
        GalleryError, match=r"is damaged: its table 'gallery' cannot be read .* from a backup"
    ):
        Gallery.open(path, **OPENING)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("dtype", "float16", "says float16 of 2 numbers, but its embeddings have another size"),
        ("dimension", "3", "says float32 of 3 numbers, but its embeddings have another size"),
        ("dtype", "float33", "unknown dtype 'float33': did you mean 'float32'"),
        ("distance", "euclidian", "unknown distance 'euclidian': did you mean 'euclidean'"),
    ],
)
def test_a_binding_that_does_not_fit_the_embeddings_deletes_none(path, name, value, why):
    filled(path)
    for copy in (True, False):
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE gallery SET value = ? WHERE name = ?", (value, name))
            if not copy:
                connection.execute("DELETE FROM notes")
        connection.close()
        said = f"says {name} '{value}', the copy .* not touched: repair restores it" if copy else why
        with pytest.raises(GalleryError, match=said):
            Gallery.open(path, create=False)  # before check and repair, which would take all for damaged
        if copy:
            assert Gallery.repair_binding(path).endswith(f"restored from its copy: {name}")
            with Gallery.open(path, create=False) as gallery:
                assert (len(gallery), gallery.check()) == (3, [])
        else:
            with pytest.raises(GalleryError, match="cannot be restored, because it has no sound copy"):
                Gallery.repair_binding(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (3,)
    connection.close()


def test_through_a_link_the_log_beside_the_file_is_read(path, tmp_path):
    (tmp_path / "home").mkdir()
    link = tmp_path / "home" / "people.db"
    link.symlink_to(path)
    copy = tmp_path / "copy"
    copy.mkdir()
    with Gallery.open(path, dimension=64, fingerprint="f") as gallery:
        gallery._store._database.run("PRAGMA wal_autocheckpoint = 0")
        gallery.enrol_many(Entry("ann", str(i), np.ones(64)) for i in range(300))
        size = gallery.stats().bytes
        for file in (path, path.with_name("people.db-wal")):
            shutil.copy(file, copy)
    link.unlink()
    link.symlink_to(copy / "people.db")
    # A checkpoint that was killed after it wrote the first page: the file promises more than it holds.
    log = (copy / "people.db-wal").read_bytes()
    page = int.from_bytes(log[8:12], "big")
    frames = range(32, len(log) - page, 24 + page)
    first = [log[at + 24 : at + 24 + page] for at in frames if log[at : at + 4] == b"\0\0\0\1"][-1]
    with (copy / "people.db").open("r+b") as file:
        file.write(first)
    with Gallery.open(link, create=False) as gallery:
        assert len(gallery) == 300
        assert gallery.stats().bytes >= size


def test_a_locked_file(path):
    filled(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = SqliteStore(path, wait=0.01)
    with pytest.raises(
        GalleryError, match=r"locked by another process for more than 0\.01 s: nothing was written"
    ):
        store.put([record("9", 9, 9)])
    assert len(store) == 3  # readers do not wait for a writer
    other.execute("ROLLBACK")
    other.close()
    assert store.put([record("9", 9, 9)]).new == 1
    store.close()


def test_a_full_disk_leaves_the_gallery_as_it_was(path):
    store = SqliteStore(filled(path))
    pages = store._database.run("PRAGMA page_count").fetchone()[0]
    store._database.run(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(
        GalleryError, match="is on a full disk: nothing of this call was written; free space and try again"
    ):
        store.put([record(f"new {i}", i, i) for i in range(1000)])
    assert len(store) == 3
    assert len(store.search(np.zeros((1, 2), dtype=np.float32), k=9)[0]) == 3
    store._database.run("PRAGMA max_page_count = 100000")
    assert store.put([record("new", 1, 1)]).new == 1
    store.close()


@pytest.mark.parametrize(("of_folder", "of_file"), [(0o755, 0o444), (0o777, 0o444), (0o755, 0o666)])
def test_a_file_that_may_only_be_read(of_folder, of_file):
    if os.geteuid() and of_folder == 0o755:
        of_folder = 0o555
    with tempfile.TemporaryDirectory() as folder:
        path = filled(Path(folder) / "people.db")
        path.chmod(of_file)
        Path(folder).chmod(of_folder)
        with without_privileges(), Gallery.open(path, **OPENING) as gallery:
            assert gallery.identify(embedding=[1.0, 0.0]).identity == "ann"
            assert len(gallery) == 3
            with pytest.raises(
                GalleryError, match="is read-only: nothing was written; make the file and its folder writable"
            ):
                gallery.enrol("bob", "9", embedding=[9.0, 9.0])
            assert len(gallery) == 3
        Path(folder).chmod(0o755)


def test_a_gallery_that_may_not_be_read_or_created():
    with tempfile.TemporaryDirectory() as folder:
        path = filled(Path(folder) / "people.db")
        path.chmod(0)
        Path(folder).chmod(0o555)
        with without_privileges():
            with pytest.raises(GalleryError, match="cannot be read: Permission denied"):
                Gallery.open(path, **OPENING)
            with pytest.raises(GalleryError, match=r"cannot be created .*: choose a writable folder"):
                Gallery.open(path.with_name("new.db"), **OPENING)
        Path(folder).chmod(0o755)


def test_a_path_with_signs_that_addresses_give_a_meaning(tmp_path):
    path = tmp_path / "what? 100 % ünï#code;.db"
    filled(path)
    with Gallery.open(path) as gallery:
        assert len(gallery) == 3
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


def test_an_identity_in_one_call_is_written_together_or_not_at_all(path):
    store = SqliteStore(filled(path))
    run = store._database.run
    run(
        "CREATE TEMP TRIGGER fail AFTER INSERT ON items WHEN NEW.item = '9'"
        " BEGIN SELECT RAISE(FAIL, 'no luck'); END"
    )
    with pytest.raises(GalleryError, match="no luck"):
        store.put([record("8", 8, 8), record("9", 9, 9)])
    run("DROP TRIGGER fail")
    assert len(store) == 3
    assert store.put([record("8", 8, 8), record("9", 9, 9)]).new == 2
    store.close()


DEEP = "'" + "[" * 3000 + "]" * 3000 + "'"


@pytest.mark.parametrize(
    ("change", "damage"),
    [
        ("UPDATE items SET metadata = 'x' WHERE id = 2", "metadata of an item cannot be read"),
        ("UPDATE items SET metadata = '[]' WHERE id = 2", "metadata of an item is not a JSON object"),
        ("UPDATE items SET metadata = 5 WHERE id = 2", "metadata of an item is not a JSON object"),
        (
            f"UPDATE items SET metadata = {DEEP} WHERE id = 2",
            "more than 100 lists and objects inside each other",
        ),
        ("UPDATE items SET identity = 99 WHERE id = 2", "an item belongs to a missing identity"),
        ("UPDATE items SET item = x'ff' WHERE id = 2", "some items are bytes, not str"),
        ("UPDATE identities SET name = x'ff'", "some identities are bytes, not str"),
        ("UPDATE state SET changed = 'x'", "its table 'state' does not say the revision"),
        (f"UPDATE state SET changed = {2**63 - 1}", "its table 'state' does not say the revision"),
        (
            "UPDATE state SET clusters = 9e999",
            "its table 'state' does not say the revision and what it counts",
        ),
        (f"UPDATE state SET clusters = {2**63 - 1}", "its table 'state' does not say the revision"),
        (f"UPDATE items SET cluster = {2**63 - 1}", "some clusters have numbers that none can have"),
        ("DELETE FROM state", "its table 'state' does not say the revision"),
        ("PRAGMA user_version = 0", "its schema has the version 0"),
        ("INSERT INTO notes VALUES ('recall', 'x')", "its note 'recall' cannot be read"),
        ("INSERT INTO notes VALUES ('recall', '[]')", "its note 'recall' is not one of a recall"),
        ("INSERT INTO notes VALUES ('x', x'ff')", "some notes are bytes, not str"),
    ],
)
def test_what_trine_did_not_write_is_damage_in_one_sentence(change, damage, path):
    filled(path)
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(change)
    connection.close()
    with pytest.raises(GalleryError, match="is damaged: ") as raised:
        read_everything(path)
    assert damage in str(raised.value)


def read_everything(path):
    with Gallery.open(path) as gallery:
        gallery.search(embedding=[0.0, 0.0], where={"n": (None, 5)})
        list(gallery.entries())
        gallery.identities()
        gallery._store.clusters()
        gallery.stats()
