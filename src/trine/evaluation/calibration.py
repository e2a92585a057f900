"""The threshold for a false-accept rate, and how firm the rate is."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from torch import Tensor

from trine.calibration import Calibration, Method
from trine.distances import Distance
from trine.errors import Argument, CalibrationError, InputError, check_choice
from trine.evaluation.pair_intervals import PAIR_RESAMPLES, reported_thresholds
from trine.evaluation.pairs import Distances, Pairs
from trine.evaluation.probability import probability_curve
from trine.evaluation.verification import Verification, verification
from trine.labels import Labels, codes
from trine.neighbours import as_rows
from trine.rates import Range, RateCurve, least_identities, percent
from trine.settings import INNER_RATE, check_number
from trine.shapes import Float, Int64

TooFew = Literal["raise", "smallest"]
"""What to do with too few identities for a rate: raise an error, or take the smallest rate that has one."""


def calibrate(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels,
    *,
    far: float = 0.01,
    distance: Distance = "euclidean",
    groups: Int64[np.ndarray, " n"] | None = None,
    too_few: TooFew = "raise",
    probability: Method | None = None,
    prior: float | None = None,
    resamples: int = PAIR_RESAMPLES,
    seed: int = 0,
) -> Calibration:
    """Chooses the threshold of a false-accept rate, and says how firm the rate is.

    The unit is the identity: pairs of one identity are alike. With at least log 0.05 / log(1 − far)
    identities (299 for 1 %, 59 for 5 %) it is the largest threshold whose 95 % upper confidence bound is at
    most the rate, and firm. With at least 1 / far − 1 identities (99 for 1 %) it is the largest whose
    estimate is at most the rate, and provisional.

    Give items of identities that the encoder was not trained on: among those that it was trained on, every
    threshold looks better than it is.

    Args:
        embeddings: One row per item.
        labels: The identity of each item.
        far: The false-accept rate to aim for, in (0, 1).
        distance: The distance that the threshold applies to.
        groups: The group of each item, any integers: only items of one group are compared, such as those
            that were embedded by the same encoder. None compares all.
        too_few: `"raise"` raises an error with too few identities for the rate; `"smallest"` takes the
            smallest round rate that they are enough for.
        probability: `"isotonic"` or `"platt"` also fits from a distance to the probability that two items are
            the same; None does not.
        prior: The share of genuine pairs that this probability assumes, in (0, 1); by default that of the
            given pairs, which is rarely that of the pairs in use.
        resamples: The number of bootstrap samples; 0 for no intervals of the true-accept rate and of the
            threshold.
        seed: Seeds the bootstrap, and the sample of pairs if there are too many for `verification` to measure
            all.

    Returns:
        The threshold, its false-accept rate and how firm it is, and 95 % intervals.

    Raises:
        CalibrationError: There are too few identities for the rate, there is no genuine or no impostor pair,
            or no threshold keeps the rate.
        InputError: The rate is not in (0, 1), or the arguments do not fit.
        MissingDependencyError: A probability is asked for, and scikit-learn is not installed.

    Example:
        >>> embeddings = np.arange(200)[:, None] // 2 + np.tile([[0.0], [0.1]], (100, 1))
        >>> found = calibrate(embeddings, np.arange(200) // 2, far=0.02)
        >>> found.threshold < 2.0, str(found.promise.state)
        (True, 'provisional')
    """
    _check(far, too_few, probability, prior)
    rows = as_rows(embeddings, name="embeddings")
    sizes = np.bincount(codes(labels, items=len(rows)))
    _check_pairs(sizes)
    pairs = None if groups is None else _pairs_within(groups, items=len(rows))
    report = verification(rows, labels, pairs=pairs, distance=distance, resamples=resamples, seed=seed)
    rates = impostor_rates(report.pairs)
    found = rates.threshold(far) if too_few == "raise" else rates.smallest(far)
    if found is None:
        raise _refusal(far, len(sizes), report)
    threshold, promise = found
    return Calibration(
        threshold=threshold,
        promise=promise,
        tar=report.tar_at(threshold),
        impostor_pairs=report.impostor_pairs,
        genuine_pairs=report.genuine_pairs,
        distance=distance,
        tar_interval=_range(report, "tar_at", threshold),
        threshold_interval=_range(report, "threshold_at_far", promise.rate),
        curve=probability
        and probability_curve(report.pairs.genuine, report.pairs.impostor, method=probability, prior=prior),
    )


def _pairs_within(groups: Int64[np.ndarray, " n"], *, items: int) -> Int64[np.ndarray, "p 2"]:
    """All pairs of two items of one group."""
    if len(groups) != items:
        raise InputError(f"groups needs one entry per embedding, given {len(groups)} for {items} embeddings")
    places = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    return np.concatenate([some[np.stack(np.triu_indices(len(some), 1), 1)] for some in places])


def impostor_rates(pairs: Pairs) -> RateCurve:
    """Estimates the false-accept rate of every threshold, with its spread over identities.

    The share of impostor pairs is a U-statistic: its variance is that of how much each identity adds to it
    (Hoeffding 1948; the infinitesimal jackknife over identities).

    Args:
        pairs: Pairs of items whose identities are known.

    Returns:
        The rates, at up to a few thousand thresholds that are close together where few pairs are accepted.

    Raises:
        InputError: The identities of the pairs are not known.
    """
    if pairs.owned is None:
        raise InputError("a false-accept rate needs the identities of the pairs, given pairs without labels")
    genuine, impostor = pairs.owned
    thresholds = reported_thresholds(Distances(genuine.distances), Distances(impostor.distances))
    cuts = np.unique(np.append(0, np.searchsorted(impostor.distances, thresholds, side="right")))
    known, owners = np.unique(np.concatenate([impostor.first, impostor.second]), return_inverse=True)
    first, second = np.split(owners, 2)
    total, count = len(first), len(known)
    met = np.bincount(owners, minlength=count)
    accepted, spread = np.zeros(count), [0.0]
    for start, stop in pairwise(cuts.tolist()):
        for side in (first, second):
            accepted += np.bincount(side[start:stop], minlength=count)
        spread.append(((accepted - stop / total * met) ** 2).sum())
    rate = cuts / total
    variance = np.array(spread) / total**2 * count / max(count - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(variance > 0, rate * (1 - rate) / variance, total / 2)
    # Just below the next impostor pair; the last accepts all.
    following = impostor.distances[np.minimum(cuts, total - 1)]
    limits = np.where(cuts < total, np.nextafter(following, np.float32(-1)), following)
    return RateCurve("far", limits.astype(np.float64), rate, effective, float(count), count)


def _check(far: float, too_few: str, probability: str | None, prior: float | None) -> None:
    check_number("far", far, INNER_RATE)
    check_choice("too_few", too_few, get_args(TooFew))
    if probability is not None:
        check_choice("probability", probability, get_args(Method))
    if prior is not None and probability is None:
        raise InputError('prior needs a probability; give probability="isotonic" or "platt" as well')


def _check_pairs(sizes: Int64[np.ndarray, " c"]) -> None:
    """Raises a `CalibrationError` unless identities of these sizes have pairs of both kinds."""
    genuine, items = int((sizes * (sizes - 1) // 2).sum()), int(sizes.sum())
    if not genuine or items * (items - 1) // 2 == genuine:
        kind = "two items of one identity" if not genuine else "items of two identities"
        raise CalibrationError(
            f"calibration needs {kind}, given {items} items of {len(sizes)} identities; add more"
        )


def _refusal(far: float, identities: int, report: Verification) -> CalibrationError:
    needed = math.ceil(1 / far - 1.01)
    if identities < needed:
        return CalibrationError(
            f"a false-accept rate of {percent(far)} needs at least {needed} identities (and "
            f"{least_identities(far)} to be firm), given {identities}; add identities that were not trained "
            "on, raise far, or take the smallest rate possible with ",
            Argument("too_few", "smallest"),
        )
    return CalibrationError(
        f"no threshold keeps the false-accept rate at {percent(far)}: too many of the "
        f"{report.impostor_pairs} impostor pairs are at distance 0; check for a collapsed encoder, or items "
        "under two identities"
    )


def _range(report: Verification, metric: str, argument: float) -> Range | None:
    if not report.resamples:
        return None
    found = report.interval(metric, argument)
    return (found.low, found.high) if found.known else None
