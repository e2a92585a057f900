"""What a pass is asked for, and what it adds up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trine.distances import Distance
from trine.engine.reduction import Reduction
from trine.engine.relations import RelationRows
from trine.triplets import Census, Mining, Triplets

Choose = Callable[[Tensor, RelationRows], Triplets]
"""(distances, relations) of a block of anchors ↦ its triplets, anchors counted within the block."""


@dataclass
class Watch:
    """A census that is wanted beside a loss.

    Attributes:
        margin: α of the census.
        census: The figures, where the pass could count them on its way.
    """

    margin: float
    census: Census | None = None


@dataclass(frozen=True)
class Objective:
    """The loss that a pass computes.

    Attributes:
        margin: α, or `None` for the soft margin.
        distance: The name of the distance.
        mining: The rule.
        choose: The rule as a function of a block.
        reduction: How the values become one; any but `none`.
        watch: The census to be counted on the way, where one is wanted.
        whole: From the tally of these anchors to that of all, where other processes have the others.
    """

    margin: float | None
    distance: Distance
    mining: Mining
    choose: Choose
    reduction: Reduction
    watch: Watch | None = None
    whole: Callable[[Tally], Tally] | None = None


@dataclass
class Tally:
    """Sums over the triplets seen so far, and the number that the reduction divides by.

    Attributes:
        value: Σ ℓ, each anchor's part divided by its number of triplets where the reduction is `anchor`.
        active: Triplets with ℓ > 0.
        triplets: Triplets selected.
        anchors: Anchors that selected any.
    """

    value: float = 0.0
    active: int = 0
    triplets: int = 0
    anchors: int = 0

    def add(self, other: Tally) -> None:
        """Adds another part of the batch."""
        self.value += other.value
        self.active += other.active
        self.triplets += other.triplets
        self.anchors += other.anchors

    def divisor(self, reduction: Reduction) -> int:
        """Returns what the sum is divided by; 1 where nothing was selected."""
        if reduction == "sum":
            return 1
        return max(1, {"active": self.active, "mean": self.triplets, "anchor": self.anchors}[reduction])


def finished(
    tally: Tally, objective: Objective, like: Tensor, gx: Tensor | None, gy: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Divides sums by their number: the end of every pass."""
    if objective.whole is not None:
        tally = objective.whole(tally)
    divisor = tally.divisor(objective.reduction)
    loss = torch.tensor(tally.value / divisor, dtype=loss_dtype(like), device=like.device)
    for gradient in {id(g): g for g in (gx, gy) if g is not None}.values():
        gradient.div_(divisor)
    return loss, gx, gy


def loss_dtype(rows: Tensor) -> torch.dtype:
    """Returns the dtype of a loss: float64 for float64 rows, float32 for all others."""
    return torch.float64 if rows.dtype == torch.float64 else torch.float32
