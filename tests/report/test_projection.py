"""Embeddings of two dimensions as a picture: in one scale, with items where they stand."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from trine.data import Dataset, ImageArray, Vectors
from trine.errors import InputError
from trine.report import picture, plane_picture
from trine.report.drawing import PALETTE
from trine.report.projection import APART, SIDE, _inked, _one_scale, _with_room


def digits(n=80, kind="images"):
    bunch = load_digits()
    pixels = (bunch.images[:n] * 15.9).astype(np.uint8)
    items = ImageArray(pixels) if kind == "images" else Vectors(pixels.reshape(n, -1).astype(np.float32))
    return Dataset(items, bunch.target[:n].astype(np.int64), tuple("0123456789"), tuple(map(str, range(n))))


def plane(n=80):
    return np.random.default_rng(0).normal(size=(n, 2)) * [3, 1]


def pixels(path):
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def test_pictures_are_drawn_where_they_stand_and_the_same_at_every_run(tmp_path):
    first = plane_picture(digits(), plane(), path=tmp_path / "a.png")
    again = plane_picture(digits(), plane(), path=tmp_path / "b.png")
    assert first.read_bytes() == again.read_bytes()
    assert pixels(first).shape == (800, 900, 3)
    alone = plane_picture(digits(kind="vectors"), plane(), path=tmp_path / "c.png")
    differ = (pixels(first) != pixels(alone)).any(axis=2)
    assert differ.mean() > 0.03


def test_both_axes_have_one_scale_and_hold_every_point():
    from matplotlib.figure import Figure

    for spread in ([5.0, 0.1], [0.1, 5.0], [0.0, 0.0], [1e-6, 0.0]):
        points = np.random.default_rng(1).normal(size=(30, 2)) * spread
        axes = Figure(figsize=(8, 5)).add_axes((0.1, 0.1, 0.8, 0.8))
        inch = _one_scale(axes, points)
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        assert (right - left) / (high - low) == pytest.approx((8 * 0.8) / (5 * 0.8))
        assert inch == pytest.approx((right - left) / 6.4)
        room = 0.5 * SIDE * inch
        assert (points >= np.array([left, low]) + room).all()
        assert (points <= np.array([right, high]) - room).all()


def test_thumbnails_keep_apart_and_none_is_left_out_that_had_room():
    points = plane(300)
    chosen = _with_room(points, 1.2)
    gaps = np.abs(points[chosen][:, None] - points[chosen]).max(axis=2) + 9 * np.eye(len(chosen))
    assert gaps.min() >= 1.2
    assert len(chosen) < 60
    nearest = np.abs(points[:, None] - points[chosen]).max(axis=2).min(axis=1)
    assert nearest.max() < 1.2
    assert len(_with_room(points, 1e-9)) == 60
    assert APART > 1


def test_strokes_on_black_take_the_colour_and_photographs_stay():
    digit = digits().items[0]
    inked = _inked(digit, PALETTE[1])
    assert (inked[..., 3] == digit[..., 0]).all()
    assert (inked[..., :3] == [0xE0, 0x8A, 0x1E]).all()
    face = np.full((20, 10, 1), 140, np.uint8)
    assert _inked(face, PALETTE[1]).shape == (20, 10, 3)
    colours = np.random.default_rng(0).integers(0, 255, (20, 10, 3)).astype(np.uint8)
    assert (_inked(colours, PALETTE[1]) == colours).all()


def test_the_picture_of_a_run_shows_them_too(tmp_path):
    flat = picture(digits(), plane(), path=tmp_path / "flat.png")
    mapped = picture(digits(), np.c_[plane(), np.zeros(80)], path=tmp_path / "mapped.png")
    assert (pixels(flat)[:, 900:] != pixels(mapped)[:, 900:]).any(axis=2).mean() > 0.05


def test_a_collapsed_plane_and_one_item_are_drawn(tmp_path):
    plane_picture(digits(3), np.zeros((3, 2)), path=tmp_path / "collapsed.png")
    plane_picture(digits(1), np.ones((1, 2)), path=tmp_path / "one.png")
    assert (pixels(tmp_path / "one.png") < 200).any()


def test_mistakes_have_their_sentence(tmp_path):
    for rows, n in ((np.zeros((80, 3)), 80), (np.zeros((79, 2)), 80), (np.zeros((0, 2)), 0)):
        with pytest.raises(InputError, match="one two-dimensional embedding per item"):
            plane_picture(digits(n), rows, path=tmp_path / "none.png")
