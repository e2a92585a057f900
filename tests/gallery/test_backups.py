"""Copies of a gallery that is in use, made by SQLite's own means."""

import sqlite3
import threading

import numpy as np
import pytest

from trine.gallery import Entry, Gallery

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


@pytest.mark.parametrize("make", [by_backup, by_vacuum_into])
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
