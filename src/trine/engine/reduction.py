"""Reductions: how the values of the triplets become the loss."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from trine.errors import check_choice
from trine.shapes import Float, Int64
from trine.triplets import Mining

Reduction = Literal["active", "mean", "anchor", "sum", "none"]
"""How the values of the triplets become one."""


def resolve_reduction(reduction: Reduction | None, mining: Mining, margin: float | None) -> Reduction:
    """Returns the reduction of that name; `None` stands for the usual one.

    Args:
        reduction: A name, or `None`: `active` for the rule `all` with a hinge, `mean` otherwise.
        mining: The rule that chooses the triplets.
        margin: α, or `None` for the soft margin, with which `active` equals `mean`.

    Raises:
        InputError: The name is unknown.
    """
    known: tuple[Reduction, ...] = get_args(Reduction)
    if reduction is None:
        return "active" if mining.keeps_all and margin is not None else "mean"
    check_choice("reduction", reduction, known)
    name = known[known.index(reduction)]
    return "mean" if name == "active" and margin is None else name


def reduce_triplets(
    values: Float[Tensor, " t"], anchor: Int64[Tensor, " t"], reduction: Reduction, anchors: int
) -> Float[Tensor, ""] | Float[Tensor, " t"]:
    """Reduces one loss per triplet.

    Args:
        values: The loss of each triplet, at least 0.
        anchor: The anchor of each triplet, in 0 … `anchors` − 1.
        reduction: `active` = sum / number above 0 (0 where there is none); `mean` over all triplets;
            `anchor` = mean over the anchors with a triplet, of their own mean; `sum`; `none`.
        anchors: The number of rows that could be anchors.

    Returns:
        A scalar of the dtype of `values`, or `values` themselves for `none`.
    """
    if reduction == "none":
        return values
    # Sums run in float64: a batch of 1,800 has a hundred million triplets.
    wide = values.double()
    if reduction == "sum":
        return wide.sum().to(values.dtype)
    if reduction == "anchor":
        triplets = torch.bincount(anchor, minlength=anchors)
        wide = wide / triplets[anchor]
        count = (triplets > 0).sum()
    else:
        count = (values > 0).sum() if reduction == "active" else torch.tensor(len(values))
    return (wide.sum() / count.clamp(min=1)).to(values.dtype)
