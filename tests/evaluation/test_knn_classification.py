"""Recognition: a naive twin in loops, the ties, and scikit-learn's classifier."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from trine.errors import InputError
from trine.evaluation import knn_classification
from trine.evaluation.rate_intervals import mean_interval


def elected(probe, gallery, labels, k):
    """The winner of a vote and whether it was tied, in plain loops."""
    ranked = sorted((float(np.linalg.norm(probe - row)), at) for at, row in enumerate(gallery))[:k]
    votes = [labels[at] for _, at in ranked]
    counts = Counter(votes)
    best = max(counts.values())
    return next(vote for vote in votes if counts[vote] == best), list(counts.values()).count(best) > 1


def digits():
    bunch = load_digits()
    half = np.arange(len(bunch.data)) % 2 == 0
    return (
        bunch.data[~half][:300],
        bunch.target[~half][:300],
        bunch.data[half][:600],
        bunch.target[half][:600],
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(2, 4))
def test_the_vote_is_that_of_plain_loops(seed, k, identities):
    random = np.random.default_rng(seed)
    gallery, probes = random.normal(size=(9, 2)), random.normal(size=(5, 2))
    known = random.integers(0, identities, 9)
    own = random.choice(known, 5)
    report = knn_classification(probes, own, gallery, known, k=k, resamples=0)
    expected = [elected(probe, gallery, known.tolist(), k)[0] for probe in probes]
    assert report.identities[report.predicted].tolist() == expected
    assert report.accuracy == pytest.approx(np.mean([a == b for a, b in zip(expected, own, strict=True)]))
    assert report.k == min(k, 9)


def test_a_tie_goes_to_the_one_with_the_nearest():
    gallery = np.array([[1.0], [2.0], [-1.5], [-1.6], [9.0]])
    report = knn_classification(np.zeros((1, 1)), ["b"], gallery, ["b", "b", "a", "a", "c"], k=4)
    assert report.by_identity() == {"b": 1.0}
    # One more vote outweighs being nearest.
    assert knn_classification(np.zeros((1, 1)), ["b"], gallery, ["b", "c", "a", "a", "c"], k=4).accuracy == 0


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equals_scikit_learn_on_digits_wherever_its_vote_is_no_tie(k):
    x, own, y, known = digits()
    random = np.random.default_rng(0)  # without exact ties of the distance, which it settles by its own order
    x, y = x + 1e-6 * random.normal(size=x.shape), y + 1e-6 * random.normal(size=y.shape)
    report = knn_classification(x, own, y, known, k=k)
    theirs = KNeighborsClassifier(k).fit(y, known).predict(x)
    tied = np.array([elected(probe, y, known, k)[1] for probe in x])
    assert 0.9 < report.accuracy < 1.0
    assert (report.predicted == theirs)[~tied].all()
    assert tied.sum() < 30
    assert (k > 1) == bool(tied.any())


def test_figures_of_each_identity_and_their_interval():
    x, own, y, known = digits()
    x = x[:, ::3]  # some of the picture is missing, so that there are mistakes
    report = knn_classification(x, own, y[:, ::3], known, k=3, seed=4)
    hits = np.array([elected(p, y[:, ::3], known, 3)[0] for p in x]) == own
    shares = {str(label): float(hits[own == label].mean()) for label in range(10)}
    assert report.by_identity() == pytest.approx(shares)
    assert min(shares.values()) < 1
    assert report.balanced_accuracy == pytest.approx(np.mean(list(shares.values())))
    drawn = mean_interval(hits.astype(float), own)
    assert (report.interval("accuracy").low, report.interval("accuracy").high) == (drawn.low, drawn.high)
    stored = report.to_json()
    assert stored["accuracy"] == report.accuracy == hits.mean()
    assert stored["intervals"]["accuracy"] == [drawn.low, drawn.high]
    assert (stored["k"], stored["probes"], stored["gallery"], stored["identities"]) == (3, 300, 600, 10)
    assert "vote of the 3 nearest" in stored["protocol"]


def test_names_and_tensors_give_the_same_and_strangers_are_counted():
    x, own, y, known = digits()
    plain = knn_classification(x, own, y, known)
    named = knn_classification(
        torch.from_numpy(x), [f"digit {i}" for i in own], torch.from_numpy(y), [f"digit {i}" for i in known]
    )
    assert named.accuracy == plain.accuracy
    kept = known != 3
    without = knn_classification(x, own, y[kept], known[kept])
    assert without.unmatched == int((own == 3).sum()) > 0
    assert (own[without.probes] != 3).all()
    assert "3" not in without.by_identity()


@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
def test_other_distances(distance):
    x, own, y, known = digits()
    report = knn_classification(x, own, y, known, k=1, distance=distance)
    metric = {"squared_euclidean": "sqeuclidean", "cosine": "cosine"}[distance]
    theirs = KNeighborsClassifier(1, metric=metric).fit(y, known).predict(x)
    assert (report.predicted == theirs).mean() > 0.99


def test_mistakes_have_their_sentence():
    rows = np.eye(3)
    with pytest.raises(InputError, match="k must be at least 1, given 0"):
        knn_classification(rows, [0, 1, 2], rows, [0, 1, 2], k=0)
    with pytest.raises(InputError, match="3 probes and 3 gallery rows that share none"):
        knn_classification(rows, [0, 1, 2], rows, [3, 4, 5])
    with pytest.raises(InputError, match="labels of one kind"):
        knn_classification(rows, [0, 1, 2], rows, ["0", "1", "2"])
    with pytest.raises(InputError, match="gallery_labels must hold one label for each of the 3"):
        knn_classification(rows, [0, 1, 2], rows, [0, 1])
    with pytest.raises(InputError, match="unknown metric 'acuracy': did you mean 'accuracy'"):
        knn_classification(rows, [0, 1, 2], rows, [0, 1, 2]).interval("acuracy")
    with pytest.raises(InputError, match="resamples of at least 1"):
        knn_classification(rows, [0, 1, 2], rows, [0, 1, 2], resamples=0).interval("accuracy")
