"""The threshold for a false-accept rate, and whether the data can support it."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from torch import Tensor

from trine.calibration import Calibration, Method, Range
from trine.distances import Distance
from trine.errors import CalibrationError, InputError, check_choice
from trine.evaluation.pair_intervals import PAIR_RESAMPLES
from trine.evaluation.probability import probability_curve
from trine.evaluation.verification import Verification, verification
from trine.labels import Labels, codes
from trine.neighbours import as_rows
from trine.settings import INNER_RATE, check_number
from trine.shapes import Float, Int64

Support = Literal["required", "provisional"]
"""What to do when the data cannot support the rate: raise an error, or return a provisional threshold."""

LEAST_IDENTITIES = 30
LEAST_FALSE_ACCEPTS = 3


def calibrate(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels,
    *,
    far: float = 0.01,
    distance: Distance = "euclidean",
    support: Support = "required",
    probability: Method | None = None,
    prior: float | None = None,
    resamples: int = PAIR_RESAMPLES,
    seed: int = 0,
) -> Calibration:
    """Chooses the largest threshold that accepts at most a share `far` of the impostor pairs.

    Give items of identities that the encoder was not trained on: on its own training set every threshold
    looks better than it is.

    Args:
        embeddings: One row per item.
        labels: The identity of each item.
        far: The false-accept rate to aim for, in (0, 1).
        distance: The distance that the threshold applies to.
        support: `"required"` raises an error with fewer than 30 identities, or if FAR × N is below 3 for N
            impostor pairs; `"provisional"` returns a threshold marked as provisional.
        probability: `"isotonic"` or `"platt"` also fits from a distance to the probability that two items are
            the same; None does not.
        prior: The share of genuine pairs that this probability assumes, in (0, 1); by default that of the
            given pairs, which is rarely that of the pairs in use.
        resamples: The number of bootstrap samples; 0 for no intervals.
        seed: Seeds the bootstrap, and the sample of pairs if there are too many for `verification` to measure
            all.

    Returns:
        The threshold, its support, and 95 % intervals of the threshold and of both rates at it.

    Raises:
        CalibrationError: The data cannot support the rate, there is no genuine or no impostor pair, or
            no threshold keeps the rate.
        InputError: The rate is not in (0, 1), or the arguments do not fit.
        MissingDependencyError: A probability is asked for, and scikit-learn is not installed.

    Example:
        >>> embeddings = np.arange(60)[:, None] // 2 + np.tile([[0.0], [0.1]], (30, 1))
        >>> calibrate(embeddings, np.arange(60) // 2, far=0.02).threshold < 1.0
        True
    """
    _check(far, support, probability, prior)
    rows = as_rows(embeddings, name="embeddings")
    sizes = np.bincount(codes(labels, items=len(rows)))
    provisional = not _is_supported(far, sizes)
    if provisional and support == "required":
        raise CalibrationError(
            f"a false-accept rate of {far:g} needs at least {LEAST_IDENTITIES} identities and "
            f"{math.ceil(LEAST_FALSE_ACCEPTS / far)} impostor pairs, given {len(sizes)} and "
            f'{_pair_counts(sizes)[1]}; add held-out identities, raise far, or set support="provisional"'
        )
    report = verification(rows, labels, distance=distance, resamples=resamples, seed=seed)
    threshold = _threshold(report, far)
    return Calibration(
        threshold=threshold,
        far=far,
        tar=report.tar_at(threshold),
        identities=len(sizes),
        impostor_pairs=report.impostor_pairs,
        genuine_pairs=report.genuine_pairs,
        provisional=provisional,
        distance=distance,
        far_interval=_range(report, "far_at", threshold),
        tar_interval=_range(report, "tar_at", threshold),
        threshold_interval=_range(report, "threshold_at_far", far),
        curve=probability
        and probability_curve(report.pairs.genuine, report.pairs.impostor, method=probability, prior=prior),
    )


def _check(far: float, support: str, probability: str | None, prior: float | None) -> None:
    check_number("far", far, INNER_RATE)
    check_choice("support", support, get_args(Support))
    if probability is not None:
        check_choice("probability", probability, get_args(Method))
    if prior is not None and probability is None:
        raise InputError('prior needs a probability; give probability="isotonic" or "platt" as well')


def _pair_counts(sizes: Int64[np.ndarray, " c"]) -> tuple[int, int]:
    """How many genuine and how many impostor pairs identities of these sizes have."""
    genuine, items = int((sizes * (sizes - 1) // 2).sum()), int(sizes.sum())
    return genuine, items * (items - 1) // 2 - genuine


def _is_supported(far: float, sizes: Int64[np.ndarray, " c"]) -> bool:
    """Whether identities of these sizes can support a false-accept rate."""
    genuine, impostors = _pair_counts(sizes)
    if not genuine or not impostors:
        kind = "two items of one identity" if not genuine else "items of two identities"
        raise CalibrationError(
            f"calibration needs {kind}, given {sizes.sum()} items of {len(sizes)} identities; add more"
        )
    return len(sizes) >= LEAST_IDENTITIES and far * impostors >= LEAST_FALSE_ACCEPTS


def _threshold(report: Verification, far: float) -> float:
    threshold = report.threshold_at_far(far)
    if threshold is None:
        # The nearest pairs are already too many impostors: stay just below them, unless they are at 0.
        threshold = float(np.nextafter(report.impostor[0], np.float32(-1)))
    if threshold < 0:
        raise CalibrationError(
            f"no threshold keeps the false-accept rate at {far:g}: too many of the {report.impostor_pairs} "
            "impostor pairs are at distance 0; check for a collapsed encoder, or items under two identities"
        )
    return threshold


def _range(report: Verification, metric: str, argument: float) -> Range | None:
    if not report.resamples:
        return None
    found = report.interval(metric, argument)
    return (found.low, found.high) if found.known else None
