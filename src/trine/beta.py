"""Quantiles of the beta distribution and of Student's t, in plain Python: the core does not need scipy."""

from __future__ import annotations

import math

_TINY = 1e-300
_SMALLEST = 1e-15  # quantiles below it are 0
_STEPS = 200
_LARGEST = 1e9  # parameters


def beta_quantile(share: float, a: float, b: float) -> float:
    """Returns the value that a beta variable is below with a given probability.

    Args:
        share: The probability, in (0, 1).
        a: The first parameter, above 0.
        b: The second, above 0.

    Returns:
        The quantile, in [0, 1]; 0 where it is below 1e-15.

    Example:
        >>> round(beta_quantile(0.975, 1, 100), 4)  # none of 100: the upper end of Clopper and Pearson (1934)
        0.0362
    """
    a, b = _measurable(a, b)
    low, high, x = 0.0, 1.0, a / (a + b)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    for _ in range(_STEPS):
        error = regularised_beta(x, a, b) - share
        low, high = (x, high) if error < 0 else (low, x)
        if high < _SMALLEST:
            return 0.0
        density = math.exp((a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - log_beta) if 0 < x < 1 else 0.0
        step = error / density if density > _TINY else math.inf
        if abs(step) <= 1e-12 * x or high - low <= 1e-15 * high:
            break
        # Newton's step, or half the bracket where it would leave it.
        x = x - step if low < x - step < high else (low + high) / 2
    return x


def regularised_beta(x: float, a: float, b: float) -> float:
    """Returns the probability that a beta variable is at most x: the regularised incomplete beta function.

    By its continued fraction (DLMF 8.17.22), evaluated by the method of Lentz.

    Args:
        x: In [0, 1].
        a: The first parameter, above 0.
        b: The second, above 0.

    Example:
        >>> round(regularised_beta(0.5, 2, 3), 4)
        0.6875
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    a, b = _measurable(a, b)
    if x > (a + 1) / (a + b + 2):
        return 1 - regularised_beta(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 100_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _nonzero(1 + term * d), _nonzero(1 + term / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return math.exp(log_front) * fraction / a


def student_quantile(share: float, freedom: float) -> float:
    """Returns the quantile of Student's t distribution.

    Args:
        share: The probability, in [0.5, 1).
        freedom: The degrees of freedom, above 0; need not be whole.

    Example:
        >>> round(student_quantile(0.975, 10), 3)
        2.228
    """
    # t² / (ν + t²) is a beta variable with the parameters 1/2 and ν/2.
    ratio = beta_quantile(2 * share - 1, 0.5, freedom / 2)
    return math.sqrt(freedom * ratio / (1 - ratio)) if ratio < 1 else math.inf


def _measurable(a: float, b: float) -> tuple[float, float]:
    """Parameters of the same mean and at most 10⁹ in all: beyond, the logarithms of gamma cancel out.

    The distribution is then narrower than any rate is measured.
    """
    shrink = min(1.0, _LARGEST / (a + b))
    return a * shrink, b * shrink


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
