"""What both estimators are to scikit-learn: classifiers, with probabilities, on any rows."""

import warnings

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_val_score

from trine import LMNN, TripletEmbedding
from trine.errors import InputError

BOTH = pytest.mark.parametrize(
    "estimator", [LMNN(), TripletEmbedding(4, hidden=(8,), epochs=3)], ids=["LMNN", "TripletEmbedding"]
)
X, Y = load_iris(return_X_y=True)


@BOTH
def test_cross_validation_stratifies_rows_sorted_by_class(estimator):
    assert is_classifier(estimator)
    found = cross_val_score(estimator, X, Y, cv=3)
    np.testing.assert_array_equal(found, cross_val_score(estimator, X, Y, cv=StratifiedKFold(3)))
    assert found.min() > 0.8


def test_probabilities_are_shares_of_the_votes():
    rows = np.array([[0.0], [1.0], [10.0], [11.0], [20.0], [21.0]])
    learned = LMNN(3).fit(rows, ["a", "a", "b", "b", "c", "c"])
    # Nearest first: b at 10, b at 11, a at 1; then c at 20, b at 11, c at 21.
    shares = learned.predict_proba([[8.0], [16.0]])
    np.testing.assert_allclose(shares, [[1 / 3, 2 / 3, 0], [0, 1 / 3, 2 / 3]], atol=1e-8)
    # One vote for each class: the nearest item has the larger share, as in predict.
    spread = LMNN(3).fit([[0.0], [1.0], [2.0]], [2, 1, 0])
    tied = spread.predict_proba([[-1.0], [0.9], [3.0]])
    np.testing.assert_allclose(tied, 1 / 3, atol=1e-8)
    np.testing.assert_allclose(tied.sum(axis=1), 1)
    assert tied.argmax(axis=1).tolist() == spread.predict([[-1.0], [0.9], [3.0]]).tolist() == [2, 1, 0]


@BOTH
def test_predictions_are_the_most_probable_class(estimator):
    random = np.random.default_rng(0)
    y = random.integers(0, 4, 60)
    learned = estimator.fit(random.normal(size=(60, 2)), y)
    rows = random.normal(size=(200, 2))
    likeliest = learned.predict_proba(rows).argmax(axis=1)
    np.testing.assert_array_equal(learned.classes_[likeliest], learned.predict(rows))


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e200, 1e307])
@BOTH
def test_columns_of_any_size(estimator, scale):
    learned = estimator.fit(X * scale, Y)
    assert np.isfinite(learned.transform(X * scale)).all()
    assert learned.score(X * scale, Y) > 0.9


@BOTH
def test_rows_with_little_in_them(estimator):
    padded = np.column_stack([X, np.full(len(X), 7.0)])
    assert estimator.fit(padded, Y).score(padded, Y) > 0.9
    same, halves = np.ones((10, 3)), np.arange(10) % 2
    learned = estimator.fit(same, halves)
    assert np.isfinite(learned.transform(same)).all()
    assert learned.score(same, halves) == 0.5
    for few in (0, 1):
        with pytest.raises(ValueError, match=rf"{few} sample\(s\).*while a minimum of 2 is required"):
            estimator.fit(X[:few], Y[:few])


def test_numbers_too_small_to_invert_are_refused():
    with pytest.raises(InputError, match=r"^LMNN needs a number of at least 1e-290 in X, given 7.9e-310"):
        LMNN().fit(X * 1e-310, Y)


def test_lmnn_warns_where_it_stops_at_its_limit():
    with pytest.warns(
        ConvergenceWarning, match=r"^LMNN stopped after max_iter=2 steps, .* than tol=0; raise"
    ):
        LMNN(max_iter=2, tol=0).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LMNN().fit(X, Y).n_iter_ < 1000
