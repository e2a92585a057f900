"""The threshold for a rate of false accepts, without interpolation."""

from __future__ import annotations

import numpy as np

from trine.errors import InputError
from trine.shapes import Float


def accepts_within(rate: float, count: int, *, name: str) -> int:
    """The largest number of accepts whose share, as the division rounds it, is within a rate.

    Args:
        rate: In [0, 1].
        count: How many there are to accept.
        name: What the error calls the rate.

    Raises:
        InputError: The rate is not in [0, 1].
    """
    if not 0 <= rate <= 1:
        raise InputError(f"{name} must be a rate from 0 to 1, given {rate}")
    allowed = min(int(rate * count) + 1, count)
    while allowed and allowed / count > rate:
        allowed -= 1
    return allowed


def threshold_at_rate(
    rate: float, impostor: Float[np.ndarray, " i"], genuine: Float[np.ndarray, " g"], *, name: str
) -> float | None:
    """The largest observed distance that accepts at most a share of the impostors.

    Args:
        rate: The share, in [0, 1].
        impostor: The distances of those who must be refused, ascending.
        genuine: The other distances observed, ascending.
        name: What the error calls the rate.

    Returns:
        The threshold; None where even the smallest observed distance accepts too many.

    Raises:
        InputError: The rate is not in [0, 1].
    """
    allowed = accepts_within(rate, len(impostor), name=name)
    if allowed == len(impostor):
        return float(max(impostor[-1], genuine[-1]))
    limit = impostor[allowed]
    below = [
        side[at - 1] for side in (genuine, impostor) if (at := np.searchsorted(side, limit, side="left"))
    ]
    return float(max(below)) if below else None
