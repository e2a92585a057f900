"""Encoders as ONNX graphs: the embeddings of torch, for any number of items, by onnxruntime."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
import torch

from support.onnx_graphs import means, saved
from support.tiny_sentence import TEXTS, tiny_sentence
from trine.data import ImageArray, Table, Texts, Vectors
from trine.encoders import EncoderRecipe, SmallResNetSettings, build_encoder, load
from trine.encoders.onnx_graph import (
    _normal_scores,
    check_parity,
    encoder_graph,
    feed_of,
    run_graph,
)
from trine.encoders.onnx_network import open_session
from trine.encoders.settings import MlpSettings
from trine.errors import ModelError

RANDOM = np.random.default_rng(0)
PICTURES = ImageArray(RANDOM.integers(0, 256, (9, 20, 16, 3), dtype=np.uint8))
NUMBERS = RANDOM.normal(size=(40, 5)) ** 3
NUMBERS[3, 2], NUMBERS[:, 3], NUMBERS[:20, 4] = np.nan, 7.0, 1.0
ROWS = Table(
    {
        "mass": NUMBERS[:, 0],
        "gap": NUMBERS[:, 2],
        "same": NUMBERS[:, 3],
        "colour": np.array(["red", "green", "blue", "red"] * 10),
        "code": (1 << 60) + np.arange(40),
    },
    ("mass", "gap", "same", "colour", "code"),
)
SMALL = {"small_resnet": SmallResNetSettings(width=4, blocks=(1, 1)), "mlp": MlpSettings(hidden=(8,))}


def built(items, **recipe):
    return build_encoder(items, recipe=EncoderRecipe(**{"dimension": 6} | SMALL | recipe)).eval()


def by_onnxruntime(encoder, graph, items):
    """The embeddings by the graph, in batches of another size than the graph was made with."""
    session = open_session(graph.content, threads=1)
    parts = [
        run_graph(session, feed_of(encoder, items.subset(range(at, min(at + 4, len(items))))))
        for at in range(0, len(items), 4)
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("items", "recipe"),
    [
        (PICTURES, {"views": "flip", "normalise": False}),
        (PICTURES, {"network": "test_resnet", "pretrained": False, "image_size": 64}),
        (Vectors(RANDOM.normal(size=(9, 5)).astype(np.float32)), {"scaling": "length"}),
        (Vectors(NUMBERS), {"scaling": "standard"}),
        (Vectors(NUMBERS), {"scaling": "length"}),
        (ROWS, {"scaling": "robust", "normalise": False}),
    ],
)
def test_the_embeddings_are_those_of_torch(items, recipe):
    encoder = built(items, **recipe)
    graph = encoder_graph(encoder, items)
    ours = encoder.embed(items)
    assert np.abs(by_onnxruntime(encoder, graph, items) - ours).max() < 1e-5 * graph.longest
    assert 0 <= graph.difference < 1e-5 * graph.longest
    assert graph.compared == 12 + len(items)


def test_values_far_from_the_training_rows_are_scaled_as_in_torch():
    table = Table({"a": NUMBERS[:, 0], "b": np.round(NUMBERS[:, 1])}, ("a", "b"))
    far = Table({"a": np.array([1e-9, -1e12, 1e30]), "b": np.array([-1e9, 0.0, 1e9])}, ("a", "b"))
    for scaling in ("robust", "quantile"):
        encoder = built(table, scaling=scaling, mlp=MlpSettings(hidden=()), normalise=False)
        found = by_onnxruntime(encoder, encoder_graph(encoder), far)
        np.testing.assert_allclose(found, encoder.embed(far), rtol=1e-5, atol=1e-5)


def test_normal_scores_are_those_of_the_standard_library():
    shares = [0.001, 0.01, 0.075, 0.3, 0.5, 0.9249, 0.9251, 0.999]
    expected = [statistics.NormalDist().inv_cdf(share) for share in shares]
    found = _normal_scores(torch.tensor(shares, dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("recipe", [{}, {"dimension": 16, "head": "identity", "max_length": 5}])
def test_texts_of_any_length(recipe, tmp_path):
    encoder = built(Texts(tuple(TEXTS)), network="sentence", weights=str(tiny_sentence(tmp_path)), **recipe)
    texts = Texts(tuple(TEXTS))
    graph = encoder_graph(encoder, texts)
    assert np.abs(by_onnxruntime(encoder, graph, texts) - encoder.embed(texts)).max() < 1e-5


def test_a_network_in_an_onnx_file_is_one_already(tmp_path):
    encoder = load(saved(means(), tmp_path / "a.onnx", "{mean: 0, std: 1}"))
    with pytest.raises(ModelError, match="is an ONNX file already"):
        encoder_graph(encoder)


class Strange(torch.nn.Module):
    def forward(self, rows):
        return rows if rows.sum().item() > 0 else -rows


def test_a_network_that_no_graph_can_be_made_of():
    encoder = built(Vectors(np.eye(5, dtype=np.float32)), mlp=MlpSettings(hidden=()))
    encoder.network = Strange()
    with pytest.raises(ModelError, match="cannot be turned into an ONNX graph"):
        encoder_graph(encoder)


def test_a_difference_above_the_tolerance_is_an_error():
    check_parity(0.009, 100.0)
    with pytest.raises(
        ModelError, match=r"differs from torch by 0\.02, more than 0\.01; nothing was written"
    ):
        check_parity(0.02, 100.0)
    encoder = built(Vectors(RANDOM.normal(size=(9, 5)).astype(np.float32)))
    with pytest.raises(ModelError, match="more than -1; nothing was written"):
        encoder_graph(encoder, tolerance=-1.0)
