"""Probabilities from distances: as scikit-learn fits them, and true of other pairs."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from trine.errors import CalibrationError, InputError
from trine.evaluation import calibrate, verification
from trine.evaluation.pairs import Distances
from trine.evaluation.probability import probability_curve


def kinds(seed, genuine=400, impostor=2000):
    random = np.random.default_rng(seed)
    near = np.sort(random.gamma(9, 0.05, genuine).astype(np.float32))
    far = np.sort(random.gamma(25, 0.04, impostor).astype(np.float32))
    return Distances(near), Distances(far)


def test_isotonic_equals_scikit_learn_on_all_pairs():
    genuine, impostor = kinds(0)
    curve = probability_curve(genuine, impostor)
    assert curve.prior == 400 / 2400
    x = np.concatenate([genuine.values, impostor.values])
    y = np.repeat([1.0, 0.0], [400, 2000])
    whole = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(x, y)
    at = np.linspace(0, 2, 400).astype(np.float32)
    expected = np.clip(whole.predict(at), 1 / 2402, 1 - 1 / 2402)
    np.testing.assert_allclose([curve.at(float(d)) for d in at], expected, atol=1e-5)


def test_platt_minimises_the_loss_of_platts_targets():
    genuine, impostor = kinds(1)
    curve = probability_curve(genuine, impostor, method="platt")

    def loss(intercept, slope):
        total = 0.0
        for kind, target in ((genuine, 401 / 402), (impostor, 1 / 2002)):
            odds = intercept + slope * kind.values.astype(np.float64)
            total += (target * np.logaddexp(0, -odds) + (1 - target) * np.logaddexp(0, odds)).sum()
        return total

    best = loss(curve.intercept, curve.slope)
    for step in (1e-2, -1e-2):
        assert loss(curve.intercept + step, curve.slope) > best
        assert loss(curve.intercept, curve.slope + step) > best


def bells(seed, genuine, impostor):
    """Two normal distributions of one width: their log odds are a straight line."""
    random = np.random.default_rng(seed)
    return [
        Distances(np.sort(random.normal(mean, 0.15, count)).astype(np.float32))
        for mean, count in ((1.0, genuine), (1.4, impostor))
    ]


@pytest.mark.parametrize("method", ["isotonic", "platt"])
@pytest.mark.parametrize("prior", [None, 0.5, 0.01])
def test_it_is_true_of_other_pairs(method, prior):
    curve = probability_curve(*bells(2, 4000, 20_000), method=method, prior=prior)
    genuine, impostor = bells(3, 20_000, 100_000)
    share = 1 / 6 if prior is None else prior
    weight = [share / 20_000, (1 - share) / 100_000]
    for low, high in ((0.94, 0.96), (1.1, 1.12), (1.2, 1.22), (1.3, 1.32)):
        masses = [
            w * ((kind.values > low) & (kind.values <= high)).sum()
            for kind, w in zip((genuine, impostor), weight, strict=True)
        ]
        expected = masses[0] / sum(masses)
        said = np.mean([curve.at(d) for d in np.linspace(low, high, 21)])
        assert said == pytest.approx(expected, abs=0.04)


def test_a_prior_fitted_or_asked_later_is_one_for_isotonic():
    genuine, impostor = kinds(4)
    own, fitted = (probability_curve(genuine, impostor, prior=p) for p in (None, 0.02))
    for distance, _ in own.knots[3:-3]:
        assert own.at(distance, prior=0.02) == pytest.approx(fitted.at(distance), abs=1e-9)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_cells_of_many_distances_change_little(method):
    pairs = kinds(5, 10_000, 60_000)
    gathered = probability_curve(*pairs, method=method)
    exact = probability_curve(*pairs, method=method, exact=10**9)
    at = np.linspace(0.1, 1.5, 200)
    assert np.abs([gathered.at(d) - exact.at(d) for d in at]).max() < 0.02


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_perfect_separation_is_not_certainty(method):
    genuine, impostor = (
        Distances(np.linspace(*ends, 50, dtype=np.float32)) for ends in ((0.1, 0.2), (0.8, 1))
    )
    curve = probability_curve(genuine, impostor, method=method)
    assert 0.9 < curve.at(0.15) < 1
    assert 0 < curve.at(0.9) < 0.1
    assert curve.at(0.9) < curve.at(0.5) < curve.at(0.15)


def test_an_encoder_that_is_the_wrong_way_round_is_refused():
    genuine, impostor = kinds(6)
    with pytest.raises(CalibrationError, match="genuine pairs are farther apart than impostor pairs"):
        probability_curve(impostor, genuine, method="platt")
    with pytest.raises(InputError, match="prior must be a number > 0 and < 1"):
        probability_curve(genuine, impostor, prior=0.0)


def test_calibrate_keeps_the_curve():
    random = np.random.default_rng(7)
    labels = np.repeat(np.arange(40), 4)
    rows = random.standard_normal((40, 6))[labels] + 0.5 * random.standard_normal((160, 6))
    report = verification(rows, labels)
    for method in ("isotonic", "platt"):
        found = calibrate(rows, labels, far=0.1, probability=method, prior=0.3)
        expected = probability_curve(report.pairs.genuine, report.pairs.impostor, method=method, prior=0.3)
        assert found.curve == expected
        assert found.probability(1.0) == expected.at(1.0)
    assert calibrate(rows, labels, far=0.1).curve is None
