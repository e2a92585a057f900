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
    return _numbered(checked(labels, items=items, name=name), name)[1]


def joint_codes(
    first: Shaped[np.ndarray, " n"], second: Shaped[np.ndarray, " m"], *, names: tuple[str, str]
) -> tuple[Shaped[np.ndarray, " c"], Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """Numbers the identities of two sets of items from 0, as one.

    Args:
        first: Labels from `checked`.
        second: As many as there are items in the other set.
        names: What an error calls both.

    Returns:
        The labels in the order of their numbers, and the number of each item of both sets.

    Raises:
        InputError: One set has integers and the other strings, or ids beyond 64 bits with a sign.
    """
    kinds = ["integers" if side.dtype.kind in "iu" else "strings" for side in (first, second)]
    if len(first) and len(second) and kinds[0] != kinds[1]:
        raise InputError(
            f"{names[0]} and {names[1]} must be labels of one kind, given {kinds[0]} and {kinds[1]}"
        )
    sides = [_wide(side, name) for side, name in zip((first, second), names, strict=True)]
    # Joined as they are, signed and unsigned integers would become floats.
    labels, numbers = _numbered(np.concatenate([side for side in sides if len(side)] or sides), names[0])
    return labels, numbers[: len(first)], numbers[len(first) :]


def checked(labels: Labels, *, items: int, name: str) -> Shaped[np.ndarray, " n"]:
    """Takes labels as an array of integers or strings.

    Raises:
        InputError: There are too few or too many labels, or they are floats.
    """
    given = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if given.shape != (items,):
        raise InputError(f"{name} must hold one label for each of the {items} items, given {given.shape}")
    if given.dtype.kind not in "iuUSO" and items:
        advice = "round floats to integers" if given.dtype.kind == "f" else 'convert with .astype("int64")'
        raise InputError(f"{name} must be integers or strings, given {given.dtype}; {advice} first")
    if given.dtype.kind == "O" and (unknown := np.flatnonzero([one is None for one in given])).size:
        raise InputError(f"{name} must name every item, given None at item {unknown[0]}; leave it out")
    return given


def _numbered(given: np.ndarray, name: str) -> tuple[np.ndarray, Int64[np.ndarray, " n"]]:
    try:
        labels, numbers = np.unique(given, return_inverse=True)
    except TypeError as error:
        raise InputError(f"{name} mix types that cannot be compared; give all of them as strings") from error
    return labels, numbers.astype(np.int64)


def _wide(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.dtype.kind == "u" and len(labels) and int(labels.max()) > np.iinfo(np.int64).max:
        raise InputError(f"{name} must be integers of 64 bits with a sign, given {int(labels.max())}")
    return labels.astype(np.int64) if labels.dtype.kind in "iu" else labels
