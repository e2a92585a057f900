"""A gallery in LanceDB's tables: many writers, forgetting, damage, its index, and what is left over."""

import shutil
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support import fork_server, lance_processes
from support.effort import effort
from support.gallery_processes import OPENING, embedding_of
from support.gallery_stores import lance
from trine.errors import GalleryError
from trine.gallery import Entry, Filter, Gallery, LanceStore, Record, Scope
from trine.gallery.binding import repair_binding
from trine.gallery.lance import LanceSettings, database
from trine.gallery.lance.database import Database
from trine.gallery.lance.rows import BINDING, STATE
from trine.gallery.store import Binding

lancedb = pytest.importorskip("lancedb", reason="needs lancedb: pip install 'trine[lancedb]'")
BOUND = Binding(4, "by hand", "euclidean")


@pytest.fixture
def address():
    with lance() as found:
        yield found


@pytest.fixture
def store(address):
    with closing(LanceStore(address, binding=BOUND)) as opened:
        yield opened


def record(item, identity="ann", *, metadata="{}", seed=0):
    return Record(identity, item, embedding_of([seed, *item.encode()]), metadata)


def folder_of(address):
    return Path(address.removeprefix("lance://"))


def found_in(folder, *needles):
    """Returns which of some bytes are in a file of a folder."""
    content = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    return [needle for needle in needles if any(needle in part for part in content)]


def table_of(store):
    return store._database._connection.open_table(store._database.current().name)


def test_an_item_of_several_writers_at_once_is_one_row(address):
    writers, count = 3, effort(8, 100)
    context = fork_server.processes()
    said = context.SimpleQueue()
    workers = [
        context.Process(target=lance_processes.enrol_shared, args=(address, number, count, said))
        for number in range(writers)
    ]
    for worker in workers:
        worker.start()
    answers = [said.get() for _ in workers]
    new = sum(count for count, _ in answers)
    assert sum(created for _, created in answers) == 1
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    with Gallery.open(address) as gallery:
        assert gallery.check() == []
        assert gallery.identities() == {"shared": count, **{f"w{i}": count for i in range(writers)}}
        assert new == len(gallery) == (writers + 1) * count
        items = table_of(gallery._store).search().where("state IS NULL").to_arrow()["item"].to_pylist()
        assert max(Counter(items).values()) == 1
        for i in range(count):
            wanted = [embedding_of([99, worker, i]).tolist() for worker in range(writers)]
            assert gallery.get(f"shared {i}").embedding.tolist() in wanted


def create_as(address, name, monkeypatch):
    """Opens a gallery; if it creates a table, this is in its name."""
    with monkeypatch.context() as patched:
        patched.setattr(database, "_first_name", lambda: f"g00000001-{name}")
        return LanceStore(address, binding=BOUND)


@pytest.mark.parametrize("other", ["0", "f"])
@pytest.mark.parametrize("stopped", ["", "2", "9"])
def test_of_several_who_create_a_gallery_at_once_one_does(address, other, stopped, monkeypatch):
    """Another one creates it just when this one puts a table in use; perhaps a third died before that."""
    mark, made = Database._mark, []
    if stopped:
        with monkeypatch.context() as patched:
            patched.setattr(Database, "_agree", lambda _: None)
            with pytest.raises(GalleryError, match="no table can be opened"):
                create_as(address, stopped, monkeypatch)

    def mark_late(self, found, **changes):
        monkeypatch.setattr(Database, "_mark", mark)
        made.append(create_as(address, other, monkeypatch))
        made[0].put([record("other")])
        return mark(self, found, **changes)

    monkeypatch.setattr(Database, "_mark", mark_late)
    store = create_as(address, "5", monkeypatch)
    store.put([record("own")])
    assert sum(one.created for one in (store, *made)) == (0 if stopped == "2" and other == "f" else 1)
    for one in (store, *made):
        assert {record.item for record in one.scan()} == {"own", "other"}
        one.close()


def test_a_table_that_a_dead_process_left_does_not_become_the_gallery(address, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Database, "_agree", lambda _: None)
        with pytest.raises(GalleryError, match="no table can be opened"):
            LanceStore(address, binding=BOUND)
    with closing(LanceStore(address, binding=BOUND)) as store:
        assert store.created
        assert store.repair() == ["tables that interrupted calls had left were deleted: 1"]


def test_a_write_that_another_preceded_is_computed_again(store, address):
    """The other one comes after the rows were read, and before the commit."""
    store.put([record("1")])
    with closing(LanceStore(address)) as other:
        commit, late = store._database._commit, [record("1", "bob", seed=1), record("2")]

        def commit_late(*arguments):
            if late:
                other.put(late.copy())
                late.clear()
            commit(*arguments)

        store._database._commit = commit_late
        done = store.put([record("1", "cid", seed=2), record("2")])
        assert (done.new, done.replaced, done.unchanged) == (0, 1, 1)
        assert other.identities() == {"ann": 1, "cid": 1}
        assert other.check() == []


def test_an_error_after_the_commit_is_no_failure(store):
    commit = store._database._commit

    def commit_and_fail(*arguments):
        commit(*arguments)
        raise RuntimeError("the answer was lost")

    store._database._commit = commit_and_fail
    assert store.put([record("1")]).new == 1
    store._database._commit = commit
    assert store.put([record("1")]).unchanged == 1


def test_a_write_to_a_table_that_was_replaced_and_deleted_goes_to_the_new_one(store, address):
    """A writer that stood still meanwhile makes the old table again; nobody else sees that."""
    store.put([record("1"), record("2", "bob")])
    old = folder_of(address) / f"{store._database.current().name}.lance"
    aside = old.with_suffix(".aside")
    commit, first = store._database._commit, []

    def commit_late(*arguments):
        if not first:
            first.append(True)
            shutil.copytree(old, aside)
            with closing(LanceStore(address)) as other:
                assert other.forget("bob") == 1
            assert not old.exists()
            aside.rename(old)
        commit(*arguments)

    store._database._commit = commit_late
    assert store.put([record("3")]).new == 1
    assert old.exists()
    with closing(LanceStore(address)) as other:
        assert other.identities() == store.identities() == {"ann": 2}
        assert other.repair() == ["tables that interrupted calls had left were deleted: 1"]
        assert other.check() == []
    assert not old.exists()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_nothing_of_a_forgotten_identity_is_left_in_the_files(address, dtype):
    """The table is the fourth: one was indexed, and each forgetting makes one."""
    binding = replace(BOUND, dtype=dtype)
    settings = LanceSettings(compact=3, large=50)
    with closing(LanceStore(address, binding=binding, settings=settings)) as store:
        rows = [record(f"item {i}", f"identity {i % 20}") for i in range(200)]
        store.put(rows)
        person = [record(f"face of grete {i}", "Grete Unverwechselbar") for i in range(3)]
        for one in person:
            store.put([one])
        store.put([record("face of grete 2", "identity 3")])  # a trace of what was replaced
        store.assign({"face of grete 0": 7})
        store.note("of all", "a note")
        kind = "<f2" if dtype == "float16" else "<f4"
        needles = [
            b"Unverwechselbar",
            b"face of grete 0",
            *(r.embedding.astype(kind).tobytes() for r in person),
        ]
        folder = folder_of(address)
        assert set(needles[:2]) <= set(found_in(folder, *needles))
        store.put([record(f"more {i}") for i in range(5)])
        assert store.forget("Grete Unverwechselbar") == 2
        left = person[2].embedding.astype(kind).tobytes()
        assert found_in(folder, *(needle for needle in needles if needle != left)) == []
        assert store.check() == []
        assert len(store) == 206
        assert store.notes() == {"of all": "a note"}
        assert store.forget("Grete Unverwechselbar") == 0
        assert [path.name[:9] for path in folder.iterdir()] == ["g00000004"]


def test_others_read_and_write_while_an_identity_is_forgotten(address):
    context = fork_server.processes()
    over, said = context.Event(), context.SimpleQueue()
    with Gallery.open(address, **OPENING) as gallery:
        gallery.enrol_many(Entry(f"some {i % 7}", f"some {i}", embedding_of(i)) for i in range(300))
        workers = [
            context.Process(target=lance_processes.read_and_write, args=(address, number, over, said))
            for number in range(2)
        ]
        for worker in workers:
            worker.start()
        for number in range(effort(3, 20)):
            person = f"Grete {number}"
            gallery.enrol_many(Entry(person, f"{person}/{i}", embedding_of([9, i])) for i in range(5))
            assert gallery.forget(person) == 5
            assert found_in(folder_of(address), person.encode(), embedding_of([9, 3]).tobytes()) == []
        over.set()
        counts = [said.get() for _ in workers]
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        assert len(gallery) == 300 + sum(counts)
        assert gallery.check() == []


def test_the_table_of_a_rewrite_follows_what_is_written_meanwhile(store, address):
    store.put([record("1"), record("2"), record("3", "bob")])
    store.note("gone", "a")
    with closing(LanceStore(address)) as other:
        create = store._database._create

        def create_and_write(*arguments):
            create(*arguments)
            other.put([record("2", "cid"), record("4")])
            other.remove(["1"])
            other.assign({"4": 9})
            other.note("gone", None)
            other.note("new", "b")

        store._database._create = create_and_write
        assert store.forget("bob") == 1
        for one in (store, other):
            assert one.identities() == {"ann": 1, "cid": 1}
            assert one.clusters() == {"4": 9}
            assert one.notes() == {"new": "b"}
            assert one.check() == []


def test_what_a_call_leaves_that_was_cut_short_is_deleted(store, address):
    store.put([record("1"), record("2", "bob")])

    def cut(*_, **__):
        raise KeyboardInterrupt

    move, store._database._move = store._database._move, cut
    drop, store._database.drop = store._database.drop, lambda *_, **__: None
    with pytest.raises(KeyboardInterrupt):
        store.forget("bob")
    store._database._move, store._database.drop = move, drop
    assert len(list(folder_of(address).iterdir())) == 2
    with closing(LanceStore(address)) as other:
        assert other.identities() == {"ann": 1}
        assert other.check() == ["traces of forgotten items may remain in the files"]
        assert other.repair() == ["traces of forgotten items were wiped"]
        assert other.check() == []
    assert len(list(folder_of(address).iterdir())) == 1
    assert store.identities() == {"ann": 1}


def test_a_table_that_is_named_but_not_live_is_finished_by_whoever_comes(store, address):
    store.put([record("1"), record("2", "bob")])
    finish, store._database._mark = store._database._mark, lambda *_, **__: True
    with pytest.raises(GalleryError, match=r"traces of them may remain .* cannot be written"):
        store.forget("bob")
    assert store.identities() == {"ann": 1}
    store._database._mark = finish
    with closing(LanceStore(address)) as other:
        other.put([record("3")])
        assert other.identities() == store.identities() == {"ann": 2}
        assert other.repair() == ["tables that interrupted calls had left were deleted: 1"]
        assert other.check() == store.check() == []


def test_duplicates_that_strange_programs_wrote_are_found_and_fixed(store):
    store.put([record("1"), record("2"), record("3", "bob")])
    table = table_of(store)
    rows = table.search().where("item IN ('1', '3')").to_arrow()
    table.add(rows)
    at = rows.schema.get_field_index("identity")
    import pyarrow as pa

    later = rows.set_column(at, "identity", pa.array(["later"] * 2))
    at = rows.schema.get_field_index("changed")
    table.add(later.set_column(at, "changed", pa.array([99] * 2)))
    assert store.check() == [
        "the item '1' is there 3 times",
        "the item '3' is there 3 times",
        "the gallery has 7 items, but its state says 3",
    ]
    assert store.repair() == ["items that were there more than once are there once: 2"]
    assert store.check() == []
    assert store.identities() == {"ann": 1, "later": 2}


def test_items_that_cannot_be_read_are_set_aside(store):
    store.put([record(f"{i:02}") for i in range(30)])
    table_of(store).update(where="item = '03'", values={"metadata": "damaged"})
    assert store.check() == ["the item '03' has metadata that is not a JSON object"]
    with pytest.raises(GalleryError, match="metadata of an item cannot be read"):
        store.search(np.zeros((1, 4), dtype="f4"), k=30, metadata=True)
    (done,) = store.repair()
    assert done.startswith("items were deleted after they were set aside in the table damaged-")
    assert len(store) == 29
    assert store.check() == []
    aside = next(n for n in store._database._connection.list_tables().tables if n.startswith("damaged-"))
    rows = store._database._connection.open_table(aside).to_arrow().to_pylist()
    assert [(row["item"], row["metadata"]) for row in rows] == [("03", "damaged")]
    table_of(store).update(where="item < '20'", values={"metadata": "damaged"})
    with pytest.raises(GalleryError, match="so something else may be damaged than they"):
        store.repair()
    assert store.repair(drop_damaged=True)
    assert len(store) == 10


def test_a_damaged_binding_is_noticed_and_restored(store, address):
    store.put([record("1"), record("2", "bob")])
    store.assign({"1": 5})
    table = table_of(store)
    table.update(where="item LIKE '%binding'", values={"state": "damaged"})
    assert store.check() == ["the copy of what the gallery is bound to is damaged"]
    assert store.repair() == ["a copy of what the gallery is bound to was written"]
    with pytest.raises(GalleryError, match="cannot be restored, because it has no sound copy"):
        repair_binding(address)
    table = table_of(store)
    table.update(where="item LIKE '%state'", values={"state": '{"digest": "of something else"}'})
    with pytest.raises(GalleryError, match="is damaged: its state cannot be read"):
        Gallery.open(address)
    assert "was restored from its copy" in repair_binding(address)
    with Gallery.open(address) as gallery:
        assert gallery.identities() == {"ann": 1, "bob": 1}
        assert gallery.binding == BOUND
        assert gallery.check() == []
        assert gallery._store.new_clusters(1) == [6]
        gallery.enrol("cid", "3", embedding=[0, 0, 0, 1])
        assert {hit.item for hit in gallery.search(embedding=[0, 0, 0, 0], k=9)} == {"1", "2", "3"}


def people(count, *, dimension=32, each=10, seed=0):
    """Draws unit rows in clusters, as embeddings of people are."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count // each, dimension)).repeat(each, axis=0)
    rows = centres + 0.35 * rng.standard_normal((count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f4")


@pytest.mark.parametrize("distance", effort(["euclidean"], ["euclidean", "cosine"]))
def test_a_large_gallery_is_searched_by_an_index_that_others_write_to(address, distance):
    rows = people(3000)
    settings = LanceSettings(large=2000, compact=4, lists=200, probed=0.25)
    binding = replace(BOUND, dimension=32, distance=distance)
    records = [
        Record(f"id {i // 10}", f"{i:05}", row, f'{{"half": {i % 2}, "name": "n{i % 5}"}}')
        for i, row in enumerate(rows)
    ]
    with closing(LanceStore(address, binding=binding, settings=settings)) as store:
        for start in range(0, 3000, 500):
            store.put(records[start : start + 500])
        assert [index.name for index in table_of(store).list_indices()] == ["embedding_idx"]
        exact = LanceStore(f"{address}?search=exact")
        probes = rows[::400] + np.float32(0.01)
        for scope in (
            Scope(),
            Scope(where=Filter.of({"half": 1})),
            Scope(where=Filter.of({"name": {"n1", "n2"}, "half": (0, 0)})),
            Scope(where=Filter.of({"half": (5, 9)})),
            Scope(where=Filter.of({"half": [0, 7.5], "name": ("n0", "n1")})),
            Scope(only=frozenset({"id 3", "id 9"})),
            Scope(without=frozenset({"id 0"}), exclude=frozenset({"00611"})),
        ):
            for offset in (0, 4):
                found, wanted = (
                    one.search(probes, k=10, offset=offset, scope=scope, metadata=True)
                    for one in (store, exact)
                )
                hits = [
                    len({h.item for h in a} & {h.item for h in b}) for a, b in zip(found, wanted, strict=True)
                ]
                total = sum(map(len, wanted))
                assert sum(hits) >= 0.97 * total, scope
                assert sum(map(len, found)) == total
                for some, all_of_them in zip(found, wanted, strict=True):
                    scores = {hit.item: hit for hit in all_of_them}
                    assert all(scores.get(hit.item, hit) == hit for hit in some)
                    assert some == sorted(some, key=lambda hit: (hit.score, hit.item))
        store.remove(["00000"])
        store.put([replace(records[1], identity="new")])
        hits = [hit for (hit,) in store.search(rows[:2], k=1)]
        assert [(hit.item, hit.identity) for hit in hits][1:] == [("00001", "new")]
        assert hits[0].item != "00000"
        assert store.forget("new") == 1
        assert [index.name for index in table_of(store).list_indices()] == ["embedding_idx"]
        assert store.check() == []
        exact.close()


def test_many_small_writes_are_compacted(address):
    settings = LanceSettings(compact=8, keep=0)
    with closing(LanceStore(address, binding=BOUND, settings=settings)) as store:
        for i in range(40):
            store.put([record(f"{i}")])
        assert table_of(store).stats()["fragment_stats"]["num_fragments"] <= 10
        files = [file for file in folder_of(address).rglob("*") if file.is_file()]
        assert len(files) < 60
        assert len(store) == 40


def test_a_closed_store_says_so(store):
    store.close()
    store.close()
    with pytest.raises(GalleryError, match="was closed: open it again"):
        store.identities()


def test_the_rows_that_are_no_items_have_keys_that_no_item_can_have(store):
    store.note("a note", "x")
    keys = table_of(store).search().where("state IS NOT NULL").to_arrow()["item"].to_pylist()
    assert {STATE, BINDING} < set(keys)
    assert all(key.startswith("\0") for key in keys)
    assert store.names(limit=9) == []
    assert store.notes() == {"a note": "x"}
