"""Sequences of calls on a gallery whose process may be killed, and what the gallery must hold afterwards.

A workload numbers its steps, performs them one after another and acknowledges each. `foresee` says what a
gallery holds after a step, from what it held before: a dictionary item -> (identity, step).
"""

import contextlib
import itertools
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from support import gallery_processes
from support.gallery_processes import OPENING, embedding_of
from trine.gallery import Entry, Gallery

CHUNK = 64
PADDING = "x" * 600


TRACES = ["traces of forgotten items may remain in the file"]


def state_of(path):
    """Returns the whole gallery as a dictionary, read in several ways that must agree, and checks the file.

    A gallery that was killed while forgetting reports it, and its repair completes it. The key `None` holds
    the fingerprint of the encoder that the gallery was rebuilt with.
    """
    with Gallery.open(path, create=False) as gallery:
        problems = gallery._store.check()
        if problems == TRACES:
            gallery._store.repair()
            problems = gallery._store.check()
        assert problems == []
        hits = gallery.search(embedding=np.zeros(4), k=100_000)
        state = {hit.item: (hit.identity, hit.metadata["seed"]) for hit in hits}
        assert len(gallery) == len(hits) == len(state)
        expected = {item: _embedding(gallery, item, seed) for item, (_, seed) in state.items()}
        for item in list(state)[:50]:
            np.testing.assert_array_equal(gallery.get(item).embedding, expected[item])
        scores = [float(np.float32(np.linalg.norm(expected[hit.item].astype(float)))) for hit in hits]
        np.testing.assert_allclose([hit.score for hit in hits], scores, rtol=1e-6)
        counts = {}
        for identity, _ in state.values():
            counts[identity] = counts.get(identity, 0) + 1
        assert gallery.identities() == counts
        if gallery.binding.fingerprint != OPENING["fingerprint"]:
            state[None] = gallery.binding.fingerprint
    return state


def _embedding(gallery, item, step):
    """Returns the embedding of an item by the gallery's encoder; encoders differ in length."""
    encoder = gallery.binding.fingerprint.removeprefix("encoder ")
    return embedding_of([step, *item.encode()]) * np.float32(1 + int(encoder) if encoder.isdigit() else 1)


class Everyday:
    """Enrols one item or many, replaces, removes and sometimes forgets."""

    checkpoint = 1000
    """Pages of the log after which SQLite moves it into the file; SQLite's default is 1000."""

    foresee = staticmethod(gallery_processes.foresee)

    def perform(self, gallery, first, acknowledge):
        for step in itertools.count(first):
            gallery_processes.perform(gallery, step)
            acknowledge(step)


class Checkpoints(Everyday):
    """The same with a log of a few pages, so that about every second write moves the log into the file."""

    checkpoint = 5


class Bulk:
    """One endless call of enrol_many; every chunk is a step."""

    checkpoint = 200

    def _chunk(self, step):
        # The tenth chunk and the twentieth replace the items of the first and the second.
        numbers = range(step % 9 * CHUNK, (step % 9 + 1) * CHUNK)
        return {f"item {i}": (f"identity {i % 12}", step) for i in numbers}

    def foresee(self, known, step):
        return known | self._chunk(step)

    def perform(self, gallery, first, acknowledge):
        chunks = (_entries(gallery, self._chunk(step)) for step in itertools.count(first))
        gallery.enrol_many(
            itertools.chain.from_iterable(chunks),
            chunk=CHUNK,
            progress=lambda done: acknowledge(first + done // CHUNK - 1),
        )


class Forgets:
    """Enrols people with many pages and forgets them, which rewrites the file each time."""

    checkpoint = 1000

    def _people(self, step):
        return {f"item {step % 6}/{i}": (f"identity {step % 6}", step) for i in range(40)}

    def foresee(self, known, step):
        if step % 2 == 0:
            return known | self._people(step // 2)
        gone = f"identity {(step // 2 + 3) % 6}"
        return {item: value for item, value in known.items() if value[0] != gone}

    def traces(self, path, state):
        """Returns the steps of forgotten people that can still be read in the file."""
        steps = {int(step) for step in re.findall(rb'"seed": (\d+)', path.read_bytes())}
        return steps - {step for _, step in state.values()}

    def perform(self, gallery, first, acknowledge):
        for step in itertools.count(first):
            if step % 2 == 0:
                gallery.enrol_many(_entries(gallery, self._people(step // 2), text=PADDING))
            else:
                gallery.forget(f"identity {(step // 2 + 3) % 6}")
            acknowledge(step)


class Rebuilds:
    """Enrols some items, then rebuilds the gallery with another encoder, again and again."""

    checkpoint = 100

    def _some(self, step):
        return {f"item {(11 * step + i) % 150}": (f"identity {i % 5}", step) for i in range(40)}

    def foresee(self, known, step):
        return known | (self._some(step) if step % 3 == 0 else {None: f"encoder {step}"})

    def perform(self, gallery, first, acknowledge):
        for step in itertools.count(first):
            if step % 3 == 0:
                gallery.enrol_many(_entries(gallery, self._some(step)))
            else:
                self._rebuild(gallery._store, replace(gallery.binding, fingerprint=f"encoder {step}"))
            acknowledge(step)

    def _rebuild(self, store, binding):
        length = 1 + int(binding.fingerprint.removeprefix("encoder "))
        while not store.switch(binding):
            for batch in batched(store.unstaged(binding), 32):
                embeddings = [
                    embedding_of([json.loads(record.metadata)["seed"], *record.item.encode()])
                    * np.float32(length)
                    for record in batch
                ]
                store.stage(
                    binding, [replace(r, embedding=row) for r, row in zip(batch, embeddings, strict=True)]
                )


WORKLOADS = {kind.__name__.lower(): kind() for kind in (Everyday, Checkpoints, Bulk, Forgets, Rebuilds)}


def batched(stream, count):
    while batch := list(itertools.islice(stream, count)):
        yield batch


def _entries(gallery, items, **more):
    return [
        Entry(identity, item, _embedding(gallery, item, step), metadata={"seed": step, **more})
        for item, (identity, step) in items.items()
    ]


def opened(path, workload):
    gallery = Gallery.open(path, **({} if path.exists() else OPENING))
    gallery._store._database.run(f"PRAGMA wal_autocheckpoint = {workload.checkpoint}")
    return gallery


def until_killed(path, name, first, pipe):
    """Performs one step after another and acknowledges each; runs in its own process."""
    workload = WORKLOADS[name]
    with opened(path, workload) as gallery:
        pipe.send("open")
        workload.perform(gallery, first, pipe.send)


class _EnoughError(Exception):
    pass


def some_steps(folder, name, steps, *, synchronous="FULL"):
    """Performs the first steps on `folder`/people.db, and closes and reopens it halfway.

    Writes to `folder`/acknowledged when the gallery is open and when a step has returned.
    """
    workload, path = WORKLOADS[name], Path(folder) / "people.db"
    file = os.open(path.with_name("acknowledged"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for first, last in ((0, steps // 2), (steps // 2, steps)):

        def acknowledge(step, last=last):
            os.write(file, b"%d\n" % step)
            if step == last - 1:
                raise _EnoughError

        with opened(path, workload) as gallery:
            if first == 0:
                os.write(file, b"open\n")
            gallery._store._database.run(f"PRAGMA synchronous = {synchronous}")
            with contextlib.suppress(_EnoughError):
                workload.perform(gallery, first, acknowledge)
    os.close(file)
