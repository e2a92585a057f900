"""What the gallery's tests run in processes of their own."""

import numpy as np

from trine.gallery import Entry, Gallery

OPENING = {"dimension": 4, "fingerprint": "by hand", "threshold": 1.0}


def embedding_of(seed):
    return np.random.default_rng(seed).standard_normal(4).astype(np.float32)


def operation(seed):
    """The operation of a seed: what it does to a dictionary item -> (identity, seed), and to a gallery."""
    rng = np.random.default_rng([7, seed])
    kind = rng.choice(["enrol", "enrol_many", "remove", "forget"], p=[0.35, 0.45, 0.15, 0.05])
    item = f"item {rng.integers(60)}"
    identity = f"identity {rng.integers(12)}"
    if kind in ("enrol", "enrol_many"):
        count = 1 if kind == "enrol" else int(rng.integers(2, 30))
        entries = {f"item {i}": (f"identity {i % 12}", seed) for i in rng.integers(60, size=count)}
        return kind, entries
    return kind, item if kind == "remove" else identity


def foresee(known, seed):
    kind, what = operation(seed)
    if kind in ("enrol", "enrol_many"):
        return known | what
    return {i: v for i, v in known.items() if (i != what if kind == "remove" else v[0] != what)}


def perform(gallery, seed):
    kind, what = operation(seed)
    if kind in ("enrol", "enrol_many"):
        gallery.enrol_many(
            [
                Entry(identity, item, embedding_of([s, *item.encode()]), metadata={"seed": s})
                for item, (identity, s) in what.items()
            ]
        )
    elif kind == "remove":
        gallery.remove(what)
    else:
        gallery.forget(what)


def work_until_killed(path, first, pipe):
    """Performs one operation after another and says so after each."""
    with Gallery.open(path, **OPENING) as gallery:
        seed = first
        while True:
            perform(gallery, seed)
            pipe.send(seed)
            seed += 1


def enrol_range(path, worker, count, barrier):
    """Opens, or creates, the gallery together with others, and enrols items of its own."""
    barrier.wait()
    with Gallery.open(path, **OPENING) as gallery:
        for i in range(count):
            gallery.enrol(
                "shared" if i % 2 else f"w{worker}", f"{worker}/{i}", embedding=embedding_of([worker, i])
            )


def enrol_on_demand(path, pipe):
    """Enrols what it is sent and acknowledges it."""
    with Gallery.open(path, **OPENING) as gallery:
        while (seed := pipe.recv()) is not None:
            gallery.enrol("ann", f"item {seed}", embedding=embedding_of(seed))
            pipe.send(seed)
