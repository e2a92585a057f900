"""Verification equals counting pair by pair, and scikit-learn's ROC."""

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score, roc_curve

from support.all_pairs import verified
from support.reference import distance
from trine.distances import DISTANCES
from trine.errors import InputError
from trine.evaluation import verification


def trials(rows, labels, name):
    """(distance, same) of every unordered pair; rounding makes exact ties of tied pairs."""
    return [
        (float(np.float32(distance(rows[i], rows[j], name))), labels[i] == labels[j])
        for i, j in itertools.combinations(range(len(rows)), 2)
    ]


def naive_auc(pairs):
    wins = [
        1.0 if g < i else 0.5 if g == i else 0.0
        for (g, same_g), (i, same_i) in itertools.product(pairs, pairs)
        if same_g and not same_i
    ]
    return sum(wins) / len(wins)


def naive_tar(pairs, far):
    """VAL at FAR: the best TAR of the observed thresholds whose FAR is within the rate."""
    genuine = [d for d, same in pairs if same]
    impostor = [d for d, same in pairs if not same]
    best = 0.0
    for t, _ in pairs:
        if sum(d <= t for d in impostor) / len(impostor) <= far:
            best = max(best, sum(d <= t for d in genuine) / len(genuine))
    return best


points = st.lists(
    st.tuples(st.integers(-2, 2), st.integers(-2, 2), st.integers(0, 2)), min_size=3, max_size=14
).filter(lambda ps: 1 < len({p[2] for p in ps}) < len(ps))


@given(points, st.sampled_from(DISTANCES), st.sampled_from([0.0, 0.01, 0.1, 0.25, 1 / 3, 0.5, 1.0]))
def test_equals_the_naive_twin(given_points, name, far):
    rows, labels = [p[:2] for p in given_points], [p[2] for p in given_points]
    report = verification(np.array(rows, np.float64), labels, distance=name)
    pairs = trials(rows, labels, name)
    # Integer points tie exactly; only cosine's division may leave them apart in the last bit.
    if name != "cosine":
        assert report.roc_auc == pytest.approx(naive_auc(pairs), abs=1e-12)
        assert report.tar_at_far(far) == pytest.approx(naive_tar(pairs, far), abs=1e-12)
    threshold = report.threshold_at_far(far)
    if threshold is not None:
        assert report.far_at(threshold) <= far
        assert report.tar_at(threshold) == report.tar_at_far(far)
    assert (report.genuine_pairs, report.impostor_pairs) == (
        sum(same for _, same in pairs),
        sum(not same for _, same in pairs),
    )


def check_against_scikit_learn(report):
    scores = -np.concatenate([report.genuine, report.impostor]).astype(np.float64)
    same = np.concatenate([np.ones(report.genuine_pairs), np.zeros(report.impostor_pairs)])
    assert report.roc_auc == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    fpr, tpr, thresholds = roc_curve(same, scores, drop_intermediate=False)
    for far in (0.0, 0.001, 0.01, 0.1, 0.5):
        within = fpr <= far
        assert report.tar_at_far(far) == pytest.approx(tpr[within].max(), abs=1e-12)
        last = -thresholds[within][-1]
        assert report.threshold_at_far(far) == (None if np.isinf(last) else last)
    grid = np.linspace(0, 1, 200_001)
    crossing = grid[np.argmin(np.abs(np.interp(grid, fpr, tpr) - (1 - grid)))]
    assert report.eer == pytest.approx(crossing, abs=1e-5)


@pytest.mark.parametrize("name", DISTANCES)
def test_equals_scikit_learn_on_digits(name):
    digits = load_digits()
    report = verification(digits.data[:300].astype(np.float32), digits.target[:300], distance=name)
    assert report.genuine_pairs + report.impostor_pairs == 300 * 299 // 2
    assert 0.7 < report.roc_auc < 0.99
    check_against_scikit_learn(report)


def test_equals_scikit_learn_with_many_ties():
    random = np.random.default_rng(0)
    report = verification(random.integers(0, 3, (80, 2)).astype(np.float32), random.integers(0, 5, 80))
    assert len(np.unique(report.impostor)) < 10
    check_against_scikit_learn(report)


def test_equal_embeddings_say_nothing():
    report = verification(np.ones((6, 2)), [0, 0, 0, 1, 1, 1])
    assert (report.roc_auc, report.eer) == (0.5, 0.5)
    assert report.tar_at_far(0.5) == 0
    assert report.threshold_at_far(0.5) is None
    assert report.tar_at_far(1.0) == 1


def test_tight_classes_are_told_apart():
    random = np.random.default_rng(1)
    centres = random.standard_normal((5, 32)) + 50
    x = np.repeat(centres, 8, 0) + 1e-6 * random.standard_normal((40, 32))
    report = verification(x, np.repeat(np.arange(5), 8))
    assert report.roc_auc == 1
    exact = [
        distance(x[i], x[j], "euclidean") for i, j in itertools.combinations(range(40), 2) if i // 8 == j // 8
    ]
    np.testing.assert_allclose(report.genuine, np.sort(exact), rtol=1e-6)


def test_given_pairs_are_the_trials():
    x = np.array([[0.0], [1.0], [3.0], [10.0]])
    pairs = np.array([[0, 1], [0, 2], [3, 0], [3, 3]])
    same = np.array([True, False, False, True])
    report = verification(x, pairs=pairs, same=same)
    assert report.genuine.tolist() == [0.0, 1.0]
    assert report.impostor.tolist() == [3.0, 10.0]
    assert (report.protocol, report.identities) == ("verification: given pairs", None)
    by_labels = verification(x, [5, 5, 6, 7], pairs=pairs)
    assert by_labels.impostor.tolist() == report.impostor.tolist()


@pytest.mark.parametrize("form", [np.int8, np.uint8, torch.tensor, list])
def test_pairs_may_come_as_anything_that_names_rows(as_in_production, form):
    random = np.random.default_rng(0)
    x, pairs = random.normal(size=(20, 3)), random.integers(0, 20, (50, 2))
    same = random.random(50) < 0.4
    report = verification(x, pairs=pairs, same=same)
    assert (report.genuine_pairs, report.impostor_pairs) == (same.sum(), (~same).sum())
    shaped = (lambda rows: rows.tolist()) if form is list else (lambda rows: form(rows))
    again = verification(x, pairs=shaped(pairs), same=shaped(same))
    np.testing.assert_array_equal(again.genuine, report.genuine)
    np.testing.assert_array_equal(again.impostor, report.impostor)


def test_tiles_give_the_same_pairs():
    digits = load_digits()
    whole = verification(digits.data[:150], digits.target[:150])
    tiled = verified(digits.data[:150], digits.target[:150], tile=(7, 11))
    np.testing.assert_array_equal(tiled.genuine, whole.genuine)
    np.testing.assert_array_equal(tiled.impostor, whole.impostor)


@pytest.mark.parametrize("max_pairs", [4_000, 20_000])
def test_a_sample_says_so_and_estimates_without_bias(max_pairs):
    digits = load_digits()
    x, y = digits.data[:400], digits.target[:400]
    whole = verification(x, y)
    sample = verification(x, y, max_pairs=max_pairs, seed=3)
    assert (whole.pairs_sampled, sample.pairs_sampled) == (False, True)
    assert "a random sample of all pairs, seed 3" in sample.protocol
    assert sample.pairs_total == 400 * 399 // 2
    assert sample.genuine_pairs + sample.impostor_pairs == max_pairs
    # Where they fit into half of the sample, the genuine pairs are all there.
    if whole.genuine_pairs <= max_pairs // 2:
        np.testing.assert_array_equal(sample.genuine, whole.genuine)
    else:
        assert sample.genuine_pairs == max_pairs // 2
        assert np.isin(sample.genuine, whole.genuine).all()
    assert np.isin(sample.impostor, whole.impostor).all()
    assert sample.roc_auc == pytest.approx(whole.roc_auc, abs=0.02)
    again = verification(x, y, max_pairs=max_pairs, seed=3)
    np.testing.assert_array_equal(again.impostor, sample.impostor)
    assert not np.array_equal(verification(x, y, max_pairs=max_pairs, seed=4).impostor, sample.impostor)


def test_a_sample_draws_every_pair_of_a_kind_equally_often():
    # Every pair has a distance of its own, so the distances count the pairs.
    x = 2.0 ** np.arange(12)[:, None]
    y = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3])
    sample = verification(np.tile(x, (20, 1)), np.tile(y, 20), max_pairs=28_000)
    values, counts = np.unique(sample.impostor, return_counts=True)
    impostors = sum(a != b for a, b in itertools.combinations(y, 2))
    assert len(values) == impostors
    # Every value stands for 400 of all impostor pairs: five standard deviations.
    expected = counts.sum() / impostors
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("big", [2**24, 2**53])
def test_ids_beyond_floats_stay_apart(big):
    labels = np.array([big, big + 1, -big, -big])
    report = verification(np.arange(4.0)[:, None], labels)
    assert report.genuine.tolist() == [1.0]
    assert report.identities == 3
    assert report.interval("tar_at_far", 0.5) == verification(
        np.arange(4.0)[:, None], ["c", "d", "a", "a"]
    ).interval("tar_at_far", 0.5)


def test_the_roc_has_exact_counts_and_every_corner_of_few_pairs():
    digits = load_digits()
    report = verification(digits.data[:200], digits.target[:200])
    roc = report.roc(40)
    assert 30 < len(roc.threshold) <= 40
    for far, tar, threshold, impostors, genuine in zip(
        roc.far, roc.tar, roc.threshold, roc.impostors_accepted, roc.genuine_accepted, strict=True
    ):
        assert impostors == sum(report.impostor <= threshold) == round(far * report.impostor_pairs)
        assert genuine == sum(report.genuine <= threshold)
        assert tar == report.tar_at_far(far)
    assert (roc.far[-1], roc.tar[-1]) == (1, 1)
    few = verification(digits.data[:20], digits.target[:20])
    scores = -np.concatenate([few.genuine, few.impostor]).astype(np.float64)
    same = np.repeat([1, 0], [few.genuine_pairs, few.impostor_pairs])
    fpr, tpr, _ = roc_curve(same, scores, drop_intermediate=True)
    corners = {(f, t) for f, t in zip(fpr, tpr, strict=True) if t == tpr[fpr == f].max()}
    assert corners - {(0, 0)} <= set(zip(few.roc().far, few.roc().tar, strict=True))
    assert json.loads(json.dumps(roc.to_json()))["far"] == roc.far.tolist()
    with pytest.raises(InputError, match="points must be at least 2, given 1"):
        report.roc(1)


def test_the_histogram_holds_every_pair_once():
    x = np.array([[0.0], [1.0], [3.0], [4.0]])
    found = verification(x, [0, 0, 1, 1]).histogram(3)
    assert found.edges.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (found.genuine.tolist(), found.impostor.tolist()) == ([2, 0, 0], [1, 2, 1])
    report = verification(load_digits().data[:100], load_digits().target[:100])
    bins = report.histogram()
    assert (bins.genuine.sum(), bins.impostor.sum()) == (report.genuine_pairs, report.impostor_pairs)
    assert json.loads(json.dumps(bins.to_json()))["genuine"] == bins.genuine.tolist()
    with pytest.raises(InputError, match="bins must be at least 1, given 0"):
        report.histogram(0)


def test_json_carries_counts_and_protocol():
    report = verification(np.array([[0.0], [1.0], [5.0]]), [1, 1, 2], at=(0.01,))
    assert json.loads(json.dumps(report.to_json())) == {
        "protocol": "verification: all pairs",
        "distance": "euclidean",
        "genuine_pairs": 1,
        "impostor_pairs": 2,
        "pairs_total": 3,
        "pairs_sampled": False,
        "identities": 2,
        "roc_auc": 1.0,
        "eer": 0.0,
        "tar_at_far": {"0.01": 1.0},
        "threshold_at_far": {"0.01": 1.0},
        "intervals": {
            "level": 0.95,
            "resamples": 200,
            "pairs": 3,
            "roc_auc": [1.0, 1.0],
            "eer": [0.0, 0.0],
            "tar_at_far": {"0.01": [0.0, 1.0]},
        },
    }
    without = verification(np.array([[0.0], [1.0], [5.0]]), [1, 1, 2], resamples=0).to_json()
    assert without["intervals"] is None


def test_what_cannot_be_used_is_named():
    x = np.zeros((4, 2))
    with pytest.raises(InputError, match="given no genuine one; add two items of one identity"):
        verification(x, [0, 1, 2, 3])
    with pytest.raises(InputError, match="given no impostor one; add items of two identities"):
        verification(x, [0, 0, 0, 0])
    with pytest.raises(InputError, match="given no genuine one"):
        verification(x[:0], [])
    with pytest.raises(InputError, match="needs labels, or pairs together with same"):
        verification(x)
    with pytest.raises(InputError, match="needs labels, or pairs together with same"):
        verification(x, [0, 0, 1, 1], same=np.array([True]))
    with pytest.raises(InputError, match="needs labels, or pairs together with same"):
        verification(x, [0, 0, 1, 1], fold=[0, 1])
    with pytest.raises(InputError, match="pair 0 is marked as same, but its items have different labels"):
        verification(x, [0, 0, 1, 1], pairs=np.array([[0, 2]]), same=np.array([True]))
    with pytest.raises(InputError, match="pair 1 is marked as different, but its items share a label"):
        verification(x, [0, 0, 1, 1], pairs=np.array([[0, 2], [0, 1]]), same=np.array([False, False]))
    with pytest.raises(InputError, match="resamples must be at least 0, given -1"):
        verification(x, [0, 0, 1, 1], resamples=-1)
    with pytest.raises(InputError, match=r"pair 1 is \[0, 4\], expected rows from 0 to 3"):
        verification(x, [0, 0, 1, 1], pairs=np.array([[0, 1], [0, 4]]))
    with pytest.raises(InputError, match="pairs need same"):
        verification(x, pairs=np.array([[0, 1]]))
    report = verification(x, [0, 0, 1, 1])
    with pytest.raises(InputError, match="far must be a number >= 0 and <= 1, given 2"):
        report.tar_at_far(2.0)


def test_flags_of_another_length_are_named(as_in_production):
    with pytest.raises(InputError, match=r"same must have one entry for each of 2 pairs, given \(1,\)"):
        verification(np.zeros((4, 2)), pairs=np.array([[0, 1], [1, 2]]), same=np.array([True]))


@pytest.mark.parametrize(
    ("pairs", "same", "match"),
    [
        (
            [[0.0, 1.0]],
            [True],
            r"pairs must be an integer array of shape \(N, 2\) of row numbers, given float64",
        ),
        ([0, 1], [True], r"given int64 of shape \(2,\)"),
        ([[0, 1, 2]], [True], r"given int64 of shape \(1, 3\)"),
        ([[-1, 1]], [True], r"pair 0 is \[-1, 1\], expected rows from 0 to 3"),
        ([[0, 1], [1, 2]], [1, 2], "same must hold booleans, or 1 and 0, given int64"),
        ([[0, 1], [1, 2]], ["yes", "no"], "same must hold booleans, or 1 and 0, given <U3"),
    ],
)
def test_pairs_that_name_no_rows_are_named(as_in_production, pairs, same, match):
    with pytest.raises(InputError, match=match):
        verification(np.zeros((4, 2)), pairs=pairs, same=same)


def test_an_interval_takes_what_its_figure_takes():
    report = verification(np.arange(6.0)[:, None], [0, 0, 1, 1, 2, 2])
    with pytest.raises(InputError, match=r"tar_at_far takes one rate, given \(\)"):
        report.interval("tar_at_far")
    with pytest.raises(InputError, match=r"roc_auc takes nothing, given \(0\.1,\)"):
        report.interval("roc_auc", 0.1)
    with pytest.raises(InputError, match=r"far_at takes one threshold, given \(1, 2\)"):
        report.interval("far_at", 1, 2)
    with pytest.raises(InputError, match="far must be a number >= 0 and <= 1, given 2"):
        report.interval("threshold_at_far", 2)


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine"])
def test_embeddings_of_any_scale_are_measured_or_refused(distance):
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 6)
    rows = random.normal(size=(6, 3))[labels] + 0.5 * random.normal(size=(36, 3))
    whole = verification(rows, labels, distance=distance, resamples=0).roc_auc
    refused = {
        "euclidean": [1e-200, 1e-140, 1e-46, 1e39, 1e100],
        "squared_euclidean": [1e-200, 1e-140, 1e-46, 1e-20, 1e30, 1e39, 1e100],
        "cosine": [1e-200],
    }[distance]
    for scale in (1e-200, 1e-140, 1e-46, 1e-20, 1e-10, 1e10, 1e30, 1e39, 1e100):
        if scale in refused:
            with pytest.raises(InputError, match="multiply all rows by one number"):
                verification(rows * scale, labels, distance=distance, resamples=0)
        else:
            found = verification(rows * scale, labels, distance=distance, resamples=0)
            assert found.roc_auc == pytest.approx(whole, abs=1e-6)
