"""A gallery that agrees with a folder: whatever happened there, and whatever happened in the gallery."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.fake_encoder import FakeEncoder
from support.gallery_stores import STORES
from support.paths import FIXTURES
from trine.data import Dataset, Texts, Vectors
from trine.errors import DataError, GalleryError, InputError, SettingError
from trine.gallery import Entry, Gallery, Kept, Moved, Provenance, Taken

HERE, THERE = "/known", "/elsewhere"


@pytest.fixture(params=STORES.values(), ids=STORES)
def gallery(request):
    with request.param() as address, Gallery.open(address, encoder=FakeEncoder()) as opened:
        yield opened


def entries(folder, **about):
    """The items of a folder, given as name -> number; the name begins with the identity."""
    return [
        Entry(name.split("/")[0], name, content=np.array([number, 1.0], dtype="f4"), metadata=about)
        for name, number in folder.items()
    ]


def sync(gallery, folder, *, about=None, **settings):
    settings = {"origin": HERE, "max_removed": 1, **settings}
    return gallery.sync(entries(folder, **(about or {})), **settings)


def contents(gallery):
    return {entry.item: (entry.identity, float(entry.embedding[0])) for entry in gallery.entries()}


FOLDER = {"ann/1": 1, "ann/2": 2, "bob/1": 11, "bob/2": 12, "cleo/1": 21}


def test_it_follows_the_folder_and_touches_nothing_else(gallery):
    gallery.enrol("zoe", "by hand", embedding=[7, 7])
    gallery.sync([Entry("dan", "dan/1", [31.0, 1.0])], origin=THERE)
    done = sync(gallery, FOLDER)
    assert (done.new, done.before, done.unchanged) == (tuple(FOLDER), 0, 0)
    folder = {
        "ann/1": 1.5,  # changed
        "bob/2": 2,  # ann/2, moved
        "bob/3": 12,  # bob/2, renamed
        "bob/1": 11,
        "dan/2": 32,  # new
    }
    planned = sync(gallery, folder, dry_run=True)
    assert contents(gallery) == {
        **{name: (name.split("/")[0], number) for name, number in FOLDER.items()},
        "by hand": ("zoe", 7),
        "dan/1": ("dan", 31),
    }
    embedded = gallery.encoder.embedded
    done = sync(gallery, folder)
    assert gallery.encoder.embedded == embedded + 2  # what is new and what changed
    assert done.to_json() == {**planned.to_json(), "dry_run": False}
    assert (done.new, done.changed, done.removed) == (("dan/2",), ("ann/1",), ("cleo/1",))
    assert done.moved == (Moved("bob/2", "bob", "ann/2", "ann"),)
    assert done.renamed == (Moved("bob/3", "bob", "bob/2", "bob"),)
    assert (done.before, done.lost, done.unchanged) == (5, 1, 1)
    assert str(done) == (
        "/known: 1 new, 1 with another content, 1 moved to another identity, 1 renamed, 1 gone, 1 unchanged\n"
        "  new: dan/2\n  with another content: ann/1\n  moved to another identity: ann/2 is bob/2\n"
        "  renamed: bob/2 is bob/3\n  gone: cleo/1"
    )
    assert contents(gallery) == {
        **{name: (name.split("/")[0], number) for name, number in folder.items()},
        "by hand": ("zoe", 7),
        "dan/1": ("dan", 31),
    }
    assert gallery.check() == []


def test_moved_items_keep_their_clusters(gallery):
    sync(gallery, FOLDER)
    before = gallery.cluster(threshold=1.2).of
    sync(gallery, {"ann/1": 1, "bob/9": 2, "bob/1": 11, "bob/2": 12.5, "cleo/1": 21})
    after = gallery._store.clusters()
    assert after == {
        "ann/1": before["ann/1"],
        "bob/9": before["ann/2"],
        "bob/1": before["bob/1"],
        "cleo/1": 3,
    }


def test_rows_that_are_numbered_may_shift(gallery):
    def rows(numbers):
        return {f"row {i}": number for i, number in enumerate(numbers, start=1)}

    def identify(folder):
        return [
            Entry(f"id {n % 3}", name, content=np.array([n, 1], dtype="f4")) for name, n in folder.items()
        ]

    for numbers in ([0, 1, 2, 3, 4, 5, 6], [0, 1, 3, 4, 5, 6], [9, 0, 1, 3, 4, 5, 6], [5, 5, 1, 0]):
        gallery.sync(identify(rows(numbers)), origin="t.csv", max_removed=1, chunk=2)
        assert contents(gallery) == {f"row {i}": (f"id {n % 3}", n) for i, n in enumerate(numbers, start=1)}
    done = gallery.sync(identify(rows([5, 1, 0])), origin="t.csv", dry_run=True)
    assert (done.lost, done.removed, len(done.renamed)) == (0, (), 2)


def test_what_was_renamed_in_the_gallery_stays(gallery):
    sync(gallery, FOLDER)
    gallery.rename("ann", "Anna")
    gallery.split(["bob/2"], "Robert")
    done = sync(gallery, {**FOLDER, "ann/3": 3, "bob/3": 13})
    assert done.new == ("ann/3", "bob/3")
    assert done.kept == (
        *(Kept(f"ann/{i}", "Anna", "ann") for i in (1, 2)),
        *(Kept("bob/2", "Robert", "bob"), Kept("ann/3", "Anna", "ann")),
    )
    assert (done.moved, done.unchanged) == ((), 5)
    assert "4 with the identity given in the gallery: ann is Anna, bob is Robert" in str(done)
    assert gallery.identities() == {"Anna": 3, "Robert": 1, "bob": 2, "cleo": 1}
    # A picture that moves follows, to the name that the gallery has for its new identity.
    done = sync(
        gallery, {"ann/1": 1, "ann/2": 2, "ann/3": 3, "ann/9": 21, "bob/1": 11, "bob/2": 12, "bob/3": 3.5}
    )
    assert done.moved == (Moved("ann/9", "Anna", "cleo/1", "cleo"),)
    assert gallery.identities() == {"Anna": 4, "Robert": 1, "bob": 2}
    folder = {"ann/1": 1, "bob/1": 11, "bob/2": 12}
    sync(gallery, folder)
    done = sync(gallery, folder, undo_renames=True)
    assert done.moved == (Moved("ann/1", "ann", "ann/1", "Anna"), Moved("bob/2", "bob", "bob/2", "Robert"))
    assert done.kept == ()
    assert gallery.identities() == {"ann": 1, "bob": 2}


def test_a_table_that_names_another_identity_is_followed_unless_the_gallery_moved_the_item_too(gallery):
    def table(**identities):
        return [
            Entry(name, item, content=np.array([ord(item), 1], "f4")) for item, name in identities.items()
        ]

    gallery.sync(table(a="ann", b="bob", c="bob", d="bob"), origin="t.csv")
    gallery.split(["c"], "zoe")
    done = gallery.sync(table(a="ann", b="ann", c="ann", d="bob"), origin="t.csv")
    assert done.moved == (Moved("b", "ann", "b", "bob"),)
    assert done.kept == (Kept("c", "zoe", "ann"),)
    assert gallery.identities() == {"ann": 2, "bob": 1, "zoe": 1}


@pytest.mark.parametrize("folder", [{}, {"ann/1": 1, "ann/2": 2, "cleo/1": 21}])
def test_an_empty_or_half_mounted_folder_removes_nothing_unasked(gallery, folder):
    sync(gallery, FOLDER)
    gone = 5 - len(folder)
    with pytest.raises(
        GalleryError,
        match=f"{gone} of 5 items that came from /known would be removed, more than 20 %; nothing was ch",
    ):
        gallery.sync(entries(folder), origin=HERE)
    asked = []

    def refuse(result):
        asked.append(len(result.removed))
        return False

    with pytest.raises(GalleryError, match="nothing was changed"):
        gallery.sync(entries(folder), origin=HERE, confirm=refuse)
    assert (len(gallery), asked) == (5, [gone])
    done = gallery.sync(entries(folder), origin=HERE, confirm=lambda _: True)
    assert (len(done.removed), len(gallery)) == (gone, 5 - gone)


def test_moving_everything_loses_nothing_and_asks_nothing(gallery):
    sync(gallery, FOLDER)
    done = gallery.sync(entries({f"new {name}": number for name, number in FOLDER.items()}), origin=HERE)
    assert (len(done.moved), done.lost, len(gallery)) == (5, 0, 5)


def test_what_cannot_be_read_stays(gallery):
    sync(gallery, FOLDER)
    done = gallery.sync(
        entries({"ann/1": 1, "cleo/1": 22}), origin=HERE, unreadable=["ann/2", "bob/"], max_removed=0
    )
    assert (done.changed, done.removed, done.unreadable) == (("cleo/1",), (), ("ann/2", "bob/"))
    assert "2 unreadable or skipped, left as before: ann/2, bob/" in str(done)
    assert contents(gallery) == {
        name: (name.split("/")[0], 22 if name == "cleo/1" else number) for name, number in FOLDER.items()
    }


class Failing(FakeEncoder):
    """Cannot read numbers above 100, and is interrupted after some items."""

    left = 10**9

    def embed(self, items):
        if any(item[0] > 100 for item in items):
            raise DataError("an item cannot be read")
        self.left -= len(items)
        if self.left < 0:
            raise KeyboardInterrupt
        return super().embed(items)


def test_what_turns_out_to_be_unreadable_is_named_and_stays(gallery):
    sync(gallery, FOLDER)
    gallery._embedder.encoder = Failing()
    done = sync(gallery, {**FOLDER, "ann/2": 102, "dan/1": 101, "dan/2": 5}, chunk=3)
    assert (done.new, done.changed, done.unreadable) == (("dan/2",), (), ("ann/2", "dan/1"))
    assert contents(gallery)["ann/2"] == ("ann", 2)
    assert len(gallery) == 6


def test_what_was_interrupted_goes_on(gallery):
    sync(gallery, FOLDER)
    folder = {f"x/{i}": 30 + i for i in range(10)} | {"ann/5": 2, "bob/1": 11}
    gallery._embedder.encoder = Failing()
    gallery._embedder.encoder.left = 5
    with pytest.raises(KeyboardInterrupt):
        sync(gallery, folder, chunk=4)
    assert len(gallery) == 9  # one chunk is there, and nothing was removed
    gallery._embedder.encoder = FakeEncoder()
    seen = []
    done = sync(gallery, folder, chunk=4, progress=seen.append)
    assert gallery.encoder.embedded == 6
    assert seen == [4, 7]
    assert (len(done.new), done.removed) == (6, ("ann/1", "bob/2", "cleo/1"))
    assert contents(gallery) == {name: (name.split("/")[0], number) for name, number in folder.items()}


def test_metadata_is_followed_and_stays_if_there_is_none(gallery):
    sync(gallery, FOLDER, about={"shop": 1})
    done = sync(gallery, FOLDER)
    assert (done.described, done.unchanged) == ((), 5)
    assert gallery.get("ann/1").metadata == {"shop": 1}
    embedded = gallery.encoder.embedded
    done = sync(gallery, FOLDER, about={"shop": 2})
    assert done.described == tuple(FOLDER)
    assert gallery.get("ann/1").metadata == {"shop": 2}
    sync(gallery, {**FOLDER, "ann/9": 1, "ann/1": 5})
    assert (gallery.get("ann/9").metadata, gallery.encoder.embedded) == ({"shop": 2}, embedded + 1)


def test_metadata_of_the_content_is_followed_and_leaves_the_rest(gallery):
    sync(gallery, {"ann/1": 1, "ann/2": 2}, about={"shop": 1, "box": [1, 2]}, of_content=["box"])
    done = sync(gallery, {"ann/1": 1.5, "ann/3": 2}, about={"box": [3, 4]}, of_content=["box"])
    assert (done.changed, done.renamed[0].item) == (("ann/1",), "ann/3")
    for item in ("ann/1", "ann/3"):
        assert gallery.get(item).metadata == {"shop": 1, "box": [3, 4]}
    sync(gallery, {"ann/1": 1.5, "ann/3": 2}, about={"box": [3, 4], "x": 1}, of_content=["box"])
    assert gallery.get("ann/3").metadata == {"x": 1, "box": [3, 4]}
    done = sync(gallery, {"ann/1": 1.5, "ann/3": 2, "ann/4": 4}, about={"box": [5]}, of_content=["box"])
    assert gallery.get("ann/4").metadata == {"box": [5]}


def test_names_of_another_origin_are_left_alone(gallery):
    gallery.sync([Entry("ann", "ann/1", [9.0, 9.0])], origin=THERE)
    done = sync(gallery, FOLDER)
    assert done.taken == (Taken("ann/1", THERE),)
    assert "1 left alone, named as items of another origin: /elsewhere" in str(done)
    assert contents(gallery)["ann/1"] == ("ann", 9)
    assert sync(gallery, {}, origin=THERE).removed == ("ann/1",)
    assert len(gallery) == 4


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_items_without_a_digest_are_compared_by_their_embeddings(tmp_path, dtype):
    with Gallery.open(tmp_path / "g.db", encoder=FakeEncoder(), dtype=dtype) as gallery:
        for entry in entries(FOLDER):
            gallery.enrol(entry.identity, entry.item, embedding=entry.content)
        gallery.rename("ann", "Anna")
        gallery.enrol("zoe", "zoe/1", embedding=[5, 5])
        done = sync(gallery, {**FOLDER, "bob/1": 20})
        assert (done.changed, done.unchanged, len(done.kept)) == (("bob/1",), 4, 2)
        embedded = gallery.encoder.embedded
        done = sync(gallery, {**FOLDER, "bob/1": 20}, max_removed=0)
        assert (done.unchanged, gallery.encoder.embedded) == (5, embedded)
        assert gallery.identities() == {"Anna": 2, "bob": 2, "cleo": 1, "zoe": 1}  # zoe/1 came by hand


def test_a_gallery_of_an_earlier_version_knows_its_folder_by_the_paths(tmp_path):
    path = Path(shutil.copy(FIXTURES / "707ac2e" / "gallery-float32.db", tmp_path))
    with Gallery.open(path, create=False) as gallery:
        old = list(gallery.entries())
        wanted = [
            Entry(entry.identity, entry.item, entry.embedding, None, entry.metadata, entry.source)
            for entry in old[:-1]
        ]
        done = gallery.sync(wanted, origin="/photos", max_removed=1)
        assert (done.unchanged, done.before) == (39, 39)
        assert gallery.get(old[0].item).provenance.origin == "/photos"
        assert gallery.sync(wanted[1:], origin="/photos").removed == (old[0].item,)
        assert len(gallery) == 39  # the last one was not listed, and nothing says that it came from there
    with Gallery.open(tmp_path / "paths.db", dimension=1, fingerprint="x") as gallery:
        for name in ("ann/1.png", "ann/2.png"):
            gallery.enrol("ann", name, embedding=[1], content=f"/work/../photos/{name}")
        gallery.enrol("ann", "3.png", embedding=[1], content="/photos/ann/3.png")  # not by its folder
        done = gallery.sync([Entry("ann", "ann/1.png", [1.0])], origin="/photos", max_removed=1)
        assert (done.removed, done.unchanged, len(gallery)) == (("ann/2.png",), 1, 2)


def test_a_dataset_is_followed_where_enrolment_left_off(tmp_path):
    rows = np.arange(8, dtype="f4").reshape(4, 2)
    (tmp_path / "t.csv").write_text("")
    data = Dataset(
        Vectors(rows), np.array([0, 0, 1, 1]), ("ann", "bob"), ("a", "b", "c", "d"),
        columns={"camera": np.array([1, 1, 2, 2])}, root=str(tmp_path / "t.csv"),
    )  # fmt: skip
    with Gallery.open(tmp_path / "g.db", encoder=FakeEncoder()) as gallery:
        gallery.enrol_dataset(data)
        assert gallery.get("a").provenance.origin == str(tmp_path / "t.csv")
        done = gallery.sync_dataset(data.subset([0, 1, 2]), max_removed=1)
        assert (done.unchanged, done.removed, gallery.encoder.embedded) == (3, ("d",), 4)
        assert gallery.get("a").metadata == {"camera": 1}
        assert gallery.sync_dataset(data, metadata={"d": {"x": 1}}).new == ("d",)
        assert gallery.get("d").metadata == {"camera": 2, "x": 1}
        with pytest.raises(InputError, match=r"the data has no path .*: name it with origin="):
            gallery.sync_dataset(Dataset(Vectors(rows), data.labels, data.identities, data.names))
        texts = Dataset(Texts(("hello",)), np.array([0]), ("greeting",), ("t",))
        gallery._embedder.encoder = FakeEncoder(pictures={"hello": (1, 2)})
        assert gallery.sync_dataset(texts, origin="texts").new == ("t",)
        assert gallery.sync_dataset(texts, origin="texts").unchanged == 1


def test_a_copy_and_a_table_keep_where_items_came_from(tmp_path):
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'trine[gallery]'")
    with Gallery.open(tmp_path / "g.db", encoder=FakeEncoder()) as gallery:
        sync(gallery, FOLDER)
        gallery.copy_to(tmp_path / "copy.db")
        gallery.export_parquet(tmp_path / "t.parquet")
    with Gallery.open_for_table(tmp_path / "t.parquet", tmp_path / "again.db") as again:
        again.import_parquet(tmp_path / "t.parquet")
    for name in ("copy.db", "again.db"):
        with Gallery.open(tmp_path / name, encoder=FakeEncoder()) as gallery:
            assert gallery.get("ann/1").provenance.identity == "ann"
            assert sync(gallery, FOLDER).unchanged == 5


def test_wrong_arguments(gallery):
    row = Entry("ann", "a", [1.0, 1.0])
    with pytest.raises(InputError, match="the item 'a' is listed twice"):
        gallery.sync([row, row], origin="x")
    with pytest.raises(InputError, match=r"sync takes trine\.gallery\.Entry objects, given str"):
        gallery.sync(["a"], origin="x")
    with pytest.raises(InputError, match="the origin must be a non-empty string"):
        gallery.sync([row], origin="")
    with pytest.raises(SettingError, match=r"max_removed must be a number >= 0 and <= 1, given 20"):
        gallery.sync([row], origin="x", max_removed=20)
    assert len(gallery) == 0


NAMES = st.sampled_from([f"{who}/{i}" for who in ("ann", "bob", "cleo") for i in range(3)])
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMES, st.integers(0, 4)),  # few contents: copies and swaps are common
    st.tuples(st.just("move"), NAMES, NAMES),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("rename"), st.integers(0, 9), st.sampled_from(["ann", "bob", "Zoë", "Yan"])),
    st.tuples(st.just("split"), NAMES, st.sampled_from(["Zoë", "Yan", "Xia"])),
    st.tuples(st.just("undo")),
)


def step(gallery, folder, what, *given):
    """Changes the folder, or the identities in the gallery."""
    known = sorted(gallery.identities())
    if what == "put":
        folder[given[0]] = given[1]
    elif what == "delete":
        folder.pop(given[0], None)
    elif what == "move" and given[0] in folder:
        folder[given[1]] = folder.pop(given[0])
    elif what == "rename" and known:
        whose, to = known[given[0] % len(known)], given[1]
        if to not in known:
            gallery.rename(whose, to)
        elif to != whose:
            gallery.merge(to, whose)
    elif what == "split" and given[0] in contents(gallery) and given[1] not in known:
        gallery.split([given[0]], given[1])
    return what == "undo"


@pytest.mark.parametrize("store", STORES)
def test_after_a_sync_the_gallery_is_the_folder(store):
    # Each round changes the folder and the gallery; then both are compared.
    @settings(max_examples=25 if store == "sqlite" else 5, deadline=None)
    @given(st.lists(st.lists(STEPS, max_size=4), min_size=1, max_size=4), st.integers(1, 4))
    def tried(rounds, chunk):
        with STORES[store]() as address, Gallery.open(address, encoder=FakeEncoder()) as gallery:
            gallery.enrol("other", "other", embedding=[-1, -1])
            folder = {"ann/0": 0, "ann/1": 1, "bob/0": 2}
            sync(gallery, folder)
            for steps in rounds:
                undo = sum(step(gallery, folder, *each) for each in steps) > 0
                planned = sync(gallery, folder, undo_renames=undo, dry_run=True)
                done = sync(gallery, folder, undo_renames=undo, chunk=chunk)
                assert done.to_json() == {**planned.to_json(), "dry_run": False}
                found = contents(gallery)
                assert found.pop("other")[1] == -1
                kept = {each.item: each.identity for each in done.kept}
                assert found == {
                    name: (kept.get(name, name.split("/")[0]), number) for name, number in folder.items()
                }
                assert not (undo and kept)
                revision, embedded = gallery._store.revision(), gallery.encoder.embedded
                again = sync(gallery, folder)
                assert (again.unchanged, len(again.kept)) == (len(folder), len(kept))
                assert (gallery._store.revision(), gallery.encoder.embedded) == (revision, embedded)

    tried()


def test_entries_of_the_gallery_itself_may_be_changed_and_passed(gallery):
    sync(gallery, FOLDER)
    entries = [
        replace(entry, embedding=entry.embedding + (entry.item == "ann/1")) for entry in gallery.entries()
    ]
    done = gallery.sync(entries, origin=HERE)
    assert contents(gallery)["ann/1"] == ("ann", 2)
    assert (done.new, done.removed, len(gallery)) == ((), (), 5)


def test_provenance_is_given_back():
    came = Provenance(HERE, "ann", "digest")
    with STORES["sqlite"]() as address, Gallery.open(address, encoder=FakeEncoder()) as gallery:
        gallery.enrol_many([Entry("Anna", "a", [1.0, 2.0], source="/known/a.png", provenance=came)])
        assert (gallery.get("a").source, gallery.get("a").provenance) == ("/known/a.png", came)


def test_the_texts_of_a_dataset_are_no_paths(tmp_path):
    data = Dataset(Texts(("hello", "bye")), np.array([0, 1]), ("a", "b"), ("1", "2"))
    with Gallery.open(tmp_path / "g.db", encoder=FakeEncoder(pictures={"hello": (1, 2), "bye": (3, 4)})) as g:
        g.enrol_dataset(data, origin="texts")
        assert g.sync_dataset(data, origin="texts").unchanged == 2
        assert (g.get("1").source, g.get("1").metadata) == (None, {"text": "hello"})
