"""Pictures in memory: decoded once where they fit, and never decoded again once they are prepared."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from trine.data import Dataset, ImageFiles, load
from trine.data.image_cache import PASS_SHARE, Budget, ImageCache
from trine.encoders import EncoderRecipe, SmallResNetSettings, build_encoder
from trine.errors import DataError

SMALL = EncoderRecipe(dimension=4, image_size=8, small_resnet=SmallResNetSettings(width=4, blocks=(1,)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("ann/1.png", "ann/2.png", "bob/1.png", "bob/2.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (20, 16, 3), dtype=np.uint8)).save(path)
    return tmp_path


def without_files(dataset: Dataset) -> None:
    assert isinstance(dataset.items, ImageFiles)
    for path in dataset.items.paths:
        path.unlink()


def test_what_loading_decoded_is_not_decoded_again(folder: Path) -> None:
    data, _ = load(folder)
    before = [data.items[at].copy() for at in range(4)]
    without_files(data)
    for at, pixels in enumerate(before):
        assert_array_equal(data.subset([at]).items[0], pixels)
    assert build_encoder(data.items, recipe=SMALL).embed(data).shape == (4, 4)


def test_where_decoded_pictures_do_not_fit_an_encoder_decodes_each_once_more(folder: Path) -> None:
    loaded, _ = load(folder)
    assert isinstance(loaded.items, ImageFiles)
    files = ImageFiles(loaded.items.paths, cache=ImageCache(decoded_bytes=0))
    encoder = build_encoder(files, recipe=SMALL)  # takes its statistics from all of them, prepared
    without_files(loaded)
    with pytest.raises(DataError, match="no such file"):
        files[0]
    assert_array_equal(encoder.prepare(files), encoder.prepare(loaded.items))
    assert_array_equal(encoder.embed(files), encoder.embed(loaded.items))


def test_nothing_is_kept_beyond_the_budget(folder: Path) -> None:
    loaded, _ = load(folder)
    assert isinstance(loaded.items, ImageFiles)
    cache = ImageCache(decoded_bytes=2 * 20 * 16 * 3 / PASS_SHARE, prepared_bytes=0)
    files = ImageFiles(loaded.items.paths, cache=cache)
    for at in range(4):
        assert files.shape(at) == (20, 16, 3)
    assert [cache.decoded.get(path) is not None for path in files.paths] == [True, True, False, False]
    build_encoder(files, recipe=SMALL)
    assert cache.prepared.used == 0


def test_pictures_that_are_shown_are_kept_although_a_pass_over_all_filled_its_share(folder: Path) -> None:
    loaded, _ = load(folder)
    assert isinstance(loaded.items, ImageFiles)
    cache = ImageCache(decoded_bytes=3.5 * 20 * 16 * 3)  # a pass keeps two of the four, a page one more
    files = ImageFiles(loaded.items.paths, cache=cache)
    build_encoder(files, recipe=SMALL).embed(files)
    assert sum(cache.decoded.get(path) is not None for path in files.paths) == 2
    shown = next(at for at, path in enumerate(files.paths) if cache.decoded.get(path) is None)
    expected = files[shown].copy()
    without_files(loaded)
    assert_array_equal(files[shown], expected)


def test_a_key_is_counted_once() -> None:
    kept = Budget(10)
    assert [kept.put("a", 1, 6), kept.put("a", 1, 6), kept.put("b", 2, 5), kept.put("c", 3, 4)] == [
        *(True, True, False, True)
    ]
    assert kept.used == 10


def test_another_process_starts_with_an_empty_cache(folder: Path) -> None:
    data, _ = load(folder)
    there = pickle.loads(pickle.dumps(data.items))
    assert there == data.items
    without_files(data)
    with pytest.raises(DataError, match="no such file"):
        there[0]
