"""The triplet loss: an anchor is pulled to a positive and pushed from a negative."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trine.distances import Distance, check_distance, pairwise_distances
from trine.losses.reduction import reduce_triplets, resolve_reduction
from trine.mining.online import check_batch, check_margin
from trine.mining.relations import Relations
from trine.mining.rules import Draw, check_weighted, select
from trine.shapes import Float, Int
from trine.triplets import Mining


def triplet_loss(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    margin: float | None = 0.2,
    distance: Distance = "euclidean",
    mining: str | Mining = "semihard",
    reduction: str | None = None,
    mining_margin: float | None = None,
    seed: int = 0,
    item_ids: Int[Tensor, " n"] | None = None,
) -> Float[Tensor, ""] | Float[Tensor, " t"]:
    """Returns the triplet loss of a batch, over the triplets that a mining rule chooses in it.

    ℓ(a, p, n) = max(0, d_ap − d_an + α), or with `margin=None` the soft margin
    softplus(d_ap − d_an) (Hermans, Beyer, Leibe 2017, §2). A batch in which nothing is selected (one
    identity, no positives, no rows) has loss 0 with zero gradients.

    Args:
        embeddings: One row per item.
        labels: The identity of each row: any integers.
        margin: α ≥ 0, in units of the distance, or `None` for the soft margin.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        mining: The name of a rule, or a `Mining`.
        reduction: `"active"`, `"mean"`, `"anchor"`, `"sum"`, `"none"` (one value per row of `mine`), or
            `None`: `"active"` for the rule `all` with a hinge and `"mean"` otherwise.
        mining_margin: α of the rule, where it is to differ from that of the loss.
        seed: Where the random rules start.
        item_ids: Which item each row is; rows of equal id are never a pair.

    Returns:
        A scalar attached to the graph (one value per triplet for `"none"`); float32 for half-precision
        embeddings.

    Raises:
        InputError: Shapes, dtypes, a name or a margin cannot be used.

    Example:
        >>> embeddings = torch.tensor([[0.0], [1.0], [1.5], [3.5]], requires_grad=True)
        >>> loss = triplet_loss(embeddings, torch.tensor([0, 0, 1, 1]), margin=0.5, mining="hard")
        >>> round(loss.item(), 4)
        0.75
    """
    rule = Mining.named(mining)
    check_distance(distance)
    check_batch(embeddings, labels)
    check_weighted(embeddings, distance, rule)
    alpha = check_margin(margin, Mining())
    draw = Draw(
        check_margin(alpha if mining_margin is None else mining_margin, rule),
        seed,
        embeddings.shape[1],
    )
    how = resolve_reduction(reduction, rule, alpha)
    distances = pairwise_distances(embeddings, distance=distance)
    with torch.no_grad():
        relations = Relations.from_labels(labels, item_ids=item_ids)
        chosen = select(distances.detach(), relations, rule, draw)
    d_ap = distances[chosen.anchor, chosen.positive]
    d_an = distances[chosen.anchor, chosen.negative]
    # (d_ap + α) − d_an is above 0 exactly where d_an < d_ap + α, which is what the rules compare.
    values = F.softplus(d_ap - d_an) if alpha is None else F.relu(d_ap + alpha - d_an)
    return reduce_triplets(values, chosen.anchor, how, len(embeddings))


class TripletLoss(nn.Module):
    """The triplet loss as a module that keeps its settings; see `triplet_loss`.

    Random rules draw anew at every call in training mode: the number of calls so far is a buffer, part
    of the state dict, so that a resumed run draws what an unbroken one would have drawn.

    Args:
        margin: α ≥ 0, in units of the distance, or `None` for the soft margin.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        mining: The name of a rule, or a `Mining`.
        reduction: `"active"`, `"mean"`, `"anchor"`, `"sum"`, `"none"` or `None` for the rule's own.
        mining_margin: α of the rule, where it is to differ from that of the loss.
        seed: Where the random rules start.

    Raises:
        InputError: A name or a margin cannot be used.

    Example:
        >>> loss = TripletLoss(margin=0.5, mining="hard")
        >>> embeddings = torch.tensor([[0.0], [1.0], [1.5], [3.5]], requires_grad=True)
        >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).backward()
        >>> embeddings.grad.flatten().tolist()
        [-0.25, 0.75, -0.75, 0.25]
    """

    calls: Tensor

    def __init__(
        self,
        margin: float | None = 0.2,
        distance: Distance = "euclidean",
        mining: str | Mining = "semihard",
        reduction: str | None = None,
        *,
        mining_margin: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_distance(distance)
        self.margin = check_margin(margin, Mining())
        self.distance = distance
        self.mining = Mining.named(mining)
        self.reduction = resolve_reduction(reduction, self.mining, margin)
        self.mining_margin = check_margin(margin if mining_margin is None else mining_margin, self.mining)
        self.seed = seed
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        embeddings: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"],
        item_ids: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, ""] | Float[Tensor, " t"]:
        """Returns the loss of a batch; see `triplet_loss` for shapes and errors."""
        seed = self.seed
        if self.mining.draws and self.training:
            seed = hash((self.seed, int(self.calls)))
            self.calls += 1
        return triplet_loss(
            embeddings,
            labels,
            margin=self.margin,
            distance=self.distance,
            mining=self.mining,
            reduction=self.reduction,
            mining_margin=self.mining_margin,
            seed=seed,
            item_ids=item_ids,
        )

    def extra_repr(self) -> str:
        """Returns the settings, for `repr`."""
        return (
            f"margin={self.margin}, distance={self.distance!r}, "
            f"mining=({self.mining.positive!r}, {self.mining.negative!r}), reduction={self.reduction!r}"
        )
