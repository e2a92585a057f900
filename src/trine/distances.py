"""Pairwise and paired distances: smaller is closer, and one place for their numerics.

Three distances, by name:

- `"squared_euclidean"`: ‖x − y‖² (FaceNet: Schroff, Kalenichenko, Philbin 2015).
- `"euclidean"`: ‖x − y‖ (Hermans, Beyer, Leibe 2017: a gradient of constant size, less collapse).
- `"cosine"`: 1 − cos(x, y) = ½‖x/‖x‖ − y/‖y‖‖², in [0, 2]; a zero row is at distance 1 from everything.

All are computed from differences of coordinates, never as ‖x‖² + ‖y‖² − 2⟨x, y⟩: with classes of
radius 1e-3 around unit-norm centres, which is what training aims for, that product is off by several per
cent. So equal rows are at distance exactly 0, equal pairs of rows at exactly equal distances, and ties are
exact. Half-precision rows are computed and returned in float32, under autocast too; float64 stays float64.
The gradient at distance 0 is 0.

Unit rows are rounded, which must not break the ties of cosine distances; see `trine.cosine`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from trine.cosine import directions, settle_cosine, unit_rows
from trine.eager import eager
from trine.errors import InputError, check_choice
from trine.shapes import Float

Distance = Literal["squared_euclidean", "euclidean", "cosine"]
"""The name of a distance."""

_BLOCK = 1 << 21  # coordinate differences held at once in the backward pass

DISTANCES: tuple[str, ...] = get_args(Distance)


@dataclass(frozen=True)
class DistanceProperties:
    """What a distance makes of ‖x − y‖, so that other modules need not know it by name.

    Attributes:
        of_directions: Whether x and y are rows divided by their norms, so that it is bounded. A zero row has
            no direction, and is at distance 1 from everything.
        squared: Whether it is a multiple of ‖x − y‖². Otherwise it is ‖x − y‖, which obeys the triangle
            inequality.
        factor: What ‖x − y‖² is multiplied by.
    """

    of_directions: bool = False
    squared: bool = False
    factor: float = 1.0

    def length(self, distance: float) -> float:
        """Returns the ‖x − y‖ of a distance."""
        return math.sqrt(max(distance, 0.0) / self.factor) if self.squared else distance


PROPERTIES: Mapping[Distance, DistanceProperties] = MappingProxyType(
    {
        "squared_euclidean": DistanceProperties(squared=True),
        "euclidean": DistanceProperties(),
        "cosine": DistanceProperties(of_directions=True, squared=True, factor=0.5),
    }
)
"""The properties of each distance."""


def check_distance(distance: object) -> None:
    """Raises an `InputError` that names the nearest known distance, unless `distance` is one."""
    check_choice("distance", distance, DISTANCES)


def check_rows(rows: object, name: str) -> None:
    """Raises an `InputError` unless `rows` is a floating-point matrix of one row per item."""
    if not isinstance(rows, Tensor):
        raise InputError(
            f"{name} must be a floating-point torch tensor with one row per item, "
            f"given {type(rows).__name__}: convert with torch.as_tensor"
        )
    if rows.ndim != 2 or not rows.is_floating_point():
        raise InputError(
            f"{name} must be a floating-point matrix with one row per item, "
            f"given shape {tuple(rows.shape)} of {rows.dtype}"
        )


def full_precision(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Returns the rows in the precision distances are computed in: float32 for halves, else their own."""
    return rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows


def compared_rows(rows: Float[Tensor, "n d"], distance: Distance) -> Float[Tensor, "n d"]:
    """Returns the rows that a distance is measured between: unit rows for cosine, else the rows."""
    return unit_rows(rows) if PROPERTIES[distance].of_directions else rows


def _only_cosine_is_left(distance: Distance) -> None:
    if distance != "cosine":
        raise NotImplementedError(f"the distance {distance!r} has no implementation here")


@eager
def pairwise_distances(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"] | None = None,
    *,
    distance: Distance = "euclidean",
) -> Float[Tensor, "n m"]:
    """Returns the distance of every row of `x` to every row of `y`.

    Args:
        x: One row per item, of any norm.
        y: The rows to measure against; by default `x` itself.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"` (in [0, 2]); smaller is closer.

    Returns:
        The distances, differentiable; float32 for half-precision rows, else of the dtype of `x`.

    Raises:
        InputError: The name is unknown, or the rows are not floating-point matrices of equal width.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        >>> pairwise_distances(x).tolist()
        [[0.0, 5.0], [5.0, 0.0]]
        >>> pairwise_distances(x, distance="cosine").tolist()
        [[1.0, 1.0], [1.0, 0.0]]
    """
    check_distance(distance)
    check_rows(x, "x")
    y = x if y is None else y
    check_rows(y, "y")
    _check_width(x, y)
    with torch.autocast(x.device.type, enabled=False):
        x, y = full_precision(x), full_precision(y)
        if distance == "euclidean":
            return _differences(x, y)
        if distance == "squared_euclidean":
            return _differences(x, y).square()
        _only_cosine_is_left(distance)
        return _cosine(x, y, lambda u, v: _differences(u, v).square(), lambda a, b: a[:, None] | b)


class _Euclidean(torch.autograd.Function):
    """‖x − y‖ for all pairs, from differences in both directions; differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        distances: Tensor = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        ctx.save_for_backward(x, y, distances)
        return distances

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, y, distances = ctx.saved_tensors
        zero = distances == 0
        weight = gradient.masked_fill(zero, 0) / distances.masked_fill(zero, 1)
        rows = max(1, _BLOCK // max(y.numel(), 1))
        to_x, to_y = [], torch.zeros_like(y)
        for i in range(0, len(x), rows):
            difference = x[i : i + rows, None] - y[None]
            weighted = weight[i : i + rows, :, None] * difference
            to_x.append(weighted.sum(1))
            to_y = to_y - weighted.sum(0)
        return (torch.cat(to_x) if to_x else torch.zeros_like(x)), to_y


def _differences(x: Tensor, y: Tensor) -> Tensor:
    distances: Tensor = _Euclidean.apply(x, y)
    return distances


@eager
def paired_distances(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], *, distance: Distance = "euclidean"
) -> Float[Tensor, " n"]:
    """Returns the distance of each row of `x` to the same row of `y`.

    Args:
        x: One row per item, of any norm.
        y: Rows of the same shape.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"` (in [0, 2]); smaller is closer.

    Returns:
        The distances, differentiable; float32 for half-precision rows, else of the dtype of `x`.

    Raises:
        InputError: The name is unknown, or the rows are not floating-point matrices of equal shape.

    Example:
        >>> paired_distances(torch.eye(2), torch.zeros(2, 2)).tolist()
        [1.0, 1.0]
    """
    check_distance(distance)
    check_rows(x, "x")
    check_rows(y, "y")
    _check_width(x, y)
    if len(x) != len(y):
        raise InputError(f"x and y must have equally many rows, given {len(x)} and {len(y)}")
    with torch.autocast(x.device.type, enabled=False):
        x, y = full_precision(x), full_precision(y)
        if distance == "squared_euclidean":
            return (x - y).square().sum(1)
        if distance == "euclidean":
            lengths: Tensor = torch.linalg.vector_norm(x - y, dim=1)
            return lengths
        _only_cosine_is_left(distance)
        return _cosine(x, y, lambda u, v: (u - v).square().sum(1), torch.logical_or)


def _cosine(
    x: Tensor,
    y: Tensor,
    squares: Callable[[Tensor, Tensor], Tensor],
    either: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Cosine distances, from functions that measure unit rows and that combine flags of the rows."""
    if x.device.type == "mps":  # which has no float64
        far = either(*((rows == 0).all(1) for rows in (x, y)))
        return (squares(unit_rows(x), unit_rows(y)) / 2).clamp(max=2).masked_fill(far, 1)
    left = directions(x)
    right = left if y is x else directions(y)
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        u, v = unit_rows(x), unit_rows(y)
    else:
        u, v = (side.unit.to(x.dtype) for side in (left, right))
    d = (squares(u, v) / 2).clamp(max=2)
    if max(left.slack, right.slack) >= 0:
        d = d.masked_fill(either(left.zero, right.zero), 1)
    slack = min(left.slack, right.slack)
    if slack < 0 and (left.whole is None or right.whole is None):
        return d
    value = d.detach().clone()
    if slack >= 0 and x.dtype == torch.float32:
        # Their rounding is too large to tell; but rows without a common coordinate are at right angles.
        a, b = left.unit.abs().float(), right.unit.abs().float()
        value[(a @ b.T if d.ndim == 2 else (a * b).sum(1)) == 0] = 1
        slack = -1.0
    value = settle_cosine(value.double(), slack, left.whole, right.whole).to(d.dtype)
    settled: Tensor = _Settled.apply(d, value)
    return settled


class _Settled(torch.autograd.Function):
    """Replaces values; gradients pass."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, settled: Tensor) -> Tensor:
        return settled.view_as(settled)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[0], None


def _check_width(x: Tensor, y: Tensor) -> None:
    if x.shape[1] != y.shape[1]:
        raise InputError(f"x and y must have equal width, given {x.shape[1]} and {y.shape[1]} columns")
