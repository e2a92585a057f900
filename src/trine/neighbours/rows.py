"""Checks the embeddings that a user gives, and cuts them into tiles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor, from_numpy

from trine.distances import check_rows, full_precision
from trine.errors import InputError
from trine.shapes import Float

TILE = 1 << 22
"""How many numbers a tile holds: 32 MiB of float64."""


FARTHEST = 1e150
"""The largest magnitude of a number: sums of squares stay finite in float64."""

CACHED = 1 << 17
"""How many numbers stay in the cache while several results are computed from them: 1 MiB of float64."""


def as_rows(rows: object, *, name: str) -> Float[Tensor, "n d"]:
    """Returns an array or a tensor as a finite matrix of one row per item, without copying if possible.

    Args:
        rows: The array or tensor, or a data frame of numbers.
        name: What the error calls it.

    Returns:
        A tensor without gradient, in its own precision or float32 for half precision.

    Raises:
        InputError: It is not a floating-point matrix, or a row is not finite.
    """
    if not isinstance(rows, Tensor | np.ndarray) and hasattr(rows, "columns") and hasattr(rows, "__array__"):
        rows = np.asarray(rows)
    if isinstance(rows, np.ndarray):
        if not np.issubdtype(rows.dtype, np.floating):
            raise InputError(
                f"{name} must be floating-point, given {rows.dtype}; convert with .astype('float32')"
            )
        rows = from_numpy(np.ascontiguousarray(rows) if rows.flags.writeable else rows.copy())
    if not isinstance(rows, Tensor):
        raise InputError(f"{name} must be an array or a tensor, given {type(rows).__name__}")
    check_rows(rows, name)
    rows = full_precision(rows.detach())
    if rows.device.type == "mps":  # which has no float64
        rows = rows.cpu()
    parts = [float(part.abs().amax()) for part in tiles(rows, numbers=CACHED) if part.numel()]
    largest = max(parts, default=0.0)
    if 0 < largest < 1 / FARTHEST:
        raise InputError(
            f"{name} must reach {1 / FARTHEST:g}, below which squares vanish, given {largest:g} at most; "
            "multiply all rows by one number"
        )
    if not all(part <= FARTHEST for part in parts):  # NaN is not
        row = next(i for i, part in enumerate(rows) if not bool(part.abs().amax() <= FARTHEST))
        if rows[row].isfinite().all():
            raise InputError(
                f"{name} must be within ±{FARTHEST:g}, beyond which squares overflow, row {row} is not; "
                "divide all rows by one number"
            )
        raise InputError(
            f"{name} must be finite, row {row} holds NaN or infinity; remove it or check its item"
        )
    return rows


def tiles(rows: Tensor, *, width: int | None = None, numbers: int | None = None) -> Iterator[Tensor]:
    """Cuts a matrix into blocks of rows, each of at most `TILE` numbers (where a row has `width` of them)."""
    width = rows.shape[1] if width is None else width
    step = max(1, (TILE if numbers is None else numbers) // max(width, 1))
    return (rows[start : start + step] for start in range(0, len(rows), step))
