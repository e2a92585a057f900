"""Every verb embeds through the encoder's one place for it."""

import copy
import pickle

import numpy as np
import pytest

from trine import Gallery
from trine.data import Dataset, Vectors
from trine.encoders import EncoderRecipe, build_encoder
from trine.encoders.encoder import batches_of


@pytest.fixture
def streamed():
    """An encoder that embeds elsewhere, which is here, with the batches that it was asked for; and data."""
    rows = np.random.default_rng(0).normal(size=(700, 4)).astype(np.float32)
    names = tuple(f"row {i}" for i in range(700))
    data = Dataset(Vectors(rows), np.arange(700) % 5, tuple("abcde"), names)
    encoder = build_encoder(data.items, recipe=EncoderRecipe(dimension=3))
    asked = []

    def elsewhere(encoder, items, batches):
        asked.append(list(batches))
        return encoder.embed_batches(items, batches)

    encoder.elsewhere = elsewhere
    return encoder, data, asked


def test_the_batches_are_those_of_one_process(streamed):
    encoder, data, asked = streamed
    rows = encoder.embed(data)
    assert asked == [[range(256), range(256, 512), range(512, 700)]]
    assert np.array_equal(rows, copy.deepcopy(encoder).embed(data))
    assert len(asked) == 1, "a copy embeds where it is"


def test_a_single_batch_and_features_are_computed_here(streamed):
    encoder, data, asked = streamed
    encoder.embed(data.subset(range(200)))
    encoder.features(data)
    assert asked == []


def test_enrolment_is_one_stream_of_the_batches_of_its_chunks(streamed):
    encoder, data, asked = streamed
    here = pickle.loads(pickle.dumps(copy.deepcopy(encoder)))
    with Gallery.open(":memory:", encoder=encoder) as there, Gallery.open(":memory:", encoder=here) as one:
        there.enrol_dataset(data, chunk=300)
        one.enrol_dataset(data, chunk=300)
        for left, right in zip(there.entries(), one.entries(), strict=True):
            assert (left.item, left.identity) == (right.item, right.identity)
            assert np.array_equal(left.embedding, right.embedding)
        there.enrol_dataset(data, chunk=300)
        assert len(there) == len(data)
    chunks = [range(300), range(300, 600), range(600, 700)]
    assert asked == [[batch for chunk in chunks for batch in batches_of(chunk, 256)]] * 2
