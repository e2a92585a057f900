"""A data set of photos becomes a data set of aligned faces."""

import pickle
import sys

import numpy as np
import pytest

from support.photos import need_faces, scene
from trine.data import Dataset, ImageArray, load
from trine.errors import DataError, InputError, MissingDependencyError
from trine.faces import FaceDetector, FacePolicy, aligned, detect_faces
from trine.faces import detect as module

Image = pytest.importorskip("PIL.Image")
need_faces(network=False)
DETECTOR = FaceDetector()


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path):
    save(tmp_path / "p/ann/1.png", scene((100, 10, 450)))
    save(tmp_path / "p/ann/2.png", scene((0, 60, 300), (320, 90, 260)))
    save(tmp_path / "p/bob/crop.png", np.full((150, 150, 3), 90, dtype=np.uint8))
    save(tmp_path / "p/bob/none.png", scene())
    return load(tmp_path / "p")[0]


def test_names_identities_columns_and_what_was_found(photos):
    faces, report = detect_faces(photos, detector=DETECTOR)
    assert faces.names == ("ann/1.png", "ann/2.png", "ann/2.png#1", "bob/crop.png")
    assert [faces.identity(at) for at in range(4)] == ["ann", "ann", "ann", "bob"]
    assert faces.columns["photo"].tolist() == ["ann/1.png", "ann/2.png", "ann/2.png", "bob/crop.png"]
    boxes = faces.columns["box"].tolist()
    assert boxes[0] == list(report.photos[0].faces[0].pixels)
    assert boxes[3] is None
    assert all(0 < quality <= 1 for quality in faces.columns["quality"])
    assert report.without == ("bob/none.png",)
    assert report.refused == {"bob/none.png": "no face was found"}
    assert report.aligned == ("bob/crop.png",)
    told = str(report).splitlines()
    assert told[0] == "3 faces on 3 photos, 3 taken"
    assert told[1:] == ["  1 photo is an aligned face", "  1 photo without a face: bob/none.png"]
    assert report.to_json()["taken"] == 3


def test_crops_are_those_of_the_photo_whether_kept_or_not(photos, monkeypatch):
    kept, report = detect_faces(photos, detector=DETECTOR)
    monkeypatch.setattr(module, "CROPS_BYTES", 0)
    made, _ = detect_faces(photos, detector=DETECTOR)
    assert made.items.cache.decoded.used == 0 < kept.items.cache.decoded.used
    for at, found in enumerate(report.taken):
        expected = aligned(photos.items[0 if at == 0 else 1], found.face)
        for items in (kept.items, made.items, pickle.loads(pickle.dumps(made.items))):
            assert np.array_equal(items[at], expected)
    assert np.array_equal(kept.subset([2]).items[0], kept.items[2])
    large, _ = detect_faces(photos, detector=DETECTOR, side=200)
    assert large.items[0].shape == (200, 200, 3)


def test_a_part_of_a_file_is_named(photos):
    faces, _ = detect_faces(photos, detector=DETECTOR)
    path, part = faces.items.file(1)
    assert path == photos.items.paths[1]
    assert part == "xywh=" + ",".join(map(str, faces.columns["box"][1]))
    assert faces.items.file(3) == (photos.items.paths[2], "")


def test_photos_in_memory_and_a_data_set_of_crops():
    photos, _ = load([scene((100, 10, 450))], labelled=False)
    faces, report = detect_faces(photos, detector=DETECTOR)
    assert faces.names == ("item 0",)
    assert faces.items.file(0) is None
    crops = Dataset(
        ImageArray(np.zeros((2, 150, 150, 3), dtype=np.uint8)), np.array([0, 1]), ("a", "b"), ("1", "2")
    )
    same, report = detect_faces(crops)
    assert same is crops
    assert report.aligned == ("1", "2")
    assert report.refused == {}


def test_a_refused_photo_has_a_reason(photos):
    faces, report = detect_faces(photos, detector=DETECTOR, policy=FacePolicy(several="refuse"))
    assert faces.names == ("ann/1.png", "bob/crop.png")
    assert report.refused["ann/2.png"] == "one of several: one of 2 faces of about the same size"
    assert report.left_out == {"one of several": 2}


def test_mistakes(photos, tmp_path, monkeypatch):
    rows, _ = load([np.zeros(3), np.ones(3)], labelled=False)
    with pytest.raises(InputError, match="faces are found on photos, given vectors; leave the detection out"):
        detect_faces(rows)
    (tmp_path / "p/ann/1.png").write_bytes(b"no photo")
    photos.items.cache.decoded._values.clear()
    with pytest.raises(DataError, match=r"ann/1.png: not an image"):
        detect_faces(photos, detector=DETECTOR)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trine\[faces\]'"):
        detect_faces(load([scene()], labelled=False)[0])
