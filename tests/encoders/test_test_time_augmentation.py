"""Several views of a picture: against plain loops, and everywhere an encoder embeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trine.data import ImageArray, Vectors
from trine.encoders import Encoder, EncoderRecipe, SmallResNetSettings, build_encoder, load, save
from trine.encoders.test_time_augmentation import Views, augmented_views
from trine.errors import SettingError

SMALL = EncoderRecipe(dimension=5, small_resnet=SmallResNetSettings(width=4, blocks=(1,)))


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def enlarged(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, middles of pixels at ½, the border repeated: one pixel at a time."""
    h, w, _ = picture.shape
    made = np.zeros((height, width, 3))
    for i, j in np.ndindex(height, width):
        y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
        x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
        top, left = int(y), int(x)
        down, right = min(top + 1, h - 1), min(left + 1, w - 1)
        a, b = y - top, x - left
        upper = (1 - b) * picture[top, left] + b * picture[top, right]
        lower = (1 - b) * picture[down, left] + b * picture[down, right]
        made[i, j] = (1 - a) * upper + a * lower
    return made


def naive_views(picture: np.ndarray, views: Views) -> list[np.ndarray]:
    """The paper's: a picture 9/8 as large, five crops of the old size, each with its mirror image."""
    h, w, _ = picture.shape
    if views == "one":
        crops = [picture]
    elif views == "flip":
        crops = [picture, picture[:, ::-1]]
    else:
        large = enlarged(picture.astype(float), 9 * h // 8, 9 * w // 8)
        places = [(y, x) for y in (0, h // 8) for x in (0, w // 8)]
        crops = [large[y : y + h, x : x + w] for y, x in places]
        half = (h // 16, w // 16)
        crops.append(large[half[0] : half[0] + h, half[1] : half[1] + w])
        crops += [crop[:, ::-1] for crop in crops]
    return crops


def encoder_with(views: Views, *, normalise: bool) -> Encoder:
    encoder = build_encoder(ImageArray(pictures(6)), recipe=replace(SMALL, views=views, normalise=normalise))
    return encoder.eval()


@pytest.mark.parametrize("views", ["one", "flip", "ten"])
def test_views_are_those_of_the_paper(views: Views) -> None:
    picture = pictures(1)[0]
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None]
    made = [view[0].permute(1, 2, 0).numpy() for view in augmented_views(batch, views)]
    expected = naive_views(picture, views)
    assert len(made) == len(expected) == {"one": 1, "flip": 2, "ten": 10}[views]
    unmatched = list(range(len(expected)))
    for view in made:  # in any order
        at = min(unmatched, key=lambda k: float(np.abs(view - expected[k]).max()))
        np.testing.assert_allclose(view, expected[at], atol=0.01)
        unmatched.remove(at)
    assert not unmatched


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("views", ["one", "flip", "ten"])
def test_the_embedding_is_the_mean_of_those_of_the_views(views: Views, normalise: bool) -> None:
    encoder, items = encoder_with(views, normalise=normalise), pictures(5)
    expected = []
    for item in items:
        rows = []
        for view in naive_views(item, views):
            batch = torch.from_numpy(np.ascontiguousarray(view)).permute(2, 0, 1)[None]
            with torch.inference_mode():
                rows.append(encoder(batch.float())[0].numpy())
        mean = np.mean(rows, axis=0)
        expected.append(mean / np.linalg.norm(mean) if normalise else mean)
    made = encoder.embed(items, batch_size=2)
    np.testing.assert_allclose(made, expected, atol=2e-4)
    if views != "one":
        encoder.settings = replace(encoder.settings, views="one")
        assert np.abs(encoder.embed(items) - made).max() > 1e-3


def test_a_mirrored_picture_embeds_as_the_picture_does() -> None:
    for views in ("flip", "ten"):
        encoder, items = encoder_with(views, normalise=True), pictures(4)
        mirrored = np.ascontiguousarray(items[:, :, ::-1])
        np.testing.assert_allclose(encoder.embed(mirrored), encoder.embed(items), atol=1e-5)


def test_views_are_saved_and_part_of_the_fingerprint(tmp_path: Path) -> None:
    encoder = encoder_with("ten", normalise=False)
    save(encoder, tmp_path / "model")
    read = load(tmp_path / "model")
    assert read.settings.views == "ten"
    assert read.fingerprint == encoder.fingerprint
    encoder.settings = replace(encoder.settings, views="flip")
    flipped = encoder.fingerprint
    encoder.settings = replace(encoder.settings, views="one")
    assert len({flipped, encoder.fingerprint, read.fingerprint}) == 3


def test_vectors_have_one_view() -> None:
    items = Vectors(np.eye(4, dtype=np.float32))
    with pytest.raises(SettingError, match=r"encoder.views is 'flip', which is for images, but the"):
        build_encoder(items, recipe=EncoderRecipe(views="flip"))
