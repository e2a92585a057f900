"""Encoders as folders of other libraries: the embeddings stay the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F

from support.tiny_sentence import TEXTS, tiny_sentence
from trine.data import ImageArray, Texts, Vectors
from trine.encoders import EncoderRecipe, build_encoder
from trine.encoders.huggingface import check_exportable, embeddings_of, write_huggingface
from trine.errors import ModelError

PICTURES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)


def sentence_encoder(folder, **recipe):
    settings = {"network": "sentence", "weights": str(folder), "dimension": 4} | recipe
    return build_encoder(Texts(tuple(TEXTS)), recipe=EncoderRecipe(**settings)).eval()


def timm_encoder(network="test_resnet", **recipe):
    settings = {"network": network, "pretrained": False, "dimension": 6, "image_size": 64} | recipe
    return build_encoder(ImageArray(PICTURES), recipe=EncoderRecipe(**settings)).eval()


@pytest.mark.parametrize("normalise", [True, False])
def test_sentence_transformers_opens_a_sentence_encoder(normalise, tmp_path):
    from sentence_transformers import SentenceTransformer

    encoder = sentence_encoder(tiny_sentence(tmp_path), normalise=normalise, max_length=6)
    folder = tmp_path / "out"
    folder.mkdir()
    write_huggingface(encoder, folder)
    opened = SentenceTransformer(str(folder), device="cpu")
    found = opened.encode(TEXTS, batch_size=3, show_progress_bar=False)
    assert np.abs(found - encoder.embed(TEXTS)).max() < 1e-5
    assert opened.max_seq_length == 6
    assert opened.similarity_fn_name == ("cosine" if normalise else "euclidean")


def test_a_sentence_encoder_whose_head_is_the_identity_is_read_again_by_trine(tmp_path):
    encoder = sentence_encoder(tiny_sentence(tmp_path), dimension=16, head="identity")
    folder = tmp_path / "out"
    folder.mkdir()
    write_huggingface(encoder, folder)
    again = sentence_encoder(folder, dimension=16, head="identity")
    assert np.abs(again.embed(TEXTS) - encoder.embed(TEXTS)).max() < 1e-6


@pytest.mark.parametrize("network", ["test_resnet", "test_vit"])
def test_timm_opens_a_timm_network_with_its_head(network, tmp_path):
    encoder = timm_encoder(network)
    write_huggingface(encoder, tmp_path)
    opened = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    about = timm.data.resolve_model_data_config(opened)
    assert tuple(about["input_size"]) == (3, 64, 64)
    mean, std = (torch.tensor(about[name])[:, None, None] for name in ("mean", "std"))
    images = torch.from_numpy(PICTURES).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        found = F.normalize(opened((images - mean) / std), dim=1).numpy()
    assert np.abs(found - encoder.embed(PICTURES)).max() < 1e-5
    assert np.array_equal(found.shape, (4, 6))
    assert np.abs(embeddings_of(tmp_path, encoder, list(PICTURES)) - found).max() < 1e-5
    assert json.loads((tmp_path / "config.json").read_text())["num_classes"] == 6


def test_other_encoders_are_refused(tmp_path):
    with pytest.raises(ModelError, match="network mlp is in neither sentence-transformers nor timm"):
        check_exportable(build_encoder(Vectors(np.eye(3, dtype=np.float32)), recipe=EncoderRecipe()))
    with pytest.raises(ModelError, match=r"mean over several views \(encoder.views is flip\)"):
        check_exportable(timm_encoder(views="flip"))
    with pytest.raises(ModelError, match="cannot be opened"):
        embeddings_of(tmp_path, timm_encoder(), list(PICTURES))
