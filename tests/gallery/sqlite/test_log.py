"""A file that was put back beside the log of another state of it is refused, and never one that was not."""

import shutil
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from support import fork_server
from support.gallery_processes import vacuum_into, write_and_die
from trine.errors import GalleryError
from trine.gallery import Entry, Gallery
from trine.gallery.sqlite.log import check_log

OPENING = {"dimension": 2, "fingerprint": "x", "threshold": 0.5}


def filled(path, count, name="old"):
    with Gallery.open(path, **OPENING) as gallery:
        gallery.enrol_many(Entry(name, f"{name} {i}", [i, 0]) for i in range(count))


def killed_after(path, count, name="new", then=None):
    """Writes some items in a process that leaves its log behind."""
    worker = fork_server.processes().Process(target=write_and_die, args=(path, count, name, then))
    worker.start()
    worker.join()
    assert worker.exitcode == -9
    assert Path(f"{path}-wal").stat().st_size > 0


def by_copy(path, backup):
    shutil.copy(path, backup)


def by_backup(path, backup):
    source, target = sqlite3.connect(path), sqlite3.connect(backup)
    source.backup(target)
    source.close()
    target.close()


@pytest.mark.parametrize("make", [by_copy, vacuum_into, by_backup])
@pytest.mark.parametrize("between", [0, 1, 200])
def test_a_backup_beside_the_log_of_the_file_it_replaced_is_refused(tmp_path, make, between):
    path, backup = tmp_path / "g.db", tmp_path / "backup.db"
    filled(path, 20)
    make(path, backup)
    if between:
        filled(path, between, "between")
    killed_after(path, 2)
    crashed = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    shutil.copy(backup, path)
    for _ in range(2):
        with pytest.raises(GalleryError, match=r"the log of another state .* run: mv .* restore BACKUP"):
            Gallery.open(path)
    assert Path(f"{path}-wal").read_bytes() == crashed[1]
    # The commands of the message: the file as it is, or the log with its own file.
    Path(f"{path}-wal").rename(f"{path}-wal.old")
    with Gallery.open(path) as gallery:
        assert (len(gallery), gallery.check()) == (20, [])
    Path(f"{path}-wal.old").rename(f"{path}-wal")
    path.write_bytes(crashed[0])
    with Gallery.open(path) as gallery:
        assert (len(gallery), gallery.check()) == (22 + between, [])


def test_a_copy_made_while_in_use_is_refused_beside_a_later_log(tmp_path):
    path, backup = tmp_path / "g.db", tmp_path / "backup.db"
    filled(path, 20)
    killed_after(path, 3, then=(vacuum_into, path, backup))
    shutil.copy(backup, path)
    for _ in range(2):
        with pytest.raises(GalleryError, match="the log of another state"):
            Gallery.open(path)
    Path(f"{path}-wal").unlink()
    with Gallery.open(path) as gallery:
        assert (len(gallery), gallery.check()) == (21, [])


def test_a_new_gallery_is_not_made_beside_the_log_of_another(tmp_path):
    path = tmp_path / "g.db"
    filled(path, 3)
    killed_after(path, 2)
    path.unlink()
    with pytest.raises(GalleryError, match=r"cannot be created beside g\.db-wal, the log of another gallery"):
        Gallery.open(path, **OPENING)
    assert not path.exists()


def test_a_file_moved_into_its_log_again_and_again_is_its_own(tmp_path):
    """At every point of a checkpoint that was cut short, the log belongs to the file."""
    path = tmp_path / "g.db"
    filled(path, 50)
    before = path.read_bytes()
    killed_after(path, 3)
    log, began = Path(f"{path}-wal").read_bytes(), path.read_bytes()
    assert began != before  # it carries the new generation
    page = int.from_bytes(log[8:12], "big")
    frames = range(32, len(log), 24 + page)
    latest = {int.from_bytes(log[at : at + 4], "big"): log[at + 24 : at + 24 + page] for at in frames}
    moved = bytearray(began)
    for number, content in sorted(latest.items()):
        start = (number - 1) * page
        moved[start : start + page] = content.ljust(page, b"\0")
        path.write_bytes(moved)
        Path(f"{path}-wal").write_bytes(log)
        check_log(path)
    path.write_bytes(began[: len(moved)])
    with Gallery.open(path) as gallery:
        assert (len(gallery), gallery.check()) == (53, [])


def test_a_log_that_is_older_than_its_file_is_refused(tmp_path):
    path = tmp_path / "g.db"
    filled(path, 3)
    killed_after(path, 2)
    log = Path(f"{path}-wal").read_bytes()
    filled(path, 30, "later")
    Path(f"{path}-wal").write_bytes(log)
    with pytest.raises(GalleryError, match="the log of another state"):
        Gallery.open(path)


def test_a_gallery_without_generations_gets_one_with_the_first_write(tmp_path):
    path = tmp_path / "g.db"
    filled(path, 3)
    with sqlite3.connect(path) as connection:
        for column in ("generation", "before", "began"):
            connection.execute(f"ALTER TABLE state DROP COLUMN {column}")
    connection.close()
    old = path.read_bytes()
    with Gallery.open(path) as gallery:
        assert len(gallery) == 3
    assert path.read_bytes() == old
    killed_after(path, 2)
    with Gallery.open(path) as gallery:
        assert (len(gallery), gallery.check()) == (5, [])
    killed_after(path, 2, "newer")
    path.write_bytes(old)
    with pytest.raises(GalleryError, match="the log of another state"):
        Gallery.open(path)


def test_a_stray_rollback_journal_is_refused(tmp_path):
    path, copy = tmp_path / "g.db", tmp_path / "copy.db"
    filled(path, 20)
    vacuum_into(path, copy)
    killer = (
        "import os, sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN IMMEDIATE')\n"
        'c.execute("UPDATE items SET metadata = hex(zeroblob(9000))")\nos._exit(9)'
    )
    subprocess.run([sys.executable, "-c", killer, str(copy)])
    journal, half = Path(f"{copy}-journal").read_bytes(), copy.read_bytes()
    assert journal[:8] != bytes(8)
    with Gallery.open(copy) as gallery:  # its own journal is applied
        assert (len(gallery), gallery.check()) == (20, [])
    assert half != path.read_bytes()
    for _ in range(3):
        filled(path, 25)
        filled(path, 26)
    Path(f"{path}-journal").write_bytes(journal)
    with pytest.raises(GalleryError, match=r"g\.db-journal"):
        Gallery.open(path)


def test_a_journal_that_sqlite_would_not_apply_is_not_read(tmp_path):
    path = tmp_path / "g.db"
    filled(path, 20)
    with Path(f"{path}-journal").open("wb") as journal:
        for start in (
            b"",
            bytes.fromhex("d9d505f920a163d7ffffffff") + bytes(8) + struct.pack(">II", 512, 4096),
        ):
            journal.seek(0)
            journal.write(start)
            journal.truncate(1 << 36)  # 64 GiB of nothing
            check_log(path)
