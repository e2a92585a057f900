import dataclasses
import json
import math

import numpy as np
import pytest

from support.fake_encoder import FakeEncoder, calibration
from trine.calibration import ProbabilityCurve
from trine.errors import CalibrationError, GalleryError, SettingError
from trine.gallery import Decision, Gallery, Identification, Threshold, Verification, verify


def test_an_identification_is_a_sentence():
    known = Identification(score=0.412, threshold=0.63, far=0.01, nearest="s12", item="s12/1.pgm")
    assert str(known) == "this is s12 (distance 0.41, threshold 0.63 at a false-accept rate of 1 %)"
    stranger = Identification(score=0.81, threshold=0.63, nearest="s03", item="s03/1.pgm")
    assert str(stranger) == "no match: the nearest is s03 at 0.81, above the threshold 0.63"
    assert stranger.identity is None
    assert stranger.nearest == "s03"
    nobody = Identification(score=math.inf, threshold=0.63)
    assert str(nobody) == "no match: the gallery is empty"


def test_a_provisional_threshold_says_so():
    decision = Identification(score=0.1, threshold=0.63, far=0.001, provisional=True, nearest="s1")
    assert str(decision) == (
        "this is s1 (distance 0.10, threshold 0.63 at a false-accept rate of 0.1 %, provisional: too "
        "little calibration data)"
    )


@pytest.mark.parametrize(
    ("score", "threshold", "sentence"),
    [
        (0.6349, 0.6301, "no match: the nearest is s1 at 0.635, above the threshold 0.630"),
        (0.63, 0.63, "this is s1 (distance 0.63, threshold 0.63)"),
        (
            0.6300001,
            0.63,
            "no match: the nearest is s1 at 0.630000100, above the threshold 0.630000000",
        ),
    ],
)
def test_score_and_threshold_are_told_apart(score, threshold, sentence):
    assert str(Identification(score=score, threshold=threshold, nearest="s1")) == sentence


def test_the_margin_is_the_way_to_the_runner_up():
    decision = Identification(
        score=0.25, threshold=1.0, nearest="s1", item="a", runner_up="s2", runner_up_score=0.75
    )
    assert decision.margin == 0.5
    assert Identification(score=0.25, threshold=1.0, nearest="s1").margin is None


def test_json_holds_the_whole_decision():
    empty = Identification(score=math.inf, threshold=0.5, far=0.01)
    values = json.loads(json.dumps(empty.to_json(), allow_nan=False))
    assert values == {
        "identity": None, "margin": None, "score": None, "threshold": 0.5, "far": 0.01,
        "provisional": False, "far_interval": None, "probability": None,
        "nearest": None, "item": None, "runner_up": None,
        "runner_up_score": None, "candidates": [], "accepted": False,
        "sentence": "no match: the gallery is empty",
    }  # fmt: skip
    assert Verification(score=0.5, threshold=0.5).to_json()["accepted"] is True


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_a_threshold_is_a_distance(value):
    with pytest.raises(SettingError, match="a threshold must be a finite number"):
        Threshold(value)


def test_verify_needs_no_gallery():
    encoder = FakeEncoder(calibration=calibration(1.0, far=0.02, provisional=True))
    encoder.pictures = {"a.jpg": (0.0, 0.0), "b.jpg": (0.0, 1.0), "c.jpg": (3.0, 4.0)}
    same, different = verify(encoder, "a.jpg", "b.jpg"), verify(encoder, "a.jpg", "c.jpg")
    assert isinstance(same, Decision)
    assert (same.same, same.score, same.threshold, same.far, same.provisional) == (True, 1.0, 1.0, 0.02, True)
    assert (different.same, different.score) == (False, 5.0)
    assert str(different).startswith("different (distance 5.00, threshold 1.00 at a false-accept rate of 2 %")
    by_hand = verify(encoder, "a.jpg", "c.jpg", threshold=5)
    assert (by_hand.same, by_hand.far, by_hand.provisional) == (True, None, False)


def test_a_calibrated_decision_says_its_interval_and_its_probability(tmp_path):
    known = dataclasses.replace(
        calibration(1.5, far=0.01),
        far_interval=(0.0061, 0.0149),
        curve=ProbabilityCurve("platt", 0.5, intercept=2.0, slope=-2.0),
    )
    encoder = FakeEncoder(calibration=known)
    answer = verify(encoder, [0.0, 0.0], [0.0, 1.0])
    assert str(answer) == (
        "the same (distance 1.00, threshold 1.50 at a false-accept rate of 1 % (0.61 to 1.5 %))"
    )
    values = json.loads(json.dumps(answer.to_json()))
    assert (values["probability"], values["far_interval"]) == (0.5, [0.0061, 0.0149])
    by_hand = verify(encoder, [0.0, 0.0], [0.0, 1.0], threshold=1.5)
    assert (by_hand.probability, by_hand.far_interval) == (None, None)
    with Gallery.open(tmp_path / "people.db", encoder=encoder) as gallery:
        assert gallery.identify([0.0, 0.0]).probability is None
        gallery.enrol("ann", "1", embedding=[0.0, 0.0])
        assert gallery.identify([0.0, 1.0]).probability == 0.5
        assert gallery.verify([0.0, 1.0], identity="ann").probability == 0.5
    with Gallery.open(tmp_path / "people.db", fingerprint=encoder.fingerprint, create=False) as gallery:
        assert gallery.threshold == Threshold.of(known)
        assert gallery.identify(embedding=np.array([0.0, 1.0])).probability == 0.5


def test_a_rate_of_a_hundred_per_cent_is_written_out():
    assert str(Threshold(1.0, far=0.5, far_interval=(0.0, 1.0))).endswith("50 % (0 to 100 %)")


def test_verify_says_how_to_come_by_a_threshold():
    with pytest.raises(
        CalibrationError, match="calibrate the encoder with `trine evaluate --calibrate`, or pass threshold="
    ):
        verify(FakeEncoder(), [0.0, 0.0], [0.0, 0.0])


def test_verify_refuses_what_is_not_finite():
    with pytest.raises(GalleryError, match=r"the embedding of 'b\.jpg' is not finite"):
        verify(FakeEncoder(pictures={"a.jpg": (0, 0), "b.jpg": (math.nan, 0)}), "a.jpg", "b.jpg", threshold=1)
