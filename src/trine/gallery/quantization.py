"""The dtypes in which a gallery stores embeddings: float32, float16, or int8 (one byte per number).

For "int8", a row is divided by its largest magnitude and rounded to whole numbers from -127 to 127. A row of
length 1 takes D bytes, such as the 128 of a face (Schroff, Kalenichenko, Philbin 2015, §4): its scale follows
from its length. Any other row is followed by its largest magnitude as a float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from trine.errors import Argument, GalleryError, check_choice
from trine.shapes import Float32

Dtype = Literal["float32", "float16", "int8"]
"""How the numbers of an embedding are stored."""

UNIT = 1e-3
"""The tolerance within which the length of a row counts as 1: less than the effect of rounding to bytes."""

_STEPS = 127


def check_dtype(dtype: str) -> None:
    """Raises an `InputError` if the dtype is unknown."""
    check_choice("dtype", dtype, get_args(Dtype))


def lengths(dtype: Dtype, dimension: int) -> tuple[int, ...]:
    """Returns the possible sizes of a row in bytes."""
    if dtype == "int8":
        return dimension, dimension + 4
    return (dimension * (4 if dtype == "float32" else 2),)


def pack(rows: Float32[np.ndarray, "n d"], *, dtype: Dtype, names: Sequence[str] = ()) -> list[bytes]:
    """Writes rows as bytes, little-endian; equal rows give equal bytes.

    Raises:
        GalleryError: A number is too large for float16.

    Example:
        >>> [len(row) for row in pack(np.eye(2, 128, dtype="f4"), dtype="int8")]
        [128, 128]
        >>> packed = pack(np.array([[3.0, -1.5]], dtype="f4"), dtype="int8")
        >>> unpack(packed, dtype="int8", dimension=2).tolist()
        [[3.0, -1.5118110179901123]]
    """
    if dtype == "float32":
        return [row.tobytes() for row in rows.astype("<f4")]
    if dtype == "float16":
        with np.errstate(over="ignore"):
            halves = rows.astype("<f2")
        if not np.isfinite(halves).all():
            row = int(np.argmin(np.isfinite(halves).all(axis=1)))
            name = repr(names[row][:80]) if names else f"row {row}"
            raise GalleryError(
                f"the embedding of {name} exceeds 65504, the largest float16: create the gallery with ",
                Argument("dtype", "float32"),
            )
        return [row.tobytes() for row in halves]
    largest = np.abs(rows).max(axis=1, initial=0)
    wide = rows.astype(np.float64)
    steps = np.rint(wide * (_STEPS / np.where(largest > 0, largest, 1).astype(np.float64))[:, None])
    bare = np.abs(np.sqrt(np.square(wide).sum(axis=1)) - 1) <= UNIT
    return [
        row.tobytes() + (b"" if unit else top.tobytes())
        for row, top, unit in zip(steps.astype(np.int8), largest.astype("<f4"), bare, strict=True)
    ]


def unpack(rows: Sequence[bytes], *, dtype: Dtype, dimension: int) -> Float32[np.ndarray, "n d"]:
    """Reads rows that `pack` wrote.

    Raises:
        ValueError: A row has the wrong length.
    """
    if dtype != "int8":
        numbers = np.frombuffer(b"".join(rows), dtype="<f4" if dtype == "float32" else "<f2")
        return numbers.reshape(len(rows), dimension).astype(np.float32)
    bare = np.array([len(row) == dimension for row in rows], dtype=bool)
    joined = b"".join(row[:dimension] for row in rows)
    steps = np.frombuffer(joined, dtype=np.int8).reshape(len(rows), dimension).astype(np.float64)
    scale = np.empty(len(rows))
    scale[bare] = np.sqrt(np.square(steps[bare]).sum(axis=1))
    scale[bare] = 1 / np.where(scale[bare] > 0, scale[bare], 1)
    tops = b"".join(row[dimension:] for row in rows)
    scale[~bare] = np.frombuffer(tops, dtype="<f4").astype(np.float64) / _STEPS
    return (steps * scale[:, None]).astype(np.float32)


def rounded(rows: Float32[np.ndarray, "n d"], *, dtype: Dtype) -> Float32[np.ndarray, "n d"]:
    """Returns rows as a gallery with this dtype returns them."""
    return unpack(pack(rows, dtype=dtype), dtype=dtype, dimension=rows.shape[1])
