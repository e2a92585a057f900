"""Detection before an encoder: on for encoders of faces, on request for others, an error for other data."""

from types import SimpleNamespace

import numpy as np
import pytest

from support.photos import need_faces, scene
from trine.data import load, texts_of
from trine.errors import InputError
from trine.faces import FaceDetector, aligned
from trine.pipelines import faces_for, takes_faces
from trine.pipelines.faces_for import items_of, photo_of

need_faces(network=False)
DETECTOR = FaceDetector()


def encoder(network, kind="images", shape=(3, 150, 150)):
    alignment = {"face_resnet": "dlib", "arcface": "arcface"}.get(network)
    return SimpleNamespace(settings=SimpleNamespace(alignment=alignment, kind=kind, shape=shape))


def test_which_encoders_take_faces():
    assert takes_faces(encoder("face_resnet"))
    assert takes_faces(encoder("arcface"))
    assert not takes_faces(encoder("small_resnet"))
    assert not takes_faces(SimpleNamespace(settings=SimpleNamespace(dimension=3)))
    assert not takes_faces(None)


def test_detection_by_default_and_on_request():
    photos, _ = load([scene((100, 10, 450))], labelled=False)
    other = encoder("small_resnet", shape=(3, 224, 224))
    faces, report = faces_for(encoder("face_resnet"), photos, detector=DETECTOR)
    assert report is not None
    assert faces.items[0].shape == (150, 150, 3)
    assert faces_for(other, photos) == (photos, None)
    assert faces_for(encoder("face_resnet"), photos, detect=False) == (photos, None)
    faces, _ = faces_for(other, photos, detect=True, detector=DETECTOR)
    assert faces.items[0].shape == (224, 224, 3)
    faces, _ = faces_for(encoder("arcface", shape=(3, 112, 112)), photos, detector=DETECTOR)
    assert faces.items[0].shape == (112, 112, 3)
    found = FaceDetector().detect(photos.items[0])[0]
    assert np.array_equal(faces.items[0], aligned(photos.items[0], found, alignment="arcface"))


def test_what_counts_as_aligned():
    small, _ = load([np.full((112, 112, 3), 9, dtype=np.uint8)], labelled=False)
    crops, _ = load([np.full((150, 150, 3), 9, dtype=np.uint8)], labelled=False)
    of_112 = encoder("face_resnet", shape=(3, 112, 112))
    for photos, which, kept in (
        (small, of_112, 1),
        (small, encoder("face_resnet"), 0),
        (small, encoder("small_resnet", shape=(3, 112, 112)), 0),
        (crops, of_112, 1),
        (crops, encoder("small_resnet", shape=(3, 64, 64)), 1),
    ):
        assert len(faces_for(which, photos, detect=True, detector=DETECTOR)[0]) == kept


def test_other_data_is_an_error():
    with pytest.raises(InputError, match="the model takes texts: leave detect= out"):
        faces_for(encoder("sentence", "texts"), texts_of(["hello"]), detect=True)
    rows, _ = load([np.zeros(3), np.ones(3)], labelled=False)
    with pytest.raises(InputError, match="the data holds vectors"):
        faces_for(encoder("face_resnet"), rows, detect=True)
    assert faces_for(encoder("face_resnet"), rows) == (rows, None)


def test_items_of_photos():
    assert photo_of("a.jpg#x") == "a.jpg#x"
    assert items_of(["a.jpg", "b/"], ["a.jpg", "a.jpg#1", "c.jpg#1"]) == ["a.jpg", "b/", "a.jpg#1"]
