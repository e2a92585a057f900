"""A loaded encoder gives the same embeddings to the bit, and a folder that is not whole is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from support.promises import promise
from trine.calibration import Calibration
from trine.cluster_threshold import ClusterThreshold, LinkageThreshold
from trine.data import Dataset, ImageArray, Table, TrainedOn, Vectors
from trine.encoders import (
    Encoder,
    EncoderRecipe,
    EncoderSettings,
    MlpSettings,
    SmallResNetSettings,
    build_encoder,
    load,
    save,
)
from trine.errors import ModelError
from trine.model import forget_stranger
from trine.strangers import Strangers

RECIPE = EncoderRecipe(
    dimension=5, small_resnet=SmallResNetSettings(width=4, pool=2), mlp=MlpSettings(hidden=(8,))
)
PICTURES = np.random.default_rng(0).integers(0, 256, (9, 12, 10, 3), dtype=np.uint8)
ROWS = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
CALIBRATION = Calibration(
    threshold=1 / 3, promise=promise(0.1, state="provisional", identities=12), tar=0.9, impostor_pairs=900,
    genuine_pairs=90, distance="euclidean",
)  # fmt: skip


CLUSTERS = ClusterThreshold(
    linkage="average", linkages={"average": LinkageThreshold(1 / 3, 0.8, 9, ((40, 1 / 3), (80, 0.3)))},
    metric="bcubed_f", distance="euclidean", items=40, identities=8, alone=0.3, all_in_one=0.2,
)  # fmt: skip


@pytest.fixture(params=["images", "vectors", "timm"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(0)
    items = Vectors(ROWS) if request.param == "vectors" else ImageArray(PICTURES)
    recipe = RECIPE
    if request.param == "timm":
        recipe = replace(RECIPE, network="test_resnet", pretrained=False, image_size=(32, 24))
    made = build_encoder(items, recipe=recipe)
    # Statistics of batch normalisation that differ from those of a new network.
    made.train()(made.prepare(items))
    return made


def items_of(encoder: Encoder) -> np.ndarray:
    return PICTURES if encoder.settings.kind == "images" else ROWS


def test_a_loaded_encoder_gives_the_same_embeddings_to_the_bit(encoder: Encoder, tmp_path: Path) -> None:
    encoder.calibration, encoder.cluster_threshold = CALIBRATION, CLUSTERS
    save(encoder, tmp_path / "run" / "model", metrics={"MAP@R": 0.78}, trained_on="9 items")
    for path in (tmp_path / "run" / "model", tmp_path / "run", str(tmp_path / "run")):
        loaded = load(path)
        assert np.array_equal(loaded.embed(items_of(encoder)), encoder.embed(items_of(encoder)))
        assert loaded.fingerprint == encoder.fingerprint
        assert loaded.settings == encoder.settings
        assert loaded.calibration == CALIBRATION
        assert loaded.cluster_threshold == CLUSTERS
        assert not loaded.training
    assert not list((tmp_path / "run").glob(".*")), "nothing unfinished is left behind"


def test_what_an_encoder_was_trained_on_is_saved_with_it(tmp_path: Path) -> None:
    encoder = build_encoder(Vectors(ROWS), recipe=RECIPE)
    data = Dataset(Vectors(ROWS), np.arange(9) // 3, ("ann", "bob", "Zoë"), tuple("abcdefghi"))
    fingerprint = encoder.fingerprint
    encoder.trained = TrainedOn.of(data.subset([0, 1, 8]))
    save(encoder, tmp_path / "model")
    assert encoder.fingerprint == fingerprint
    trained = load(tmp_path / "model").trained
    assert trained is not None
    assert trained.items(data).tolist() == [at in (0, 1, 8) for at in range(9)]
    assert trained.identities == {"ann", "Zoë"}
    assert (trained.kind, trained.columns) == ("vectors", None)
    # A model of an earlier version has no such file.
    (tmp_path / "model" / "trained_on.safetensors").unlink()
    assert load(tmp_path / "model").trained is None


def test_a_table_is_known_by_its_columns(tmp_path: Path) -> None:
    columns = {name: ROWS[:, at].astype(float) for at, name in enumerate("abcd")}
    items = Table(columns, ("a", "b", "c"))
    encoder = build_encoder(items, recipe=RECIPE)
    assert encoder.columns == ("a", "b", "c")
    encoder.trained = TrainedOn.of(
        Dataset(items, np.zeros(9, dtype=np.int64), ("x",), tuple("abcdefghi")), columns=encoder.columns
    )
    save(encoder, tmp_path / "model")
    trained = load(tmp_path / "model").trained
    assert trained is not None
    assert trained.columns == ("a", "b", "c")
    assert trained.items(Table(dict(reversed(columns.items())), ("d",))).all()


def test_strangers_are_saved_with_the_model_and_forgotten(tmp_path: Path) -> None:
    encoder = build_encoder(Vectors(ROWS), recipe=RECIPE)
    fingerprint, rows = encoder.fingerprint, encoder.embed(ROWS)
    encoder.strangers = Strangers.of(rows[:4], ["ann", "bob", "ann", "Zoë"])
    save(encoder, tmp_path / "run" / "model")
    assert encoder.fingerprint == fingerprint
    loaded = load(tmp_path / "run").strangers
    assert loaded is not None
    assert loaded.names == ("ann", "bob", "Zoë")
    np.testing.assert_array_equal(loaded.embeddings, rows[:4])
    assert loaded.identity.tolist() == [0, 1, 0, 2]
    model = tmp_path / "run" / "model"
    held = (model / "strangers.safetensors").read_bytes()
    assert forget_stranger(model, "nobody") == 0
    assert (model / "strangers.safetensors").read_bytes() == held
    assert forget_stranger(model, "ann") == 2
    left = load(model).strangers
    assert left is not None
    assert (left.names, left.identity.tolist()) == (("bob", "Zoë"), [0, 1])
    np.testing.assert_array_equal(left.embeddings, rows[[1, 3]])
    assert rows[0].tobytes() not in (model / "strangers.safetensors").read_bytes()
    # A model without strangers has no such file.
    (model / "strangers.safetensors").unlink()
    assert load(model).strangers is None
    assert forget_stranger(model, "bob") == 0
    encoder.strangers = None
    save(encoder, model)
    assert not (model / "strangers.safetensors").exists()


def test_damaged_strangers_are_refused(folder: Path) -> None:
    for content in (b"", b"{}", b"\x08\0\0\0\0\0\0\0{}      "):
        (folder / "strangers.safetensors").write_bytes(content)
        for reading in (load, lambda path: forget_stranger(path, "ann")):
            with pytest.raises(ModelError, match=r"strangers.safetensors is damaged .*, or delete this file"):
                reading(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_list_of_training_items_is_refused(folder: Path, content: bytes) -> None:
    (folder / "trained_on.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"trained_on.safetensors is damaged .*, or delete this file"):
        load(folder)


def test_the_card_says_what_it_is_and_how_good(encoder: Encoder, tmp_path: Path) -> None:
    encoder.calibration = CALIBRATION
    save(encoder, tmp_path / "model", metrics={"MAP@R": 0.78}, trained_on="30 identities of faces")
    card = (tmp_path / "model" / "README.md").read_text()
    for part in (
        "30 identities of faces",
        "| MAP@R | 0.7800 |",
        "0.3333",
        "about 5 % of impostor pairs are accepted, at most 30 %, provisional, measured on 12 identities",
        encoder.fingerprint,
    ):
        assert part in card


def test_a_model_is_replaced_whole(tmp_path: Path) -> None:
    one = build_encoder(Vectors(ROWS), recipe=RECIPE, seed=1)
    other = build_encoder(Vectors(ROWS), recipe=RECIPE, seed=2)
    save(one, tmp_path / "model")
    save(other, tmp_path / "model")
    assert load(tmp_path / "model").fingerprint == other.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = build_encoder(Vectors(ROWS), recipe=RECIPE, seed=1)
    other = build_encoder(Vectors(ROWS), recipe=RECIPE, seed=2)
    save(one, tmp_path / "model")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(
            ModelError, match=r"could not be written to .*model: No space left on device; free disk space"
        ):
            save(other, tmp_path / "model")
    assert load(tmp_path / "model").fingerprint == one.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_other_things_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    encoder = build_encoder(Vectors(ROWS), recipe=RECIPE)
    with pytest.raises(
        ModelError, match=r"photos holds files that are not a model, and saving would delete them"
    ):
        save(encoder, tmp_path / "photos")
    assert (tmp_path / "photos" / "a.jpg").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(build_encoder(Vectors(ROWS), recipe=RECIPE), tmp_path / "model")
    return tmp_path / "model"


def change_settings(folder: Path, **changes: object) -> None:
    path = folder / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_missing_or_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"^there is no model folder .*nowhere; name one that training wrote$"
    ):
        load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"is not a model folder: it has no settings.json; name the folder"):
        load(tmp_path)


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"is not a model folder: it has no weights.safetensors"):
        load(folder)


@pytest.mark.parametrize("version", [3, 0, None, "1"])
def test_a_folder_of_another_version_is_refused(folder: Path, version: object) -> None:
    change_settings(folder, format_version=version)
    with pytest.raises(
        ModelError, match=rf"of format version {version}, and this trine reads versions 1 to 2; train again"
    ):
        load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"settings.json is damaged: Expecting property name"),
        ("[]", r"settings.json is damaged: it is not a JSON object"),
        (
            '{"format_version": 1}',
            r"settings.json is damaged: the encoder's settings or its fingerprint are missing",
        ),
    ],
)
def test_damaged_settings_are_refused(folder: Path, text: str, message: str) -> None:
    (folder / "settings.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_settings_that_do_not_fit_are_refused(folder: Path) -> None:
    settings = json.loads((folder / "settings.json").read_text())["encoder"]
    change_settings(folder, encoder={**settings, "normalize": True})
    with pytest.raises(
        ModelError, match=r"unknown setting 'encoder.normalize'; did you mean 'encoder.normalise'"
    ):
        load(folder)
    change_settings(folder, encoder={**settings, "dimension": 6})
    with pytest.raises(ModelError, match=r"is damaged: its settings and its weights do not match"):
        load(folder)
    change_settings(folder, encoder=settings, calibration={"threshold": 1})
    with pytest.raises(ModelError, match=r"calibration"):
        load(folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    content = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(content[:-100])
    with pytest.raises(ModelError, match=r"weights.safetensors is damaged"):
        load(folder)


def test_changed_weights_are_refused(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    weights["head.bias"] = weights["head.bias"] + 1e-3
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(ModelError, match=r"is damaged: its weights or settings were changed after saving"):
        load(folder)


def test_settings_that_came_later_leave_older_fingerprints_as_they_were():
    settings = EncoderSettings(
        kind="vectors",
        network="mlp",
        shape=(2,),
        features=2,
        dimension=2,
        normalise=True,
        distance="euclidean",
        mlp=MlpSettings(hidden=()),
    )
    encoder = Encoder(settings)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    # What trine 0.1.0 gave before encoders had tables, texts, views and rows of length 1.
    assert encoder.fingerprint == "cb47d49ee9f167bde46cf82492b553cf0b59fb3842b1c58ad93fb20ebf50e7d5"
