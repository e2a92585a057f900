"""timm models as encoders: weights from local files, and each way in which they cannot be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from trine.data import ImageArray
from trine.encoders import EncoderRecipe, build_encoder
from trine.encoders.pretrained import timm_network
from trine.errors import ModelError, SettingError

PICTURES = ImageArray(np.random.default_rng(0).integers(0, 256, (4, 20, 16, 1), dtype=np.uint8))
RECIPE = EncoderRecipe(network="test_resnet", pretrained=False, dimension=6)


@pytest.fixture(scope="module")
def donor() -> torch.nn.Module:
    torch.manual_seed(5)
    return timm.create_model("test_resnet", pretrained=False, num_classes=10)


def test_a_model_brings_its_own_preprocessing() -> None:
    encoder = build_encoder(PICTURES, recipe=RECIPE)
    own = timm_network("test_resnet").pretrained_cfg
    assert encoder.settings.shape == own["input_size"]
    assert encoder.mean.tolist() == pytest.approx(own["mean"])
    assert encoder.std.tolist() == pytest.approx(own["std"])
    assert encoder.embed(PICTURES).shape == (4, 6)


def test_a_model_that_is_built_for_one_size_is_built_for_the_size_asked_for() -> None:
    encoder = build_encoder(PICTURES, recipe=replace(RECIPE, network="test_vit", image_size=(64, 48)))
    assert encoder.settings.shape == (3, 64, 48)
    assert encoder.embed(PICTURES).shape == (4, 6)


@pytest.mark.parametrize("form", ["safetensors", "torch", "wrapped"])
def test_weights_come_from_a_local_file(donor: torch.nn.Module, tmp_path: Path, form: str) -> None:
    state = donor.state_dict()
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        save_file(state, path)
    elif form == "torch":
        torch.save(state, path)
    else:
        torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, path)
    encoder = build_encoder(PICTURES, recipe=replace(RECIPE, weights=str(path), pretrained=True))
    x = torch.rand(2, 3, 64, 64)
    expected = donor.eval().forward_head(donor.forward_features(x), pre_logits=True)
    assert expected.abs().max() > 0
    torch.testing.assert_close(encoder.eval().network(x), expected)


def test_a_file_that_could_run_something_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": Path("x")}, path)
    with pytest.raises(
        ModelError, match=r"weights.pth holds more than tensors, and opening such a file could run any code"
    ):
        build_encoder(PICTURES, recipe=replace(RECIPE, weights=str(path)))


def test_files_that_do_not_fit_are_refused(donor: torch.nn.Module, tmp_path: Path) -> None:
    missing, text, partial, alone = (
        tmp_path / name for name in ("no.pth", "text.safetensors", "part.pth", "one.pth")
    )
    text.write_text("hello, this is no file with weights")
    state = donor.state_dict()
    del state["layer1.0.conv1.weight"]
    torch.save(state, partial)
    torch.save(torch.zeros(3), alone)
    for path, message in (
        (missing, r"no.pth does not exist; set encoder.weights to a file with weights$"),
        (text, r"^.*text.safetensors cannot be read as weights \("),
        (partial, r"part.pth lacks 1 of the \d+ weights of 'test_resnet', first 'layer1.0.conv1.weight'"),
        (alone, r"one.pth holds a Tensor, expected a state dict$"),
    ):
        with pytest.raises(ModelError, match=message) as caught:
            build_encoder(PICTURES, recipe=replace(RECIPE, weights=str(path)))
        assert "\n" not in str(caught.value)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(
        SettingError, match=r"^encoder.network is 'resnet_18'.*did you mean 'resnet18'\?"
    ) as caught:
        build_encoder(PICTURES, recipe=replace(RECIPE, network="resnet_18"))
    assert len(str(caught.value)) < 300


def test_published_weights_out_of_reach_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, *, pretrained: bool = False, **arguments: object) -> torch.nn.Module:
        if pretrained:
            raise OSError("Name or service not known\nsecond line")
        return create(name, **arguments)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        ModelError, match=r"weights of 'test_resnet' could not be downloaded \(Name or service not known\)"
    ) as caught:
        build_encoder(PICTURES, recipe=replace(RECIPE, pretrained=True))
    assert "encoder.weights" in str(caught.value)
    assert "encoder.pretrained" in str(caught.value)


def test_a_model_without_published_weights_says_so() -> None:
    with pytest.raises(
        ModelError,
        match=r"^timm has no published weights for 'resnet.*'; set encoder.pretrained to false",
    ):
        build_encoder(PICTURES, recipe=replace(RECIPE, network=_without_weights(), pretrained=True))


def _without_weights() -> str:
    published = {name.split(".")[0] for name in timm.list_models(pretrained=True)}
    return next(name for name in timm.list_models("resnet*") if name not in published)
