"""How a column of numbers is scaled: by mean and deviation, by median and quartiles, or by rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from trine.shapes import Float

Scaling = Literal["standard", "robust", "quantile", "length"]
"""The scalings of `learn_scale`."""

LEVELS = 51
QUARTILES_OF_NORMAL = 1.349
FARTHEST = 0.001


def learn_scale(values: Float[np.ndarray, " n"], *, scaling: Scaling) -> tuple[float, ...]:
    """Fits the scaling of a column to training values.

    - `standard`: mean and standard deviation, which outliers distort.
    - `robust`: median and interquartile range, as the deviation of a normal distribution; if the quartiles
      are equal, the standard deviation.
    - `quantile`: 51 quantiles from the smallest to the largest value.
    - `length`: nothing; each row is divided by its length later.

    Args:
        values: The values that are not missing, finite.
        scaling: The scaling.

    Returns:
        The parameters of `scale`; empty if all values are equal or there are none.

    Example:
        >>> learn_scale(np.array([1.0, 2.0, 3.0]), scaling="standard")[0]
        2.0
        >>> learn_scale(np.array([7.0, 7.0]), scaling="standard")
        ()
    """
    if len(values) == 0 or values.min() == values.max():
        return ()
    if scaling == "length":
        return 0.0, 1.0
    if scaling == "quantile":
        return tuple(np.quantile(values, np.linspace(0, 1, LEVELS)).tolist())
    # Divided by the largest first: squares of huge values would overflow.
    largest = np.abs(values).max()
    spread = float((values / largest).std() * largest)
    if scaling == "standard":
        return float((values / largest).mean() * largest), spread
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    quartiles = (high - low) / QUARTILES_OF_NORMAL
    return middle, quartiles if quartiles > 0 else spread


def scale(
    values: Float[np.ndarray, " n"], points: Sequence[float], *, scaling: Scaling
) -> Float[np.ndarray, " n"]:
    """Scales values as the training values were.

    - `standard`: (x - mean) / deviation.
    - `robust`: asinh((x - median) / range), which is linear in the middle and logarithmic far out, so that
      outliers do not dominate.
    - `quantile`: the share of training values below x, as a normal score (between -3.1 and 3.1); for equal
      values, the middle of their shares. Values between two quantiles are interpolated.
    - `length`: unchanged.

    Args:
        values: Finite values.
        points: What `learn_scale` returned.
        scaling: The same as there.

    Returns:
        The scaled values.

    Example:
        >>> scale(np.array([0.0, 4.0]), (2.0, 1.0), scaling="standard").tolist()
        [-2.0, 2.0]
        >>> scale(np.array([5.0]), np.linspace(0, 10, 51), scaling="quantile").tolist()
        [0.0]
    """
    if scaling == "quantile":
        knots, first, times = np.unique(np.asarray(points), return_index=True, return_counts=True)
        levels = (first + (times - 1) / 2) / (len(points) - 1)
        share = np.clip(np.interp(values, knots, levels, left=0.0, right=1.0), FARTHEST, 1 - FARTHEST)
        scores: Float[np.ndarray, " n"] = torch.special.ndtri(torch.from_numpy(share)).numpy()
        return scores
    middle, spread = points
    scaled = (values - middle) / spread
    return np.arcsinh(scaled) if scaling == "robust" else scaled
