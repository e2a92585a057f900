import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from trine import TripletEmbedding
from trine.data import Dataset, Vectors
from trine.encoders import load, save
from trine.errors import InputError
from trine.estimators.knn_mixin import neighbour_classes
from trine.evaluation.knn_classification import majority_vote
from trine.training import Recipe, fit, load_recipe


def rings(n=240, seed=0):
    """Two rings around one centre, with a wide column beside them that says nothing: no linear map helps."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    angle = random.uniform(0, 2 * np.pi, n)
    radius = 1 + 0.6 * y + 0.1 * random.normal(size=n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), 3 * random.normal(size=n)], axis=1), y


def test_is_a_scikit_learn_estimator():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipping check check_array_api_input")
        check_estimator(TripletEmbedding(epochs=3))


def test_learns_what_no_linear_map_can():
    x, y = rings()
    learned = TripletEmbedding().fit(x[:160], y[:160])
    linear = TripletEmbedding(hidden=()).fit(x[:160], y[:160])
    plain = KNeighborsClassifier(3).fit(x[:160], y[:160]).score(x[160:], y[160:])
    assert learned.score(x[160:], y[160:]) > 0.93
    assert learned.score(x[160:], y[160:]) > max(plain, linear.score(x[160:], y[160:])) + 0.05


def test_works_in_a_pipeline_with_columns_of_different_units():
    x, y = load_wine(return_X_y=True)
    model = make_pipeline(TripletEmbedding(4), KNeighborsClassifier(3))
    plain, learned = (cross_val_score(each, x, y, cv=2).mean() for each in (model[-1], model))
    assert learned > 0.93 > plain + 0.1
    names = model.fit(x, y)[0].get_feature_names_out()
    assert list(names) == [f"tripletembedding{column}" for column in range(4)]


def test_works_in_a_search_over_its_settings():
    x, y = rings()
    model = make_pipeline(TripletEmbedding(epochs=120, learning_rate=3e-3), KNeighborsClassifier(3))
    found = GridSearchCV(model, {"tripletembedding__hidden": [(), (64,)]}, cv=2).fit(x, y)
    assert found.best_params_ == {"tripletembedding__hidden": (64,)}
    assert found.best_score_ > 0.9


def test_is_the_training_of_a_recipe():
    x, y = load_iris(return_X_y=True)
    learned = TripletEmbedding(4, hidden=(8,), epochs=2, random_state=3, batch_size=32, device="cpu").fit(
        x, y
    )
    assert isinstance(learned._recipe(3), Recipe)
    recipe = load_recipe(
        None,
        overrides={
            "seed": int(np.random.RandomState(3).randint(2**31 - 1)),
            "encoder.dimension": 4,
            "encoder.mlp.hidden": [8],
            "sampler.batch": 32,
            "training.epochs": 2,
            "training.device": "cpu",
            "loss.reduction": None,
        },
    )
    names = tuple(map(str, range(len(x))))
    data = Dataset(Vectors(x), y.astype(np.int64), ("a", "b", "c"), names)
    assert fit(data, recipe, out=None).fingerprint == learned.encoder_.fingerprint


def test_same_seed_same_map_and_none_draws_anew():
    x, y = load_iris(return_X_y=True)

    def mapped(random_state):
        return TripletEmbedding(epochs=2, random_state=random_state).fit(x, y).transform(x)

    np.testing.assert_array_equal(mapped(1), mapped(1))
    np.testing.assert_array_equal(mapped(np.random.RandomState(1)), mapped(1))
    assert not np.allclose(mapped(1), mapped(2))
    assert not np.allclose(mapped(None), mapped(None))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_keeps_the_precision_of_the_rows(kind):
    x, y = load_iris(return_X_y=True)
    learned = TripletEmbedding(epochs=2).fit(x.astype(kind), y)
    z = learned.transform(x.astype(kind))
    assert z.dtype == kind
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(z.astype(np.float32), learned.encoder_.embed(x.astype(kind)))


def test_is_copied_pickled_and_saved_with_what_it_learned(tmp_path):
    x, y = load_iris(return_X_y=True)
    learned = TripletEmbedding(epochs=2, margin=None, mining="hard").fit(x, y)
    again = pickle.loads(pickle.dumps(learned))
    np.testing.assert_array_equal(again.transform(x), learned.transform(x))
    np.testing.assert_array_equal(again.predict(x), learned.predict(x))
    assert clone(learned).get_params() == learned.get_params()
    save(learned.encoder_, tmp_path / "model", trained_on="iris")
    np.testing.assert_allclose(load(tmp_path / "model").embed(x), learned.transform(x))


def test_classes_with_names_and_one_of_a_single_item():
    x, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    names[0] = "a fourth"
    learned = TripletEmbedding(epochs=20).fit(x, names)
    assert list(learned.classes_) == ["a fourth", "setosa", "versicolor", "virginica"]
    assert learned.score(x[1:], names[1:]) > 0.95


def test_wide_batches_ask_for_no_more_classes_than_there_are():
    x, y = load_iris(return_X_y=True)
    assert TripletEmbedding(epochs=20, identities=16, items=4).fit(x, y).score(x, y) > 0.9


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from(["euclidean", "cosine"]))
def test_vote_equals_loops(seed, k, distance):
    random = np.random.default_rng(seed)
    rows, classes = random.normal(size=(12, 3)), random.integers(0, 3, 12)
    probes = random.normal(size=(4, 3))
    found = majority_vote(neighbour_classes(probes, rows, classes, k=k, distance=distance))
    for probe, chosen in zip(probes, found, strict=True):
        if distance == "cosine":
            far = 1 - rows @ probe / np.linalg.norm(rows, axis=1) / np.linalg.norm(probe)
        else:
            far = np.linalg.norm(rows - probe, axis=1)
        near = classes[np.argsort(far)[:k]].tolist()
        # max takes the first of several, whose item is the nearest.
        assert chosen == max(near, key=near.count)


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"n_components": 0}, "n_components must be at least 1, given 0"),
        ({"n_neighbors": 0}, "n_neighbors must be at least 1"),
        ({"batch_size": 2}, "batch_size must be at least 4"),
        ({"identities": 1}, "identities must be at least 2"),
        ({"items": 1}, "items must be at least 2"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"margin": -1.0}, "margin must be a number >= 0, given -1"),
        ({"weight_decay": -1.0}, "weight_decay must be a number >= 0"),
        ({"learning_rate": 0.0}, "learning_rate must be a number > 0"),
        ({"hidden": (16, 0)}, "each width of hidden must be at least 1, given 0"),
        ({"hidden": 16}, "hidden must list the width of each layer, given 16"),
        ({"n_neighbors": 1.5}, "n_neighbors must be a whole number, given 1.5"),
        ({"n_neighbors": None}, "n_neighbors must be a whole number, given None"),
        ({"mining": "hrad"}, "did you mean 'hard'"),
        ({"distance": "cosin"}, "did you mean 'cosine'"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_refuses_settings_out_of_range(given_settings, message):
    x, y = load_iris(return_X_y=True)
    with pytest.raises(InputError, match=message):
        TripletEmbedding(**given_settings).fit(x, y)


def test_refuses_what_cannot_be_learned_from():
    x, y = load_iris(return_X_y=True)
    with pytest.raises(InputError, match="at least two classes, given 1 class"):
        TripletEmbedding().fit(x, np.zeros(len(x)))
    with pytest.raises(InputError, match="has only one item"):
        TripletEmbedding().fit(x[:5], np.arange(5))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        TripletEmbedding().fit(x, x[:, 0])
    with pytest.raises(ValueError, match="NaN"):
        TripletEmbedding().fit(np.where(x > 7, np.nan, x), y)
