"""What cosine distances are computed from: unit rows, and whole numbers where these are exact.

1 − cos(x, y) = ½‖x/‖x‖ − y/‖y‖‖² is computed from differences of unit rows, which keeps the distances of near
rows. Unit rows are rounded, though, and rounding must not decide which of two equal distances is smaller. So

- rows at right angles, to rounding, are at distance exactly 1 (rows without a common coordinate often are);
- between rows that are multiples of small whole numbers, such as signs, counts or pixels, the distance comes
  from whole numbers without rounding, so that equal angles are at exactly equal distances.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trine.shapes import Bool, Float, Float64

_LARGEST = 2.0**12  # of a whole row the norm is at most twice this: products of four norms are below 2⁵³
_COLUMNS = 16  # columns in which most rows show that they are not whole


class Directions(NamedTuple):
    """The directions of rows, in float64.

    Attributes:
        unit: The unit rows; a zero row stays zero.
        zero: Which rows are zero.
        whole: The rows that are multiples of small whole numbers, as these numbers, and NaN in the others;
            None where there are only others.
        slack: How much a cosine of 0 may differ from it by rounding; −1 if no coordinate is 0.
    """

    unit: Float64[Tensor, "n d"]
    zero: Bool[Tensor, " n"]
    whole: Float64[Tensor, "n d"] | None
    slack: float


def directions(rows: Float[Tensor, "n d"]) -> Directions:
    """Prepares rows for cosine distances.

    Whole is a row that is a multiple, by a power of two, of a row z of whole numbers with ‖z‖ at most 2¹³, or
    any multiple of a row of 0, 1 and −1.

    Args:
        rows: One row per item, of any norm.

    Example:
        >>> found = directions(torch.tensor([[0.5, 1.5], [0.1, -0.1], [0.3, 0.7]]))
        >>> found.whole.tolist()
        [[2048.0, 6144.0], [1.0, -1.0], [nan, nan]]
    """
    scaled, largest, zero = _scaled(rows.detach().double())
    norm = torch.linalg.vector_norm(scaled, dim=1, keepdim=True).masked_fill_(zero, 1)
    # On small arrays numpy takes a third of the time of torch.
    dense = bool(scaled.numpy().all() if scaled.device.type == "cpu" else scaled.all())
    whole = _whole(scaled, norm, largest, zero)
    return Directions(scaled / norm, zero[:, 0], whole, -1.0 if dense else right_angle(rows.shape[1]))


def right_angle(width: int) -> float:
    """How much the float64 cosine of unit rows of some width can differ from 0 by rounding."""
    return (width + 16) * 2.0**-52


def unit_rows(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Divides each row by its Euclidean norm; a zero row stays zero and has gradient 0.

    Example:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    scaled, _, zero = _scaled(rows)
    norm = scaled.square().sum(1, keepdim=True).masked_fill(zero, 1).sqrt()
    return (scaled / norm).masked_fill(zero, 0)


def settle_cosine(d: Tensor, slack: float, x: Tensor | None, y: Tensor | None) -> Tensor:
    """Removes the rounding of unit rows from cosine distances where it would decide about ties.

    Args:
        d: Distances in float64, of n rows to m others or of n rows to as many others; changed in place.
        slack: As in `Directions`, of either side.
        x: The rows that are whole, as in `Directions`.
        y: The others.

    Returns:
        The distances.
    """
    if slack >= 0:
        d.masked_fill_((d - 1).abs_() <= slack, 1)
    if x is None or y is None:
        return d
    a, b = x.square().sum(1), y.square().sum(1)
    a, products = (a, (x * y).sum(1)) if d.ndim == 1 else (a[:, None], x @ y.T)
    # Whole numbers below 2⁵³, and so exact; equal quotients of them are equal after rounding.
    both, square = a * b, products.square()
    cosine = (square / both).sqrt()
    exact = torch.where(products > 0, (both - square) / both / (1 + cosine), 1 + cosine)
    return torch.where(exact.isnan(), d, exact)


def _scaled(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows divided by a power of two each, so that squares neither overflow nor vanish.

    Returns:
        The rows; the largest magnitude in each, from 1 to 2, and 1 in a row of zeros; which are zero.
    """
    largest = rows.detach().abs().amax(1, keepdim=True) if rows.shape[1] else rows.new_zeros(len(rows), 1)
    zero = largest == 0
    largest = largest.masked_fill_(zero, 1)
    # A number divided by its mantissa, in [½, 1), is a power of two.
    twice = torch.frexp(largest).mantissa.mul_(2)
    return rows / (largest / twice), twice, zero


def _whole(scaled: Tensor, norm: Tensor, largest: Tensor, zero: Tensor) -> Tensor | None:
    norms = norm.cpu().numpy()
    # Times the first a multiple by a power of two is whole, over the second one of a row of signs.
    factor, over = _LARGEST / (norms / (2 * np.frexp(norms)[0])), largest.cpu().numpy()
    powers = signs = ~zero.cpu().numpy()[:, 0]
    left, start, width = np.arange(0), 0, _COLUMNS
    while start < scaled.shape[1]:
        rows = scaled[torch.from_numpy(left)] if start else scaled
        part = rows[:, start : start + width].cpu().numpy()
        by_power, by_sign = part * factor, part / over
        powers = powers & (by_power == np.rint(by_power)).all(1)
        signs = signs & (by_sign == np.rint(by_sign)).all(1)
        some = np.flatnonzero(powers | signs)
        if not len(some):
            return None
        left, start, width = left[some] if start else some, start + width, 4 * width
        powers, signs, factor, over = powers[some], signs[some], factor[some], over[some]
    whole = np.full(scaled.shape, np.nan)
    found = scaled[torch.from_numpy(left)].cpu().numpy()
    whole[left] = np.where(powers[:, None], found * factor, found / over)
    return torch.from_numpy(whole).to(scaled.device)
