"""Functions that the tests of galleries in LanceDB's tables run in separate processes."""

import os

import numpy as np

from support.gallery_processes import OPENING, embedding_of
from trine.gallery import Entry, Gallery

AT_ONCE = 20


def enrol_until_told(address, worker, pipe):
    """Enrols chunks of own items until it is told to stop or killed; acknowledges each chunk by number."""
    rng, number = np.random.default_rng(worker), 0
    with Gallery.open(address, **OPENING) as gallery:
        while not pipe.poll():
            names = [f"{worker}/{number}/{i}" for i in range(AT_ONCE)]
            gallery.enrol_many(Entry(f"w{worker}", name, rng.standard_normal(4)) for name in names)
            pipe.send(number)
            number += 1


def with_environment(environment, function, *arguments):
    """Calls a function with more environment variables."""
    os.environ.update(environment)
    function(*arguments)


def enrol_shared(address, worker, count, said):
    """Opens or creates a gallery when others do, and enrols own items and items that others enrol, too.

    Sends how many were new by what was acknowledged, and whether it created the gallery.
    """
    new = 0
    with Gallery.open(address, **OPENING) as gallery:
        for i in range(count):
            entries = [
                Entry(f"w{worker}", f"{worker}/{i}", embedding_of([worker, i])),
                Entry("shared", f"shared {i}", embedding_of([99, worker, i])),
            ]
            new += gallery.enrol_many(entries).new
    said.put((new, gallery._store.created))


def read_and_write(address, worker, over, said):
    """Enrols, searches, lists and scans until told to stop; sends how many items it enrolled."""
    count = 0
    with Gallery.open(address, **OPENING) as gallery:
        while not over.is_set() or count == 0:
            gallery.enrol(f"w{worker}", f"{worker}/{count}", embedding=embedding_of([worker, count]))
            count += 1
            hits = gallery.search(embedding=np.zeros(4), k=100_000, where={"nothing": 1})
            assert hits == []
            seen = {hit.item for hit in gallery.search(embedding=np.zeros(4), k=100_000)}
            own = {f"{worker}/{i}" for i in range(count)}
            assert own <= seen
            assert own <= {record.item for record in gallery._store.scan()}
    said.put(count)
