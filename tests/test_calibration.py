"""A calibration says no more than it can, and survives a file."""

import dataclasses
import json

import pytest

from trine.calibration import Calibration
from trine.errors import InputError, ModelError

GOOD = Calibration(0.5, 0.01, 0.8, 40, 900, 100, False, "cosine")


def test_survives_json():
    assert Calibration.from_json(json.loads(json.dumps(GOOD.to_json()))) == GOOD
    whole = dataclasses.replace(GOOD, threshold=1.0)
    assert Calibration.from_json({**whole.to_json(), "threshold": 1}) == whole


def test_accepts_up_to_and_at_the_threshold():
    assert [GOOD.accepts(d) for d in (0.0, 0.5, 0.5000001)] == [True, True, False]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("threshold", -0.1, "threshold must be a finite distance of at least 0, given -0.1"),
        ("threshold", float("nan"), "threshold must be a finite distance"),
        ("far", 1.0, "far must be a rate between 0 and 1, given 1.0"),
        ("tar", 1.5, "tar must be a rate from 0 to 1, given 1.5"),
        ("identities", 0, "identities must be at least 1, given 0"),
        ("distance", "euclid", "unknown distance 'euclid': did you mean 'euclidean'"),
    ],
)
def test_values_out_of_range_are_named(name, value, message, as_in_production):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(GOOD, **{name: value})
    with pytest.raises(ModelError, match="a calibration cannot be used"):
        Calibration.from_json({**GOOD.to_json(), name: value})


def test_fields_that_do_not_fit_are_named():
    fields = GOOD.to_json()
    with pytest.raises(
        ModelError, match=r"unknown field 'treshold' in a calibration: did you mean 'threshold'"
    ):
        Calibration.from_json({**fields, "treshold": 1.0})
    with pytest.raises(ModelError, match="the calibration lacks 'far'; calibrate the model again"):
        Calibration.from_json({k: v for k, v in fields.items() if k != "far"})
    with pytest.raises(ModelError, match="calibration field 'identities' must be int, given True"):
        Calibration.from_json({**fields, "identities": True})
