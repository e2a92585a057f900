"""How many false accepts a rate allows, without interpolation."""

from __future__ import annotations

from trine.errors import InputError


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
