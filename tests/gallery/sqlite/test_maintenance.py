"""Forgetting leaves no trace, and damage is found and repaired."""

import json
import os
import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from trine.errors import GalleryError
from trine.gallery import Entry, Gallery
from trine.gallery.sqlite import maintenance


@pytest.fixture
def gallery(tmp_path):
    with Gallery.open(tmp_path / "g.db", dimension=2, fingerprint="by hand", threshold=1.0) as opened:
        for identity, item, row in [
            ("ann", "a1", (0, 0)), ("ann", "a2", (0, 1)), ("bob", "b1", (5, 0)), ("bob", "b2", (5, 1)),
        ]:  # fmt: skip
            opened.enrol(identity, item, embedding=row, metadata={"of": identity})
        yield opened


def traces_of(folder, *traces):
    return [(path.name, trace) for path in folder.iterdir() for trace in traces if trace in path.read_bytes()]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_what_is_forgotten_is_in_no_file(tmp_path, dtype):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((3000, 16)).astype("f4")
    path = tmp_path / "g.db"
    with Gallery.open(path, dimension=16, fingerprint="x", dtype=dtype) as gallery:
        # In between many others, moved about, renamed and staged, so that pages were split and rearranged.
        gallery.enrol_many(
            Entry(
                "forgettable-person" if i % 10 == 0 else f"other {i % 7}",
                f"forgettable-item {i}" if i % 10 == 0 else f"kept {i}",
                row,
                metadata={"note": "forgettable-note" if i % 10 == 0 else "ordinary"},
                source="/forgettable-folder" if i % 10 == 0 else None,
            )
            for i, row in enumerate(rows)
        )
        gallery.rename("forgettable-person", "forgettable-name")
        gallery._store.remove([f"kept {i}" for i in range(0, 3000, 3)])
        stored = sqlite3.connect(path)
        packed = [row for (row,) in stored.execute("SELECT embedding FROM items WHERE item LIKE 'forg%'")]
        stored.close()
        assert len(packed) == 300
        assert traces_of(tmp_path, b"forgettable-name", packed[0], packed[299])
        assert gallery.forget("forgettable-name") == 300
        # While the gallery is open: in the file, the log, and what else lies beside it.
        assert traces_of(tmp_path, b"forgettable", *packed) == []
        assert gallery._store.check() == []
        assert gallery.search(embedding=rows[0], k=1)[0].item.startswith("kept")
    assert traces_of(tmp_path, b"forgettable", *packed) == []
    assert traces_of(tmp_path, b"ordinary")


def removed(gallery):
    for number in range(20):
        gallery.remove(f"secret item {number}")


def renamed(gallery):
    gallery.rename("secret name", "ann again")
    gallery.forget("ann again")


def merged_and_removed(gallery):
    gallery.merge("ann", "secret name")
    removed(gallery)


def enrolled_as_others(gallery):
    for number in range(20):
        gallery.enrol("ann", f"secret item {number}", embedding=(number, 0))
        gallery.remove(f"secret item {number}")


def staged_and_removed(gallery):
    binding = replace(gallery.binding, fingerprint="next")
    records = list(gallery._store.unstaged(binding))
    gallery._store.stage(
        binding, [replace(r, embedding=SECRET if "secret" in r.item else r.embedding) for r in records]
    )
    removed(gallery)


def dropped_by_a_rebuild(gallery):
    binding = replace(gallery.binding, fingerprint="next")
    records = list(gallery._store.unstaged(binding))
    gallery._store.stage(binding, [r for r in records if "secret" not in r.item])
    assert gallery._store.switch(binding, drop={r.item for r in records})


SECRET = np.array((0.123, 0.456), dtype="<f4")


@pytest.mark.parametrize(
    "gone",
    [removed, renamed, merged_and_removed, enrolled_as_others, staged_and_removed, dropped_by_a_rebuild],
)
def test_forgetting_wipes_what_had_left_before(gallery, tmp_path, gone):
    for number in range(20):
        gallery.enrol(
            "secret name",
            f"secret item {number}",
            embedding=SECRET,
            metadata={"about": "secret metadata"},
        )
    gallery.cluster(threshold=1.5)
    assert traces_of(tmp_path, b"secret metadata", SECRET.tobytes())
    gone(gallery)
    assert gallery.forget("secret name") == 0
    assert traces_of(tmp_path, b"secret", SECRET.tobytes()) == []
    assert gallery.check() == []
    assert "bob" in gallery.identities()


def test_forgetting_that_was_cut_short_is_known_and_finished(gallery, tmp_path, monkeypatch):
    gallery.enrol("unforgettable", "u", embedding=(0.123, 0.456))

    def cut_short(database):
        raise KeyboardInterrupt

    monkeypatch.setattr(maintenance, "purge", cut_short)
    with pytest.raises(KeyboardInterrupt):
        gallery.forget("unforgettable")
    monkeypatch.undo()
    assert "unforgettable" not in gallery.identities()
    assert gallery.check() == ["traces of forgotten items may remain in the file"]
    assert gallery.repair() == ["traces of forgotten items were wiped"]
    assert gallery.check() == []
    assert traces_of(tmp_path, b"unforgettable", np.array((0.123, 0.456), dtype="<f4").tobytes()) == []


def test_forgetting_waits_for_readers_and_says_so(gallery, tmp_path):
    gallery._store._database.run("PRAGMA busy_timeout = 50")
    reader = sqlite3.connect(tmp_path / "g.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM items").fetchone()
    with pytest.raises(
        GalleryError, match=r"the items are deleted, but traces .* another process .*: repair"
    ):
        gallery.forget("bob")
    assert gallery.identities() == {"ann": 2}
    reader.close()
    assert gallery.forget("bob") == 0  # finishes what was begun
    assert gallery.check() == []
    assert traces_of(tmp_path, b"bob") == []


def test_a_damaged_record_is_found_and_deleted(gallery, tmp_path):
    with sqlite3.connect(tmp_path / "g.db") as other:
        other.execute(
            "UPDATE items SET embedding = ?, changed = 99 WHERE item = 'a1'",
            (np.array([np.nan, 0], dtype="<f4").tobytes(),),
        )
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute(
            "INSERT INTO items SELECT 9, 'b3', identity, 'text', '{}', 98, NULL, NULL FROM items"
            " WHERE item = 'b1'"
        )
        other.execute("UPDATE items SET metadata = 'no json' WHERE item = 'b1'")
        other.execute("UPDATE items SET metadata = '[]' WHERE item = 'b2'")
        other.execute("INSERT INTO identities (name) VALUES ('empty')")
    other.close()
    assert gallery.check() == [
        "the item 'a1' has an embedding that is not finite",
        "the item 'b1' has metadata that is not a JSON object",
        "the item 'b2' has metadata that is not a JSON object",
        "the item 'b3' has an embedding that cannot be read",
        "the identity 'empty' has no items",
    ]
    with pytest.raises(GalleryError, match=r"an embedding cannot be read .*: repair it"):
        gallery.search(embedding=(0, 0))
    before = traces_of(tmp_path, b"no json")
    with pytest.raises(GalleryError, match=r"4 of the 5 items .* cannot be read.* nothing was deleted"):
        gallery.repair()
    assert traces_of(tmp_path, b"no json") == before
    deleted, empty = gallery.repair(drop_damaged=True)
    assert deleted.startswith("items were deleted after they were set aside in ")
    assert deleted.endswith(": 4, such as the item 'a1' has an embedding that is not finite")
    assert empty == "identities without items were deleted: 2"
    assert gallery.check() == []
    assert [hit.item for hit in gallery.search(embedding=(0, 0))] == ["a2"]
    (aside,) = tmp_path.glob("g.damaged-*.db")
    assert str(aside) in deleted
    assert aside.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(aside) as kept:
        rows = kept.execute("SELECT item, embedding, metadata, identity, why FROM damaged ORDER BY item")
        assert [row[0].decode() for row in rows] == ["a1", "b1", "b2", "b3"]
        assert kept.execute("SELECT metadata, identity FROM damaged WHERE why LIKE '%JSON%'").fetchall() == [
            (b"no json", b"bob"), (b"[]", b"bob"),
        ]  # fmt: skip
    kept.close()


def test_isolated_records_are_set_aside_without_being_told(gallery, tmp_path):
    gallery.enrol_many(Entry("many", f"item {i}", (i, 0)) for i in range(1000))
    with sqlite3.connect(tmp_path / "g.db") as other:
        other.execute("UPDATE items SET metadata = CAST(x'ff' AS TEXT), changed = 99 WHERE item = 'a1'")
        other.execute("UPDATE items SET item = CAST(x'62ff' AS TEXT), changed = 99 WHERE item = 'b1'")
        other.execute("UPDATE items SET source = CAST(x'fe' AS TEXT), changed = 99 WHERE item = 'b2'")
    other.close()
    assert len(gallery.check()) == 3
    deleted, empty = gallery.repair()
    assert empty == "identities without items were deleted: 1"
    assert ": 3, such as the item 'a1' has a name, metadata or a source that is not text" in deleted
    assert gallery.check() == []
    assert len(gallery) == len(gallery.search(embedding=(0, 0), k=5000)) == 1001


def test_items_in_clusters_that_cannot_be_are_kept(gallery, tmp_path):
    before = sorted(entry.item for entry in gallery.entries())
    with sqlite3.connect(tmp_path / "g.db") as damage:
        damage.execute("UPDATE items SET cluster = -1")
    damage.close()
    assert len(gallery.check()) == len(before)
    assert gallery.repair() == [f"items in clusters that cannot be were taken out of them: {len(before)}"]
    assert gallery.check() == []
    assert sorted(entry.item for entry in gallery.entries()) == before
    assert gallery.stats().clusters == 0
    assert not list(tmp_path.glob("*damaged*"))


def test_many_damaged_records_are_counted_and_not_deleted(gallery, tmp_path):
    gallery.enrol_many(Entry("many", f"item {i}", (i, 0)) for i in range(1000))
    with sqlite3.connect(tmp_path / "g.db") as other:
        other.execute("UPDATE items SET metadata = 'x', changed = 99 WHERE identity > 2")
    other.close()
    problems = gallery.check()
    assert (len(problems), problems[-1]) == (101, "900 more items cannot be read")
    with pytest.raises(GalleryError, match=r"1,000 of the 1,004 items .* nothing was deleted; restore a bac"):
        gallery.repair()
    assert len(gallery) == 1004
    assert list(tmp_path.glob("*damaged*")) == []


def test_nothing_is_deleted_if_it_cannot_be_set_aside(gallery, tmp_path, monkeypatch):
    with sqlite3.connect(tmp_path / "g.db") as other:
        other.execute("UPDATE items SET metadata = 'x', changed = 99 WHERE item = 'a1'")
    other.close()

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GalleryError, match=r"nothing was deleted, because .*damaged-.* cannot be written"):
        gallery.repair()
    monkeypatch.undo()
    assert len(gallery) == 4
    assert [left.name for left in tmp_path.glob("*damaged*")] == []
    assert len(gallery.repair()) == 1


def test_a_damaged_copy_of_the_binding_is_found_and_written_again(gallery, tmp_path):
    with sqlite3.connect(tmp_path / "g.db") as other:
        other.execute("UPDATE notes SET value = 'x' || value WHERE name = 'trine:binding'")
    other.close()
    assert gallery.check() == ["the copy of what the gallery is bound to is damaged"]
    assert gallery.repair() == ["a copy of what the gallery is bound to was written"]
    assert gallery.check() == []


def damaged(path, tmp_path, *, index):
    """A copy of a gallery with one page of zeros: of an index, or of the table of items."""
    content = bytearray(path.read_bytes())
    with sqlite3.connect(path) as connection:
        name = "sqlite_autoindex_items_1" if index else "items"
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    start = (page - 1) * size
    content[start + 8 : start + size] = bytes(size - 8)
    broken = tmp_path / "broken.db"
    broken.write_bytes(content)
    return broken


def test_a_damaged_page_is_found(gallery, tmp_path):
    gallery.enrol_many(Entry("many", f"item {i}", (i, 0)) for i in range(2000))
    gallery.close()
    for index in (True, False):
        path = damaged(tmp_path / "g.db", tmp_path, index=index)
        with Gallery.open(path) as broken:
            problems = broken.check()
            assert problems
            assert all(problem.startswith("the file is damaged: ") for problem in problems)
            if not index:
                with pytest.raises(GalleryError, match=r"damaged .* restore it from a backup"):
                    broken.repair()


def test_an_index_out_of_step_is_made_anew(gallery, tmp_path):
    # Rows change while the schema does not know of the index.
    kept = []
    for change in ("DELETE FROM sqlite_master WHERE name = 'items_changed'",
                   "UPDATE items SET changed = changed + 10",
                   "INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)"):  # fmt: skip
        other = sqlite3.connect(tmp_path / "g.db", isolation_level=None)
        other.execute("PRAGMA writable_schema = ON")
        kept = kept or other.execute("SELECT * FROM sqlite_master WHERE name = 'items_changed'").fetchall()
        other.execute(change, kept[0] if "?" in change else ())
        other.close()
    gallery.close()
    with Gallery.open(tmp_path / "g.db") as broken:
        assert broken.check()
        assert broken.repair() == ["the indexes of the file were rebuilt"]
        assert broken.check() == []
        assert len(broken) == 4


def test_figures(gallery, tmp_path):
    gallery.enrol("cid", "c1", embedding=(9, 9))
    stats = gallery.stats()
    assert (stats.items, stats.identities, stats.per_identity) == (5, 3, (1, 2.0, 2))
    assert (stats.dimension, stats.dtype, stats.distance, stats.recall) == (2, "float32", "euclidean", None)
    assert stats.fingerprint == "by hand"
    assert stats.bytes >= (tmp_path / "g.db").stat().st_size
    assert json.loads(json.dumps(stats.to_json()))["items"] == 5
    assert str(stats).startswith("5 items of 3 identities (1 to 2 each, median 2), float32 of 2 numbers, ")
    gallery.cluster(threshold=1.5)
    assert gallery.stats().clusters == 3
    for identity in list(gallery.identities()):
        gallery.forget(identity)
    assert (gallery.stats().items, gallery.stats().per_identity) == (0, (0, 0.0, 0))
