"""Accuracy over folds: the protocol of Labeled Faces in the Wild equals a twin that reads like its text."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.paths import SHARED_DATA
from trine.data import load
from trine.errors import InputError
from trine.evaluation import load_pairs, verification

LFW = SHARED_DATA / "faces_lfw"


def twin(distances, same, fold):
    """For each fold the threshold with the most right answers on the others, the smallest of several."""
    accuracies, thresholds = [], []
    for f in sorted(set(fold)):
        others = [(d, s) for d, s, own in zip(distances, same, fold, strict=True) if own != f]
        observed = sorted({d for d, _ in others})
        best, most = None, -1
        for t in [observed[0] / 2 or -1.0, *observed]:
            right = sum((d <= t) == s for d, s in others)
            if right > most:
                best, most = t, right
        tested = [(d <= best) == s for d, s, own in zip(distances, same, fold, strict=True) if own == f]
        accuracies.append(sum(tested) / len(tested))
        thresholds.append(best)
    mean = sum(accuracies) / len(accuracies)
    deviation = math.sqrt(sum((a - mean) ** 2 for a in accuracies) / (len(accuracies) - 1))
    return mean, deviation / math.sqrt(len(accuracies)), accuracies, thresholds


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 2)), min_size=4, max_size=25).filter(
        lambda pairs: len({s for _, s, _ in pairs}) == 2 and len({f for *_, f in pairs}) > 1
    )
)
@settings(max_examples=60)
def test_equals_the_twin(pairs):
    distances, same, fold = (list(column) for column in zip(*pairs, strict=True))
    rows = np.array([[0.0], *([float(d)] for d in distances)])
    listed = np.array([[0, at] for at in range(1, len(rows))])
    report = verification(rows, pairs=listed, same=np.array(same), fold=fold)
    mean, error, accuracies, thresholds = twin(distances, same, fold)
    assert report.accuracy == pytest.approx(mean, abs=1e-12)
    assert report.accuracy_standard_error == pytest.approx(error, abs=1e-12)
    assert report.fold_accuracies == pytest.approx(accuracies, abs=1e-12)
    assert list(report.fold_thresholds) == thresholds


def test_a_fold_may_accept_no_pair():
    rows = np.array([[0.0], [0.1], [0.2], [9.0]])
    pairs, same, fold = [[0, 1], [1, 2], [0, 3]] * 2, [0, 0, 1] * 2, [0] * 3 + [1] * 3
    report = verification(rows, pairs=pairs, same=same, fold=fold, resamples=0)
    assert report.fold_thresholds == pytest.approx([0.05, 0.05])
    assert report.fold_accuracies == pytest.approx([2 / 3, 2 / 3])
    copies = verification(rows * 0, pairs=pairs, same=same, fold=fold, resamples=0)
    assert copies.fold_thresholds == (-1.0, -1.0)
    assert copies.fold_accuracies == pytest.approx([2 / 3, 2 / 3])


@pytest.fixture(scope="module")
def faces():
    if not LFW.is_dir():
        pytest.skip("the pictures of Labeled Faces in the Wild are not beside the checkout")
    Image = pytest.importorskip("PIL.Image")
    data, _ = load(LFW / "images")
    pairs, same, fold = load_pairs(data, LFW / "pairs.csv")
    used = np.unique(pairs)
    part = data.subset(used)
    small = [Image.fromarray(part.items[at]).convert("L").resize((12, 12)) for at in range(len(part))]
    rows = np.stack([np.asarray(picture, np.float32).ravel() for picture in small])
    return rows, part.labels, np.searchsorted(used, pairs), same, fold


def test_equals_the_twin_on_faces(faces):
    rows, labels, pairs, same, fold = faces
    assert (len(pairs), int(same.sum()), np.bincount(fold).tolist()) == (3000, 1500, [600] * 5)
    report = verification(rows, labels, pairs=pairs, same=same, fold=fold, distance="cosine")
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    distances = (((unit[pairs[:, 0]] - unit[pairs[:, 1]]) ** 2).sum(1) / 2).astype(np.float32)
    mean, error, accuracies, thresholds = twin(distances.tolist(), same.tolist(), fold.tolist())
    assert 0.55 < mean < 0.7
    assert report.accuracy == pytest.approx(mean, abs=1e-9)
    assert report.accuracy_standard_error == pytest.approx(error, abs=1e-9)
    assert report.fold_accuracies == pytest.approx(accuracies, abs=1e-9)
    assert report.fold_thresholds == pytest.approx(thresholds, rel=1e-6)
    assert report.protocol.startswith("verification: given pairs, 5 folds")
    figures = report.to_json()
    low, high = figures["intervals"]["accuracy"]
    assert low < figures["accuracy"] < high
    # 3,000 pairs of as many people: about the spread of independent pairs, 1.96·√(p(1 − p)/3000), and more.
    assert 0.03 < high - low < 0.08


def test_the_interval_of_the_accuracy_equals_counting_copies(faces):
    rows, labels, pairs, same, fold = (faces[0], faces[1], *(column[:1200] for column in faces[2:]))
    report = verification(rows, labels, pairs=pairs, same=same, fold=fold, resamples=15, seed=4)
    random = np.random.default_rng(4)
    known = np.unique(labels[pairs])
    right = report.folds.right
    found = []
    for _ in range(15):
        times = dict.fromkeys(known.tolist(), 0)
        for at in random.integers(0, len(known), len(known)):
            times[int(known[at])] += 1
        weights = [
            times[a] if s else times[a] * times[b]
            for (a, b), s in zip(labels[pairs].tolist(), same, strict=True)
        ]
        accuracies = []
        for f in range(2):
            shares = []
            for kind in (True, False):
                own = [at for at in range(1200) if fold[at] == f and same[at] == kind]
                good = sum(weights[at] for at in own if right[at])
                shares.append(good / sum(weights[at] for at in own))
            accuracies.append(sum(shares) / 2)  # 300 of either kind in every fold
        found.append(sum(accuracies) / 2)
    expected = np.quantile(found, [0.025, 0.975])
    np.testing.assert_allclose(report.interval("accuracy").to_json(), expected, atol=1e-9)


def test_the_interval_of_the_accuracy_covers():
    def pairs_of_people(random, count):
        """Three pictures of everybody; pairs within, and with the next person of the same fold."""
        spread = random.gamma(4, 0.15, count)[:, None, None]
        rows = random.standard_normal((count, 1, 3)) + spread * random.standard_normal((count, 3, 3))
        people = np.arange(count)
        fold = people * 4 // count
        within = [(3 * p + a, 3 * p + b) for p in people for a, b in itertools.combinations(range(3), 2)]
        across = [
            (3 * p + a, 3 * (p + 1) + b)
            for p in people[:-1]
            if fold[p] == fold[p + 1]
            for a, b in ((0, 0), (1, 1), (2, 2))
        ]
        listed = np.array(within + across)
        same = np.arange(len(listed)) < len(within)
        return rows.reshape(-1, 3), np.repeat(people, 3), listed, same, fold[listed[:, 0] // 3]

    def judged(random, count, **other):
        rows, labels, listed, same, fold = pairs_of_people(random, count)
        return verification(rows, labels, pairs=listed, same=same, fold=fold, **other)

    truth = judged(np.random.default_rng(99), 20_000, resamples=0).accuracy
    covered = 0
    for study in range(150):
        found = judged(np.random.default_rng(study), 120, resamples=120, seed=study).interval("accuracy")
        covered += found.low <= truth <= found.high
    assert 0.88 <= covered / 150 <= 0.99


def test_folds_without_labels_have_an_accuracy_and_no_interval():
    x = np.array([[0.0], [0.1], [3.0], [3.2]])
    pairs, same = np.array([[0, 1], [0, 2], [2, 3], [1, 3]]), np.array([True, False, True, False])
    report = verification(x, pairs=pairs, same=same, fold=["a", "a", "b", "b"])
    assert (report.accuracy, report.accuracy_standard_error) == (0.75, 0.25)
    assert report.to_json()["intervals"] is None
    with pytest.raises(InputError, match="an interval of the accuracy needs folds and labels"):
        report.interval("accuracy")


def test_folds_that_are_none_are_named():
    x = np.array([[0.0], [0.1], [3.0]])
    pairs, same = np.array([[0, 1], [0, 2]]), np.array([True, False])
    with pytest.raises(InputError, match="fold must name at least 2 folds, given 1; leave it out"):
        verification(x, pairs=pairs, same=same, fold=[1, 1])
    with pytest.raises(InputError, match="fold must hold one label for each of the 2 items"):
        verification(x, pairs=pairs, same=same, fold=[1, 2, 3])
