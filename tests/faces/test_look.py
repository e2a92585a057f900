"""Which faces of a photo count, by every policy."""

import numpy as np
import pytest

from support.photos import need_faces, scene
from trine.errors import SettingError
from trine.faces import FaceDetector, FacePolicy, Requirements, aligned, look_at, sharpness

need_faces(network=False)
DETECTOR = FaceDetector()
PORTRAIT = scene((100, 10, 450))
PAIR = scene((0, 60, 300), (320, 90, 260))
BEHIND = scene((0, 20, 440), (420, 20, 150))


def chosen(photo, **policy):
    look = look_at(photo, detector=DETECTOR, policy=FacePolicy(**policy), photo="a.jpg")
    return look, [(at, face.name) for at, face in enumerate(look.faces) if at in look.chosen]


def test_crops_and_numbers_of_a_portrait():
    look, taken = chosen(PORTRAIT)
    assert taken == [(0, "a.jpg")]
    (face,) = look.faces
    assert np.array_equal(look.crops[0], aligned(PORTRAIT, face.face))
    assert face.sharpness == pytest.approx(sharpness(look.crops[0]), abs=1e-5)
    assert 0.5 < face.quality <= 1
    assert face.pixels == tuple(round(value) for value in face.face.box)
    assert face.to_json()["box"] == [round(value, 1) for value in face.face.box]
    grey = look_at(PORTRAIT[..., :1], detector=DETECTOR)
    assert len(grey.faces) == 1


def test_several_faces_by_policy():
    assert chosen(PAIR, several="all")[1] == [(0, "a.jpg"), (1, "a.jpg#1")]
    look, taken = chosen(PAIR, several="largest")
    assert taken == [(0, "a.jpg")]
    assert list(look.faces[1].failures) == ["not the largest"]
    look, taken = chosen(PAIR, several="refuse")
    assert taken == []
    assert look.faces[0].lacks == "one of several: one of 2 faces of about the same size"
    look, taken = chosen(BEHIND, several="refuse")
    assert taken == [(0, "a.jpg")]
    assert "in the background" in look.faces[1].failures


def test_low_quality_by_policy():
    large = Requirements(size=200)
    look, taken = chosen(PAIR, requirements=large)
    assert taken == []
    assert look.faces[0].lacks.startswith("too small: ")
    assert len(chosen(PAIR, requirements=large, low_quality="keep")[1]) == 2
    # Which of several is meant is no matter of quality.
    assert chosen(PAIR, requirements=large, low_quality="keep", several="refuse")[1] == []
    assert len(chosen(PAIR, requirements=large, low_quality="keep", several="largest")[1]) == 1


def test_a_face_of_twenty_pixels_is_found_and_lacks_size():
    small = scene((300, 200, 55))
    (face,) = look_at(small, detector=DETECTOR).faces
    assert 14 < face.face.size < 26
    assert "too small" in face.failures
    assert face.quality < 0.35


def test_unknown_policies():
    with pytest.raises(SettingError, match="unknown several 'bigest': did you mean 'largest'"):
        FacePolicy(several="bigest")
    with pytest.raises(SettingError, match="unknown low_quality"):
        FacePolicy(low_quality="drop")
