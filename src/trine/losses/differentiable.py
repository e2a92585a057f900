"""The triplet loss in plain torch, for derivatives of any order, which the tiled passes do not support."""

from __future__ import annotations

from torch import Tensor

from trine.distances import PROPERTIES, Distance, check_distance, compared_rows, full_precision
from trine.eager import eager
from trine.engine.reduction import Reduction, reduce_triplets, resolve_reduction
from trine.losses.given_triplets import hinge
from trine.mining.online import check_margin, mine
from trine.shapes import Float, Int
from trine.triplets import Mining, MiningRule


@eager
def differentiable_triplet_loss(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    margin: float | None = 0.2,
    distance: Distance = "euclidean",
    mining: MiningRule | Mining = "semihard",
    reduction: Reduction | None = None,
    seed: int = 0,
) -> Float[Tensor, ""] | Float[Tensor, " t"]:
    """Returns what `triplet_loss` returns, differentiable any number of times, in N²·D memory.

    Args:
        embeddings: One row per item.
        labels: The identity of each row: any integers.
        margin: α ≥ 0, or `None` for the soft margin.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        mining: The name of a rule, or a `Mining`.
        reduction: As in `triplet_loss`.
        seed: The seed of random rules.

    Raises:
        InputError: A shape, a dtype, a name or the margin is invalid.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.0], [1.0], [1.5], [3.5]], requires_grad=True)
        >>> loss = differentiable_triplet_loss(x, torch.tensor([0, 0, 1, 1]), margin=None, mining="all")
        >>> (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        >>> bool(torch.autograd.grad(slope.square().sum(), x)[0].abs().sum() > 0)
        True
    """
    rule = Mining.named(mining)
    check_distance(distance)
    alpha = check_margin(margin, Mining())
    chosen = mine(embeddings, labels, mining=rule, distance=distance, margin=margin, seed=seed)
    rows, properties = compared_rows(full_precision(embeddings), distance), PROPERTIES[distance]
    squared = (rows[:, None] - rows[None, :]).square().sum(2)
    if properties.squared:
        d = squared * properties.factor
    else:  # √ has no derivative at 0; the gradient there is 0 by definition.
        d = squared.masked_fill(squared == 0, 1).sqrt().masked_fill(squared == 0, 0)
    if properties.of_directions:
        zero = (embeddings == 0).all(1)
        d = d.masked_fill(zero[:, None] | zero[None, :], 1)
    values = hinge(d[chosen.anchor, chosen.positive], d[chosen.anchor, chosen.negative], alpha)
    return reduce_triplets(values, chosen.anchor, resolve_reduction(reduction, rule, alpha), len(embeddings))
