"""An ONNX file that needs other files is refused before any library opens it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from support.onnx_graphs import means, model, onnx, saved, tensor
from trine.encoders import load, save
from trine.encoders.onnx_file import check_alone
from trine.encoders.onnx_network import open_session
from trine.errors import ModelError

node = onnx.helper.make_node
PICTURES = np.zeros((1, 8, 8, 3), dtype=np.uint8)


def elsewhere(held, location="secret.bin"):
    """Moves the content of a tensor to another file."""
    held.ClearField("raw_data")
    held.data_location = onnx.TensorProto.EXTERNAL
    held.external_data.add(key="location", value=location)


def in_weights():
    made = means()
    elsewhere(made.graph.initializer[0])
    return made


def in_memory():
    """onnxruntime takes such a location for an address in its own memory."""
    made = means()
    elsewhere(made.graph.initializer[0], "*/_ORT_MEM_ADDR_/*")
    return made


def in_a_constant():
    made = means()
    held = tensor("held", np.zeros((3, 4), np.float32))
    elsewhere(held)
    made.graph.node.append(node("Constant", [], ["more"], value=held))
    return made


def in_a_list():
    made = means()
    held = tensor("held", np.zeros((3, 4), np.float32))
    elsewhere(held)
    made.graph.node[0].attribute.append(onnx.helper.make_attribute("more", [held]))
    return made


def in_a_branch():
    made = means()
    held = tensor("held", np.zeros(2, np.float32))
    elsewhere(held)
    out = onnx.helper.make_tensor_value_info("held", 1, (2,))
    branch = onnx.helper.make_graph([], "branch", [], [out], [held])
    made.graph.initializer.append(tensor("yes", np.array(True)))
    made.graph.node.append(node("If", ["yes"], ["x"], then_branch=branch, else_branch=branch))
    return made


def in_a_sparse_tensor():
    made = means()
    values = tensor("values", np.ones(1, np.float32))
    elsewhere(values)
    sparse = onnx.helper.make_sparse_tensor(
        tensor("one", np.ones(1, np.float32)), tensor("at", np.zeros(1, np.int64)), (3,)
    )
    sparse.values.CopyFrom(values)
    made.graph.sparse_initializer.append(sparse)
    return made


def in_a_function():
    made = means()
    held = tensor("held", np.zeros(3, np.float32))
    elsewhere(held)
    made.functions.append(
        onnx.helper.make_function(
            "own",
            "f",
            [],
            ["y"],
            [node("Constant", [], ["y"], value=held)],
            [onnx.helper.make_opsetid("", 17)],
        )
    )
    return made


def not_said():
    """Without a place, but with the name of a file."""
    made = in_weights()
    made.graph.initializer[0].data_location = onnx.TensorProto.DEFAULT
    return made


ELSEWHERE = (
    in_weights, in_memory, in_a_constant, in_a_list, in_a_branch, in_a_sparse_tensor, in_a_function, not_said
)  # fmt: skip


@pytest.mark.parametrize("made", ELSEWHERE)
def test_weights_in_other_files_are_refused(made, tmp_path, monkeypatch):
    (tmp_path / "secret.bin").write_bytes(np.arange(12, dtype=np.float32).tobytes())
    monkeypatch.chdir(tmp_path)  # where onnxruntime looks for the files of a graph without a folder
    path = saved(made(), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="it keeps weights in other files; save it with its weights inside"):
        load(path)


@pytest.mark.parametrize("made", ELSEWHERE)
def test_a_strangers_model_folder_reads_no_other_file(made, tmp_path, monkeypatch):
    save(load(saved(means(), tmp_path / "net.onnx")), tmp_path / "model")
    (tmp_path / "model" / "secret.bin").write_bytes(bytes(48))
    monkeypatch.chdir(tmp_path / "model")
    content = made().SerializeToString()
    weights = load_file(tmp_path / "model/weights.safetensors")
    weights["network.graph"] = np.frombuffer(content, dtype=np.uint8)
    save_file(weights, tmp_path / "model/weights.safetensors")
    told = json.loads((tmp_path / "model/settings.json").read_text())
    told["encoder"]["onnx"]["bytes"] = len(content)
    (tmp_path / "model/settings.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match=r"is damaged: .*it keeps weights in other files"):
        load(tmp_path / "model")


def test_operations_of_others_are_refused(tmp_path):
    made = model(
        [node("Own", ["images"], ["out"], domain="acme.ops")], [], ("n", 3, 8, 8), [("out", ("n", 3))],
        opsets=[("", 17), ("acme.ops", 1)],
    )  # fmt: skip
    with pytest.raises(
        ModelError, match=r"it has operations of acme.ops, which onnxruntime does not bring along"
    ):
        load(saved(made, tmp_path / "net.onnx"))
    made = model(
        [node("EPContext", ["images"], ["out"], domain="com.microsoft", ep_cache_context="secret")], [],
        ("n", 3, 8, 8), [("out", ("n", 3))], opsets=[("", 17), ("com.microsoft", 1)],
    )  # fmt: skip
    with pytest.raises(ModelError, match="EPContext, which stands for another file"):
        load(saved(made, tmp_path / "net.onnx"))


def test_operations_that_the_file_defines_itself_are_its_own(tmp_path):
    made = means()
    made.functions.append(
        onnx.helper.make_function(
            "own", "Same", ["x"], ["y"], [node("Identity", ["x"], ["y"])], [onnx.helper.make_opsetid("", 17)]
        )
    )
    made.opset_import.append(onnx.helper.make_opsetid("own", 1))
    made.graph.node.insert(0, node("Same", ["images"], ["same"], domain="own"))
    made.graph.node[1].input[0] = "same"
    onnx.checker.check_model(made)
    assert load(saved(made, tmp_path / "net.onnx")).embed(PICTURES).shape == (1, 4)


def test_onnxruntimes_own_format_is_refused():
    with pytest.raises(ModelError, match="cannot be used: it is no ONNX file"):
        open_session(b"\x08\x00\x00\x00ORTM" + bytes(100), threads=1)


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 20, b"\x0b\x0c", b"\x3a\x7f\x00"])
def test_what_is_no_graph(content, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    path.with_suffix(".yaml").write_text("encoder: {onnx: {mean: 0, std: 1}}")
    with pytest.raises(ModelError, match="is no ONNX file"):
        load(path)


def test_parts_too_deep_inside_each_other():
    graph = b""
    for _ in range(60):  # a graph in an attribute of a node of a graph
        attribute = b"\x32" + length(graph) + graph
        held = b"\x2a" + length(attribute) + attribute
        graph = b"\x0a" + length(held) + held
    with pytest.raises(ValueError, match="too deep"):
        check_alone(b"\x3a" + length(graph) + graph)


def length(message: bytes) -> bytes:
    value, found = len(message), b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_an_error_and_nothing_else(content):
    with pytest.raises(ValueError, match=r"it is no ONNX file|it has|it keeps|its parts"):
        check_alone(content)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damage_is_an_error_and_nothing_else(data):
    whole = bytearray(means().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ModelError):
        open_session(bytes(whole), threads=1)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "net.yaml").write_text("encoder: {onnx: {mean: 0, std: 1}}")
    os.mkfifo(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="does not exist"):
        load(Path(tmp_path / "net.onnx"))
