"""Nothing, one, very long and very many."""

import numpy as np
import pytest

from support.effort import effort
from trine.gallery import Entry, Gallery, Scope
from trine.gallery.entries import Enrolment

LONG = "長い名前/é" * 14_300  # 100,100 characters


@pytest.fixture
def gallery(tmp_path):
    with Gallery.open(tmp_path / "g.db", dimension=3, fingerprint="by hand", threshold=1.0) as opened:
        yield opened


def test_nothing_to_do_is_done_at_once(gallery):
    store = gallery._store
    before = store.revision()
    assert gallery.enrol_many([]) == Enrolment() == store.put([])
    assert store.remove([]) == store.remove(["nothing"]) == 0
    assert store.relabel([], "ann") == store.relabel(["nothing"], "ann") == store.rename("nobody", "ann") == 0
    assert store.get([]) == store.get(["nothing"]) == gallery.identities() == store.clusters() == {}
    store.assign({})
    assert store.search(np.empty((0, 3), dtype=np.float32), k=3) == []
    assert store.search(np.zeros((2, 3), dtype=np.float32), k=3, offset=5) == [[], []]
    assert gallery.identify_many(embeddings=np.empty((0, 3))) == []
    assert [answer.identity for answer in gallery.identify_many(embeddings=np.zeros((2, 3)))] == [None] * 2
    assert list(store.scan()) == store.check() == store.repair() == []
    assert store.revision() == before
    assert store.forget("nobody") == 0
    assert store.check() == []


def test_one_item_through_everything(gallery):
    store = gallery._store
    assert gallery.enrol_many([Entry("ann", "1", [1, 0, 0], metadata={"x": 1})]) == Enrolment(new=1)
    assert [hit.item for hit in gallery.search(embedding=[0, 0, 0], k=1000)] == ["1"]
    (hits,) = store.search(np.zeros((1, 3), dtype=np.float32), k=3, offset=1)
    assert hits == []
    assert [record.item for record in store.scan()] == ["1"]
    assert gallery.identify(embedding=[1, 0, 0]).identity == "ann"
    assert store.rename("ann", "bob") == 1
    assert store.relabel(["1"], "cid") == 1
    assert gallery.identities() == {"cid": 1}
    store.assign({"1": 1})
    assert store.clusters() == {"1": 1}
    assert store.check() == store.repair() == []
    assert gallery.forget("cid") == 1
    assert len(gallery) == 0
    assert store.clusters() == {}


def test_very_long_names_of_every_script(gallery, tmp_path):
    metadata = {LONG: LONG, "list": [LONG]}
    gallery.enrol(LONG, LONG, embedding=[0, 0, 0], metadata=metadata)
    gallery.enrol(LONG + "2", LONG + "2", embedding=[9, 0, 0])
    store = gallery._store
    (hit,) = gallery.search(embedding=[0, 0, 0], k=1)
    assert (hit.item, hit.identity, hit.metadata) == (LONG, LONG, metadata)
    assert gallery.identities() == {LONG: 1, LONG + "2": 1}
    scope = Scope(only=frozenset([LONG + "2"]), exclude=frozenset([LONG]))
    (hits,) = store.search(np.zeros((1, 3), dtype=np.float32), k=5, scope=scope)
    assert [hit.item for hit in hits] == [LONG + "2"]
    gallery.close()
    with Gallery.open(tmp_path / "g.db") as again:
        assert again.get(LONG).metadata == metadata
        assert again._store.rename(LONG, LONG + "3") == 1
        assert again.remove(LONG)
        assert again.forget(LONG + "2") == 1
        assert again._store.check() == []
        assert "長い名前".encode() not in (tmp_path / "g.db").read_bytes()


@pytest.mark.slow
def test_very_many_rows_by_a_plain_product(tmp_path, as_in_production):
    count = effort(100_000, 1_000_000)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((count, 16), dtype=np.float32)
    probes = rng.standard_normal((20, 16), dtype=np.float32)
    naive = np.sqrt(
        ((probes**2).sum(axis=1)[:, None] + (rows.astype(float) ** 2).sum(axis=1))
        - 2 * probes.astype(float) @ rows.T.astype(float)
    )
    path = tmp_path / "g.db"
    with Gallery.open(path, dimension=16, fingerprint="by hand", threshold=1.0) as gallery:
        entries = (Entry(f"person {i % 1000}", f"item {i}", row) for i, row in enumerate(rows))
        assert gallery.enrol_many(entries, chunk=8192).new == count
    with Gallery.open(path) as gallery:
        assert len(gallery) == count
        assert set(gallery.identities().values()) == {count // 1000}
        found = 0
        for probe, distances in zip(probes, naive, strict=True):
            hits = gallery.search(embedding=probe, k=10)
            numbers = [int(hit.item[5:]) for hit in hits]
            # Every distance is right to the last bits, also where inverted lists chose the candidates.
            np.testing.assert_allclose([hit.score for hit in hits], distances[numbers], rtol=1e-5)
            assert [hit.score for hit in hits] == sorted(hit.score for hit in hits)
            found += len(set(numbers) & set(np.argpartition(distances, 10)[:10].tolist()))
        assert found >= 0.95 * 10 * len(probes)
        nearest = gallery.verify(embedding=probes[0], identity="person 7").score
        assert nearest == pytest.approx(naive[0, 7::1000].min(), rel=1e-5)
        best = int(naive[1].argmin())
        assert gallery.remove(f"item {best}")
        naive[:, best] = np.inf
        assert gallery.search(embedding=probes[1], k=1)[0].score == pytest.approx(naive[1].min(), rel=1e-5)
        assert gallery.identify(embedding=rows[5]).item == "item 5"
        assert len(gallery) == count - 1
