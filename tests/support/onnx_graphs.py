"""Small networks as ONNX files, built node by node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trine.encoders.face_resnet import FaceResNet

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FLOAT = onnx.TensorProto.FLOAT


def tensor(name: str, values: np.ndarray) -> Any:
    return onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)


def model(
    nodes: Sequence[Any],
    weights: Sequence[Any],
    shape: Sequence[int | str],
    outputs: Sequence[tuple[str, Sequence[int | str]]],
    *,
    kind: int = FLOAT,
    opsets: Sequence[tuple[str, int]] = (("", 17),),
) -> Any:
    """A network from `images` to outputs."""
    graph = onnx.helper.make_graph(
        list(nodes),
        "network",
        [onnx.helper.make_tensor_value_info("images", kind, list(shape))],
        [onnx.helper.make_tensor_value_info(name, FLOAT, list(out)) for name, out in outputs],
        list(weights),
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid(*each) for each in opsets], ir_version=8
    )


def means(
    shape: Sequence[int | str] = ("n", 3, 8, 8), *, features: int = 4, seed: int = 0, nhwc: bool = False
) -> Any:
    """The means of the channels, multiplied with a matrix; `features` numbers."""
    node = onnx.helper.make_node
    weights = np.random.default_rng(seed).normal(size=(3, features)).astype(np.float32)
    nodes = [
        node("ReduceMean", ["images"], ["means"], axes=[1, 2] if nhwc else [2, 3], keepdims=0),
        node("MatMul", ["means", "weights"], ["features"]),
    ]
    return model(nodes, [tensor("weights", weights)], shape, [("features", (shape[0], features))])


def of_face_resnet(network: FaceResNet, *, side: int, batch: int | str = "n") -> Any:
    """dlib's network, layer by layer."""
    node, nodes, weights = onnx.helper.make_node, [], []

    def convolved(layer: Any, given: str, *, relu: bool) -> str:
        at = len(weights)
        weights.extend(
            [tensor(f"w{at}", layer.weight.detach().numpy()), tensor(f"b{at}", layer.bias.detach().numpy())]
        )
        pads = [layer.padding[0]] * 4
        nodes.append(
            node("Conv", [given, f"w{at}", f"b{at}"], [f"c{at}"], strides=list(layer.stride), pads=pads)
        )
        if not relu:
            return f"c{at}"
        nodes.append(node("Relu", [f"c{at}"], [f"r{at}"]))
        return f"r{at}"

    at = convolved(network.stem, "images", relu=True)
    nodes.append(node("MaxPool", [at], ["pooled"], kernel_shape=[3, 3], strides=[2, 2]))
    at, height = "pooled", ((side - 7) // 2 + 1 - 3) // 2 + 1
    for number, block in enumerate(network.blocks):
        computed = convolved(block.second, convolved(block.first, at, relu=True), relu=False)
        short, low = at, height
        if block.halve:
            nodes.append(node("AveragePool", [at], [f"half{number}"], kernel_shape=[2, 2], strides=[2, 2]))
            short, low = f"half{number}", height // 2
            height = (height - 3) // 2 + 1
        channels = block.first.out_channels - block.first.in_channels
        sides = {short: low, computed: height}
        wanted = max(sides.values())
        padded = []
        for name, extra in ((short, channels), (computed, 0)):
            missing = wanted - sides[name]
            if missing or extra:
                pads = np.array([0, 0, 0, 0, 0, extra, missing, missing], dtype=np.int64)
                weights.append(tensor(f"pads_{name}", pads))
                nodes.append(node("Pad", [name, f"pads_{name}"], [f"padded_{name}"]))
            padded.append(f"padded_{name}" if missing or extra else name)
        height = wanted
        nodes.append(node("Add", padded, [f"sum{number}"]))
        nodes.append(node("Relu", [f"sum{number}"], [f"block{number}"]))
        at = f"block{number}"
    weights.append(tensor("last", network.last.weight.detach().numpy().T))
    nodes.append(node("ReduceMean", [at], ["mean"], axes=[2, 3], keepdims=0))
    nodes.append(node("MatMul", ["mean", "last"], ["features"]))
    return model(nodes, weights, (batch, 3, side, side), [("features", (batch, 128))])


def saved(made: Any, path: Path, settings: str | None = "{mean: 0, std: 1}") -> Path:
    """Writes a network, and how it takes images beside it."""
    path.write_bytes(made.SerializeToString())
    if settings is not None:
        path.with_suffix(".yaml").write_text(f"encoder:\n  onnx: {settings}\n")
    return path
