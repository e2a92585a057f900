"""A model for programs without trine: what is written runs there, or nothing is written."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from support.paths import ROOT
from support.pretrained import digits
from support.tiny_sentence import TEXTS, tiny_sentence
from trine.data import Dataset, Interactions, Texts, load
from trine.encoders import EncoderRecipe, SmallResNetSettings, build_encoder, build_two_tower, save
from trine.encoders import load as load_encoder
from trine.encoders.onnx_network import open_session
from trine.errors import InputError, ModelError, SettingError
from trine.pipelines import export_model

SCRIPT = next(
    code
    for code in re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/export.md").read_text("utf-8"), re.M | re.S
    )
    if "class Exported" in code
)
WITHOUT_TORCH = "import sys\nsys.modules['torch'] = sys.modules['trine'] = None\n"


def without_torch(folder, items, tmp_path):
    """The embeddings by the script of the documentation, in a process that has neither torch nor trine."""
    code = f"{WITHOUT_TORCH}{SCRIPT}\nnp.save('rows.npy', Exported({str(folder)!r}).embed({items!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    return np.load(tmp_path / "rows.npy")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A model of digits, and some of these."""
    data = digits(60)
    recipe = EncoderRecipe(dimension=6, small_resnet=SmallResNetSettings(width=4, blocks=(1, 1)))
    place = tmp_path_factory.mktemp("models") / "digits"
    save(build_encoder(data.items, recipe=recipe), place)
    return place, data


def test_pictures(pictures, tmp_path):
    from PIL import Image

    model, data = pictures
    done = export_model(model, out=tmp_path / "out", data=data, int8=True)
    assert done.files == ("model.onnx", "preprocessing.json", "model.yaml", "model.int8.onnx")
    assert 0 <= done.difference < 1e-5
    assert done.compared == 72
    encoder = load_encoder(model)
    paths = []
    for at in range(3):
        Image.fromarray(data.items[at][:, :, 0]).save(tmp_path / f"{at}.png")
        paths.append(str(tmp_path / f"{at}.png"))
    ours = encoder.embed(paths)
    assert np.abs(without_torch(tmp_path / "out", paths, tmp_path) - ours).max() < 1e-5
    assert np.abs(load_encoder(tmp_path / "out" / "model.onnx").embed(paths) - ours).max() < 1e-5
    kept = done.int8
    assert kept.items == 60
    sizes = [(tmp_path / "out" / name).stat().st_size for name in ("model.onnx", "model.int8.onnx")]
    assert list(kept.bytes) == sizes
    assert 0 < kept.same_neighbour <= 1
    assert abs(kept.map_at_r[1] - kept.map_at_r[0]) < 0.2
    assert "int8 on 60 items: precision@1 " in str(done)


def test_rows_with_missing_values_and_categories(tmp_path):
    rows = {
        "mass": [1.5, 2.5, None, 9.0] * 4,
        "colour": ["red", "blue", "red", "green"] * 4,
        "number": [(1 << 60) + at for at in range(16)],
        "kind": ["a", "b"] * 8,
    }
    data, _ = load(rows, label="kind", categories=["colour"], policy=_keep())
    save(build_encoder(data.items, recipe=EncoderRecipe(dimension=4, scaling="robust")), tmp_path / "model")
    export_model(tmp_path / "model", out=tmp_path / "out")
    items = [
        {"mass": 3.25, "colour": "blue", "number": (1 << 60) + 5},
        {"mass": None, "colour": "pink", "number": (1 << 60) + 3},
    ]
    ours = load_encoder(tmp_path / "model").embed(items)
    assert np.abs(without_torch(tmp_path / "out", items, tmp_path) - ours).max() < 1e-5


def _keep():
    from trine.data import LoadPolicy

    return LoadPolicy(missing="keep")


def test_texts(tmp_path):
    recipe = EncoderRecipe(
        network="sentence", weights=str(tiny_sentence(tmp_path)), dimension=4, max_length=6
    )
    model = tmp_path / "model"
    save(build_encoder(Texts(tuple(TEXTS)), recipe=recipe), model)
    texts = [*TEXTS, "the money is where the card is my money"]
    data = Dataset(Texts(tuple(texts)), np.array([0, 1, 0, 1, 0, 1]), ("a", "b"), tuple(map(str, range(6))))
    done = export_model(model, out=tmp_path / "out", data=data, int8=True)
    assert "tokenizer.json" in done.files
    ours = load_encoder(model).embed(texts)
    assert np.abs(without_torch(tmp_path / "out", texts, tmp_path) - ours).max() < 1e-5
    assert done.int8.items == 6
    other = export_model(model, to="huggingface", out=tmp_path / "other", data=data)
    assert {"modules.json", "model.safetensors", "tokenizer.json", "README.md"} <= {*other.files}
    assert (other.compared, other.difference < 1e-5) == (9, True)


def test_two_towers(tmp_path):
    user, item = np.array([0, 0, 1, 2]), np.array([1, 3, 3, 0])
    liked = np.ones(4, dtype=bool)
    interactions = Interactions("t", ("u0", "u1", "u2"), ("a", "b", "c", "d"), user, item, liked)
    towers = build_two_tower(interactions, dimension=3, normalise=False, distance="euclidean", seed=0)
    save(towers, tmp_path / "model")
    export_model(tmp_path / "model", out=tmp_path / "out")
    about = json.loads((tmp_path / "out" / "preprocessing.json").read_text())
    assert about["users"] == ["u0", "u1", "u2"]
    for of in ("users", "items"):
        session = open_session((tmp_path / "out" / about["graphs"][of]).read_bytes(), threads=1)
        (found,) = session.run(["embeddings"], {"numbers": np.array([2, 1])})
        assert np.abs(found - towers.embed(of)[[2, 1]]).max() < 1e-6
    for asked in ({"to": "huggingface"}, {"int8": True, "data": digits(20)}):
        with pytest.raises(SettingError, match="holds a two-tower model, which has no weights for"):
            export_model(tmp_path / "model", out=tmp_path / "no", **asked)
    by_items = build_two_tower(
        interactions,
        dimension=3,
        normalise=False,
        distance="euclidean",
        seed=0,
        liked=np.stack([user, item], axis=1),
    )
    save(by_items, tmp_path / "by items")
    with pytest.raises(SettingError, match="embeds users by the items they like, for which there is no"):
        export_model(tmp_path / "by items", out=tmp_path / "no")


def test_what_is_not_exported_leaves_nothing(pictures, tmp_path):
    model, data = pictures
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    refusals = [
        (ModelError, "there is no model folder", tmp_path / "none", {}),
        (ModelError, "is an ONNX file already", tmp_path / "a.onnx", {}),
        (ModelError, "small_resnet is in neither", model, {"to": "huggingface"}),
        (ModelError, "differs from torch", model, {"tolerance": -1.0}),
        (InputError, "full is not an empty folder; name a new one", model, {"out": full}),
        (InputError, "unknown to 'tflite'", model, {"to": "tflite"}),
        (SettingError, "int8 needs data with identities", model, {"int8": True}),
        (SettingError, "int8 is for ONNX", model, {"int8": True, "data": data, "to": "huggingface"}),
    ]
    for error, message, run, asked in refusals:
        with pytest.raises(error, match=message):
            export_model(run, **{"out": tmp_path / "out"} | asked)
    assert list(tmp_path.iterdir()) == [full]
    assert [path.name for path in full.iterdir()] == ["notes.txt"]
