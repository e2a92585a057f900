"""A gallery against a dictionary and loops, through any sequence of calls, from two handles at once."""

import math
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import trine.gallery.index
from trine.errors import GalleryError
from trine.gallery import Entry, Gallery

THRESHOLD = 1.5
# In memory where there is such a folder: what is tested here is the answer, not the disk.
FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None

# Few names and a small grid, so that replacements, duplicates and ties are the rule.
ITEMS = st.sampled_from(["a", "b", "c", "d", "é", "日本", "a/1", "a/2"])
IDENTITIES = st.sampled_from(["ann", "bob", "Zoë"])
VECTORS = st.tuples(*[st.integers(-2, 2)] * 2)
METADATA = st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 2), max_size=2)
HANDLES = st.integers(0, 1)


class Twin(RuleBasedStateMachine):
    """`self.known` is the naive gallery: item -> (identity, vector, metadata)."""

    @initialize(distance=st.sampled_from(["euclidean", "squared_euclidean"]))
    def open(self, distance):
        self.recent, trine.gallery.index.RECENT = trine.gallery.index.RECENT, 3
        self.folder = Path(tempfile.mkdtemp(dir=FOLDER))
        self.distance = distance
        self.known = {}
        self.galleries = [self._open(), self._open()]

    def _open(self):
        return Gallery.open(
            self.folder / "g.db", dimension=2, fingerprint="x", distance=self.distance, threshold=THRESHOLD
        )

    @rule(at=HANDLES, item=ITEMS, identity=IDENTITIES, vector=VECTORS, metadata=METADATA)
    def enrol(self, at, item, identity, vector, metadata):
        self.galleries[at].enrol(identity, item, embedding=vector, metadata=metadata)
        self.known[item] = (identity, vector, metadata)

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
        for item, *value in entries:
            self.known[item] = tuple(value)
        assert counted.new == new
        assert len(counted) <= len(entries)

    @rule(at=HANDLES, item=ITEMS)
    def remove(self, at, item):
        assert self.galleries[at].remove(item) == (item in self.known)
        self.known.pop(item, None)

    @rule(at=HANDLES, identity=IDENTITIES)
    def forget(self, at, identity):
        theirs = [item for item, (whose, *_) in self.known.items() if whose == identity]
        assert self.galleries[at].forget(identity) == len(theirs)
        for item in theirs:
            del self.known[item]

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

    @rule(at=HANDLES, probe=VECTORS, k=st.integers(1, 9))
    def search(self, at, probe, k):
        naive = [
            (self._distance(probe, vector), item, identity, metadata)
            for item, (identity, vector, metadata) in self.known.items()
        ]
        naive.sort(key=lambda hit: hit[:2])
        hits = self.galleries[at].search(embedding=probe, k=k)
        assert [(hit.score, hit.item, hit.identity, hit.metadata) for hit in hits] == naive[:k]

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
    def counts(self):
        counts = {}
        for identity, *_ in self.known.values():
            counts[identity] = counts.get(identity, 0) + 1
        for gallery in self.galleries:
            assert len(gallery) == len(self.known)
            assert gallery.identities() == counts
            assert list(gallery.identities()) == sorted(counts)

    def _distance(self, x, y):
        squared = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
        return float(np.float32(math.sqrt(squared) if self.distance == "euclidean" else squared))

    def teardown(self):
        if hasattr(self, "galleries"):
            for gallery in self.galleries:
                gallery.close()
            shutil.rmtree(self.folder)
            trine.gallery.index.RECENT = self.recent


TestTwin = Twin.TestCase
TestTwin.settings = settings(max_examples=60, stateful_step_count=25)
