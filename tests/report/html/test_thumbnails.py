"""Pictures in a page: small, faithful, and never more than the page can carry."""

import base64
import io

import numpy as np
import pytest

from support.page_reader import Reader
from trine.data import ImageArray, ImageFiles
from trine.data.image_cache import ImageCache
from trine.report.html.thumbnails import Thumbnails

PIL = pytest.importorskip("PIL.Image")


def decoded(shown):
    (image,) = Reader(shown).all("img")
    kind, _, data = image["src"].partition(";base64,")
    return kind, image, np.asarray(PIL.open(io.BytesIO(base64.b64decode(data))))


def test_few_pixels_are_kept_exactly():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 1), dtype=np.uint8)
    kind, image, back = decoded(Thumbnails(ImageArray(pixels[None])).show(0, about="a <digit>"))
    assert kind == "data:image/png"
    assert (back == pixels[..., 0]).all()
    assert image["alt"] == "a <digit>"
    assert image["class"] == "pixels"
    assert (image["width"], image["height"]) == ("6", "8")


def test_photographs_become_small():
    ramp = np.linspace(0, 255, 600).astype(np.uint8)
    pixels = np.stack([np.tile(ramp, (900, 1))] * 3, axis=2)
    shown = Thumbnails(ImageArray(pixels[None])).show(0, about="a ramp")
    kind, image, back = decoded(shown)
    assert kind == "data:image/jpeg"
    assert back.shape == (112, 75, 3)
    assert "class" not in image
    assert np.abs(back[50, :, 0] - np.linspace(0, 255, 75)).max() < 12
    assert len(shown) < 5000


def test_a_full_page_takes_no_more():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    shelf = Thumbnails(ImageArray(pixels[None]), most_bytes=20_000)
    shown = [shelf.show(0, about="noise") for _ in range(6)]
    assert shown[0] is not None
    assert shown[-1] is None
    assert sum(len(each) for each in shown if each) < 21_000


def test_a_picture_is_decoded_once_however_often_the_page_shows_it(tmp_path):
    path = tmp_path / "a.png"
    PIL.fromarray(np.zeros((300, 200, 3), dtype=np.uint8)).save(path)
    files = ImageFiles((path,), cache=ImageCache(decoded_bytes=0))
    thumbnails = Thumbnails(files)
    first = thumbnails.show(0, about="a")
    path.unlink()  # decoding it again would be an error
    assert [thumbnails.show(0, about="a") for _ in range(10)] == [first] * 10
