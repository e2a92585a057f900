"""Sequences of calls on a gallery whose process may be killed, and what the gallery must hold afterwards.

A workload numbers its steps, performs them one after another and acknowledges each. `foresee` says what a
gallery holds after a step, from what it held before: a dictionary item -> (identity, step).
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from pyarrow import parquet

from support import gallery_processes
from support.gallery_processes import OPENING, embedding_of
from trine.errors import GalleryError
from trine.gallery import Entry, Gallery
from trine.gallery.postgres import Address
from trine.gallery.postgres.replace import drop

CHUNK = 64
PADDING = "x" * 600


UNFINISHED = (
    "traces of forgotten items may remain",
    "has metadata that is not a JSON object",
    "has no items",
)
"""Problems that a workload makes and repairs, in part; a repair that was cut short is repeated."""


def state_of(path):
    """Returns the whole gallery as a dictionary, read in several ways that must agree, and checks the file.

    A gallery that was killed while forgetting reports it, and its repair completes it. The key `None` holds
    the fingerprint of the encoder that the gallery was rebuilt with, "calibration" the rates it
    was calibrated for.
    """
    with Gallery.open(path, create=False) as gallery:
        problems = gallery._store.check()
        if problems and all(any(known in problem for known in UNFINISHED) for problem in problems):
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
        if (noted := gallery._store.notes().get("calibration")) is not None:
            state["calibration"] = [calibration["asked"] for calibration in json.loads(noted).values()]
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


class Relabels:
    """Enrols an identity, renames it, and merges it into another."""

    checkpoint = 100

    def _people(self, step):
        return {f"item {step % 7}/{i}": (f"new {step}", step) for i in range(12)}

    def foresee(self, known, step):
        if step % 3 == 0:
            return known | self._people(step)
        old, new = (f"new {step - 1}", f"old {step - 1}") if step % 3 == 1 else (f"old {step - 2}", "all")
        return {item: (new if who == old else who, seed) for item, (who, seed) in known.items()}

    def perform(self, gallery, first, acknowledge):
        for step in itertools.count(first):
            if step % 3 == 0:
                gallery.enrol_many(_entries(gallery, self._people(step)))
            elif step % 3 == 1:
                gallery.rename(f"new {step - 1}", f"old {step - 1}")
            elif "all" in gallery.identities():
                gallery.merge("all", f"old {step - 2}")
            else:
                gallery.rename(f"old {step - 2}", "all")
            acknowledge(step)


class Imports:
    """Exports the gallery to a table, and imports another table."""

    checkpoint = 100

    def _some(self, step):
        return {f"item {(7 * step + i) % 120}": (f"identity {i % 5}", step) for i in range(40)}

    def foresee(self, known, step):
        return known | (self._some(step) if step % 2 else {})

    def perform(self, gallery, first, acknowledge):
        folder = folder_of(gallery.address)
        for step in itertools.count(first):
            if step % 2 == 0:
                gallery.export_parquet(folder / "export.parquet")
                assert parquet.read_metadata(folder / "export.parquet").num_rows == len(gallery)
            else:
                with Gallery.open(":memory:", **OPENING) as other:
                    other.enrol_many(_entries(other, self._some(step)))
                    other.export_parquet(folder / "import.parquet")
                gallery.import_parquet(folder / "import.parquet")
            acknowledge(step)


class Repairs:
    """Enrols some, damages one item, or adds an identity without items on a server, and repairs."""

    checkpoint = 100

    def _some(self, step):
        return {f"item {step % 9}/{i}": (f"identity {i % 5}", step) for i in range(30)}

    def foresee(self, known, step):
        if step % 2 == 0:
            return known | self._some(step)
        return {item: value for item, value in known.items() if item != f"item {(step - 1) % 9}/3"}

    def perform(self, gallery, first, acknowledge):
        for step in itertools.count(first):
            if step % 2 == 0:
                gallery.enrol_many(_entries(gallery, self._some(step)))
            else:
                self._damage(gallery, f"item {(step - 1) % 9}/3")
                gallery.repair()
                for aside in folder_of(gallery.address).glob("*.damaged-*"):
                    aside.unlink()
            acknowledge(step)

    def _damage(self, gallery, name):
        if gallery.address.startswith("lance://"):
            table = gallery._store._database._connection.open_table(gallery._store._database.current().name)
            table.update(where=f"item = '{name}'", values={"metadata": "damaged"})
            return

        def item(session):
            damage = "UPDATE items SET metadata = 'damaged', changed = %s WHERE item = %s"
            session.run(damage, (session.stamp, name))

        def identity(session):
            session.run("DELETE FROM items WHERE item = %s", (name,))
            session.run("INSERT INTO identities (name) VALUES ('nobody') ON CONFLICT DO NOTHING")

        gallery._store._database.write(identity if "://" in gallery.address else item)


class Syncs:
    """Follows an origin whose items come and, in other steps, go."""

    checkpoint = 100

    def _items(self, step):
        first = 10 * (step // 2)
        numbers = range(max(first - 10, 0) if step % 2 == 0 else first, first + 40)
        return {f"item {i}": (f"identity {i % 7}", i) for i in numbers}

    def foresee(self, known, step):
        return self._items(step)

    def perform(self, gallery, first, acknowledge):
        for step in itertools.count(first):
            gallery.sync(_entries(gallery, self._items(step)), origin="here", max_removed=1.0)
            acknowledge(step)


class Calibrates:
    """Enrols some, and calibrates the gallery for one rate or another."""

    checkpoint = 100

    def _some(self, step):
        return {f"item {step % 8}/{i}": (f"identity {step % 8}/{i % 5}", step) for i in range(15)}

    def foresee(self, known, step):
        return known | (
            self._some(step) if step % 2 == 0 else {"calibration": [0.1 if step % 4 == 1 else 0.2]}
        )

    def perform(self, gallery, first, acknowledge):
        for step in itertools.count(first):
            if step % 2 == 0:
                gallery.enrol_many(_entries(gallery, self._some(step)))
            else:
                gallery.calibrate(fpir=0.1 if step % 4 == 1 else 0.2)
            acknowledge(step)


class Backups:
    """Enrols some, writes a backup, enrols others, and restores the backup."""

    checkpoint = 100

    def _some(self, step):
        more = "" if step % 4 == 0 else "more "
        return {f"{more}item {step % 12}/{i}": (f"{more}identity {i % 5}", step) for i in range(20)}

    def foresee(self, known, step):
        if step % 2 == 0:
            return known | self._some(step)
        return {item: value for item, value in known.items() if step % 4 == 1 or not item.startswith("more")}

    def perform(self, gallery, first, acknowledge):
        address = gallery._store.place
        backup = folder_of(address) / "backup.db"
        for step in itertools.count(first):
            if step % 2 == 0:
                gallery.enrol_many(_entries(gallery, self._some(step)))
            elif step % 4 == 1:
                gallery.backup(backup, overwrite=True)
            else:
                gallery.close()
                kept = Gallery.restore(backup, address, overwrite=True)
                acknowledge(step)
                gallery = opened(address, self)
                _drop(kept, address)
                continue
            acknowledge(step)


def _drop(kept, address):
    """Deletes the galleries that restorations replaced."""
    if str(address).startswith("lance://"):
        shutil.rmtree(kept.removeprefix("lance://"))
        return
    if "://" in str(address):
        drop(replace(Address.parse(str(address)), gallery=kept.rpartition("gallery=")[2]))
        return
    for left in Path(address).parent.glob("*.replaced-*"):
        left.unlink()


def folder_of(address):
    """Returns the folder for other files of a workload: beside a file, or a temporary one for a server."""
    if "://" not in str(address):
        return Path(address).parent
    if str(address).startswith("lance://"):
        return Path(str(address).removeprefix("lance://")).parent
    folder = (
        Path(tempfile.gettempdir()) / f"workload-{str(address).rpartition('gallery=')[2].partition('&')[0]}"
    )
    folder.mkdir(exist_ok=True)
    return folder


_KINDS = (Everyday, Checkpoints, Bulk, Forgets, Rebuilds)
_MORE = (Relabels, Imports, Repairs, Syncs, Calibrates, Backups)
WORKLOADS = {kind.__name__.lower(): kind() for kind in (*_KINDS, *_MORE)}
POWER_CUTS = tuple(kind.__name__.lower() for kind in _KINDS)
"""The workloads whose every write is also recorded, to cut the power at any of them."""


def batched(stream, count):
    while batch := list(itertools.islice(stream, count)):
        yield batch


def _entries(gallery, items, **more):
    return [
        Entry(identity, item, _embedding(gallery, item, step), metadata={"seed": step, **more})
        for item, (identity, step) in items.items()
    ]


def exists(address):
    """Returns whether there is a gallery."""
    if "://" not in str(address):
        return Path(address).exists()
    try:
        Gallery.open(address, create=False).close()
    except GalleryError as error:
        if "does not exist" not in str(error):
            raise
        return False
    return True


def opened(address, workload):
    gallery = Gallery.open(address, **({} if exists(address) else OPENING))
    if "://" not in str(address):
        gallery._store._database.run(f"PRAGMA wal_autocheckpoint = {workload.checkpoint}")
    gallery._store.place = address  # with everything that `address` leaves out
    return gallery


def until_killed(address, name, first, pipe):
    """Performs one step after another and acknowledges each; runs in its own process.

    An error ends it, and is sent: a server may be killed, too.
    """
    workload = WORKLOADS[name]
    with contextlib.closing(pipe):
        try:
            with opened(address, workload) as gallery:
                pipe.send("open")
                workload.perform(gallery, first, pipe.send)
        except Exception as error:
            pipe.send(error)


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
