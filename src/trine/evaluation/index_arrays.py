"""Pairs and triplets that name rows: whatever they are given in, as whole numbers that point at an item."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from trine.errors import InputError
from trine.shapes import Bool, Int64


def index_rows(given: object, *, columns: int, items: int, name: str) -> Int64[np.ndarray, "t c"]:
    """Takes an array, a tensor or a list of rows.

    Args:
        given: One line for each pair or triplet.
        columns: How many rows a line names.
        items: How many there are to name.
        name: What an error calls one line.

    Returns:
        The rows, from 0.

    Raises:
        InputError: They are no whole numbers, not so many in a line, or point at no item.

    Example:
        >>> index_rows([[0, 1], [2, 0]], columns=2, items=3, name="pair").tolist()
        [[0, 1], [2, 0]]
    """
    listed = _array(given)
    if listed.ndim != 2 or listed.shape[1] != columns or (listed.dtype.kind not in "iu" and len(listed)):
        raise InputError(
            f"{name}s must be integers, {columns} rows of items in each line, given {listed.dtype} of shape "
            f"{listed.shape}"
        )
    rows = listed.astype(np.int64)
    outside = ((rows < 0) | (rows >= items)).any(1)
    if outside.any():
        line = int(outside.argmax())
        raise InputError(f"{name} {line} is {rows[line].tolist()}, expected rows from 0 to {items - 1}")
    return rows


def boolean_flags(given: object, *, lines: int, name: str) -> Bool[np.ndarray, " t"]:
    """Takes what is said of each line: true and false, or 1 and 0.

    Args:
        given: An array, a tensor or a list.
        lines: How many there must be.
        name: What an error calls it.

    Raises:
        InputError: It holds anything else, or another number of them.
    """
    said = _array(given)
    if said.shape != (lines,):
        raise InputError(f"{name} must have one entry for each of {lines} pairs, given {said.shape}")
    if said.dtype.kind not in "biu" or not np.isin(said, (0, 1)).all():
        raise InputError(f"{name} must hold true or false, or 1 or 0, given {said.dtype}; compare it first")
    return said.astype(bool)


def _array(given: object) -> np.ndarray:
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    # A pandas column may hold plain numbers as objects.
    return np.array(array.tolist()) if array.dtype.kind == "O" and array.size else array
