"""The picture marks right and wrong neighbours, and is the same at every run."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from trine.data import Dataset, ImageArray, Vectors
from trine.errors import InputError
from trine.report import picture
from trine.report.drawing import RIGHT, WRONG
from trine.report.selection import view


def digits(n=60, kind="images", classes=10):
    bunch = load_digits()
    kept = np.flatnonzero(bunch.target < classes)[:n]
    x, labels = bunch.images[kept], bunch.target[kept].astype(np.int64)
    items = (
        ImageArray((x * 15.9).astype(np.uint8))
        if kind == "images"
        else Vectors(x.reshape(n, -1).astype(np.float32))
    )
    names = tuple(f"item {i}" for i in range(n))
    return Dataset(items, labels, tuple("0123456789"), names), x.reshape(n, -1)


def pixels(path, colour, *, half):
    with Image.open(path) as opened:
        image = np.asarray(opened.convert("RGB"))
    image = image[:, : image.shape[1] // 2] if half else image
    return int((image == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(2).sum())


def small(x, dataset):
    return view(x, dataset.labels, queries=3, neighbours=3)


def size(path):
    with Image.open(path) as opened:
        return opened.size


def test_right_and_wrong_neighbours_are_marked(tmp_path):
    dataset, _ = digits()
    perfect = np.eye(10)[dataset.labels] + 1e-3 * np.random.default_rng(0).standard_normal((60, 10))
    path = picture(dataset, perfect, path=tmp_path / "right.png", look=small(perfect, dataset))
    assert pixels(path, RIGHT, half=True) > 1000
    assert pixels(path, WRONG, half=True) == 0
    noise = np.random.default_rng(1).standard_normal((60, 10))
    path = picture(dataset, noise, path=tmp_path / "wrong.png", look=small(noise, dataset))
    assert pixels(path, WRONG, half=True) > 1000


def test_the_same_at_every_run(tmp_path):
    dataset, x = digits()
    first = picture(dataset, x, path=tmp_path / "a.png", threshold=25.0)
    again = picture(dataset, x, path=tmp_path / "b.png", threshold=25.0)
    assert first.read_bytes() == again.read_bytes()
    assert size(first) == (1760, 990)


def test_vectors_get_a_map_and_distances(tmp_path):
    dataset, x = digits(kind="vectors")
    path = picture(dataset, x, path=tmp_path / "map.png", threshold=25.0, distance="cosine")
    assert size(path) == (1650, 770)
    assert pixels(path, WRONG, half=False) > 100


def test_few_items_are_drawn(tmp_path):
    dataset, x = digits(n=5)
    assert pixels(picture(dataset, x, path=tmp_path / "few.png"), WRONG, half=True) > 0


def test_a_collapsed_encoder_is_one_point(tmp_path):
    dataset, x = digits()
    path = picture(dataset, np.ones_like(x), path=tmp_path / "collapsed.png")
    assert pixels(path, WRONG, half=True) > 1000


def test_what_cannot_be_used_is_named(tmp_path):
    dataset, x = digits()
    with pytest.raises(InputError, match="given 59 embeddings of 60 items"):
        picture(dataset, x[:59], path=tmp_path / "a.png")
    with pytest.raises(InputError, match="at least two items"):
        picture(dataset.subset([0]), x[:1], path=tmp_path / "a.png")
