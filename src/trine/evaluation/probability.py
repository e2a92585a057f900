"""From distances of known pairs to the probability that a pair at a distance is genuine."""

from __future__ import annotations

import numpy as np

from trine.calibration import Method, ProbabilityCurve, check_prior
from trine.errors import CalibrationError, require
from trine.evaluation.pair_intervals import reported_thresholds
from trine.evaluation.pairs import Distances
from trine.shapes import Float

EXACT = 20_000
"""The curve is fitted to each of up to this many distances; more are first grouped into cells."""


def probability_curve(
    genuine: Distances,
    impostor: Distances,
    *,
    method: Method = "isotonic",
    prior: float | None = None,
    exact: int = EXACT,
) -> ProbabilityCurve:
    """Fits the probability that a pair is genuine to its distance, by scikit-learn.

    More than 20,000 distances are first grouped into about five thousand cells, narrow where impostors are
    few. `"platt"` uses the targets of Platt (1999, 2.2), so that separable pairs do not yield a step;
    `"isotonic"` stays at least one in the number of measured pairs away from 0 and 1.

    Args:
        genuine: The distances of pairs of one identity.
        impostor: The distances of pairs of two.
        method: `"isotonic"`, which assumes only that a larger distance is not more probable, or `"platt"`, a
            logistic curve of two coefficients, for few pairs.
        prior: The share of genuine pairs to assume, in (0, 1); by default that of the given pairs.
        exact: The curve is fitted to each of up to this many distances; more are first grouped into cells.

    Returns:
        The curve.

    Raises:
        InputError: The prior is not in (0, 1).
        CalibrationError: A larger distance does not make a genuine pair less probable.
        MissingDependencyError: scikit-learn is not installed.
    """
    share = genuine.count / (genuine.count + impostor.count)
    prior = share if prior is None else prior
    check_prior(prior)
    at, counts = _cells(genuine, impostor, exact)
    # Weighted, the kinds stand in the ratio of the prior, and their sum is what it was.
    weights = counts * np.array([[prior / share], [(1 - prior) / (1 - share)]])
    if method == "platt":
        return _platt(at, weights, prior, genuine.count, impostor.count)
    isotonic = require("sklearn.isotonic", extra="train").IsotonicRegression(
        increasing=False, out_of_bounds="clip"
    )
    isotonic.fit(at, weights[0] / weights.sum(0), sample_weight=weights.sum(0))
    surest = 1 / (genuine.count + impostor.count + 2)
    found = np.clip(isotonic.y_thresholds_.astype(np.float64), surest, 1 - surest)
    knots = zip(isotonic.X_thresholds_.tolist(), found.tolist(), strict=True)
    return ProbabilityCurve("isotonic", float(prior), tuple(knots))


def _platt(
    at: Float[np.ndarray, " c"],
    weights: Float[np.ndarray, "2 c"],
    prior: float,
    genuine: int,
    impostor: int,
) -> ProbabilityCurve:
    mean = np.average(at, weights=weights.sum(0))
    scale = np.sqrt(np.average((at - mean) ** 2, weights=weights.sum(0))) or 1.0
    # The target of a genuine pair is (G + 1)/(G + 2), that of an impostor 1/(I + 2): both as weights.
    sure, slip = (genuine + 1) / (genuine + 2), 1 / (impostor + 2)
    towards = weights[0] * sure + weights[1] * slip
    against = weights[0] * (1 - sure) + weights[1] * (1 - slip)
    model = require("sklearn.linear_model", extra="train").LogisticRegression(
        C=1e9, solver="newton-cholesky", max_iter=200
    )
    scaled = np.tile((at - mean) / scale, 2)[:, None]
    labels = np.repeat([1, 0], len(at))
    model.fit(scaled, labels, sample_weight=np.concatenate([towards, against]))
    slope = float(model.coef_[0, 0]) / scale
    if slope > 0:
        raise CalibrationError(
            "genuine pairs are farther apart than impostor pairs, so no probability can be fitted; train "
            "the encoder, or check the labels"
        )
    return ProbabilityCurve(
        "platt", float(prior), intercept=float(model.intercept_[0]) - slope * float(mean), slope=slope
    )


def _cells(
    genuine: Distances, impostor: Distances, exact: int
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, "2 c"]]:
    """The middle of each cell of distances, and how many pairs of each kind it holds."""
    if len(genuine.values) + len(impostor.values) <= exact:
        edges = np.unique(np.concatenate([genuine.values, impostor.values]))
        middles = edges.astype(np.float64)
    else:
        edges = reported_thresholds(genuine, impostor)
        limits = np.append(np.float32(-1), edges[:-1])
        starts = np.minimum(*(_smallest_above(limits, kind) for kind in (genuine, impostor)))
        middles = (starts + edges) / 2
    counts = np.stack([np.diff(kind.within(edges), prepend=0) for kind in (genuine, impostor)])
    return middles, counts.astype(np.float64)


def _smallest_above(limits: Float[np.ndarray, " c"], kind: Distances) -> Float[np.ndarray, " c"]:
    at = np.searchsorted(kind.values, limits, side="right")
    return np.where(at < len(kind.values), kind.values[np.minimum(at, len(kind.values) - 1)], np.inf)
