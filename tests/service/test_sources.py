"""Galleries are made of a run folder, or of photos alone, and follow them."""

import json

import numpy as np
import pytest
from PIL import Image

from trine.errors import DataError, SettingError
from trine.gallery import Gallery
from trine.service.sources import THINGS, UNNAMED, data_of, galleries_of, is_run, suiting


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(2):
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "photos"


def test_a_source_that_is_none(tmp_path):
    with pytest.raises(DataError, match=r"there is no .*: name a gallery"):
        galleries_of(str(tmp_path / "none"), echo=print)


def test_galleries_in_a_run_are_served(tmp_path):
    (tmp_path / "model").mkdir()
    assert is_run(tmp_path)
    for name in ("b.db", "a.db"):
        Gallery.open(tmp_path / name, dimension=1, fingerprint="x").close()
    assert galleries_of(str(tmp_path), echo=print) == [str(tmp_path / "a.db"), str(tmp_path / "b.db")]


def test_the_data_of_a_run(tmp_path, photos):
    with pytest.raises(DataError, match="is not recorded: make a gallery with `trine enrol"):
        data_of(tmp_path)
    record, parts = tmp_path / "split.json", {"train": [], "test": [["a/0.png", "a"]]}
    record.write_text(json.dumps({"data": str(photos), "parts": parts}))
    assert data_of(tmp_path) == str(photos)
    record.write_text(json.dumps({"data": str(photos / "gone"), "parts": parts}))
    with pytest.raises(DataError, match="is no longer at"):
        data_of(tmp_path)


def test_the_data_of_a_run_that_is_served_from_elsewhere(tmp_path, photos, monkeypatch):
    run = tmp_path / "runs" / "photos"  # it has the name of the data
    run.mkdir(parents=True)
    parts = {"train": [["a/0.png", "a"]]}
    (run / "split.json").write_text(json.dumps({"data": "photos/", "parts": parts}))
    monkeypatch.chdir("/")
    assert data_of(run) == str(photos)
    monkeypatch.chdir(tmp_path)
    assert data_of(run) == "photos/"


def test_numbers_have_no_pretrained_weights():
    from trine.data import Dataset, Vectors

    data = Dataset(Vectors(np.zeros((2, 3), np.float32)), np.array([0, 1]), ("a", "b"), ("x", "y"))
    with pytest.raises(SettingError, match="name the run with --encoder"):
        suiting(data, echo=print)


def test_photos_alone(photos):
    said = []
    (address,) = galleries_of(f"{photos}/", encoder=THINGS, echo=said.append)
    assert address == str(photos.with_suffix(".db"))
    with Gallery.open(address) as gallery:
        assert gallery.identities() == {"a": 2, "b": 2}
    (photos / "a" / "0.png").unlink()
    (photos / "b" / "1.png").rename(photos / "b" / "2.png")
    galleries_of(str(photos), echo=said.append)
    with Gallery.open(address) as gallery:
        assert len(gallery) == 4, "more than a fifth would be removed, so nothing is"
    assert "the gallery stays as it is" in str(said[-1])


def test_photos_without_names(tmp_path, photos):
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        path.rename(flat / f"{i}.png")
    (flat / "broken.jpg").write_bytes(b"no picture")
    (address,) = galleries_of(str(flat), encoder=THINGS, echo=print)
    with Gallery.open(address) as gallery:
        assert gallery.identities() == {UNNAMED: 4}


def test_links_out_of_the_photos_are_not_read(tmp_path, photos):
    secret = tmp_path / "secret"
    (photos / "b").rename(secret)
    (photos / "b").symlink_to(secret)
    (photos / "a" / "2.png").symlink_to(secret / "0.png")
    said = []
    (address,) = galleries_of(str(photos), encoder=THINGS, echo=said.append)
    with Gallery.open(address) as gallery:
        assert [entry.item for entry in gallery.items()] == ["a/0.png", "a/1.png"]
    assert "links lead out of the folder and are not followed: a/2.png, b/0.png, b/1.png" in said
