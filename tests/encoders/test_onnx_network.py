"""Networks in ONNX files: the numbers of torch, each way of taking images, and files that are not used."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from support import onnx_graphs
from support.onnx_graphs import means, model, of_face_resnet, onnx, saved, tensor
from trine.data import Dataset, ImageArray
from trine.encoders import EncoderRecipe, build_encoder, load, save
from trine.encoders.face_resnet import MEAN, STD
from trine.encoders.settings import OnnxRecipe
from trine.errors import ModelError, SettingError
from trine.evaluation import retrieval
from trine.training import Recipe, TrainingRecipe, fit

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
node = onnx.helper.make_node


def expected(pictures: np.ndarray, *, mean: float = 0.0, std: float = 1.0, seed: int = 0) -> np.ndarray:
    """What `means` computes, of length 1."""
    weights = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
    rows = ((pictures.astype(np.float64) - mean) / std).mean((1, 2)) @ weights
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("batch", ["n", 1, 3])
def test_a_network_of_torch_has_the_same_embeddings(batch, tmp_path):
    faces = (
        np.random.default_rng(1).integers(0, 256, (4, 112, 112, 3), dtype=np.uint8).cumsum(1, dtype=np.uint8)
    )
    recipe = EncoderRecipe(
        network="face_resnet", pretrained=False, image_size=112, head="identity", views="flip"
    )
    ours = build_encoder(ImageArray(faces), recipe=recipe).eval()
    path = saved(
        of_face_resnet(ours.network, side=112, batch=batch),
        tmp_path / "net.onnx",
        f"{{white: 1, mean: {list(MEAN)}, std: {list(STD)}}}\n  views: flip",
    )
    theirs = load(path)
    assert theirs.settings.shape == (3, 112, 112)
    assert theirs.settings.onnx.batch == (0 if batch == "n" else batch)
    assert (
        np.abs(theirs.features(faces) - ours.features(faces)).max()
        < 1e-5 * np.abs(ours.features(faces)).max()
    )
    assert np.abs(theirs.embed(faces) - ours.embed(faces)).max() < 1e-5
    assert np.abs(theirs.embed(faces, batch_size=3) - theirs.embed(faces)).max() < 1e-5


def test_images_are_taken_as_the_settings_say(tmp_path):
    rgb = load(saved(means(), tmp_path / "a.onnx", "{mean: 127.5, std: 127.5}"))
    assert np.abs(rgb.embed(PICTURES) - expected(PICTURES, mean=127.5, std=127.5)).max() < 1e-5
    bgr = load(saved(means(), tmp_path / "b.onnx", "{mean: 127.5, std: 127.5, order: bgr}"))
    assert np.abs(bgr.embed(PICTURES) - expected(PICTURES[..., ::-1], mean=127.5, std=127.5)).max() < 1e-5
    one = load(saved(means(), tmp_path / "c.onnx", "{white: 1, mean: [0.5, 0.5, 0.5], std: 0.5}"))
    assert np.abs(one.embed(PICTURES) - rgb.embed(PICTURES)).max() < 1e-5
    last = load(saved(means(("n", 8, 8, 3), nhwc=True), tmp_path / "d.onnx", "{mean: 127.5, std: 127.5}"))
    assert last.settings.onnx.layout == "nhwc"
    assert np.abs(last.embed(PICTURES) - rgb.embed(PICTURES)).max() < 1e-5
    assert len({each.fingerprint for each in (rgb, bgr, one, last)}) == 4 - (
        one.fingerprint == rgb.fingerprint
    )
    assert load(tmp_path / "a.onnx").fingerprint == rgb.fingerprint
    assert rgb.embed([]).shape == (0, 4)


def test_what_the_graph_leaves_open_is_a_setting(tmp_path):
    path = saved(means(("n", "c", "h", "w")), tmp_path / "open.onnx")
    with pytest.raises(SettingError, match=r"does not say where the channels are; set encoder.onnx.layout"):
        load(path)
    saved(means(("n", "c", "h", "w")), path, "{mean: 0, std: 1, layout: nchw}")
    with pytest.raises(SettingError, match=r"images of any size .*set encoder.image_size"):
        load(path)
    saved(means(("n", "c", "h", "w")), path, "{mean: 0, std: 1, layout: nchw}\n  image_size: [16, 4]")
    assert load(path).settings.shape == (3, 16, 4)
    saved(means(), path, "{mean: 0, std: 1}\n  image_size: 112")
    with pytest.raises(
        SettingError, match=r"image_size is 112, but .* of shape \(n, 3, 8, 8\); leave it out"
    ):
        load(path)
    saved(means(), path, "{mean: 0, std: 1, layout: nhwc}")
    with pytest.raises(SettingError, match=r"no 1 or 3 channels where encoder.onnx.layout nhwc has them"):
        load(path)
    shape = ("n", 5, 8, 8)
    saved(model([node("Identity", ["images"], ["out"])], [], shape, [("out", shape)]), path)
    with pytest.raises(SettingError, match=r"of shape \(n, 5, 8, 8\), which has no 1 or 3 channels$"):
        load(path)


@pytest.mark.parametrize(("settings", "said"), [
    (None, "does not say how open.onnx takes images: write it with a section encoder"),
    ("{}", "does not say how it takes pixels: set encoder.onnx.mean and encoder.onnx.std"),
    ("{mean: 0, std: 0}", "encoder.onnx.std"),
    ("{mean: 0, std: 1, white: 2}", "encoder.onnx.white"),
    ("{mean: [1, 2], std: 1}", r"mean has 2 numbers, but the network takes 3 channels"),
    ("{mean: 0, std: 1, order: grb}", "encoder.onnx.order"),
    ("{mean: 0, std: 1, scale: 3}", "unknown setting 'encoder.onnx.scale'"),
    ("{mean: 0, std: 1, output: x}", r"output is 'x', but .* computes features \(1, 4\); name one of these"),
    ("[", "is not valid YAML"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_named(settings, said, tmp_path):
    with pytest.raises(SettingError, match=said):
        load(saved(means(), tmp_path / "open.onnx", settings))


def test_recipes_that_contradict_themselves():
    with pytest.raises(
        SettingError, match=r"cannot be trained, only a head on top of it; set encoder.frozen"
    ):
        EncoderRecipe(weights="a.onnx")
    with pytest.raises(
        SettingError, match=r"encoder.network is 'resnet18'; set encoder.network to onnx or auto"
    ):
        EncoderRecipe(network="resnet18", weights="a.onnx", frozen=True)
    with pytest.raises(SettingError, match=r"encoder.weights names no file"):
        EncoderRecipe(network="onnx", frozen=True)
    with pytest.raises(SettingError, match=r"encoder.weights names none; set it to one"):
        EncoderRecipe(onnx=OnnxRecipe(mean=1.0))
    assert EncoderRecipe(weights="a.onnx", frozen=True).is_pretrained


def two_outputs():
    made = means()
    made.graph.node.append(node("Exp", ["features"], ["other"]))
    made.graph.node.append(node("Identity", ["images"], ["map"]))
    for name, shape in (("other", ("n", 4)), ("map", ("n", 3, 8, 8))):
        made.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    return made


def test_the_output_that_is_a_vector(tmp_path):
    path = saved(two_outputs(), tmp_path / "two.onnx")
    with pytest.raises(
        SettingError, match=r"computes features \(1, 4\), other \(1, 4\), map \(1, 3, 8, 8\) of 1"
    ):
        load(path)
    saved(two_outputs(), path, "{mean: 127.5, std: 127.5, output: features}")
    assert np.abs(load(path).embed(PICTURES) - expected(PICTURES, mean=127.5, std=127.5)).max() < 1e-5
    saved(two_outputs(), path, "{mean: 0, std: 1, output: map}")
    with pytest.raises(ModelError, match="expected a vector of each; export the network without"):
        load(path)


def test_inputs_that_are_no_images(tmp_path):
    rows = model([node("Identity", ["images"], ["out"])], [], ("n", 7), [("out", ("n", 7))])
    with pytest.raises(
        ModelError, match=r"takes images tensor\(float\) \(n, 7\), expected one input of images"
    ):
        load(saved(rows, tmp_path / "rows.onnx"))
    two = means()
    two.graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, (1,)))
    two.graph.node.append(node("Identity", ["more"], ["same"]))
    with pytest.raises(ModelError, match=r"more tensor\(float\) \(1\), expected one input"):
        load(saved(two, tmp_path / "two.onnx"))


def test_images_that_a_network_mixes_go_through_it_one_by_one(tmp_path):
    made = means()
    made.graph.initializer.append(tensor("minus", np.float32([1.0])))
    made.graph.node.insert(1, node("ReduceMean", ["means"], ["centre"], axes=[0], keepdims=1))
    made.graph.node.insert(2, node("Mul", ["centre", "minus"], ["scaled"]))
    made.graph.node.insert(3, node("Add", ["means", "scaled"], ["moved"]))
    made.graph.node[4].input[0] = "moved"
    encoder = load(saved(made, tmp_path / "mixes.onnx", "{mean: 127.5, std: 127.5}"))
    assert encoder.settings.onnx.batch == 1
    alone = np.concatenate([encoder.embed(PICTURES[at : at + 1]) for at in range(5)])
    assert np.abs(encoder.embed(PICTURES) - alone).max() < 1e-6
    made = means()
    made.graph.node.insert(0, node("RandomNormalLike", ["images"], ["noise"]))
    made.graph.node[1].input[0] = "noise"
    with pytest.raises(ModelError, match="other numbers when it sees the same image again"):
        load(saved(made, tmp_path / "random.onnx"))


def test_a_saved_model_needs_the_file_no_more(tmp_path):
    path = saved(means(), tmp_path / "net.onnx", "{mean: 127.5, std: 127.5}\n  faces: arcface")
    encoder = load(path)
    assert encoder.settings.alignment == "arcface"
    assert encoder.started_from == f"{path} (licence and training data unknown to trine: ask who made it)"
    rows = encoder.embed(PICTURES)
    save(encoder, tmp_path / "model")
    path.unlink()
    again = load(tmp_path / "model")
    assert again.fingerprint == encoder.fingerprint
    assert np.array_equal(again.embed(PICTURES), rows)
    for copied in (copy.deepcopy(again), pickle.loads(pickle.dumps(again))):
        assert np.array_equal(copied.embed(PICTURES), rows)
    with pytest.raises(ModelError, match="does not exist; name an ONNX file"):
        load(path)


def test_its_threads_are_those_of_torch(tmp_path):
    encoder = load(saved(means(), tmp_path / "net.onnx"))
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            encoder.embed(PICTURES)
            assert encoder.network._session().get_session_options().intra_op_num_threads == threads
    finally:
        torch.set_num_threads(before)


def test_a_head_is_trained_on_top_of_it(tmp_path):
    random = np.random.default_rng(3)
    labels = np.repeat(np.arange(8), 6)
    # Identities differ in blue; red, which varies more, tells nothing.
    pixels = random.integers(0, 256, (48, 8, 8, 3), dtype=np.uint8) // 16
    pixels[..., 0] += random.integers(0, 200, 48, dtype=np.uint8)[:, None, None]
    pixels[..., 2] += (labels * 12).astype(np.uint8)[:, None, None]
    data = Dataset(ImageArray(pixels), labels, tuple("abcdefgh"), tuple(map(str, range(48))))
    path = saved(means(), tmp_path / "net.onnx", None)
    recipe = Recipe(
        encoder=EncoderRecipe(
            weights=str(path), frozen=True, head="identity", dimension=4, normalise=False,
            onnx=OnnxRecipe(mean=127.5, std=127.5),
        ),
        training=TrainingRecipe(steps=60, learning_rate=0.02),
    )  # fmt: skip
    start = build_encoder(data.items, recipe=recipe.encoder)
    trained = fit(data, recipe, out=tmp_path / "run", progress=False)
    before, after = (retrieval(each.embed(data), labels, resamples=0).map_at_r for each in (start, trained))
    assert after > before + 0.1
    assert np.array_equal(load(tmp_path / "run").embed(data), trained.embed(data))


def test_onnxruntime_is_an_extra(tmp_path, monkeypatch):
    import sys

    from trine.errors import MissingDependencyError

    path = saved(means(), tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trine\[onnx\]'"):
        load(path)


def test_the_graphs_of_these_tests_are_sound():
    for made in (means(), two_outputs()):
        onnx.checker.check_model(made)
    assert onnx_graphs.FLOAT == 1
