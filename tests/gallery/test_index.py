"""The index in memory: few segments whatever comes in, and exact answers beside inverted lists."""

import itertools
from functools import partial

import numpy as np
import pytest

from trine.gallery import Filter, Scope
from trine.gallery.index import Changes, Index, IndexSettings
from trine.neighbours import InvertedSearch, make_search

EVERYBODY = Scope()
NOBODY = np.empty(0, dtype=np.int64)


def changes(keys, rows, *, removed=NOBODY):
    keys = np.asarray(keys, dtype=np.int64)
    items, identities = [f"{key:06}" for key in keys], [f"id {key % 5}" for key in keys]
    return Changes(np.asarray(removed, dtype=np.int64), keys, items, identities, rows)


def metadata(keys):
    return [(key, {"third": key % 3, "hundredth": key % 100}) for key in keys.tolist()]


def nearest(rows, probe, wanted, k):
    order = np.argsort(np.linalg.norm(rows.astype(float) - probe, axis=1), kind="stable")
    return [f"{key:06}" for key in order if wanted[key]][:k]


def found_by(index, probe, *, k=10, scope=EVERYBODY):
    return [match.item for match in index.search(probe[None], k=k, scope=scope, read=metadata)[0]]


def test_segments_stay_few_and_nothing_is_lost_between_them():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1500, 3)).astype("f4")
    index = Index(dimension=3, distance="euclidean", settings=IndexSettings(recent=4))
    alive = np.zeros(1500, dtype=bool)
    start = 0
    while start < 1500:
        count = int(rng.integers(1, 12))
        keys = np.arange(start, min(start + count, 1500))
        gone = rng.choice(np.flatnonzero(alive), size=min(2, alive.sum()), replace=False)
        index.apply(changes(keys, rows[keys], removed=gone))
        alive[gone], alive[keys] = False, True
        start += count
        sizes = [len(segment.keys) for segment in index._settled]
        assert all(large >= index.settings.growth * small for large, small in itertools.pairwise(sizes))
    assert len(index) == alive.sum()
    assert len(index._settled) <= 4
    for probe in rng.standard_normal((20, 3)).astype("f4"):
        assert found_by(index, probe) == nearest(rows, probe, alive, 10)


def inverted_index(patience=0):
    """An index that goes through inverted lists from a thousand rows on, as it does from a million."""
    pytest.importorskip("faiss")
    settings = IndexSettings(make_search=partial(make_search, many=1000), few=50, patience=patience)
    rows = np.random.default_rng(0).standard_normal((6000, 8)).astype("f4")
    index = Index(dimension=8, distance="euclidean", settings=settings)
    index.apply(changes(np.arange(6000), rows))
    return index, rows


def test_filtered_answers_stay_exact_beside_inverted_lists():
    index, rows = inverted_index()
    keys = np.arange(6000)
    for probe in np.random.default_rng(1).standard_normal((10, 8)).astype("f4"):
        for where, wanted in [
            ({"third": 1}, keys % 3 == 1),
            ({"hundredth": 7}, keys % 100 == 7),
            ({"hundredth": (0, 98)}, keys % 100 < 99),
        ]:
            scope = Scope(where=Filter.of(where), without=frozenset(["id 0"]))
            expected = nearest(rows, probe, wanted & (keys % 5 != 0), 10)
            assert found_by(index, probe, scope=scope) == expected


def test_what_is_struck_out_is_not_found_in_inverted_lists():
    index, rows = inverted_index()
    probes = np.random.default_rng(1).standard_normal((50, 8)).astype("f4")
    found_by(index, probes[0])
    gone = np.arange(0, 6000, 100)
    index.apply(changes(NOBODY, np.empty((0, 8), dtype="f4"), removed=gone))
    (segment,) = index._settled
    assert segment.deleted == 60
    assert isinstance(segment._lists, InvertedSearch)
    alive = np.ones(6000, dtype=bool)
    alive[gone] = False
    shares = []
    for probe in probes:
        found = found_by(index, probe)
        assert len(found) == 10
        assert all(alive[int(item)] for item in found)
        shares.append(len(set(found) & set(nearest(rows, probe, alive, 10))) / 10)
    assert np.mean(shares) > 0.8


def test_lists_are_learned_when_enough_was_asked():
    index, rows = inverted_index(patience=20)
    probes = np.random.default_rng(2).standard_normal((21, 8)).astype("f4")
    everything = np.ones(6000, dtype=bool)
    (segment,) = index._settled
    for probe in probes[:20]:
        assert found_by(index, probe) == nearest(rows, probe, everything, 10)
        assert segment._lists is None
    found_by(index, probes[20])
    assert isinstance(segment._lists, InvertedSearch)
