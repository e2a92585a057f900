"""Losses whose gradient is finished in the forward pass.

A loss over all pairs is a scalar, so its gradient is one number per coordinate and can be completed while
each tile of distances is in the cache; nothing of size N² is kept for the backward pass. The contract: no
gradient is computed when no input needs one, and only for the side that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from trine.errors import InputError

EarlyLoss = Callable[[bool, bool], tuple[Tensor, Tensor | None, Tensor | None]]
"""(anchors need a gradient, references do) ↦ (loss, gradient at the anchors, at the references)."""


def early_gradient(x: Tensor, y: Tensor | None, run: EarlyLoss) -> Tensor:
    """Returns the loss of `run`, attached to the graph of `x` and `y` with the gradients it completed.

    Args:
        x: The anchors.
        y: The references; `None` if the anchors are their own references.
        run: Computes the loss and the gradients needed.
    """
    if not torch.is_grad_enabled():
        with in_full_precision(x):
            return run(False, False)[0]
    loss: Tensor = _EarlyGradient.apply(x, y, run)
    return loss


def in_full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Disables autocast, which would round products to half precision."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()  # entering autocast takes longer than some small batches do


class _EarlyGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor | None, run: EarlyLoss) -> Tensor:
        needs_grad = ctx.needs_input_grad
        with in_full_precision(x):
            loss, gx, gy = run(needs_grad[0], y is not None and needs_grad[1])
        ctx.save_for_backward(x, y, gx, gy)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, y, gx, gy = ctx.saved_tensors
        (u,) = upstream
        if not torch.is_grad_enabled():  # a second derivative is impossible
            gx, gy = (None if g is None else g * u.to(g.dtype) for g in (gx, gy))
            return gx, gy, None
        # Keep the rows in the graph, so that a second derivative reaches the error below.
        return (
            None if gx is None else _Once.apply(u, gx, x),
            None if gy is None else _Once.apply(u, gy, y),
            None,
        )


class _Once(torch.autograd.Function):
    """upstream · gradient, with an error in place of a second derivative."""

    @staticmethod
    def forward(ctx: Any, upstream: Tensor, gradient: Tensor, rows: Tensor) -> Tensor:
        return gradient * upstream.to(gradient.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raise InputError(
            "this loss completes its gradient in the forward pass and cannot be differentiated twice: "
            "use trine.losses.differentiable_triplet_loss, which can, on a batch small enough for N² rows"
        )
