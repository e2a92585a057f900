"""A calibration says no more than it can, and survives a file."""

import dataclasses
import json

import pytest

from support.promises import promise
from trine.calibration import Calibration, ProbabilityCurve
from trine.errors import InputError, ModelError
from trine.rates import Promise

GOOD = Calibration(0.5, promise(), 0.8, 900, 100, "cosine")


def test_survives_json():
    assert Calibration.from_json(json.loads(json.dumps(GOOD.to_json()))) == GOOD
    whole = dataclasses.replace(GOOD, threshold=1.0)
    assert Calibration.from_json({**whole.to_json(), "threshold": 1}) == whole


def test_accepts_up_to_and_at_the_threshold():
    assert [GOOD.accepts(d) for d in (0.0, 0.5, 0.5000001)] == [True, True, False]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("threshold", -0.1, "threshold must be a number >= 0, given -0.1"),
        ("threshold", float("nan"), "threshold must be a number >= 0, given nan"),
        ("impostor_pairs", 0, "impostor_pairs must be at least 1, given 0"),
        ("tar", 1.5, "tar must be a number >= 0 and <= 1, given 1.5"),
        ("genuine_pairs", 0, "genuine_pairs must be at least 1, given 0"),
        ("distance", "euclid", "unknown distance 'euclid': did you mean 'euclidean'"),
    ],
)
def test_values_out_of_range_are_named(name, value, message, as_in_production):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(GOOD, **{name: value})
    with pytest.raises(ModelError, match="the calibration is invalid"):
        Calibration.from_json({**GOOD.to_json(), name: value})


def test_fields_that_do_not_fit_are_named():
    fields = GOOD.to_json()
    with pytest.raises(
        ModelError, match=r"unknown field 'treshold' in a calibration: did you mean 'threshold'"
    ):
        Calibration.from_json({**fields, "treshold": 1.0})
    with pytest.raises(ModelError, match="the calibration lacks 'tar'; calibrate the model again"):
        Calibration.from_json({k: v for k, v in fields.items() if k != "tar"})
    with pytest.raises(ModelError, match="calibration field 'promise' must be an object, given None"):
        Calibration.from_json({k: v for k, v in fields.items() if k != "promise"})
    with pytest.raises(ModelError, match="calibration field 'genuine_pairs' must be int, given True"):
        Calibration.from_json({**fields, "genuine_pairs": True})


def test_it_holds_a_rate_of_pairs():
    with pytest.raises(
        InputError, match=r"a calibration of pairs has a false-accept rate \(far\), given fpir"
    ):
        dataclasses.replace(GOOD, promise=promise(name="fpir"))
    with pytest.raises(ModelError, match="the calibration is invalid: a calibration of pairs"):
        Calibration.from_json({**GOOD.to_json(), "promise": promise(name="fpir").to_json()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 1.0}, "rate must be a number > 0 and < 1, given 1.0"),
        ({"estimate": -0.1}, "estimate must be a number >= 0 and <= 1, given -0.1"),
        ({"identities": 0}, "identities must be at least 1, given 0"),
        ({"interval": [0.2, 0.1]}, "interval must be two rates from 0 to 1, ascending, given"),
        ({"interval": [0.2]}, "the calibration has an invalid error rate"),
        ({"name": "fir"}, "unknown name 'fir'"),
        ({"state": "firmly"}, "'firmly' is not a valid State"),
        ({"rato": 0.1}, "unexpected keyword argument 'rato'"),
    ],
)
def test_an_error_rate_that_does_not_fit_is_named(change, message, as_in_production):
    fields = GOOD.to_json()
    with pytest.raises(ModelError, match=f"the calibration has an invalid error rate: .*{message}|{message}"):
        Calibration.from_json({**fields, "promise": {**fields["promise"], **change}})


CURVE = ProbabilityCurve("isotonic", 0.25, ((0.1, 0.9), (0.5, 0.5), (0.7, 0.2)))
WHOLE = dataclasses.replace(GOOD, tar_interval=(0.7, 0.9), threshold_interval=(0.45, 0.55), curve=CURVE)


def test_intervals_and_probabilities_survive_json():
    for curve in (CURVE, ProbabilityCurve("platt", 0.1, intercept=3.0, slope=-4.0)):
        whole = dataclasses.replace(WHOLE, curve=curve)
        assert Calibration.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_a_calibration_of_before_there_were_intervals_is_read():
    fields = {name: value for name, value in GOOD.to_json().items() if value is not None}
    assert len(fields) == 6
    assert Calibration.from_json(fields) == GOOD
    assert GOOD.probability(0.3) is None


@pytest.mark.parametrize("interval", [None, [0.006, 0.015], [0.002, 0.008]])
@pytest.mark.parametrize("provisional", [True, False])
def test_a_calibration_of_before_there_were_promises_is_provisional(interval, provisional):
    fields = {name: value for name, value in GOOD.to_json().items() if name != "promise"}
    old = {**fields, "far": 0.01, "provisional": provisional, "identities": 40, "far_interval": interval}
    read = Calibration.from_json(old)
    low, high = interval or (0.0, 1.0)
    within = (min(low, 0.01), max(high, 0.01))
    assert read == dataclasses.replace(GOOD, promise=Promise("far", 0.01, "provisional", 0.01, within, 40))
    assert Calibration.from_json(read.to_json()) == read


def test_a_curve_is_straight_between_its_knots_and_flat_beyond():
    assert [WHOLE.probability(d) for d in (0.0, 0.1, 0.3, 0.6, 9.0)] == pytest.approx(
        [0.9, 0.9, 0.7, 0.35, 0.2]
    )


def test_a_prior_moves_the_odds():
    for curve in (CURVE, ProbabilityCurve("platt", 0.25, intercept=3.0, slope=-4.0)):
        for distance in (0.2, 0.6):
            own = curve.at(distance)
            assert curve.at(distance, prior=0.25) == pytest.approx(own)
            odds = own / (1 - own) * (0.01 / 0.99) / (0.25 / 0.75)
            assert curve.at(distance, prior=0.01) == pytest.approx(odds / (1 + odds))
    with pytest.raises(InputError, match="prior must be a number > 0 and < 1, given 0"):
        CURVE.at(0.1, prior=0)


def test_a_platt_curve_far_out_is_a_number():
    curve = ProbabilityCurve("platt", 0.5, intercept=0.0, slope=-1000.0)
    assert (curve.at(0.0), curve.at(1e6)) == (0.5, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tar_interval": [0.1]}, "calibration field 'tar_interval' must be a list of two numbers, given"),
        ({"tar_interval": "ab"}, "calibration field 'tar_interval' must be a list of two numbers"),
        ({"threshold_interval": [True, 1]}, "field 'threshold_interval' must be a list of two numbers"),
        ({"curve": 3}, "calibration field 'curve' must be an object, given 3"),
        ({"curve": {"method": "isotonic"}}, "the calibration has an invalid probability curve"),
        (
            {"curve": {"method": "isotonc", "prior": 0.5, "knots": []}},
            "unknown method 'isotonc': did you mean 'isoto",
        ),
        ({"curve": {"method": "isotonic", "prior": 0.5, "knots": []}}, "knots must be pairs of a finite"),
        ({"curve": {"method": "isotonic", "prior": 0.5, "knots": [[0, 0.2], [1, 0.3]]}}, "that never rises"),
        ({"curve": {"method": "platt", "prior": 2, "knots": []}}, "prior must be a number > 0 and < 1"),
        (
            {"curve": {"method": "platt", "prior": 0.5, "knots": [], "slope": 1.0}},
            "the slope at most 0, given",
        ),
    ],
)
def test_optional_fields_that_do_not_fit_are_named(change, message, as_in_production):
    with pytest.raises(ModelError, match=message):
        Calibration.from_json({**GOOD.to_json(), **change})
