"""A model is data: loading a stranger's opens no other file, no connection, no module, and takes no memory.

The hook is `sys.addaudithook` in a process of its own; see tests/support/strange_models.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from support import strange_models
from support.onnx_graphs import means, saved
from support.pretrained import digits
from trine.data import Interactions, Table, Texts, Vectors
from trine.encoders import EncoderRecipe, MlpSettings, build_encoder, build_two_tower, load, save
from trine.errors import ModelError

KINDS = list(strange_models.HOSTILE)
MOST_MIB = 200


def sentence_folder(folder: Path) -> Path:
    """A sentence encoder of two narrow layers."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"[PAD]": 0, "[UNK]": 1, "red": 2}, unk_token="[UNK]")
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = transformers.BertConfig(
        vocab_size=3, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=12,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def benign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benign")
    random = np.random.default_rng(0)
    small = MlpSettings((16,))
    torch.save(timm.create_model("test_resnet").state_dict(), folder / "weights.pth")
    table = Table({"size": random.normal(size=9), "kind": np.array(list("aabbccabc"))}, ("size", "kind"))
    for kind, items, recipe in (
        ("vectors", Vectors(random.normal(size=(9, 8)).astype(np.float32)), EncoderRecipe(mlp=small)),
        ("table", table, EncoderRecipe(mlp=small)),
        ("small_resnet", digits(20).items, EncoderRecipe()),
        ("timm", digits(20).items, EncoderRecipe(network="test_resnet", pretrained=False, image_size=32)),
        (
            "sentence",
            Texts(("red", "blue")),
            EncoderRecipe(network="sentence", weights=str(sentence_folder(tmp_path_factory.mktemp("tiny")))),
        ),
    ):
        save(build_encoder(items, recipe=recipe), folder / kind)
    save(load(saved(means(), folder / "net.onnx")), folder / "onnx")
    liked = np.ones(4, dtype=np.bool_)
    data = Interactions("t", ("u", "v"), ("i", "j"), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), liked)
    save(
        build_two_tower(data, dimension=4, normalise=True, distance="euclidean", seed=0), folder / "two_tower"
    )
    return folder


@pytest.fixture(scope="module")
def told(benign: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What loading each model said, touched and took, by kind; the first of each is benign."""
    done = subprocess.run(
        [sys.executable, strange_models.__file__, benign, tmp_path_factory.mktemp("work")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {kind: [line for line in lines if line["kind"] == kind] for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_its_own_files_is_touched(kind: str, told: dict[str, list[dict[str, Any]]]) -> None:
    benign, *hostile = told[kind]
    assert benign["said"] == "loaded"
    assert len(hostile) == len(strange_models.HOSTILE[kind])
    for line in (benign, *hostile):
        assert line["seen"] == [], line
        assert line["seconds"] < 10, line
    for line in hostile:
        assert "is damaged" in line["said"], line
        assert not line["said"].startswith("TRACEBACK"), line
        assert "\n" not in line["said"]


def test_memory_is_bounded_before_weights_are_made(told: dict[str, list[dict[str, Any]]]) -> None:
    peaks = [line["peak_mib"] for kind in KINDS for line in told[kind]]
    assert max(peaks) - min(peaks) < MOST_MIB


@pytest.mark.parametrize("name", ["weights.safetensors", "settings.json"])
def test_a_link_out_of_the_folder_is_not_followed(name: str, benign: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(benign / "vectors", folder)
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ModelError, match="is a link to a file outside the model folder"):
        load(folder)
    (folder / name).unlink()
    (tmp_path / name).rename(folder / "elsewhere")
    (folder / name).symlink_to("elsewhere")
    load(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "settings.json"])
def test_a_link_to_itself_is_a_file_that_cannot_be_read(name: str, benign: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(benign / "vectors", folder)
    (folder / name).unlink()
    (folder / name).symlink_to(name)
    with pytest.raises(ModelError, match=f"{name} cannot be read"):
        load(folder)


def test_settings_of_gigabytes_are_not_read(benign: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(benign / "vectors", folder)
    os.truncate(folder / "settings.json", 1 << 36)
    with pytest.raises(ModelError, match="larger than 64 MiB"):
        load(folder)
