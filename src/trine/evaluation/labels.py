"""Labels as people have them: any integers or strings, in an array, a tensor or a list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from trine.errors import InputError
from trine.shapes import Int64, Shaped

Labels = Shaped[np.ndarray, " n"] | Shaped[Tensor, " n"] | Sequence[str] | Sequence[int]
"""One label per item; equal labels are one identity."""


def codes(labels: Labels, *, items: int, name: str = "labels") -> Int64[np.ndarray, " n"]:
    """Numbers the identities from 0, in the order of their labels.

    Integers are compared as 64-bit integers and never pass through a float, which would merge ids above 2^24
    or 2^53.

    Args:
        labels: One label per item.
        items: How many there must be.
        name: What the error calls them.

    Returns:
        For each item the number of its identity.

    Raises:
        InputError: There are too few or too many labels, or they are floats.
    """
    given = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if given.shape != (items,):
        raise InputError(f"{name} must hold one label for each of the {items} items, given {given.shape}")
    if given.dtype.kind not in "iuUSO" and items:
        raise InputError(
            f"{name} must be integers or strings, given {given.dtype}; round floats to integers first"
        )
    try:
        _, numbers = np.unique(given, return_inverse=True)
    except TypeError as error:
        raise InputError(f"{name} mix types that cannot be compared; give all of them as strings") from error
    return numbers.astype(np.int64)
