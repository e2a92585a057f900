"""How much does a service add to its gallery, what does it bear, and what does it lose when it is killed?

Each part runs by itself in at most three minutes; `--parts` chooses.

latency: 100,000 rows of 128 numbers, k = 10. One warm `trine.Client` over loopback and the gallery in this
process ask the same in turn, query by query.
load: 50 clients for `--seconds`, against a service in its own process with a small residual network and
pictures of 64 pixels: six of ten requests search by a vector, three identify a picture, one enrols a picture.
Beside it, the same mix asked of the gallery in this process by one thread, and the pictures that the encoder
alone embeds a second, one by one and in batches.
memory: how much the service's memory grows over `--requests` of the same mix, after 2,000 to warm it.
batching: 16 clients identify pictures, with and without batches.
kills: the service is killed (SIGKILL) `--kills` times in the middle of enrols and jobs; after each it is
started again and must hold all that it acknowledged.

    python benchmarks/service.py [--parts latency load memory batching kills] [--seconds 60] [--kills 50]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from results import FOLDER, keep
from trine import Client, Gallery
from trine.gallery import Entry
from trine.service.jobs import KEPT

PARTS = ("latency", "load", "memory", "batching", "kills")
ROWS, WIDTH, K = 100_000, 128, 10
SIDE = 64

SERVER = """
import sys, threading
from pathlib import Path
sys.path.insert(0, {here!r})
from service import encoder_of_pictures
from trine import Gallery
from trine.service import batching
from trine.service.server import bind, serve
from trine.service.service import Service
from trine.service.settings import Limits, ServiceSettings
import torch
torch.set_num_threads(1)
if not {batches}:
    batching.BatchingEncoder._waiting = lambda self: [self._queue.popleft()]
folder, port = Path({folder!r}), {port}
encoder = encoder_of_pictures() if {pictures} else None
gallery = Gallery.open(folder / "g.db", encoder=encoder)
limits = Limits(rate=0)
listener = bind("127.0.0.1", port)
service = Service({{"g": gallery}}, ServiceSettings(folder / "state", limits=limits))
serve(service, listener)
"""


def encoder_of_pictures() -> Any:
    """A small residual network for pictures, not trained."""
    from trine.data import ImageArray
    from trine.encoders import build_encoder
    from trine.training import load_recipe

    pixels = np.random.default_rng(0).integers(0, 256, (64, SIDE, SIDE, 3), dtype=np.uint8)
    return build_encoder(ImageArray(pixels), recipe=load_recipe("default").encoder).eval()


def picture(seed: int) -> bytes:
    """A JPEG picture of noise."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG")
    return buffer.getvalue()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(folder: Path, port: int, *, pictures: bool, batches: bool = True) -> subprocess.Popen[bytes]:
    """Starts a service, and waits until it answers."""
    code = SERVER.format(
        here=str(Path(__file__).parent), folder=str(folder), port=port, pictures=pictures, batches=batches
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 90
    while time.monotonic() < until:
        try:
            Client(f"http://127.0.0.1:{port}").close()
            return process
        except Exception:
            assert process.poll() is None, "the service ended"
            time.sleep(0.1)
    raise TimeoutError("the service does not answer")


@contextmanager
def service(folder: Path, *, pictures: bool, batches: bool = True) -> Iterator[tuple[str, int]]:
    """A service in its own process: its address, and the number of the process."""
    port = free_port()
    process = start(folder, port, pictures=pictures, batches=batches)
    try:
        yield f"http://127.0.0.1:{port}/g", process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def quantiles(times: list[float]) -> dict[str, float]:
    return {name: 1000 * float(np.quantile(times, share)) for name, share in (("p50", 0.5), ("p99", 0.99))}


def latency(settings: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((ROWS, WIDTH), dtype=np.float32)
    with (
        tempfile.TemporaryDirectory() as folder,
        Gallery.open(f"{folder}/g.db", dimension=WIDTH, fingerprint="rows") as gallery,
    ):
        gallery.enrol_many(Entry(f"p{i // 10}", str(i), row) for i, row in enumerate(rows))
        queries = rng.standard_normal((600, WIDTH)).astype(np.float32)
        times: dict[str, list[float]] = {"gallery": [], "service": []}
        with service(Path(folder), pictures=False) as (address, _), Client(address) as client:
            for query in queries[:100]:
                client.search(embedding=query, k=K)
                gallery.search(embedding=query, k=K)
            for query in queries[100:]:
                for name, asked in (("gallery", gallery), ("service", client)):
                    began = time.perf_counter()
                    hits = asked.search(embedding=query, k=K)
                    times[name].append(time.perf_counter() - began)
                    assert len(hits) == K
    found = {name: quantiles(each) for name, each in times.items()}
    added = found["service"]["p50"] - found["gallery"]["p50"]
    return {
        "search in the gallery, p50 ms": found["gallery"]["p50"],
        "search in the service, p50 ms": found["service"]["p50"],
        "search in the service, p99 ms": found["service"]["p99"],
        "added by the service, p50 ms": added,
    }


def mixed(gallery: Any, rng: random.Random, pictures: list[bytes], rows: Any, number: int) -> str:
    """Sends one request of the mix, and returns its kind."""
    kind = rng.choices(("search", "identify", "enrol"), (6, 3, 1))[0]
    if kind == "search":
        gallery.search(embedding=rows[rng.randrange(len(rows))], k=K)
    elif kind == "identify":
        gallery.identify(rng.choice(pictures), threshold=0.5)
    else:
        gallery.enrol(f"new {number % 100}", f"new {number}", content=rng.choice(pictures))
    return kind


def filled(folder: Path) -> Any:
    """Fills a gallery of 5,000 embeddings of the encoder's width; returns its rows."""
    encoder = encoder_of_pictures()
    rows = np.random.default_rng(1).standard_normal((5_000, encoder.settings.dimension)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with Gallery.open(folder / "g.db", encoder=encoder) as gallery:
        gallery.enrol_many(Entry(f"p{i // 10}", f"{i}", row) for i, row in enumerate(rows))
    return rows


class Decoding:
    """A gallery in this process that is given the bytes of pictures, as a service is."""

    def __init__(self, gallery: Gallery) -> None:
        from trine.service.pictures import Decoder

        self._gallery, self._decoder = gallery, Decoder(pixels=1 << 24, at_once=2)
        self.search = gallery.search

    def identify(self, content: bytes, threshold: float) -> Any:
        return self._gallery.identify(self._decoder.decode(content), threshold=threshold)

    def enrol(self, identity: str, item: str, *, content: bytes) -> None:
        self._gallery.enrol(identity, item, content=self._decoder.decode(content))


def load(settings: Any) -> dict[str, Any]:
    pictures = [picture(i) for i in range(40)]
    times: dict[str, list[float]] = {"search": [], "identify": [], "enrol": []}
    errors: list[str] = []
    lock = threading.Lock()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = filled(folder)
        encoder = encoder_of_pictures()
        items = list(np.random.default_rng(2).integers(0, 256, (64, SIDE, SIDE, 3), dtype=np.uint8))
        alone = {1: 0.0, 64: 0.0}
        for size in alone:
            began = time.perf_counter()
            for start_ in range(0, 64, size):
                encoder.embed(items[start_ : start_ + size])
            alone[size] = 64 / (time.perf_counter() - began)
        with Gallery.open(folder / "g.db", encoder=encoder) as gallery:
            own, rng, began = Decoding(gallery), random.Random(0), time.perf_counter()
            for i in range(300):
                mixed(own, rng, pictures, rows, i)
            in_process = 300 / (time.perf_counter() - began)
        with service(folder, pictures=True) as (address, _):
            until = time.monotonic() + settings.seconds

            def ask(seed: int) -> None:
                rng, number = random.Random(seed), 1_000_000 * (seed + 1)
                with Client(address) as client:
                    while time.monotonic() < until:
                        number += 1
                        began = time.perf_counter()
                        try:
                            kind = mixed(client, rng, pictures, rows, number)
                        except Exception as error:
                            with lock:
                                errors.append(str(error))
                            continue
                        with lock:
                            times[kind].append(time.perf_counter() - began)

            threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(settings.clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    total = sum(map(len, times.values()))
    found: dict[str, Any] = {
        "clients": settings.clients,
        "requests": total,
        "errors": len(errors),
        "requests a second": total / settings.seconds,
        "requests a second in process, one thread": in_process,
        "pictures a second, encoder alone, one by one": alone[1],
        "pictures a second, encoder alone, batches of 64": alone[64],
    }
    for kind, each in times.items():
        found |= {f"{kind}, {quantile} ms": value for quantile, value in quantiles(each).items()}
    if errors:
        print(errors[:3])
    return found


def resident(process: int) -> float:
    """Megabytes that a process holds."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1000


def memory(settings: Any) -> dict[str, Any]:
    pictures = [picture(i) for i in range(40)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = filled(folder)
        with service(folder, pictures=True) as (address, process):

            def ask(count: int, offset: int) -> None:
                rng = random.Random(offset)
                with Client(address) as client:
                    for i in range(count):
                        # The gallery itself grows with what is enrolled: the same items again.
                        mixed(client, rng, pictures, rows, i % 50)

            def many(count: int, offset: int) -> None:
                threads = [
                    threading.Thread(target=ask, args=(count // 8, offset + seed)) for seed in range(8)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

            many(2_000, 0)
            before = resident(process)
            many(settings.requests, 100)
            after = resident(process)
    return {
        "requests": settings.requests,
        "memory before, MB": before,
        "memory after, MB": after,
        "growth, MB": after - before,
    }


def batching(settings: Any) -> dict[str, Any]:
    pictures = [picture(i) for i in range(40)]
    found: dict[str, Any] = {}
    for batches in (False, True):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            filled(folder)
            with service(folder, pictures=True, batches=batches) as (address, _):
                counts, until = [0] * 16, time.monotonic() + min(20, settings.seconds)

                def ask(
                    seed: int, address: str = address, counts: Any = counts, until: float = until
                ) -> None:
                    rng = random.Random(seed)
                    with Client(address) as client:
                        while time.monotonic() < until:
                            client.identify(rng.choice(pictures), threshold=0.5)
                            counts[seed] += 1

                threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(16)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                name_ = "with batches" if batches else "one by one"
                found[f"pictures identified a second, {name_}"] = sum(counts) / min(20, settings.seconds)
    return found


def kills(settings: Any) -> dict[str, Any]:
    acknowledged: dict[str, list[float]] = {}
    jobs: dict[str, int] = {}
    lost: list[str] = []
    number = 0
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Gallery.open(folder / "g.db", dimension=2, fingerprint="rows").close()
        port = free_port()
        for _ in range(settings.kills):
            process = start(folder, port, pictures=False)
            with Client(f"http://127.0.0.1:{port}/g") as client:
                held = {entry.item for entry in client.entries()}
                lost += [item for item in acknowledged if item not in held]
                known = {job["id"] for job in client._call("GET", "/v1/jobs")["jobs"]}
                # Jobs that were stored without an answer are kept as well, so that fewer of these are.
                lost += [job for job in list(jobs)[-KEPT // 2 :] if job not in known]
                killer = threading.Timer(rng.uniform(0.05, 0.8), process.kill)
                killer.start()
                try:
                    while True:
                        number += 1
                        if number % 10 == 0:
                            entries = [
                                {"identity": "job", "item": f"j{number}/{i}", "embedding": [i, 1.0]}
                                for i in range(100)
                            ]
                            job = client._post("jobs", {"kind": "enrol", "entries": entries})
                            jobs[job["id"]] = number
                        else:
                            row = [rng.random(), rng.random()]
                            client.enrol(f"p{number % 50}", f"i{number}", embedding=row)
                            acknowledged[f"i{number}"] = row
                except Exception:
                    killer.join()
            process.wait(30)
        process = start(folder, port, pictures=False)
        with Client(f"http://127.0.0.1:{port}/g") as client:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                states = {job["id"]: job["state"] for job in client._call("GET", "/v1/jobs")["jobs"]}
                if not {"waiting", "running"} & set(states.values()):
                    break
                time.sleep(0.2)
            held = {entry.item for entry in client.entries()}
            lost += [item for item in acknowledged if item not in held]
            missing = [f"j{n}/{i}" for n in jobs.values() for i in range(100) if f"j{n}/{i}" not in held]
            lost += missing
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        with Gallery.open(folder / "g.db", create=False) as gallery:
            problems = gallery.check()
    if lost:
        print(lost[:10])
    return {
        "kills": settings.kills,
        "enrols acknowledged": len(acknowledged),
        "jobs acknowledged": len(jobs),
        "jobs done in the end": len(jobs) - len({item.partition("/")[0] for item in missing}),
        "lost": len(lost),
        "problems of the gallery": len(problems),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--seconds", type=float, default=60, help="how long the load lasts")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=20_000, help="of the part memory")
    parser.add_argument("--kills", type=int, default=50)
    settings = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    run: dict[str, Callable[[Any], dict[str, Any]]] = {
        "latency": latency,
        "load": load,
        "memory": memory,
        "batching": batching,
        "kills": kills,
    }
    # Parts that are not asked for keep their last result.
    path = FOLDER / "service.json"
    kept = json.loads(path.read_text("utf-8"))["rows"] if path.is_file() else []
    rows = {row["part"]: row for row in kept}
    for part in settings.parts:
        rows[part] = {"part": part, "arguments": " ".join(sys.argv[1:]), **run[part](settings)}
        print(rows[part], flush=True)
    ordered = [rows[part] for part in PARTS if part in rows]
    summary = {
        f"{row['part']}: {name}": value
        for row in ordered
        for name, value in row.items()
        if name not in ("part", "arguments")
    }
    keep("service", __doc__, rows=ordered, summary=summary, arguments=sys.argv[1:])


if __name__ == "__main__":
    main()
