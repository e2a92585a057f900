"""Functions that the tests of the gallery run in separate processes."""

import importlib
import os
import resource
import shutil
import signal
import sqlite3
import time
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np

from support.fake_encoder import FileEncoder
from support.small_disk import fill, mounted
from trine.errors import GalleryError, TrineError
from trine.gallery import Entry, Gallery
from trine.gallery.sqlite.file import new_file

OPENING = {"dimension": 4, "fingerprint": "by hand", "threshold": 1.0}


def embedding_of(seed):
    return np.random.default_rng(seed).standard_normal(4).astype(np.float32)


def operation(seed):
    """Draws an operation and its argument from a seed."""
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
    """Returns what a dictionary item -> (identity, seed) holds after the operation of a seed."""
    kind, what = operation(seed)
    if kind in ("enrol", "enrol_many"):
        return known | what
    return {i: v for i, v in known.items() if (i != what if kind == "remove" else v[0] != what)}


def perform(gallery, seed):
    """Performs the operation of a seed on a gallery."""
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


def enrol_range(path, worker, count, barrier):
    """Opens or creates the gallery at the same moment as other processes, then enrols its own items."""
    barrier.wait()
    with Gallery.open(path, **OPENING) as gallery:
        for i in range(count):
            gallery.enrol(
                "shared" if i % 2 else f"w{worker}", f"{worker}/{i}", embedding=embedding_of([worker, i])
            )


def write_and_die(path, count, name, then=None):
    """Enrols some items, one by one, and is killed; `then` is called in between, with its arguments."""
    gallery = Gallery.open(path, create=False)
    for i in range(count):
        gallery.enrol(name, f"{name} {i}", embedding=[0, i])
        if then is not None:
            then[0](*then[1:])
            then = None
            gallery.enrol(name, "once more", embedding=[1, i])
    os.kill(os.getpid(), signal.SIGKILL)


def vacuum_into(path, copy):
    connection = sqlite3.connect(path)
    connection.execute("VACUUM INTO ?", (str(copy),))
    connection.close()


def open_and_close(path):
    Gallery.open(path).close()


def memory_of(work, path, pipe):
    """Sends how many bytes of memory this process needed more, at most, to do something with a gallery."""
    folder = path.parent
    target = folder / f"new-{work}.db"
    calls = {
        "check": lambda gallery: gallery.check(),
        "repair": lambda gallery: gallery.repair(),
        "backup": lambda gallery: gallery.backup(target),
        "restore": lambda gallery: Gallery.restore(folder / "backup.db", target),
        "export": lambda gallery: gallery.export_parquet(folder / "export.parquet"),
        "import": lambda gallery: _imported(folder / "table.parquet", target),
        "copy": lambda gallery: gallery.copy_to(target),
        "identities": lambda gallery: gallery.identities(),
        "scan": lambda gallery: sum(1 for _ in gallery.entries()),
        "search": lambda gallery: gallery.search(embedding=np.zeros(gallery.binding.dimension)),
    }
    with Gallery.open(path) as gallery:
        gallery.get("item 1")
        importlib.import_module("pyarrow.parquet")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        calls[work](gallery)
    pipe.send(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


def _imported(table, path):
    with Gallery.open_for_table(table, path) as gallery:
        gallery.import_parquet(table)


def create_slowly(path, pipe):
    """Creates a gallery's file, and never finishes."""
    with new_file(path) as unfinished:
        Path(f"{unfinished}-wal").write_bytes(b"log")
        pipe.send(unfinished)
        time.sleep(60)


def on_demand(path, pipe):
    """Calls the gallery's methods that it receives by name, and sends back the results."""
    with Gallery.open(path, **OPENING) as gallery:
        while (order := pipe.recv()) is not None:
            method, arguments, settings = order
            pipe.send(getattr(gallery, method)(*arguments, **settings))


def write_a_register(path, name, count, last):
    """Enrols ascending numbers under one name; `last` is the last number whose call returned."""
    with Gallery.open(path, **OPENING) as gallery:
        for value in range(1, count + 1):
            gallery.enrol(name, name, embedding=[value, 0, 0, 0], metadata={"value": value})
            last.value = value


def read_registers(path, lasts, over, seen):
    """Reads registers until `over` is set; a read returns at least what was acknowledged before it began."""
    with Gallery.open(path, **OPENING) as gallery:
        while not over.is_set():
            for name, last in lasts.items():
                for read in (_by_search, _by_get):
                    acknowledged = last.value
                    value = read(gallery, name)
                    assert acknowledged <= value <= last.value + 1, (name, read, acknowledged, value)
                    seen[name] = value


def _by_search(gallery, name):
    hits = gallery.search(embedding=[0, 0, 0, 0], k=10)
    return next((int(hit.score) for hit in hits if hit.identity == name), 0)


def _by_get(gallery, name):
    try:
        return gallery.get(name).metadata["value"]
    except GalleryError:
        return 0


def rebuild_from_files(path, pipe):
    """Rebuilds a gallery of number files with another encoder; sends a message when it starts."""
    with Gallery.open(path) as gallery:
        pipe.send("begun")
        gallery.rebuild(FileEncoder("new", 3), chunk=3)


def rebuild(gallery, fingerprint):
    """Replaces all embeddings by the same values under the fingerprint of another encoder."""
    store, binding = gallery._store, replace(gallery.binding, fingerprint=fingerprint)
    store.stage(binding, list(store.unstaged(binding)))
    assert store.switch(binding)


ROOM = 350_000


def work_on_a_full_disk(folder, pipe):
    """Tries every call on a full disk and again with free space; sends the answers and errors."""
    if not mounted(folder, size="8m"):
        pipe.send(None)
        return
    path, told = folder / "people.db", {}

    def opened(path=path):
        return Gallery.open(path, **OPENING)

    def said(call, *arguments):
        try:
            call(*arguments)
        except TrineError as error:
            return f"{type(error).__name__}: {error}"
        except BaseException:
            return traceback.format_exc()
        return "done"

    def state(gallery):
        hits = gallery.search(embedding=np.zeros(4), k=10_000)
        return {(hit.item, hit.identity, hit.score) for hit in hits}, gallery.identities()

    def many(name, count):
        return [
            Entry(name, f"{name} {i}", embedding_of(i), metadata={"text": "x" * 500}) for i in range(count)
        ]

    with opened() as gallery:
        gallery.enrol_many(many("ann", 300))
        gallery.enrol_many(many("bob", 300))
        told["before"] = state(gallery)
    spare = path.with_name("spare")
    shutil.copy(path, spare)
    calls = {
        "enrol": lambda g: g.enrol("cas", "1", embedding=embedding_of(1), metadata={"text": "x" * 5000}),
        "enrol_many": lambda g: g.enrol_many(many("cas", 500)),
        "replace": lambda g: g.enrol("bob", "ann 1", embedding=embedding_of(2)),
        "remove": lambda g: g.remove("ann 1"),
        "forget": lambda g: g.forget("ann"),
        "rebuild": lambda g: rebuild(g, "another"),
    }
    for name, call in calls.items():
        shutil.copy(spare, path)
        with opened() as gallery:
            filler = fill(folder)
            first = said(call, gallery)
            now = state(gallery)
            if name == "enrol":
                told["search"] = said(lambda: gallery.search(embedding=np.zeros(4)))
            filler.unlink()
            told[name] = first, now, said(call, gallery)
    shutil.copy(spare, path)
    with opened() as gallery:
        filler = fill(folder)
        os.truncate(filler, filler.stat().st_size - ROOM)  # for the deletion, not for the file anew
        first = said(gallery.forget, "ann")
        now = gallery.identities(), gallery._store.check()
        filler.unlink()
        told["forget with little room"] = first, *now, gallery._store.repair(), gallery._store.check()
    told["traces"] = b"ann 1" in path.read_bytes()
    shutil.copy(spare, path)
    with opened() as gallery:
        filler = fill(folder)
        os.truncate(filler, filler.stat().st_size - ROOM)  # for what is staged, not for the switch
        first = said(rebuild, gallery, "another")
        now = state(gallery), gallery._store.check()
        filler.unlink()
        told["rebuild with little room"] = first, *now, said(rebuild, gallery, "another")
    shutil.copy(spare, path)
    spare.unlink()
    filler = fill(folder)
    told["open"] = said(lambda: opened().close())
    first = said(lambda: opened(path.with_name("new.db")).close())
    left = sorted(item.name for item in folder.iterdir())
    filler.unlink()
    told["create"] = first, left, said(lambda: opened(path.with_name("new.db")).close())
    pipe.send(told)


def read_and_write_at_once(address, processes, *, count):
    """Runs two readers and a writer for each of two registers; returns the last numbers written."""
    lasts = {name: processes.Value("l", 0) for name in ("x", "y")}
    over = processes.Event()
    readers = [processes.Process(target=read_registers, args=(address, lasts, over, {})) for _ in range(2)]
    writers = [
        processes.Process(target=write_a_register, args=(address, name, count, last))
        for name, last in lasts.items()
    ]
    for worker in (*readers, *writers):
        worker.start()
    for writer in writers:
        writer.join()
    over.set()
    for reader in readers:
        reader.join()
    assert [worker.exitcode for worker in (*readers, *writers)] == [0] * 4
    return [last.value for last in lasts.values()]
