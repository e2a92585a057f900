"""Random numbers by hashing.

The number drawn for a pair depends only on the seed and the pair, not on tiles, threads or processes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trine.shapes import Float, Int64

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15, the increment of splitmix64, as a signed number
_FIRST = -4658895280553007687  # 0xBF58476D1CE4E5B9
_SECOND = -7723592293110705685  # 0x94D049BB133111EB


def _shifted(bits: Tensor, by: int) -> Tensor:
    # A logical shift: torch's own keeps the sign.
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    bits = bits + _GOLDEN
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)


def uniform(seed: int, *keys: Int64[Tensor, " r"]) -> Float[Tensor, " r"]:
    """Draws one number in [0, 1) for each row of the keys, by splitmix64 (Steele, Lea, Flood 2014).

    Args:
        seed: Any integer; the same seed and keys give the same numbers.
        keys: Integers that identify each draw, such as the ids of the anchor and the positive.

    Returns:
        float64 numbers in [0, 1), multiples of 2⁻⁵³.

    Example:
        >>> ids = torch.arange(3)
        >>> bool((uniform(7, ids) == uniform(7, ids)).all())
        True
    """
    first = keys[0]
    wrapped = (seed + 2**63) % 2**64 - 2**63
    bits = _mix(torch.full_like(first, wrapped))
    for key in keys:
        bits = _mix(bits ^ _mix(key))
    return _shifted(bits, 11).double() * 2.0**-53


def choose(u: Float[Tensor, " r"], count: Int64[Tensor, " r"]) -> Int64[Tensor, " r"]:
    """Turns uniform numbers into ranks 0 … count − 1; meaningless where `count` is 0."""
    return torch.minimum((u * count).long(), (count - 1).clamp(min=0))
