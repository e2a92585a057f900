"""Losses and gradients that are not finite: which items cause them, and how many steps may be skipped."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trine.errors import SettingError
from trine.losses import gathered
from trine.shapes import Float, Int64
from trine.training.data_loader import Batch
from trine.training.distributed import DistributedContext

MOST_SKIPPED = 30
"""Steps in a row that the gradient scaler may skip; it halves its scale each time, from 65,536 on."""

NAMED = 5


def nonfinite_error(
    loss: Float[Tensor, ""],
    embeddings: Float[Tensor, "b d"],
    batch: Batch,
    *,
    names: Sequence[str],
    step: int,
    learning_rate: float,
    context: DistributedContext,
) -> SettingError:
    """Returns the error for a loss that is not finite; with several processes, all must call it.

    Args:
        loss: The loss of the batch.
        embeddings: One row per item of the batch.
        batch: The batch.
        names: The name of each training item.
        step: The step.
        learning_rate: The highest learning rate of the run.
        context: The processes.

    Returns:
        An error that names the items whose values are not finite; otherwise those whose embeddings are not,
        if others are; otherwise the first items of the batch.
    """
    items = batch.inputs.reshape(len(batch.inputs), -1)
    broken = (~torch.isfinite(items).all(dim=1)).to(embeddings.dtype)
    astray = (~torch.isfinite(embeddings).all(dim=1)).to(embeddings.dtype)
    positions = batch.positions
    if context.size > 1:
        flags = torch.stack([broken, astray], dim=1)
        flags, _, positions, _ = gathered(flags, batch.labels, batch.positions)
        broken, astray = flags.unbind(1)
    lower = f"lower training.learning_rate (it is {learning_rate:g})"
    if bool(broken.any()):
        words = f"{_named(positions[broken > 0], names)}: values that are not finite"
        then = "fix them in the data"
    elif bool(astray.any()) and not bool(astray.all()):
        words = f"{_named(positions[astray > 0], names)}: embeddings that are not finite"
        then = f"check these items, or {lower}"
    else:
        words = f"a batch with {_named(positions, names)}"
        then = f"{lower} or check these items"
    return SettingError(f"the loss is {loss.item()} at step {step} ({words}); {then}")


def _named(positions: Int64[Tensor, " n"], names: Sequence[str]) -> str:
    named = ", ".join(names[int(at)] for at in positions[:NAMED])
    return f"{named}, ..." if len(positions) > NAMED else named


class OverflowCounter:
    """Counts the steps in a row that 16-bit precision skips because the gradient overflowed.

    A few of the first steps are skipped until the gradient scale fits; a run that keeps skipping learns
    nothing.
    """

    def __init__(self) -> None:
        self._skipped = 0

    def count(self, step: int, *, skipped: bool, scale: float) -> None:
        """Counts a step.

        Args:
            step: The step.
            skipped: Whether it was skipped.
            scale: The scale of the gradient after it.

        Raises:
            SettingError: Thirty steps in a row were skipped.

        Example:
            >>> overflows = OverflowCounter()
            >>> for step in range(30):
            ...     overflows.count(step, skipped=True, scale=2.0**-step)  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            trine.errors.SettingError: at step 29 the gradient has not been finite for 30 steps in a row...
        """
        self._skipped = self._skipped + 1 if skipped else 0
        if self._skipped >= MOST_SKIPPED:
            raise SettingError(
                f"at step {step} the gradient has not been finite for {MOST_SKIPPED} steps in a row, "
                f"although mixed precision scaled it down to {scale:.2g}; set training.precision to bf16 or "
                "32, or lower training.learning_rate"
            )
