"""Does mining through an index on disk find the negatives of an exact search, within its memory?

A million embeddings of Fashion-MNIST: 70,000 pictures, moved and dimmed at random, embedded by a perceptron
that was trained for a minute on other versions of a tenth of them. A picture is an identity: 14 or 15 items
each. A separate process mines them with `mine_embeddings`; for some anchors, the exact search says what
was missed.

    OMP_NUM_THREADS=1 python benchmarks/mining_on_disk.py [--items 1000000] [--anchors 2000] [--memory 0.5]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from results import keep
from trine.data import Dataset, Vectors, load
from trine.encoders import Encoder
from trine.neighbours import ExactSearch
from trine.training import fit, load_recipe

SHIFT, PART, DIMENSION = 2, 50_000, 64

MINER = """
import json, resource, sys, threading, time
from pathlib import Path
from trine.mining import OfflineMining
from trine.pipelines import mine_embeddings

source, out, memory = sys.argv[1], sys.argv[2], float(sys.argv[3])
most, disk = 0, 0

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1e6

def watch():
    global most, disk
    while True:
        most = max(most, anonymous())
        files = [each for each in Path(out).parent.rglob("*") if each.is_file()]
        disk = max(disk, sum(each.stat().st_size for each in files if each.exists()) / 1e9)
        time.sleep(0.2)

before = anonymous()
threading.Thread(target=watch, daemon=True).start()
began, cpu = time.perf_counter(), time.process_time()
report = mine_embeddings(source, out=out, how=OfflineMining(rule="hard"), memory=memory)
print(json.dumps({
    "triplets": report.triplets, "seconds": time.perf_counter() - began,
    "processor seconds": time.process_time() - cpu, "memory before, GB": before, "memory at most, GB": most,
    "disk, GB": disk,
}))
"""


def moved(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pictures moved by up to two pixels and dimmed, as rows."""
    made = np.zeros_like(pictures)
    shifts = rng.integers(-SHIFT, SHIFT + 1, (len(pictures), 2))
    for shift in np.unique(shifts, axis=0):
        some = np.flatnonzero((shifts == shift).all(axis=1))
        made[some] = np.roll(pictures[some], tuple(shift), axis=(1, 2))
    light = rng.uniform(0.7, 1.0, (len(pictures), 1)).astype(np.float32)
    rows: np.ndarray = made.reshape(len(pictures), -1) * light
    return rows


def encoder_of(pictures: np.ndarray, rng: np.random.Generator) -> Encoder:
    """A perceptron that learned which moved pictures are the same."""
    some = rng.permutation(len(pictures))[: len(pictures) // 10]
    rows = np.concatenate([moved(pictures[some], rng) for _ in range(4)])
    labels = np.tile(np.arange(len(some)), 4)
    names = tuple(map(str, range(len(rows))))
    data = Dataset(Vectors(rows), labels, tuple(map(str, range(len(some)))), names, root="moved")
    recipe = load_recipe(
        "default",
        overrides={
            "training.steps": 300,
            "encoder.dimension": DIMENSION,
            "sampler.identities": 64,
            "sampler.items": 4,
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        return fit(data, recipe, out=f"{folder}/run", progress=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--anchors", type=int, default=2_000)
    parser.add_argument("--memory", type=float, default=0.5, help="GiB")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    data, _ = load("fashion-mnist")
    pictures = np.stack([data.items[i][..., 0] for i in range(len(data))]).astype(np.float32) / 255
    encoder = encoder_of(pictures, rng)
    labels = np.arange(asked.items) % len(pictures)
    rows = np.empty((asked.items, DIMENSION), dtype=np.float32)
    about = {"trine.fingerprint": encoder.fingerprint, "trine.distance": encoder.distance}
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder) / "embeddings"
        parts.mkdir()
        for start in range(0, asked.items, PART):
            part = np.arange(start, min(start + PART, asked.items))
            rows[part] = encoder.embed(moved(pictures[labels[part]], rng))
            values = pa.FixedSizeListArray.from_arrays(pa.array(rows[part].ravel()), DIMENSION)
            named = {"item": part.astype(str), "identity": labels[part].astype(str), "embedding": values}
            pq.write_table(
                pa.table(named).replace_schema_metadata(about), parts / f"{start // PART:05}.parquet"
            )
        out = Path(folder) / "mined" / "triplets.parquet"
        words = [sys.executable, "-c", MINER, str(parts), str(out), str(asked.memory)]
        done = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ)
        found = json.loads(done.stdout)
        table = pq.read_table(out, columns=["anchor", "negative", "d_an"])
    anchors = table["anchor"].to_numpy(zero_copy_only=False).astype(np.int64)
    negatives = table["negative"].to_numpy(zero_copy_only=False).astype(np.int64)
    chosen = np.sort(rng.permutation(len(anchors))[: asked.anchors])
    began = time.perf_counter()
    nearest = ExactSearch(rows, distance=encoder.distance).nearest(
        rows[anchors[chosen]], k=48, exclude=anchors[chosen]
    )
    seconds = time.perf_counter() - began
    other = labels[nearest.indices] != labels[anchors[chosen], None]
    assert other.any(axis=1).all(), "48 neighbours hold another identity"
    hardest = nearest.indices[np.arange(len(chosen)), other.argmax(axis=1)]
    summary = {
        "items": asked.items,
        "dimension": DIMENSION,
        "memory allowed for building, GiB": asked.memory,
        **found,
        "hardest negatives found": float((hardest == negatives[chosen]).mean()),
        "anchors compared with the exact search": len(chosen),
        "seconds of the exact search for these": seconds,
    }
    arguments = [] if len(sys.argv) == 1 else sys.argv[1:]
    keep("mining_on_disk", str(__doc__), rows=[summary], summary=summary, arguments=arguments)


if __name__ == "__main__":
    main()
