"""Checks pairs and triplets of row numbers, and one boolean per row."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from trine.errors import InputError
from trine.shapes import Bool, Int64


def index_rows(given: object, *, columns: int, items: int, name: str) -> Int64[np.ndarray, "t c"]:
    """Returns row numbers from an array, a tensor or a list.

    Args:
        given: One row for each pair or triplet.
        columns: How many items a row refers to.
        items: How many items there are.
        name: What an error calls one row.

    Returns:
        The rows, from 0.

    Raises:
        InputError: They are not integers, not this many in a row, or out of range.

    Example:
        >>> index_rows([[0, 1], [2, 0]], columns=2, items=3, name="pair").tolist()
        [[0, 1], [2, 0]]
    """
    rows = integer_rows(given, columns=columns, name=name)
    outside = ((rows < 0) | (rows >= items)).any(1)
    if outside.any():
        line = int(outside.argmax())
        raise InputError(f"{name} {line} is {rows[line].tolist()}, expected rows from 0 to {items - 1}")
    return rows


def integer_rows(given: object, *, columns: int, name: str) -> Int64[np.ndarray, "t c"]:
    """Returns rows of whole numbers from an array, a tensor or a list; see `index_rows`.

    Raises:
        InputError: They are not integers, or not this many in a row.
    """
    listed = _array(given)
    if listed.ndim != 2 or listed.shape[1] != columns or (listed.dtype.kind not in "iu" and len(listed)):
        raise InputError(
            f"{name}s must be an integer array of shape (N, {columns}) of row numbers, given "
            f"{listed.dtype} of shape {listed.shape}"
        )
    return listed.astype(np.int64)


def boolean_flags(given: object, *, lines: int, name: str) -> Bool[np.ndarray, " t"]:
    """Returns one boolean per row, from true and false or from 1 and 0.

    Args:
        given: An array, a tensor or a list.
        lines: How many there must be.
        name: What an error calls it.

    Raises:
        InputError: It holds anything else, or has another length.
    """
    said = _array(given)
    if said.shape != (lines,):
        raise InputError(f"{name} must have one entry for each of {lines} pairs, given {said.shape}")
    if said.dtype.kind not in "biu" or not np.isin(said, (0, 1)).all():
        raise InputError(f"{name} must hold booleans, or 1 and 0, given {said.dtype}; convert it first")
    return said.astype(bool)


def _array(given: object) -> np.ndarray:
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    # A pandas column may hold plain numbers as objects.
    return np.array(array.tolist()) if array.dtype.kind == "O" and array.size else array
