"""Identification equals the Market-1501 evaluation, written again in plain loops."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from support.paths import SHARED_DATA
from support.reference import distance
from trine.errors import InputError
from trine.evaluation import identification
from trine.evaluation.rate_intervals import mean_interval


def market(probe, label, camera, gallery, labels, cameras):
    """One query by the rules of the Market-1501 code: its two average precisions and its CMC, or None."""
    order = sorted(range(len(gallery)), key=lambda j: (distance(probe, gallery[j], "euclidean"), j))
    good = {j for j in order if labels[j] == label and cameras[j] != camera and labels[j] not in (-1, 0)}
    junk = {j for j in order if labels[j] == -1 or (labels[j] == label and cameras[j] == camera)}
    if not good:
        return None
    old_recall, old_precision, trapezoids, steps, hits, rank, first = 0.0, 1.0, 0.0, 0.0, 0, 0, None
    for j in order:
        if j in junk:
            continue
        rank += 1
        if j in good:
            hits += 1
            first = first or rank
            steps += hits / rank / len(good)
        recall, precision = hits / len(good), hits / rank
        trapezoids += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    return {"stepwise": steps, "market1501": trapezoids, "first": first}


def twin(probes, labels, cameras, gallery, gallery_labels, gallery_cameras):
    per_probe = [
        market(x, label, camera, gallery, gallery_labels, gallery_cameras)
        for x, label, camera in zip(probes, labels, cameras, strict=True)
    ]
    return [found for found in per_probe if found], sum(found is None for found in per_probe)


item = st.tuples(st.integers(-1, 1), st.integers(-1, 1), st.integers(-1, 4), st.integers(1, 3))


@given(
    probes=st.lists(item.filter(lambda p: p[2] > 0), min_size=1, max_size=8),
    gallery=st.lists(item, min_size=1, max_size=30),
    average=st.sampled_from(["stepwise", "market1501"]),
)
def test_equals_the_market_twin_with_junk_distractors_cameras_and_ties(probes, gallery, average):
    x, y = (np.array([p[:2] for p in side], float) for side in (probes, gallery))
    (labels, cameras), (their_labels, their_cameras) = (
        ([p[2] for p in side], [p[3] for p in side]) for side in (probes, gallery)
    )
    expected, unmatched = twin(x, labels, cameras, y, their_labels, their_cameras)
    given_ = (x, labels, y, their_labels)
    settings = {
        "probe_cameras": cameras,
        "gallery_cameras": their_cameras,
        "average_precision": average,
        "resamples": 0,
    }
    if not expected:
        with pytest.raises(InputError, match="needs a probe with a match in the gallery"):
            identification(*given_, **settings)
        return
    report = identification(*given_, **settings)
    assert report.first_ranks.tolist() == [found["first"] for found in expected]
    np.testing.assert_allclose(report.average_precisions, [found[average] for found in expected])
    assert report.unmatched == unmatched
    assert report.cmc(2) == np.mean([found["first"] <= 2 for found in expected])
    assert (report.junk, report.distractors) == (their_labels.count(-1), their_labels.count(0))
    zero = identification(*given_, **settings, unmatched="zero")
    assert len(zero.probes) == len(labels)
    assert zero.mean_average_precision == pytest.approx(
        sum(found[average] for found in expected) / len(labels)
    )
    assert zero.cmc(1) == pytest.approx(report.cmc(1) * len(expected) / len(labels))


def pixels(pattern, size):
    from PIL import Image

    paths = sorted(SHARED_DATA.glob(pattern))
    x = np.stack([np.asarray(Image.open(p).convert("L").resize(size)).ravel() for p in paths])
    parts = [p.stem.split("_") for p in paths]
    return x.astype(np.float32) / 255, np.array([int(p[0]) for p in parts]), np.array([p[1] for p in parts])


@pytest.mark.skipif(not (SHARED_DATA / "reid_cuhk01").is_dir(), reason="CUHK01 is not there")
def test_equals_the_market_twin_on_people():
    x, labels, cameras = pixels("reid_cuhk01/**/*.jpg", (8, 16))
    chosen = np.flatnonzero(labels <= 60)
    x, labels, cameras = x[chosen], labels[chosen], cameras[chosen]
    rows = np.arange(len(x))
    asked = rows % 2 == 0
    sides = [(x[s], labels[s].copy(), cameras[s]) for s in (asked, rows >= 0)]
    sides[1][1][::17] = -1
    sides[1][1][5::23] = 0
    (p, pl, pc), (g, gl, gc) = sides
    expected, unmatched = twin(p.astype(float), pl, pc, g.astype(float), gl, gc)
    for average in ("stepwise", "market1501"):
        report = identification(p, pl, g, gl, probe_cameras=pc, gallery_cameras=gc, average_precision=average)
        assert report.mean_average_precision == pytest.approx(np.mean([e[average] for e in expected]))
        assert report.first_ranks.tolist() == [e["first"] for e in expected]
        assert report.unmatched == unmatched
    assert 0.005 < report.mean_average_precision < 0.9


@pytest.mark.skipif(not (SHARED_DATA / "reid_pku").is_dir(), reason="PKU-Reid is not there")
def test_several_pictures_of_a_probe_are_pooled():
    x, labels, cameras = pixels("reid_pku/**/*.png", (6, 12))
    asked, searched = cameras == cameras[0], cameras != cameras[0]
    people = np.unique(labels)
    means = np.stack([x[asked & (labels == one)].astype(float).mean(0) for one in people]).astype(np.float32)
    settings = {"gallery_cameras": cameras[searched]}
    multi = identification(
        x[asked], labels[asked], x[searched], labels[searched],
        probe_cameras=cameras[asked], multi_query=True, **settings,
    )  # fmt: skip
    by_hand = identification(
        means, people, x[searched], labels[searched], probe_cameras=[cameras[0]] * len(people), **settings
    )
    single = identification(
        x[asked], labels[asked], x[searched], labels[searched], probe_cameras=cameras[asked], **settings
    )
    np.testing.assert_array_equal(multi.first_ranks, by_hand.first_ranks)
    assert multi.mean_average_precision == by_hand.mean_average_precision
    assert labels[asked][multi.probes].tolist() == people.tolist()
    assert len(single.probes) == 8 * len(multi.probes)
    assert multi.mean_average_precision != single.mean_average_precision
    assert "multi query" in multi.protocol
    assert "single query" in single.protocol


def test_pooling_keeps_cameras_apart():
    x = np.array([[0.0], [4.0], [2.0], [10.0]])
    report = identification(
        x, [1, 1, 1, 2], np.array([[1.9], [2.1], [9.0]]), [1, 1, 2],
        probe_cameras=["a", "a", "b", "a"], gallery_cameras=["b", "a", "b"], multi_query=True,
    )  # fmt: skip
    assert report.probes.tolist() == [0, 2, 3]  # the mean of two in camera a, one in b, and the other person
    assert report.average_precisions.tolist() == [1.0, 1.0, 1.0]


def test_equals_scikit_learn_without_ties():
    random = np.random.default_rng(0)
    labels, people = random.integers(1, 15, 60), random.integers(1, 15, 200)
    centres = random.standard_normal((15, 4))
    x, y = (centres[who] + random.standard_normal((len(who), 4)) for who in (labels, people))
    report = identification(x, labels, y, people)
    full = np.linalg.norm(x[:, None] - y, axis=2)
    for i, ap in zip(report.probes, report.average_precisions, strict=True):
        assert ap == pytest.approx(average_precision_score(people == labels[i], -full[i]), abs=1e-12)
    assert 0.1 < report.mean_average_precision < 0.9


def test_ids_of_any_size_and_sign_stay_apart():
    ids = np.array([2**24, 2**24 + 1, 2**53, 2**53 + 1, -5, -2])
    x = np.arange(6.0)[:, None]
    report = identification(x, ids, x[::-1].copy(), ids[::-1].copy())
    assert report.cmc(1) == 1.0
    assert len(report.probes) == 6
    shifted = identification(x, ids, x[::-1].copy(), ids[[4, 5, 2, 3, 0, 1]])
    assert shifted.cmc(1) == 0.0


def test_labels_may_be_strings_whose_junk_the_caller_names():
    x, y = np.array([[0.0]]), np.array([[0.1], [0.2], [0.3]])
    given_ = (x, ["0007"], y, ["-1", "0000", "0007"])
    with pytest.raises(
        InputError, match="gallery_labels are strings and hold '-1', given junk=-1; give junk='-1'"
    ):
        identification(*given_)
    assert identification(*given_, junk=None).first_ranks.tolist() == [3]
    named = identification(*given_, junk="-1", distractor="0000")
    assert (named.first_ranks.tolist(), named.junk, named.distractors) == ([2], 1, 1)


class Column:
    """What numpy makes of a column of pandas: an array of objects."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=object)


@pytest.mark.parametrize(
    "made",
    [
        lambda labels: np.array(labels, dtype=object),
        lambda labels: np.array([np.int32(label) for label in labels], dtype=object),
        lambda labels: [np.int64(label) for label in labels],
        lambda labels: torch.tensor(labels, dtype=torch.int16),
        lambda labels: Column(labels),
    ],
)
@pytest.mark.parametrize(("junk", "distractor"), [(-1, 0), (np.int64(-1), np.int8(0)), (-1.0, 0.0)])
def test_integers_of_any_container_have_junk_and_distractors(made, junk, distractor):
    x, y, theirs = np.array([[0.0]]), np.arange(1.0, 5.0)[:, None], [-1, 0, -1, 7]
    report = identification(x, made([7]), y, made(theirs), junk=junk, distractor=distractor)
    assert (report.first_ranks.tolist(), report.junk, report.distractors) == ([2], 2, 1)
    mixed = identification(x, [7], y, made(theirs), junk=junk, distractor=distractor)
    assert mixed.first_ranks.tolist() == [2]
    with pytest.raises(InputError, match="probe 0 carries the label"):
        identification(x, made([-1]), y, made(theirs), junk=junk)


@pytest.mark.parametrize("made", [list, np.array, Column, lambda names: np.array(names, object)])
def test_strings_of_any_container_have_junk(made):
    x, y = np.array([[0.0]]), np.arange(1.0, 4.0)[:, None]
    names = made(["-1", "0000", "0007"])
    report = identification(x, ["0007"], y, names, junk="-1", distractor="0000")
    assert (report.first_ranks.tolist(), report.junk, report.distractors) == ([2], 1, 1)
    with pytest.raises(InputError, match="hold '-1', given junk=-1"):
        identification(x, ["0007"], y, names)


@pytest.mark.parametrize("missing", [None, np.nan, Column([]), 7.0, True])
def test_objects_that_are_no_labels_are_refused(missing):
    labels = np.array([7, missing], dtype=object)
    with pytest.raises(
        InputError, match=r"gallery_labels must name every item, given .* at item 1; expected"
    ):
        identification(np.zeros((1, 1)), [7], np.zeros((2, 1)), labels)


def test_objects_beyond_64_bits_are_refused():
    with pytest.raises(InputError, match="probe_labels must be signed 64-bit integers"):
        identification(np.zeros((1, 1)), np.array([2**70], object), np.zeros((1, 1)), [7])


def test_unsigned_labels_know_no_junk():
    labels = np.array([1, 2], np.uint8)
    assert identification(np.eye(2), labels, np.eye(2) + 0.1, labels).junk == 0


def test_no_camera_leaves_every_match_in():
    report = identification(np.zeros((1, 1)), [3], np.array([[0.0], [1.0]]), [3, 3])
    assert report.mean_average_precision == 1.0
    assert "no cameras" in report.protocol


def test_json_carries_counts_protocol_and_intervals():
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(1, 11), 3)
    x, y = (random.standard_normal((11, 3))[labels] + random.standard_normal((30, 3)) for _ in range(2))
    report = identification(x, labels, y, labels, at=(1, 5), resamples=40, seed=2)
    found = json.loads(json.dumps(report.to_json()))
    assert found["cmc"] == {"1": report.cmc(1), "5": report.cmc(5)}
    assert (found["probes"], found["gallery"], found["identities"]) == (30, 30, 10)
    direct = mean_interval(report.average_precisions, labels)
    assert found["intervals"]["mean_average_precision"] == direct.to_json()
    assert found["intervals"]["cmc"]["5"] == report.interval("cmc", 5).to_json()
    silent = identification(x, labels, y, labels, resamples=0)
    assert silent.to_json()["intervals"] is None


def test_what_cannot_be_used_is_named():
    x, labels = np.zeros((2, 1)), [1, 2]
    with pytest.raises(InputError, match="needs a probe with a match in the gallery, given 2 probes without"):
        identification(x, labels, x, [3, 4])
    with pytest.raises(InputError, match=r"probe 1 carries the label 0, which marks distractor rows"):
        identification(x, [1, 0], x, [1, 0])
    assert identification(x, [1, 0], x + 1, [1, 0], distractor=None).distractors == 0
    with pytest.raises(InputError, match="probe_cameras and gallery_cameras go together"):
        identification(x, labels, x, labels, probe_cameras=[1, 1])
    with pytest.raises(InputError, match="gallery_cameras must hold one label for each of the 2 items"):
        identification(x, labels, x, labels, probe_cameras=[1, 1], gallery_cameras=[1])
    with pytest.raises(InputError, match="probe_labels and gallery_labels must be labels of one kind"):
        identification(x, labels, x, ["1", "2"])
    with pytest.raises(InputError, match="junk must be an integer as the labels are, given '-1'"):
        identification(x, labels, x, labels, junk="-1")
    with pytest.raises(InputError, match=r"unknown average_precision 'step': did you mean 'stepwise'\?"):
        identification(x, labels, x, labels, average_precision="step")
    with pytest.raises(InputError, match="unknown unmatched 'all'"):
        identification(x, labels, x, labels, unmatched="all")
    with pytest.raises(InputError, match="each rank of at must be at least 1, given 0"):
        identification(x, labels, x, labels, at=(0,))
    with pytest.raises(InputError, match="the probes are the gallery, so that each finds itself first"):
        identification(x, labels, x, labels)
    with pytest.raises(InputError, match="mean_average_precision takes no rank, given"):
        identification(x, labels, x + 1, labels).interval("mean_average_precision", 3)
    with pytest.raises(InputError, match="k must be at least 1, given 0"):
        identification(x, labels, x + 1, labels).cmc(0)
