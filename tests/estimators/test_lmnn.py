import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from trine import LMNN
from trine.errors import InputError


def noisy_stripes(n=120, noise=30.0):
    """Two classes told apart by a narrow column beside a wide one that says nothing."""
    random = np.random.default_rng(0)
    y = np.arange(n) % 2
    return np.stack([y + 0.2 * random.normal(size=n), noise * random.normal(size=n)], axis=1), y


def test_is_a_scikit_learn_estimator():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipping check check_array_api_input")
        check_estimator(LMNN())


def test_learns_which_column_matters():
    x, y = noisy_stripes()
    learned = LMNN().fit(x[:80], y[:80])
    assert KNeighborsClassifier(3).fit(x[:80], y[:80]).score(x[80:], y[80:]) < 0.7
    assert learned.score(x[80:], y[80:]) > 0.95
    assert np.mean(learned.predict(x[80:], by="energy") == y[80:]) > 0.95
    weight = np.linalg.norm(learned.components_, axis=0)
    assert weight[0] > 20 * weight[1]


def test_convex_form_learns_the_same():
    x, y = noisy_stripes(noise=2.0)
    linear, convex = (LMNN(solver=solver, tol=1e-6).fit(x, y) for solver in ("linear", "convex"))
    assert convex.objective_ == pytest.approx(linear.objective_, rel=0.05)


def test_beats_euclidean_distances_in_a_pipeline_on_wine():
    x, y = load_wine(return_X_y=True)
    plain = make_pipeline(StandardScaler(), KNeighborsClassifier(3))
    learned = make_pipeline(StandardScaler(), LMNN(), KNeighborsClassifier(3))
    before, after = (cross_val_score(model, x, y, cv=5).mean() for model in (plain, learned))
    assert after >= before


def test_digits_keep_their_neighbours_in_ten_dimensions():
    x, y = load_digits(return_X_y=True)
    few = LMNN(n_components=10).fit(x[:1200], y[:1200])
    assert few.transform(x[:5]).shape == (5, 10)
    assert few.score(x[1200:], y[1200:]) > 0.93
    assert list(few.get_feature_names_out()[:2]) == ["lmnn0", "lmnn1"]


def test_learns_nothing_wrong_where_there_is_no_impostor():
    x = np.concatenate([np.random.default_rng(0).normal(size=(20, 3)), 1000 + np.eye(3).repeat(7, 0)])
    y = np.array(["near"] * 20 + ["far"] * 21)
    learned = LMNN().fit(x, y)
    assert np.isfinite(learned.components_).all()
    assert learned.score(x, y) == 1.0


def test_classes_far_apart_do_not_shrink_the_map_to_0():
    x, y = np.array([[0.0], [1], [10], [11], [20], [21]]), np.arange(6) // 2
    learned, convex = (LMNN(1, solver=solver, tol=1e-4).fit(x, y) for solver in ("linear", "convex"))
    assert learned.score(x, y) == 1.0
    assert learned.objective_ == pytest.approx(convex.objective_, rel=0.01)


def test_classes_of_one_item_and_rows_that_are_equal():
    x = np.array([[0.0, 0], [0, 0], [0, 0], [5, 5], [9, 1]])
    learned = LMNN(n_neighbors=3).fit(x, np.array([0, 0, 0, 1, 2]))
    assert np.isfinite(learned.transform(x)).all()
    lonely = LMNN(n_neighbors=1).fit(x[2:], np.array([0, 1, 2]))
    assert lonely.score(x[2:], np.array([0, 1, 2])) == 1.0


def test_second_pass_starts_from_what_the_first_has_learned():
    x, y = load_iris(return_X_y=True)
    once, twice = (LMNN(passes=passes).fit(x, y) for passes in (1, 2))
    assert twice.n_iter_ > once.n_iter_
    assert twice.score(x, y) >= once.score(x, y) - 0.02


def test_same_data_gives_the_same_map():
    x, y = load_iris(return_X_y=True)
    np.testing.assert_array_equal(LMNN().fit(x, y).components_, LMNN().fit(x, y).components_)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors must be at least 1, given 0"),
        ({"passes": 0}, "passes must be at least 1"),
        ({"regularization": 1.0}, "regularization must be a number > 0 and < 1, given 1.0"),
        ({"n_components": 5}, "n_components must be from 1 to 4, given 5"),
        ({"solver": "linaer"}, "did you mean 'linear'"),
        ({"solver": None}, "unknown solver None: known: linear, convex"),
        ({"tol": float("nan")}, "tol must be a number >= 0, given nan"),
        ({"max_iter": float("nan")}, "max_iter must be a whole number, given nan"),
        ({"n_neighbors": "3"}, "n_neighbors must be a whole number, given '3'"),
        ({"n_components": 1.5}, "n_components must be a whole number, given 1.5"),
        ({"passes": 1.5}, "passes must be a whole number, given 1.5"),
    ],
)
def test_refuses_settings_out_of_range(settings, message):
    x, y = load_iris(return_X_y=True)
    with pytest.raises(InputError, match=message):
        LMNN(**settings).fit(x, y)


def test_refuses_an_unknown_way_to_predict():
    x, y = load_iris(return_X_y=True)
    with pytest.raises(InputError, match="did you mean 'energy'"):
        LMNN().fit(x, y).predict(x, by="energie")
