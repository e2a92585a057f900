"""Several processes and several threads on one file."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from support import fork_server, gallery_processes
from trine.errors import GalleryError
from trine.gallery import Gallery


@pytest.fixture(scope="module")
def processes():
    return fork_server.processes()


def test_writers_that_start_together_lose_nothing(tmp_path, processes):
    path, count = tmp_path / "g.db", 30
    barrier = processes.Barrier(4)
    workers = [
        processes.Process(target=gallery_processes.enrol_range, args=(path, worker, count, barrier))
        for worker in range(3)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    seen = 0
    with Gallery.open(path, **gallery_processes.OPENING) as reader:
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


@pytest.fixture
def elsewhere(tmp_path, processes):
    """Calls a method of a gallery in another process, and returns when that process has acknowledged it."""
    ours, theirs = processes.Pipe()
    worker = processes.Process(target=gallery_processes.on_demand, args=(tmp_path / "g.db", theirs))
    worker.start()

    def call(method, *arguments, **settings):
        ours.send((method, arguments, settings))
        return ours.recv()

    yield call
    ours.send(None)
    worker.join()
    assert worker.exitcode == 0


def test_a_reader_sees_what_another_process_acknowledged(tmp_path, elsewhere):
    with Gallery.open(tmp_path / "g.db", **gallery_processes.OPENING) as reader:
        for seed in range(20):
            elsewhere("enrol", "ann", f"item {seed}", embedding=gallery_processes.embedding_of(seed))
            decision = reader.identify(embedding=gallery_processes.embedding_of(seed))
            assert (decision.item, decision.score) == (f"item {seed}", 0.0)
            assert reader.identities() == {"ann": len(reader)} == {"ann": seed + 1}
        for seed in range(10):
            elsewhere("remove", f"item {seed}")
            assert reader.identify(embedding=gallery_processes.embedding_of(seed)).item != f"item {seed}"
            with pytest.raises(GalleryError, match="is not in the gallery"):
                reader.get(f"item {seed}")
        elsewhere("enrol", "bob", "item 15", embedding=gallery_processes.embedding_of(99))
        assert reader.identify(embedding=gallery_processes.embedding_of(99)).identity == "bob"
        assert reader.identify(embedding=gallery_processes.embedding_of(15)).score > 0
        assert elsewhere("forget", "ann") == 9
        assert [hit.identity for hit in reader.search(embedding=np.zeros(4))] == ["bob"]
        assert len(reader) == 1
        # And the other way round: the other process read long ago and has it in memory.
        assert elsewhere("identify", embedding=gallery_processes.embedding_of(99)).item == "item 15"
        reader.remove("item 15")
        assert elsewhere("identify", embedding=gallery_processes.embedding_of(99)).item is None


class Flag:
    """A number that threads share as processes do theirs."""

    value = 0


@pytest.mark.parametrize("shared", ["a gallery", "a file"])
def test_threads_see_what_others_acknowledged(tmp_path, shared, monkeypatch):
    path, count = tmp_path / "g.db", 60
    if shared == "a gallery":
        only = Gallery.open(path, **gallery_processes.OPENING)
        monkeypatch.setattr(gallery_processes.Gallery, "open", lambda *_, **__: contextlib.nullcontext(only))
    lasts, over, seen = {"x": Flag(), "y": Flag()}, threading.Event(), {}
    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(gallery_processes.read_registers, path, lasts, over, seen) for _ in range(2)]
        writers = [pool.submit(gallery_processes.write_a_register, path, *item) for item in
                   ((name, count, last) for name, last in lasts.items())]  # fmt: skip
        for writer in writers:
            writer.result()
        time.sleep(0.05)
        over.set()
        for reader in readers:
            reader.result()
    assert seen == {"x": count, "y": count}


def test_processes_see_what_others_acknowledged(tmp_path, processes):
    assert gallery_processes.read_and_write_at_once(tmp_path / "g.db", processes, count=100) == [100] * 2
