import dataclasses
import json
import math

import numpy as np
import pytest

from support.fake_encoder import FakeEncoder, calibration
from support.promises import promise
from trine.calibration import ProbabilityCurve
from trine.errors import CalibrationError, GalleryError, SettingError
from trine.gallery import Decision, Entry, Gallery, Identification, Threshold, Verification, verify
from trine.gallery.decision import Candidate
from trine.rates import State


def test_an_identification_is_a_sentence():
    known = Identification(
        score=0.412, threshold=0.63, promise=promise(name="fpir"), nearest="s12", item="s12/1.pgm"
    )
    assert str(known) == (
        "this is s12 (distance 0.41, threshold 0.63; at most 1 % of strangers are named, firm)"
    )
    assert (known.identity, known.state, known.accepted) == ("s12", "firm", True)
    stranger = Identification(score=0.81, threshold=0.63, nearest="s03", item="s03/1.pgm")
    assert str(stranger) == "no match: the nearest is s03 at 0.81, above the threshold 0.63"
    assert stranger.identity is None
    assert stranger.nearest == "s03"
    nobody = Identification(score=math.inf, threshold=0.63)
    assert str(nobody) == "no match: the gallery is empty"


def test_a_provisional_threshold_says_so():
    weak = promise(0.001, name="fpir", state="provisional", estimate=0.001)
    decision = Identification(score=0.1, threshold=0.63, promise=weak, nearest="s1")
    assert str(decision) == (
        "this is s1 (distance 0.10, threshold 0.63; about 0.1 % of strangers are named, at most 0.3 %, "
        "provisional)"
    )
    assert decision.state is State.PROVISIONAL


def test_without_a_threshold_there_is_no_verdict():
    ranked = [Candidate("s1", 0.25, "a"), Candidate("s2", 0.75, "b"), Candidate("s3", 0.8, "c")]
    decision = Identification.among(ranked, None, 1)
    assert str(decision) == (
        "no verdict: the nearest is s1 at 0.25; it is not known how often a stranger comes as near"
    )
    assert (decision.accepted, decision.identity, decision.threshold) == (None, None, None)
    assert (decision.nearest, decision.item, decision.margin) == ("s1", "a", 0.5)
    assert decision.candidates == (ranked[0],)
    assert decision.state is State.UNCALIBRATED
    values = json.loads(json.dumps(decision.to_json(), allow_nan=False))
    assert (values["accepted"], values["threshold"], values["promise"]) == (None, None, None)
    assert values["state"] == "uncalibrated"
    empty = Identification.among([], None, 3)
    assert (str(empty), empty.accepted, empty.score) == ("no match: the gallery is empty", None, math.inf)


def test_a_threshold_by_hand_has_no_rate():
    decision = Identification.among([Candidate("s1", 0.25, "a")], Threshold(0.5), 1)
    assert (decision.identity, decision.promise, decision.state) == ("s1", None, State.UNCALIBRATED)
    assert str(decision) == "this is s1 (distance 0.25, threshold 0.50)"


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
    kept = promise(0.01, name="fpir", estimate=0.004, interval=(0.001, 0.009), identities=350)
    empty = Identification(score=math.inf, threshold=0.5, promise=kept)
    values = json.loads(json.dumps(empty.to_json(), allow_nan=False))
    assert values == {
        "identity": None, "margin": None, "score": None, "threshold": 0.5, "state": "firm",
        "promise": {
            "name": "fpir", "rate": 0.01, "state": "firm", "estimate": 0.004, "interval": [0.001, 0.009],
            "identities": 350,
        },
        "probability": None,
        "nearest": None, "item": None, "runner_up": None,
        "runner_up_score": None, "candidates": [], "warning": "", "accepted": False,
        "sentence": "no match: the gallery is empty",
    }  # fmt: skip
    assert Verification(score=0.5, threshold=0.5).to_json()["accepted"] is True


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_a_threshold_is_a_distance(value):
    with pytest.raises(SettingError, match="a threshold must be a finite number"):
        Threshold(value)


def test_verify_needs_no_gallery():
    encoder = FakeEncoder(calibration=calibration(1.0, far=0.02, state="provisional"))
    encoder.pictures = {"a.jpg": (0.0, 0.0), "b.jpg": (0.0, 1.0), "c.jpg": (3.0, 4.0)}
    same, different = verify(encoder, "a.jpg", "b.jpg"), verify(encoder, "a.jpg", "c.jpg")
    assert isinstance(same, Decision)
    assert (same.same, same.score, same.threshold) == (True, 1.0, 1.0)
    assert (same.promise, same.state) == (encoder.calibration.promise, State.PROVISIONAL)
    assert (different.same, different.score) == (False, 5.0)
    assert str(different) == (
        "different (distance 5.00, threshold 1.00; about 1 % of impostor pairs are accepted, at most 6 %, "
        "provisional)"
    )
    by_hand = verify(encoder, "a.jpg", "c.jpg", threshold=5)
    assert (by_hand.same, by_hand.promise, by_hand.state) == (True, None, State.UNCALIBRATED)


def test_a_calibrated_decision_says_its_rate_and_its_probability(tmp_path):
    kept = promise(0.01, state="provisional", estimate=0.01, interval=(0.0061, 0.0149))
    known = dataclasses.replace(
        calibration(1.5), promise=kept, curve=ProbabilityCurve("platt", 0.5, intercept=2.0, slope=-2.0)
    )
    encoder = FakeEncoder(calibration=known)
    answer = verify(encoder, [0.0, 0.0], [0.0, 1.0])
    assert str(answer) == (
        "the same (distance 1.00, threshold 1.50; about 1 % of impostor pairs are accepted, at most 1.5 %, "
        "provisional)"
    )
    values = json.loads(json.dumps(answer.to_json()))
    assert (values["probability"], values["promise"]["interval"]) == (0.5, [0.0061, 0.0149])
    by_hand = verify(encoder, [0.0, 0.0], [0.0, 1.0], threshold=1.5)
    assert (by_hand.probability, by_hand.promise) == (None, None)
    with Gallery.open(tmp_path / "people.db", encoder=encoder) as gallery:
        assert gallery.identify([0.0, 0.0]).probability is None
        gallery.enrol("ann", "1", embedding=[0.0, 0.0])
        gallery.enrol_many(Entry(f"p{x}", f"p{x}", embedding=[0.0, -10.0 * x]) for x in range(1, 5))
        assert gallery.identify([0.0, 1.0]).probability == 0.5
        assert gallery.verify([0.0, 1.0], identity="ann").probability == 0.5
    with Gallery.open(tmp_path / "people.db", fingerprint=encoder.fingerprint, create=False) as gallery:
        assert gallery.threshold == Threshold.of(known)
        assert gallery.threshold.promise == kept
        assert gallery.identify(embedding=np.array([0.0, 1.0])).probability == 0.5


def test_a_rate_of_a_hundred_per_cent_is_written_out():
    wide = promise(0.5, state="provisional", estimate=0.5, interval=(0.0, 1.0))
    assert str(Threshold(1.0, wide)) == (
        "threshold 1: about 50 % of impostor pairs are accepted, at most 100 %, provisional"
    )


def test_verify_says_how_to_come_by_a_threshold():
    with pytest.raises(
        CalibrationError, match="calibrate the encoder with `trine evaluate --calibrate`, or pass threshold="
    ):
        verify(FakeEncoder(), [0.0, 0.0], [0.0, 0.0])


def test_verify_refuses_what_is_not_finite():
    with pytest.raises(GalleryError, match=r"the embedding of 'b\.jpg' is not finite"):
        verify(FakeEncoder(pictures={"a.jpg": (0, 0), "b.jpg": (math.nan, 0)}), "a.jpg", "b.jpg", threshold=1)
