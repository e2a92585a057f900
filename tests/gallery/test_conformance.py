"""What every store does: against a dictionary and loops, through any sequence of calls, from two handles."""

import math
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.gallery_stores import EXAMPLES, STORES, open_with_small_segments
from trine.errors import GalleryError
from trine.gallery import Binding, Entry, Filter, Gallery, Record, Scope, Threshold
from trine.gallery.binding import open_store
from trine.gallery.entries import metadata_text
from trine.gallery.quantization import rounded

THRESHOLD = 1.5
NEXT = Binding(3, "the next encoder", "squared_euclidean", dtype="float16")

# Few names and a small grid, so that replacements, duplicates and ties are the rule.
ITEMS = st.sampled_from(["a", "b", "c", "d", "é", "日本", "a/1", "a/2"])
IDENTITIES = st.sampled_from(["ann", "bob", "Zoë"])
VECTORS = st.tuples(*[st.integers(-2, 2)] * 2)
KEYS = st.sampled_from(["x", 'q"\\', "é.$[0]"])
SCALARS = st.sampled_from([0, 1, 2, 1.0, 0.5, -3, 10**30, True, False, None, "", "1", "b", "a'b", "日"])
METADATA = st.dictionaries(KEYS, st.one_of(SCALARS, st.just([1]), st.just({"x": 1})), max_size=3)
NUMBERS, TEXTS = st.sampled_from([None, -3, 0.5, 1, 2]), st.sampled_from([None, "", "1", "b", "日"])
RANGES = st.one_of(st.tuples(NUMBERS, NUMBERS), st.tuples(TEXTS, TEXTS)).filter(
    lambda ends: ends != (None, None) and (None in ends or ends[0] <= ends[1])
)
WHERE = st.dictionaries(KEYS, st.one_of(SCALARS, st.lists(SCALARS, max_size=3), RANGES), max_size=2)
SCOPES = st.fixed_dictionaries(
    {
        "only": st.none() | st.frozensets(IDENTITIES | st.just("nobody")),
        "without": st.frozensets(IDENTITIES | st.just("nobody"), max_size=1),
        "exclude": st.frozensets(ITEMS | st.just("nothing"), max_size=3),
    }
)
HANDLES = st.integers(0, 1)


def equal(value, wanted):
    """Whether two values of JSON are the same one; a boolean is no number."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, list | dict):
        return False
    return value == wanted


def within(value, low, high):
    kind = str if isinstance(low if low is not None else high, str) else (int, float)
    if not isinstance(value, kind) or isinstance(value, bool):
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def passes(metadata, where):
    for key, wanted in where.items():
        if key not in metadata:
            return False
        if isinstance(wanted, tuple):
            if not within(metadata[key], *wanted):
                return False
        elif not any(equal(metadata[key], one) for one in (wanted if isinstance(wanted, list) else [wanted])):
            return False
    return True


class Twin(RuleBasedStateMachine):
    """`self.known` is the naive gallery: item -> (identity, vector, metadata)."""

    place = None

    @initialize(
        distance=st.sampled_from(["euclidean", "squared_euclidean"]),
        dtype=st.sampled_from(["float32", "float16"]),
    )
    def open(self, distance, dtype):
        self.stack = ExitStack()
        self.address = self.stack.enter_context(self.place())
        self.binding = {"dimension": 2, "fingerprint": "x", "distance": distance, "dtype": dtype}
        self.known, self.clusters, self.staged, self.notes = {}, {}, {}, {}
        self.largest = 0
        self.galleries = [self._open(), self._open()]

    def _open(self):
        store = open_with_small_segments(self.address, Binding(**self.binding))
        return Gallery(store, threshold=Threshold(THRESHOLD))

    def _store(self, at):
        return self.galleries[at]._store

    def _know(self, item, identity, vector, metadata):
        if item in self.known and self.known[item][1] != tuple(vector):
            self.clusters.pop(item, None)
        if self.known.get(item) != (identity, tuple(vector), metadata):
            self.staged.pop(item, None)
        self.known[item] = (identity, tuple(vector), metadata)

    def _lose(self, item):
        for part in (self.known, self.clusters, self.staged):
            part.pop(item, None)

    def _of(self, identity):
        return [item for item, (whose, *_) in self.known.items() if whose == identity]

    @rule(at=HANDLES, item=ITEMS, identity=IDENTITIES, vector=VECTORS, metadata=METADATA)
    def enrol(self, at, item, identity, vector, metadata):
        self.galleries[at].enrol(identity, item, embedding=vector, metadata=metadata)
        self._know(item, identity, vector, metadata)

    @rule(
        at=HANDLES,
        entries=st.lists(st.tuples(ITEMS, IDENTITIES, VECTORS, METADATA), max_size=6),
        chunk=st.integers(1, 4),
    )
    def enrol_many(self, at, entries, chunk):
        counted = self.galleries[at].enrol_many(
            [Entry(identity, item, vector, metadata=m) for item, identity, vector, m in entries], chunk=chunk
        )
        new = len({item for item, *_ in entries} - set(self.known))
        for start in range(0, len(entries), chunk):
            # Of two with one name in one chunk the first was never there.
            for item, value in {item: value for item, *value in entries[start : start + chunk]}.items():
                self._know(item, *value)
        assert counted.new == new
        assert len(counted) <= len(entries)

    @rule(at=HANDLES, item=ITEMS)
    def remove(self, at, item):
        assert self.galleries[at].remove(item) == (item in self.known)
        self._lose(item)

    @rule(at=HANDLES, items=st.lists(ITEMS, max_size=4))
    def remove_several(self, at, items):
        assert self._store(at).remove(items) == len(set(items) & set(self.known))
        for item in items:
            self._lose(item)

    @rule(at=HANDLES, identity=IDENTITIES)
    def forget(self, at, identity):
        theirs = self._of(identity)
        assert self.galleries[at].forget(identity) == len(theirs)
        for item in theirs:
            self._lose(item)

    @rule(at=HANDLES, items=st.lists(ITEMS, max_size=4), identity=IDENTITIES)
    def relabel(self, at, items, identity):
        moved = {item for item in items if item in self.known and self.known[item][0] != identity}
        assert self._store(at).relabel(items, identity) == len(moved)
        for item in moved:
            self.known[item] = (identity, *self.known[item][1:])

    @rule(at=HANDLES, identity=IDENTITIES, to=IDENTITIES)
    def rename(self, at, identity, to):
        theirs = self._of(identity)
        assert self._store(at).rename(identity, to) == len(theirs)
        for item in theirs:
            self.known[item] = (to, *self.known[item][1:])

    @rule(at=HANDLES)
    def reopen(self, at):
        self.galleries[at].close()
        self.galleries[at] = self._open()

    @rule(
        at=HANDLES,
        identity=IDENTITIES,
        vector=st.sampled_from([(1,), (0, 0, 0), (math.nan, 0), (0, math.inf)]),
    )
    def enrol_what_is_refused(self, at, identity, vector):
        with pytest.raises(GalleryError):
            self.galleries[at].enrol_many([Entry(identity, "new", (0, 0)), Entry(identity, "bad", vector)])

    @rule(at=HANDLES, items=st.dictionaries(ITEMS, st.integers(1, 9), max_size=4))
    def assign(self, at, items):
        self._store(at).assign(items)
        self.largest = max(self.largest, *items.values(), 0)
        self.clusters |= {item: cluster for item, cluster in items.items() if item in self.known}

    @rule(at=HANDLES, count=st.integers(0, 3))
    def new_clusters(self, at, count):
        numbers = self._store(at).new_clusters(count)
        assert numbers == sorted(set(numbers))
        assert len(numbers) == count
        assert all(number > self.largest for number in numbers)
        self.largest = max([self.largest, *numbers])

    @rule(at=HANDLES, name=st.sampled_from(["x", "é"]), text=st.sampled_from(["", "ä'\"", None]))
    def note(self, at, name, text):
        self._store(at).note(name, text)
        self.notes = {n: t for n, t in (self.notes | {name: text}).items() if t is not None}

    @rule(at=HANDLES, count=st.integers(0, 8))
    def stage(self, at, count):
        store = self._store(at)
        found = list(store.unstaged(NEXT))
        assert {record.item for record in found} == set(self.known) - set(self.staged)
        assert {name: tuple(row.tolist()) for name, row in store.staged(NEXT)} == self.staged
        assert all(record.embedding.shape == (2,) for record in found)
        chosen = [
            replace(record, embedding=np.array([i, 1, 1], dtype="f4"))
            for i, record in enumerate(found[:count])
        ]
        store.stage(NEXT, chosen)
        self.staged |= {record.item: tuple(record.embedding.tolist()) for record in chosen}

    @rule(at=HANDLES, drop=st.sets(ITEMS))
    def switch_that_would_lose_items(self, at, drop):
        if set(self.known) - set(self.staged) - drop:
            assert self._store(at).switch(NEXT, drop=drop) is False

    @rule(at=HANDLES, probe=VECTORS, k=st.integers(1, 9), offset=st.integers(0, 3), where=WHERE, scope=SCOPES)
    def search(self, at, probe, k, offset, where, scope):
        naive = [
            (self._distance(probe, vector), item, identity, metadata)
            for item, (identity, vector, metadata) in self.known.items()
            if (scope["only"] is None or identity in scope["only"])
            and identity not in scope["without"]
            and item not in scope["exclude"]
            and passes(metadata, where)
        ]
        naive = sorted(naive, key=lambda hit: hit[:2])[offset : offset + k]
        probes = np.array([probe, probe], dtype="f4")
        scope = Scope(**scope, where=Filter.of(where))
        for hits in self._store(at).search(probes, k=k, offset=offset, scope=scope, metadata=True):
            assert [(hit.score, hit.item, hit.identity, hit.metadata) for hit in hits] == naive
        (hits,) = self._store(at).search(probes[:1], k=k, offset=offset, scope=scope)
        assert [(hit.score, hit.item, hit.identity, hit.metadata) for hit in hits] == [
            (*hit[:3], {}) for hit in naive
        ]

    @rule(at=HANDLES, probe=VECTORS)
    def identify(self, at, probe):
        best = {}
        for item, (identity, vector, _) in self.known.items():
            here = (self._distance(probe, vector), item)
            best[identity] = min(best.get(identity, here), here)
        ranked = sorted((score, item, identity) for identity, (score, item) in best.items())
        decision = self.galleries[at].identify(embedding=probe)
        score, item, nearest = ranked[0] if ranked else (math.inf, None, None)
        assert (decision.score, decision.item, decision.nearest) == (score, item, nearest)
        assert decision.identity == (nearest if score <= THRESHOLD else None)
        if len(ranked) > 1:
            assert (decision.runner_up_score, decision.runner_up) == (ranked[1][0], ranked[1][2])
            assert decision.margin == ranked[1][0] - score
        else:
            assert decision.runner_up is None

    @precondition(lambda self: self.known)
    @rule(at=HANDLES, probe=VECTORS, data=st.data())
    def verify(self, at, probe, data):
        identity = data.draw(st.sampled_from(sorted({whose for whose, *_ in self.known.values()})))
        score = min(self._distance(probe, v) for whose, v, _ in self.known.values() if whose == identity)
        decision = self.galleries[at].verify(embedding=probe, identity=identity)
        assert (decision.score, decision.same) == (score, score <= THRESHOLD)

    @invariant()
    def everything(self):
        counts = {}
        for identity, *_ in self.known.values():
            counts[identity] = counts.get(identity, 0) + 1
        records = {
            item: (identity, vector, metadata_text(metadata, item))
            for item, (identity, vector, metadata) in self.known.items()
        }
        for gallery in self.galleries:
            store = gallery._store
            assert len(store) == len(self.known)
            assert store.identities() == counts
            assert list(store.identities()) == sorted(counts)
            assert store.clusters() == self.clusters
            assert store.notes() == self.notes
            for found in (list(store.scan()), list(store.get([*self.known, "nothing"]).values())):
                assert len(found) == len(records)
                seen = {r.item: (r.identity, tuple(r.embedding.tolist()), r.metadata) for r in found}
                assert seen == records

    def _distance(self, x, y):
        squared = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
        return float(np.float32(math.sqrt(squared) if self.binding["distance"] == "euclidean" else squared))

    def teardown(self):
        if hasattr(self, "galleries"):
            try:
                self._switch()
            finally:
                for gallery in self.galleries:
                    gallery.close()
                self.stack.close()

    def _switch(self):
        """The last thing that happens to every gallery: whatever was staged takes the place of all."""
        first, second = self.galleries
        assert first._store.check() == []
        list(first._store.unstaged(NEXT))
        dropped = set(self.known) - set(self.staged)
        assert first._store.switch(NEXT, drop=dropped)
        assert first._store.binding == NEXT
        found = {record.item: tuple(record.embedding.tolist()) for record in first._store.scan()}
        assert found == self.staged
        assert first._store.identities() == {
            identity: len(set(self._of(identity)) - dropped)
            for identity in {self.known[item][0] for item in self.staged}
        }
        kept = {item: number for item, number in self.clusters.items() if item in self.staged}
        assert first._store.clusters() == kept
        hits = first._store.search(np.ones((1, 3), dtype="f4"), k=99)[0]
        assert {hit.item for hit in hits} == set(self.staged)
        assert first._store.check() == []
        with pytest.raises(GalleryError, match="was rebuilt with another encoder or restored after"):
            second._store.put([Record("ann", "late", np.zeros(2, dtype="f4"))])
        for read in (second.identities, lambda: second.search(embedding=[0, 0]), lambda: len(second)):
            with pytest.raises(GalleryError, match="open it again"):
                read()


def twin_of(name, place):
    case = type(f"Twin{name.title()}", (Twin,), {"place": staticmethod(place)}).TestCase
    case.settings = settings(max_examples=EXAMPLES.get(name, 60), stateful_step_count=25)
    return case


globals().update({f"Test{name.title()}": twin_of(name, place) for name, place in STORES.items()})


@pytest.fixture(params=STORES.values(), ids=STORES)
def address(request):
    with request.param() as where:
        yield where


BINDING = Binding(4, "by hand", "euclidean")


@pytest.fixture
def store(address):
    opened = open_store(address, binding=BINDING)
    yield opened
    opened.close()


def record(item, identity="ann", *, seed=0, metadata="{}", dimension=4):
    row = np.random.default_rng([seed, *item.encode()]).standard_normal(dimension).astype("f4")
    return Record(identity, item, row, metadata, f"/somewhere/{item}")


def test_a_record_comes_back_as_it_was(store):
    text = '{"list": [1, {"x": null}], "text": "日本 \\"q\\""}'
    put = record("日本/写真.png", "Zoë", metadata=text)
    store.put([put])
    (found,) = store.get([put.item]).values()
    (scanned,) = store.scan()
    for back in (found, scanned):
        assert back == put
        np.testing.assert_array_equal(back.embedding, put.embedding)
    store.put([replace(put, source=None)])
    assert store.get([put.item])[put.item].source is None


def test_what_a_store_is_bound_to_outlives_it(address):
    made = open_store(address, binding=BINDING)
    made.put([record("1")])
    made.close()
    again = open_store(address, binding=replace(BINDING, fingerprint="another"))
    assert again.binding == BINDING
    assert again.address == made.address
    assert len(again) == 1
    again.close()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("unit", [False, True])
def test_every_dtype_is_searched_as_it_is_stored(address, dtype, unit):
    store = open_store(address, binding=replace(BINDING, dtype=dtype))
    records = [record(f"{i:02}", f"id {i % 3}") for i in range(30)]
    if unit:
        records = [replace(r, embedding=r.embedding / np.linalg.norm(r.embedding)) for r in records]
    store.put(records)
    kept = rounded(np.stack([r.embedding for r in records]), dtype=dtype)
    assert store.put(records).unchanged == 30
    for row, found in zip(kept, (store.get([r.item])[r.item] for r in records), strict=True):
        np.testing.assert_array_equal(found.embedding, row)
    probe = np.ones((1, 4), dtype="f4")
    (hits,) = store.search(probe, k=30)
    distances = np.linalg.norm(kept.astype(float) - 1, axis=1)
    assert [hit.item for hit in hits] == [records[i].item for i in np.argsort(distances, kind="stable")]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(distances), rtol=1e-6)
    store.close()


def test_many_records_are_filtered_exactly(store):
    rng = np.random.default_rng(0)
    years = rng.integers(0, 50, size=6000)
    records = [
        record(f"{i:05}", f"id {i % 100}", metadata=f'{{"year": {year}}}') for i, year in enumerate(years)
    ]
    store.put(records)
    rows = np.stack([r.embedding for r in records]).astype(float)
    for where, wanted in [
        ({"year": 7}, years == 7),
        ({"year": (10, 40)}, (years >= 10) & (years <= 40)),
        ({"year": [1, 49]}, np.isin(years, [1, 49])),
        ({"year": (None, 48)}, years <= 48),
        ({"year": 99}, years == 99),
        ({"month": 7}, years < 0),
    ]:
        (hits,) = store.search(np.zeros((1, 4), dtype="f4"), k=20, scope=Scope(where=Filter.of(where)))
        order = [i for i in np.argsort(np.linalg.norm(rows, axis=1), kind="stable") if wanted[i]]
        assert [hit.item for hit in hits] == [records[i].item for i in order[:20]], where


def test_whole_numbers_are_filtered_with_all_their_digits(store):
    first = 2**53  # float64 holds no odd number from here on
    numbers = [first - 1, first, first + 1, first + 2, -first - 1, 2**64 + 1, 0.5, 10**400]
    store.put([record(str(i), metadata=f'{{"id": {number}}}') for i, number in enumerate(numbers)])
    for where in (
        first + 1, first, float(first), [first - 1, first + 2, 0.5], (first + 1, None), (None, first), -first,
        (0.5, first + 1), (float(first), 2**64), (-first - 1, -first), 2**64, 2**64 + 1, (1e308, None), 10**9,
    ):  # fmt: skip
        condition = Filter.of({"id": where})
        (hits,) = store.search(np.zeros((1, 4), dtype="f4"), k=9, scope=Scope(where=condition))
        passing = {str(i) for i, number in enumerate(numbers) if passes({"id": number}, {"id": where})}
        assert {hit.item for hit in hits} == passing, where
        assert {str(i) for i, number in enumerate(numbers) if condition.matches({"id": number})} == passing


def test_names_are_listed_page_by_page(store):
    names = [f"{prefix}{i}" for prefix in ("", "Z", "ä", "\U0001f600") for i in range(5)]
    store.put([record(name, identity="ann" if i % 2 else "bob") for i, name in enumerate(names)])
    store.assign({name: 1 + i % 3 for i, name in enumerate(names)})
    wanted = sorted(names)
    listed, after = [], ""
    while page := store.names(after=after, limit=3):
        listed += page
        after = page[-1]
    assert listed == wanted
    assert store.names(identity="ann", limit=99) == sorted(names[1::2])
    assert store.names(cluster=2, limit=99) == sorted(names[1::3])
    assert store.names(identity="ann", cluster=2, after=wanted[3], limit=1) == [
        min(set(names[1::2]) & set(names[1::3]) & set(wanted[4:]))
    ]
    assert store.names(identity="nobody", limit=9) == []


def test_a_scan_goes_on_while_others_write(address):
    reader, writer = (open_store(address, binding=BINDING) for _ in range(2))
    reader.put([record(f"{i:05}") for i in range(9000)])
    seen = []
    for count, found in enumerate(reader.scan()):
        seen.append(found.item)
        if count == 10:
            writer.put([record("new")])
            writer.remove(["08999"])
            writer.put([record("08000", seed=1)])
    assert len(seen) == len(set(seen))
    assert {f"{i:05}" for i in range(8999)} <= set(seen) <= {f"{i:05}" for i in range(9000)} | {"new"}
    reader.close()
    writer.close()


def test_every_write_makes_a_new_revision(store):
    revisions = [store.revision()]
    for write in (
        lambda: store.put([record("1"), record("2", "bob")]),
        lambda: store.relabel(["2"], "cid"),
        lambda: store.rename("cid", "dan"),
        lambda: store.remove(["1"]),
        lambda: store.forget("dan"),
    ):
        write()
        revisions.append(store.revision())
    assert len(set(revisions)) == len(revisions)
    assert store.revision() == revisions[-1]


def test_a_store_is_usable_until_it_is_closed(store):
    store.check_usable()
    store.put([record("a")])
    store.check_usable()
    store.close()
    with pytest.raises(GalleryError, match="closed"):
        store.check_usable()


def test_size_grows_with_what_is_there(store):
    before = store.size()
    store.put([record(f"{i:05}") for i in range(5000)])
    assert store.size() > before + 5000 * 16


def test_a_staged_embedding_of_an_item_that_changed_is_of_no_use(address):
    first, second = (open_store(address, binding=BINDING) for _ in range(2))
    first.put([record("1"), record("2")])
    found = [replace(r, embedding=np.zeros(3, dtype="f4")) for r in first.unstaged(NEXT)]
    second.put([record("1", seed=1)])
    first.stage(NEXT, found)
    assert [(name, row.tolist()) for name, row in first.staged(NEXT)] == [("2", [0, 0, 0])]
    assert [r.item for r in first.unstaged(NEXT)] == ["1"]
    second.put([record("2", seed=1)])
    assert {r.item for r in first.unstaged(NEXT)} == {"1", "2"}
    assert first.switch(NEXT) is False
    assert [r.item for r in first.scan()] == ["1", "2"]
    first.close()
    second.close()


def test_staging_for_a_third_encoder_gives_up_the_second(store):
    store.put([record("1")])
    store.stage(NEXT, [replace(r, embedding=np.zeros(3, dtype="f4")) for r in list(store.unstaged(NEXT))])
    third = replace(NEXT, fingerprint="a third")
    assert list(store.staged(third)) == []
    assert len(list(store.unstaged(third))) == 1
    with pytest.raises(GalleryError, match="is being rebuilt with another encoder by another process"):
        store.stage(NEXT, [replace(record("1"), embedding=np.zeros(3, dtype="f4"))])
    assert store.switch(NEXT) is False


def test_a_sound_store_needs_no_repair(store):
    store.put([record("1")])
    assert store.check() == []
    assert store.repair() == []
    assert len(store) == 1
