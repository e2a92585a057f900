"""Kills a client of a PostgreSQL gallery, or the server, and compares what is left with what was promised."""

import contextlib
import itertools
import random
import time
from dataclasses import replace

from support import gallery_processes
from support.gallery_kills import KillReport, kill_server
from trine.errors import GalleryError
from trine.gallery import Entry, Gallery

CHUNK = 16


def chunk(step):
    """Returns the items of one step of enrol_many: one identity, written together or not at all."""
    return {f"item {step % 40}/{i}": (f"identity {step % 40}", step) for i in range(CHUNK)}


def foresee(known, step):
    return known | chunk(step)


def enrol_until_killed(address, first, pipe):
    """Enrols one chunk after another in one call, and sends the number of each when it is acknowledged."""
    with Gallery.open(address, **gallery_processes.OPENING) as gallery:
        entries = itertools.chain.from_iterable(_entries(chunk(step)) for step in itertools.count(first))
        try:
            gallery.enrol_many(
                entries, chunk=CHUNK, progress=lambda done: pipe.send(first + done // CHUNK - 1)
            )
        except GalleryError as error:
            pipe.send(f"{error}")


def _entries(items):
    return [
        Entry(identity, item, gallery_processes.embedding_of([step, *item.encode()]), metadata={"seed": step})
        for item, (identity, step) in items.items()
    ]


def state_of(address):
    """Returns the whole gallery as a dictionary, read in several ways that must agree."""
    with Gallery.open(address, create=False) as gallery:
        assert gallery._store.check() == []
        state = {}
        for record in gallery._store.scan():
            (hit,) = gallery._store.search(record.embedding[None], k=1)[0]
            assert hit.score == 0
            seed = int(record.metadata.partition(": ")[2].rstrip("}"))
            assert (record.embedding == gallery_processes.embedding_of([seed, *record.item.encode()])).all()
            state[record.item] = (record.identity, seed)
        counts = {}
        for identity, _ in state.values():
            counts[identity] = counts.get(identity, 0) + 1
        assert gallery.identities() == counts
        assert set(counts.values()) <= {CHUNK}
    return state


def kill(address, *, rounds, context, server=None, seed=0, state_of=state_of):
    """Kills a process in the middle of an enrolment, or the server under it, and goes on from there."""
    rng, known, step, report = random.Random(seed), {}, 0, KillReport()
    for number in range(rounds):
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=enrol_until_killed, args=(address, step, theirs))
        worker.start()
        theirs.close()
        said = [ours.recv() for _ in range(rng.randrange(1, 12))]
        time.sleep(rng.uniform(0, 0.03))
        if server is None:
            worker.kill()
        else:
            kill_server(server)
        with contextlib.suppress(EOFError):
            while True:
                said.append(ours.recv())
        worker.join()
        ours.close()
        if server is not None:
            assert isinstance(said.pop(), str), "the client was told that the server is gone"
            server.ensure_postgres_running()
        assert said == list(range(step, step + len(said)))
        for done in said:
            known = foresee(known, done)
        step += len(said)
        under_way, found = foresee(known, step), _found(address, state_of)
        report = report.with_kill(f"round {number}", found, [known, under_way])
        if report.losses:
            break
        if found == under_way:
            known, step = under_way, step + 1
    return replace(report, acknowledged=step)


def _found(address, state_of):
    try:
        return state_of(address)
    except (AssertionError, GalleryError) as error:
        return f"{type(error).__name__}: {error}"
