"""The definition of a loss, its sums, and how they become its value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from trine.distances import Distance
from trine.engine.reduction import Reduction
from trine.engine.relations import RelationRows
from trine.triplets import Census, Mining, Triplets

Choose = Callable[[Tensor, RelationRows], Triplets]
"""(distances, relations) of a block of anchors ↦ its triplets, anchors counted within the block."""


@dataclass
class CensusRequest:
    """A census to compute along with a loss.

    Attributes:
        margin: α of the census.
        census: The census, where it could be counted on the tiles of the loss.
    """

    margin: float
    census: Census | None = None


@dataclass(frozen=True)
class Objective:
    """The triplet loss to compute.

    Attributes:
        margin: α, or `None` for the soft margin.
        distance: The name of the distance.
        mining: The rule.
        choose: The rule as a function of a block.
        reduction: How the values become one; any but `none`.
        census: The census to compute along with the loss, if requested.
        join: Maps the tally of these anchors to that of all processes.
    """

    margin: float | None
    distance: Distance
    mining: Mining
    choose: Choose
    reduction: Reduction
    census: CensusRequest | None = None
    join: Callable[[Tally], Tally] | None = None


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
        """Returns what the sum is divided by; 1 if nothing was selected."""
        if reduction == "sum":
            return 1
        return max(1, {"active": self.active, "mean": self.triplets, "anchor": self.anchors}[reduction])


def values_and_weights(d_ap: Tensor, d_an: Tensor, margin: float | None) -> tuple[Tensor, Tensor]:
    """Returns ℓ and ∂ℓ/∂d_ap = −∂ℓ/∂d_an of triplets; 0 and 0 where d_ap is −∞ or d_an is ∞."""
    if margin is None:
        gap = d_ap - d_an
        return F.softplus(gap), torch.sigmoid(gap)
    gap = d_ap + margin - d_an
    return F.relu(gap), (gap > 0).to(gap.dtype)


def triplet_weights(
    d_ap: Tensor, d_an: Tensor, anchor: Tensor, anchors: int, objective: Objective
) -> tuple[Tensor, Tally]:
    """Returns the weight ∂ℓ/∂d_ap = −∂ℓ/∂d_an of each chosen triplet, and the sums over all of them.

    Args:
        d_ap: The distance of each to its positive.
        d_an: That to its negative.
        anchor: Which anchor each is of, 0 to `anchors` − 1.
        anchors: The number of anchors.
        objective: The loss.
    """
    values, weight = values_and_weights(d_ap, d_an, objective.margin)
    per_anchor = torch.bincount(anchor, minlength=anchors)
    value = values.double()
    if objective.reduction == "anchor":
        share = 1.0 / per_anchor[anchor].to(weight.dtype)
        value, weight = value * share, weight * share
    tally = Tally(float(value.sum()), int((values > 0).sum()), len(anchor), int((per_anchor > 0).sum()))
    return weight, tally


def reduce(
    tally: Tally,
    objective: Objective,
    like: Tensor,
    gx: Tensor | None,
    gy: Tensor | None,
    *,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Turns sums into the loss and its gradients.

    Args:
        tally: The sums.
        objective: The loss.
        like: The anchors, for dtype and device.
        gx: The gradient of the sum at the anchors, divided by `scale`; changed in place.
        gy: The same at the references.
        scale: What gradients are multiplied by.
    """
    if objective.join is not None:
        tally = objective.join(tally)
    divisor = tally.divisor(objective.reduction)
    loss = torch.tensor(tally.value / divisor, dtype=loss_dtype(like), device=like.device)
    for gradient in {id(g): g for g in (gx, gy) if g is not None}.values():
        gradient.mul_(scale / divisor)
    return loss, gx, gy


def loss_dtype(rows: Tensor) -> torch.dtype:
    """Returns the dtype of a loss: float64 for float64 rows, float32 for all others."""
    return torch.float64 if rows.dtype == torch.float64 else torch.float32
