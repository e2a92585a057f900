"""What the landmarks of a face say of its pose."""

import math

import pytest

from trine.faces import Face

FRONT = ((40.0, 40.0), (80.0, 40.0), (60.0, 62.0), (44.0, 84.0), (76.0, 84.0))


@pytest.mark.parametrize("degrees", [-170, -90, -20, 0, 35, 120])
def test_roll_and_turn_do_not_depend_on_each_other(degrees):
    angle = math.radians(degrees)
    nose_aside = (FRONT[0], FRONT[1], (70.0, 62.0), *FRONT[3:])
    for points, turn in ((FRONT, 0.0), (nose_aside, 0.5)):
        turned = tuple(
            (x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle))
            for x, y in points
        )
        face = Face((0.0, 0.0, 20.0, 30.0), turned, 0.5)
        assert face.roll == pytest.approx(degrees)
        assert face.turn == pytest.approx(turn)
    assert face.size == 20


def test_eyes_at_one_point_have_no_turn():
    assert Face((0.0, 0.0, 1.0, 1.0), (FRONT[0],) * 5, 1.0).turn == 0
