"""Copies of a gallery that is in use, made by SQLite's own means and by trine."""

import os
import shutil
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from support import fork_server
from support.gallery_processes import write_and_die
from support.gallery_stores import STORES
from trine.errors import GalleryError
from trine.gallery import Entry, Gallery
from trine.gallery.sqlite.file import has_log

OPENING = {"dimension": 2, "fingerprint": "by hand", "threshold": 1.0}


def by_backup(path, copy):
    source, target = sqlite3.connect(path), sqlite3.connect(copy)
    source.backup(target, pages=5, sleep=0.001)  # a few pages at a time, so that writers come in between
    target.close()
    source.close()


def by_vacuum_into(path, copy):
    source = sqlite3.connect(path)
    source.execute("VACUUM INTO ?", (str(copy),))
    source.close()


def by_trine(path, copy):
    with Gallery.open(path) as gallery:
        gallery.backup(copy)


@pytest.mark.parametrize("make", [by_backup, by_vacuum_into, by_trine])
def test_a_backup_made_while_others_write_opens(tmp_path, make):
    """Chunks come whole, so a copy holds a number of whole ones, and all that were there when it began."""
    path, copy, chunk = tmp_path / "g.db", tmp_path / "copy.db", 50
    over = threading.Event()
    chunks = 0

    def enrol():
        nonlocal chunks
        with Gallery.open(path, **OPENING) as gallery:
            while not over.is_set():
                entries = [
                    Entry(f"person {i % 7}", f"{chunks}/{i}", [chunks, i], metadata={"chunk": chunks})
                    for i in range(chunk)
                ]
                gallery.enrol_many(entries)
                chunks += 1

    Gallery.open(path, **OPENING).close()
    writer = threading.Thread(target=enrol)
    writer.start()
    try:
        for _ in range(3):
            while chunks < 5:
                over.wait(0.01)
            before = chunks
            copy.unlink(missing_ok=True)
            make(path, copy)
            after = chunks
            with Gallery.open(copy) as gallery:
                assert gallery.check() == []
                assert before * chunk <= len(gallery) <= (after + 1) * chunk
                assert len(gallery) % chunk == 0
                last = len(gallery) // chunk - 1
                hit = gallery.search(embedding=[last, 3], k=1)[0]
                assert (hit.item, hit.score, hit.metadata) == (f"{last}/3", 0.0, {"chunk": last})
                gallery.enrol("new", "new", embedding=np.zeros(2))  # and is a gallery like any other
    finally:
        over.set()
        writer.join()


def test_a_plain_copy_of_a_closed_gallery_is_one_too(tmp_path):
    path, copy = tmp_path / "g.db", tmp_path / "copy.db"
    with Gallery.open(path, **OPENING) as gallery:
        gallery.enrol("ann", "1", embedding=[1, 2])
    assert [left.name for left in tmp_path.iterdir()] == ["g.db"]  # nothing is left beside it
    copy.write_bytes(path.read_bytes())
    with Gallery.open(copy) as gallery:
        assert gallery.identities() == {"ann": 1}


@pytest.fixture(params=STORES)
def address(request):
    with STORES[request.param]() as found:
        yield found


def filled(gallery, count=5000):
    gallery.enrol_many(
        Entry(f"person {i % 40}", f"item {i}", [i, -i], metadata={"n": i}, source=f"/pictures/{i}")
        for i in range(count)
    )
    gallery.cluster(threshold=0.1)
    gallery.remove("item 7")


def contents(gallery):
    records = {
        r.item: (r.identity, r.embedding.tobytes(), r.metadata, r.source) for r in gallery._store.scan()
    }
    notes = {name: text for name, text in gallery._store.notes().items() if name != "calibrations"}
    return records, gallery._store.clusters(), notes, gallery.binding


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_backup_of_any_store_restores_to_any_store(address, tmp_path, dtype):
    backup = tmp_path / "backup.db"
    with Gallery.open(address, **OPENING, dtype=dtype) as gallery:
        filled(gallery, 200)
        before = contents(gallery)
        assert gallery.backup(backup) == 199
        with pytest.raises(GalleryError, match=r"backup\.db exists already: .* pass overwrite=True"):
            gallery.backup(backup)
        gallery.enrol("later", "later", embedding=[1, 1])
        assert gallery.backup(backup, overwrite=True) == 200
        gallery.remove("later")
        gallery.backup(backup, overwrite=True)
        gallery.enrol("later", "later", embedding=[1, 1])
        with pytest.raises(GalleryError, match=r"exists already: choose another .*, or pass overwrite=True"):
            Gallery.restore(backup, address)
        kept = Gallery.restore(backup, address, overwrite=True)
        for use in (lambda: gallery.enrol("x", "x", embedding=[1, 1]), gallery.identities):
            with pytest.raises(GalleryError, match="open it again"):
                use()
    assert backup.stat().st_mode & 0o777 == 0o600
    assert [left.name for left in tmp_path.iterdir()] == ["backup.db"]
    with Gallery.open(address) as gallery:
        assert contents(gallery) == before
        assert gallery.check() == []
        (new,) = gallery._store.new_clusters(1)
        assert new > max(before[1].values())
        gallery.enrol("more", "more", embedding=[1, 1])
    with Gallery.open(kept if "://" not in kept else _same_server(address, kept)) as old:
        assert (len(old), "later" in old.identities()) == (200, True)
    assert Gallery.restore(backup, tmp_path / "file.db") is None
    with Gallery.open(tmp_path / "file.db") as gallery:
        assert contents(gallery) == before


def _same_server(address, kept):
    if kept.startswith("lance://"):
        return kept
    return str(address).partition("&gallery=")[0] + "&gallery=" + kept.rpartition("gallery=")[2]


def test_a_restoration_puts_the_log_of_the_replaced_file_away(tmp_path):
    """As the message about a strange log advises: after the copy was put back by hand, and without that."""
    for by_hand in (True, False):
        path, backup = tmp_path / f"g{by_hand}.db", tmp_path / f"backup{by_hand}.db"
        with Gallery.open(path, **OPENING) as gallery:
            gallery.enrol("ann", "1", embedding=[1, 2])
            gallery.backup(backup)
        worker = fork_server.processes().Process(target=write_and_die, args=(path, 3, "new"))
        worker.start()
        worker.join()
        if by_hand:
            shutil.copy(backup, path)
            with pytest.raises(GalleryError, match="trine gallery restore BACKUP"):
                Gallery.open(path)
        kept = Gallery.restore(backup, path, overwrite=True)
        with Gallery.open(path) as gallery:
            assert (gallery.identities(), gallery.check()) == ({"ann": 1}, [])
        assert not has_log(path)
        assert Path(kept).stat().st_mode & 0o777 == 0o600
        if not by_hand:
            with Gallery.open(kept) as gallery:
                assert gallery.identities() == {"ann": 1, "new": 3}
        else:
            assert Path(f"{kept}-wal").exists()


def test_a_backup_that_is_damaged_restores_nothing(tmp_path):
    path, backup = tmp_path / "g.db", tmp_path / "backup.db"
    with Gallery.open(path, **OPENING) as gallery:
        filled(gallery)
        gallery.backup(backup)
    content = bytearray(backup.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3000] = bytes(3000)
    backup.write_bytes(content)
    before = path.read_bytes()
    for target in (path, tmp_path / "new.db"):
        with pytest.raises(GalleryError):
            Gallery.restore(backup, target, overwrite=True)
    assert path.read_bytes() == before
    assert {left.name for left in tmp_path.iterdir()} == {"g.db", "backup.db"}
    with pytest.raises(GalleryError, match="cannot be restored from itself"):
        Gallery.restore(path, path, overwrite=True)
    with pytest.raises(GalleryError, match="does not exist"):
        Gallery.restore(tmp_path / "none.db", tmp_path / "new.db")


def test_a_backup_that_cannot_be_written_leaves_nothing(tmp_path):
    with Gallery.open(tmp_path / "g.db", **OPENING) as gallery:
        gallery.enrol("ann", "1", embedding=[1, 2])
        with pytest.raises(GalleryError, match=r"the folder .*nowhere does not exist"):
            gallery.backup(tmp_path / "nowhere" / "b.db")
        (tmp_path / "b.db-wal").write_bytes(b"a log")
        with pytest.raises(GalleryError, match=r"cannot be written beside b\.db-wal"):
            gallery.backup(tmp_path / "b.db")
        assert not (tmp_path / "b.db").exists()


def test_a_backup_replaces_neither_its_own_gallery_nor_what_is_no_file(tmp_path):
    path, pipe = tmp_path / "g.db", tmp_path / "pipe.db"
    os.mkfifo(pipe)
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "folder.db").mkdir()
    with Gallery.open(path, **OPENING) as gallery:
        gallery.enrol("ann", "1", embedding=[1, 2])
        for itself in (path, tmp_path / "link.db"):
            with pytest.raises(GalleryError, match="cannot be backed up to itself"):
                gallery.backup(itself, overwrite=True)
        gallery.enrol("ann", "2", embedding=[1, 2])  # still the same file
        for other in (pipe, tmp_path / "folder.db"):
            with pytest.raises(GalleryError, match="cannot be replaced, because it is not a file"):
                gallery.backup(other, overwrite=True)
            with pytest.raises(GalleryError, match="cannot be replaced, because it is not a file"):
                Gallery.restore(path, other, overwrite=True)
    assert {left.name for left in tmp_path.iterdir()} == {"g.db", "link.db", "pipe.db", "folder.db"}
