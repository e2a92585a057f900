"""The encoder against naive twins: preparation, standardisation, head, and what the fingerprint sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from support.paths import SHARED_DATA
from support.promises import promise
from trine.calibration import Calibration
from trine.data import Dataset, ImageArray, ImageFiles, Vectors
from trine.encoders import Encoder, EncoderRecipe, MlpSettings, SmallResNetSettings, build_encoder
from trine.encoders.build import resized_shape
from trine.errors import DataError, InputError, SettingError

ORL = SHARED_DATA / "faces_orl"
SMALL = EncoderRecipe(dimension=5, small_resnet=SmallResNetSettings(width=4), mlp=MlpSettings(hidden=(8,)))


def pictures(count: int, *, size: tuple[int, int] = (9, 7), channels: int = 3, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, *size, channels), dtype=np.uint8)


def vectors(count: int, features: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, (count, features)).astype(np.float32)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_pictures_are_resized_as_pillow_does(height: int, width: int, channels: int, seed: int) -> None:
    encoder = build_encoder(ImageArray(pictures(2)), recipe=replace(SMALL, image_size=(11, 13)))
    picture = pictures(1, size=(height, width), channels=channels, seed=seed)[0]
    prepared = encoder.prepare([picture])[0].permute(1, 2, 0).numpy()
    colour = np.repeat(picture, 3, axis=2) if channels == 1 else picture
    expected = np.asarray(Image.fromarray(colour).resize((13, 11), Image.Resampling.BILINEAR))
    assert prepared.shape == expected.shape == (11, 13, 3)
    assert np.abs(prepared.astype(int) - expected).max() <= 1


def test_colour_becomes_grey_as_pillow_does() -> None:
    encoder = build_encoder(ImageArray(pictures(4, channels=1)), recipe=SMALL)
    colour = pictures(1)[0]
    expected = np.asarray(Image.fromarray(colour).convert("L"))
    assert np.ptp(expected) > 100
    assert np.abs(encoder.prepare([colour])[0, 0].numpy().astype(int) - expected).max() <= 1


def test_an_item_is_prepared_alike_alone_and_among_others() -> None:
    encoder = build_encoder(ImageArray(pictures(3)), recipe=replace(SMALL, image_size=(5, 4)))
    items = [
        pictures(1, size=(3 + i % 7, 5 + i % 3), channels=1 + 2 * (i % 2), seed=i)[0] for i in range(150)
    ]
    together = encoder.prepare(items)
    for i, item in enumerate(items):
        assert torch.equal(together[i], encoder.prepare([item])[0])


def test_arrays_that_must_not_be_written_to_are_embedded_without_a_warning() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 9, 9, 3), dtype=np.uint8)
    numbers = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    recipe = EncoderRecipe(dimension=4, small_resnet=SmallResNetSettings(width=8))
    for items, data in ((pixels, ImageArray(pixels)), (numbers, Vectors(numbers))):
        encoder = build_encoder(data, recipe=recipe)
        expected = encoder.embed(items)
        items.flags.writeable = False
        np.testing.assert_array_equal(encoder.embed(items), expected)


def test_statistics_of_pictures_are_those_of_all_their_pixels() -> None:
    given_pictures = pictures(70)
    encoder = build_encoder(ImageArray(given_pictures), recipe=SMALL)
    for channel in range(3):
        values = [int(pixel) / 255 for picture in given_pictures for pixel in picture[:, :, channel].ravel()]
        mean = sum(values) / len(values)
        spread = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
        assert encoder.mean[channel].item() == pytest.approx(mean, rel=1e-5)
        assert encoder.std[channel].item() == pytest.approx(spread, rel=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
def test_vectors_are_standardised_then_mapped(normalise: bool) -> None:
    rows = vectors(30, 4)
    rows[:, 2] = 7  # never varies: its standard deviation counts as 1
    recipe = EncoderRecipe(dimension=3, normalise=normalise, mlp=MlpSettings(hidden=()))
    encoder = build_encoder(Vectors(rows), recipe=recipe)
    weight, bias = encoder.head.weight.detach().double(), encoder.head.bias.detach().double()
    embedded = encoder.embed(rows)
    assert np.abs(embedded).max() > 0.1
    for row, embedding in zip(rows.astype(np.float64), embedded, strict=True):
        standard = []
        for feature in range(4):
            column = rows[:, feature].astype(np.float64)
            mean = sum(column) / len(column)
            spread = (sum((value - mean) ** 2 for value in column) / len(column)) ** 0.5
            standard.append((row[feature] - mean) / (spread or 1))
        expected = [
            sum(w * x for w, x in zip(weight[d].tolist(), standard, strict=True)) + bias[d].item()
            for d in range(3)
        ]
        if normalise:
            length = sum(value**2 for value in expected) ** 0.5
            expected = [value / length for value in expected]
        assert embedding == pytest.approx(expected, abs=1e-5)


def test_pictures_are_standardised_by_channel_before_the_network() -> None:
    encoder = build_encoder(ImageArray(pictures(5)), recipe=replace(SMALL, normalise=False)).eval()
    batch = encoder.prepare(pictures(2, seed=1))
    standard = torch.empty(batch.shape)
    for channel in range(3):
        mean, std = encoder.mean[channel].item(), encoder.std[channel].item()
        standard[:, channel] = torch.from_numpy((batch[:, channel].numpy() / 255 - mean) / std)
    expected = encoder.head(encoder.network(standard))
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(encoder(batch), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder(batch.float()), encoder(batch))


@pytest.mark.parametrize(
    ("wanted", "sizes", "expected"),
    [
        (None, [(112, 92)] * 3, (64, 53)),
        (None, [(28, 28)], (28, 28)),
        (None, [(10, 20), (30, 40), (50, 60)], (30, 40)),
        (None, [(1000, 1)], (64, 1)),
        (56, [(112, 92)], (56, 46)),
        (100, [(28, 14)], (100, 50)),
        ((5, 6), [(28, 28)], (5, 6)),
    ],
)
def test_resized_shape(
    wanted: int | tuple[int, int] | None, sizes: list[tuple[int, int]], expected: tuple[int, int]
) -> None:
    assert resized_shape(wanted, np.array(sizes)) == expected


def test_what_the_recipe_leaves_open_is_derived() -> None:
    images = build_encoder(ImageArray(pictures(3, channels=1)), recipe=SMALL)
    assert (images.settings.kind, images.settings.network, images.settings.shape) == (
        "images",
        "small_resnet",
        (1, 9, 7),
    )
    mixed = build_encoder(ImageArray(pictures(3)), recipe=SMALL, distance="cosine")
    assert (mixed.settings.shape, mixed.distance) == ((3, 9, 7), "cosine")
    table = build_encoder(Vectors(vectors(3, 6)), recipe=SMALL)
    assert (table.settings.kind, table.settings.network, table.settings.shape) == ("vectors", "mlp", (6,))


def test_every_form_of_the_same_items_has_the_same_embeddings(tmp_path: Path) -> None:
    array = pictures(6)
    encoder = build_encoder(ImageArray(array), recipe=SMALL)
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for path, picture in zip(paths, array, strict=True):
        Image.fromarray(picture).save(path)
    dataset = Dataset(ImageArray(array), np.zeros(6, dtype=np.int64), ("a",), tuple(map(str, range(6))))
    embedded = encoder.embed(ImageArray(array))
    assert embedded.dtype == np.float32
    assert np.ptp(embedded, axis=0).min() > 0
    for items in (
        dataset,
        list(array),
        array,
        paths,
        [str(path) for path in paths],
        ImageFiles(tuple(paths)),
    ):
        assert np.array_equal(encoder.embed(items), embedded)
    np.testing.assert_allclose(encoder.embed(array, batch_size=1), embedded, atol=1e-6)
    assert encoder.embed(array[:0]).shape == (0, 5)


@pytest.mark.parametrize("training", [True, False])
def test_embedding_leaves_the_encoder_as_it_was(training: bool) -> None:
    encoder = build_encoder(ImageArray(pictures(4)), recipe=SMALL).train(training)
    before = encoder.fingerprint
    one, again = encoder.embed(pictures(4)), encoder.embed(pictures(4))
    assert np.array_equal(one, again)
    assert encoder.training is training
    assert encoder.fingerprint == before


def test_the_seed_decides_the_weights_and_nothing_else_is_touched() -> None:
    items = ImageArray(pictures(4))
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one = build_encoder(items, recipe=SMALL, seed=3)
    assert torch.equal(torch.rand(3), expected)
    assert build_encoder(items, recipe=SMALL, seed=3).fingerprint == one.fingerprint
    assert build_encoder(items, recipe=SMALL, seed=4).fingerprint != one.fingerprint


def test_the_fingerprint_changes_with_weights_statistics_and_settings_alone() -> None:
    def made(recipe: EncoderRecipe = SMALL) -> Encoder:
        return build_encoder(Vectors(vectors(9, 4)), recipe=recipe)

    reference = made()
    prints = [reference.fingerprint]
    with torch.no_grad():
        weights = made()
        weights.head.weight[0, 0] += 1e-6
        statistics = made()
        statistics.mean[0] += 1e-6
    prints += [weights.fingerprint, statistics.fingerprint]
    prints.append(made(replace(SMALL, normalise=False)).fingerprint)
    assert len(set(prints)) == 4
    reference.calibration = Calibration(
        threshold=0.5, promise=promise(), tar=0.9, impostor_pairs=900, genuine_pairs=90, distance="euclidean"
    )
    assert reference.eval().fingerprint == prints[0]


@pytest.mark.skipif(not ORL.is_dir(), reason="the faces of shared/data are not beside this checkout")
def test_faces_are_halved_to_their_own_proportions_and_embedded() -> None:
    paths = sorted(ORL.rglob("*.*"))[:60]
    items = ImageFiles(tuple(path for path in paths if path.suffix in {".pgm", ".jpg", ".png"}))
    encoder = build_encoder(items, recipe=replace(SMALL, image_size=56))
    assert encoder.settings.shape == (1, 56, 46)
    assert 0.2 < encoder.mean.item() < 0.7
    lengths = np.linalg.norm(encoder.embed(items), axis=1)
    assert lengths == pytest.approx(np.ones(len(items)), abs=1e-5)


def test_unsuitable_pictures_are_refused() -> None:
    encoder = build_encoder(ImageArray(pictures(4)), recipe=SMALL)
    with pytest.raises(InputError, match=r"^item 1 is an array of int64 with shape \(9, 7, 3\); an image is"):
        encoder.embed([pictures(1)[0], pictures(1)[0].astype(np.int64)])
    with pytest.raises(InputError, match=r"^item 0 is an array of uint8 with shape \(4,\)"):
        encoder.prepare([np.zeros(4, dtype=np.uint8)])
    with pytest.raises(InputError, match=r"^item 300 has shape \(0, 7, 3\); an image has 1 to 65,535"):
        encoder.embed([pictures(1)[0]] * 300 + [np.zeros((0, 7, 3), dtype=np.uint8)])
    with pytest.raises(InputError, match=r"^batch_size must be at least 1, given 0$"):
        encoder.embed(pictures(1), batch_size=0)


def test_unsuitable_vectors_are_refused() -> None:
    encoder = build_encoder(Vectors(vectors(9, 4)), recipe=SMALL)
    with pytest.raises(
        InputError, match=r"^item 0 has shape \(3,\), but this encoder takes vectors of 4 features"
    ):
        encoder.embed(vectors(2, 3))
    rows = vectors(300, 4)
    rows[299, 1] = np.nan
    with pytest.raises(InputError, match=r"^item 299 holds NaN or infinity; impute or drop missing values"):
        encoder.embed(rows)


def test_unsuitable_training_items_are_refused() -> None:
    with pytest.raises(DataError, match=r"^there are no training items"):
        build_encoder(ImageArray(pictures(0)), recipe=SMALL)
    rows = vectors(3, 2)
    rows[1, 1] = np.inf
    with pytest.raises(DataError, match=r"^training item 1 holds infinity"):
        build_encoder(Vectors(rows), recipe=SMALL)
    with pytest.raises(
        SettingError, match=r"^encoder.network 'mlp' takes vectors, but the training items are images"
    ):
        build_encoder(ImageArray(pictures(2)), recipe=replace(SMALL, network="mlp"))
    with pytest.raises(
        SettingError, match=r"^encoder.network 'small_resnet' takes images, but the training items are v"
    ):
        build_encoder(Vectors(vectors(3, 2)), recipe=replace(SMALL, network="small_resnet"))
