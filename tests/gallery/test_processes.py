"""Several processes on one file, and processes that die."""

import multiprocessing
import sqlite3

import numpy as np
import pytest

import enroller
from trine.gallery import Gallery

ROUNDS = 15


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trine.gallery"])
    return context


def state_of(path):
    """The whole gallery as a dictionary, read three ways that must agree."""
    with Gallery.open(path, **enroller.OPENING) as gallery:
        hits = gallery.search(embedding=np.zeros(4), k=1000)
        state = {hit.item: (hit.identity, hit.metadata["seed"]) for hit in hits}
        assert len(gallery) == len(hits) == len(state)
        for item, (_, seed) in state.items():
            expected = enroller.embedding_of([seed, *item.encode()])
            np.testing.assert_array_equal(gallery.get(item).embedding, expected)
        counts = {}
        for identity, _ in state.values():
            counts[identity] = counts.get(identity, 0) + 1
        assert gallery.identities() == counts
    return state


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path, processes):
    path = tmp_path / "g.db"
    rng = np.random.default_rng(0)
    known, seed = {}, 0
    for _ in range(ROUNDS):
        ours, theirs = processes.Pipe(duplex=False)
        worker = processes.Process(target=enroller.work_until_killed, args=(path, seed, theirs))
        worker.start()
        theirs.close()
        acknowledged = [ours.recv() for _ in range(rng.integers(0, 25))]
        ours.poll(rng.uniform(0, 0.01))  # into the middle of the next operation
        worker.kill()
        worker.join()
        try:
            while True:
                acknowledged.append(ours.recv())
        except EOFError:
            pass
        assert worker.exitcode == -9
        assert acknowledged == list(range(seed, seed + len(acknowledged)))
        for done in acknowledged:
            known = enroller.foresee(known, done)
        seed += len(acknowledged)

        state = state_of(path)
        under_way = enroller.foresee(known, seed)
        if state != known:
            assert state == under_way
            known, seed = under_way, seed + 1
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
    assert len(known) > 20
    assert seed > 5 * ROUNDS


def test_writers_that_start_together_lose_nothing(tmp_path, processes):
    path, count = tmp_path / "g.db", 30
    barrier = processes.Barrier(4)
    workers = [
        processes.Process(target=enroller.enrol_range, args=(path, worker, count, barrier))
        for worker in range(3)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    seen = 0
    with Gallery.open(path, **enroller.OPENING) as reader:
        while any(worker.is_alive() for worker in workers):
            hits = reader.search(embedding=np.zeros(4), k=3 * count)
            assert seen <= len(hits) <= 3 * count
            seen = len(hits)
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        assert reader.identities() == {"shared": 3 * count // 2, **{f"w{i}": count // 2 for i in range(3)}}
        hits = reader.search(embedding=np.zeros(4), k=1000)
        assert {hit.item for hit in hits} == {f"{w}/{i}" for w in range(3) for i in range(count)}
    assert [left.name for left in tmp_path.iterdir()] == ["g.db"]


def test_a_reader_sees_what_another_process_acknowledged(tmp_path, processes):
    path = tmp_path / "g.db"
    ours, theirs = processes.Pipe()
    with Gallery.open(path, **enroller.OPENING) as reader:
        worker = processes.Process(target=enroller.enrol_on_demand, args=(path, theirs))
        worker.start()
        for seed in range(20):
            ours.send(seed)
            assert ours.recv() == seed
            decision = reader.identify(embedding=enroller.embedding_of(seed))
            assert (decision.item, decision.score) == (f"item {seed}", 0.0)
        ours.send(None)
        worker.join()
