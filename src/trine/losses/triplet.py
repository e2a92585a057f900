"""The triplet loss: an anchor is pulled to a positive and pushed from a negative."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, overload

import torch
from torch import Tensor, nn

from trine.distances import Distance, check_distance
from trine.eager import eager
from trine.engine.autograd import EarlyLoss, early_gradient
from trine.engine.dispatch import all_pairs_loss
from trine.engine.objective import CensusRequest, Objective
from trine.engine.reduction import Reduction, reduce_triplets, resolve_reduction
from trine.engine.relations import Relations
from trine.errors import InputError, check_count, check_flags
from trine.losses.distributed import join_tallies, spread_batch, times_processes
from trine.losses.given_triplets import triplet_values
from trine.mining.inputs import checked_batch
from trine.mining.online import census, check_margin, mine
from trine.mining.rules import Draw, check_weighted, select
from trine.shapes import Float, Int
from trine.triplets import Census, Mining, MiningRule, Triplets


class TripletSettings(TypedDict, total=False):
    """The settings of `triplet_loss`, for type checkers."""

    margin: float | None
    distance: Distance
    mining: MiningRule | Mining
    reduction: Reduction | None
    mining_margin: float | None
    seed: int
    item_ids: Tensor | None
    references: Tensor | None
    reference_labels: Tensor | None
    reference_ids: Tensor | None
    swap: bool
    across_processes: bool


@overload
def triplet_loss(
    embeddings: Tensor,
    labels: Tensor | Relations | Triplets,
    *,
    return_census: Literal[False] = False,
    **settings: Unpack[TripletSettings],
) -> Tensor: ...


@overload
def triplet_loss(
    embeddings: Tensor,
    labels: Tensor | Relations | Triplets,
    *,
    return_census: Literal[True],
    **settings: Unpack[TripletSettings],
) -> tuple[Tensor, Census]: ...


@eager
def triplet_loss(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"] | Relations | Triplets,
    *,
    margin: float | None = 0.2,
    distance: Distance = "euclidean",
    mining: MiningRule | Mining = "semihard",
    reduction: Reduction | None = None,
    mining_margin: float | None = None,
    seed: int = 0,
    item_ids: Int[Tensor, " n"] | None = None,
    references: Float[Tensor, "m d"] | None = None,
    reference_labels: Int[Tensor, " m"] | None = None,
    reference_ids: Int[Tensor, " m"] | None = None,
    swap: bool = False,
    return_census: bool = False,
    across_processes: bool = False,
) -> Float[Tensor, "..."] | tuple[Float[Tensor, "..."], Census]:
    """Returns the triplet loss of a batch, over the triplets that a mining rule chooses in it.

    ℓ(a, p, n) = max(0, d_ap − d_an + α), or with `margin=None` the soft margin
    softplus(d_ap − d_an) (Hermans, Beyer, Leibe 2017, §2). A batch in which nothing is selected (one
    identity, no positives, no rows) has loss 0 with zero gradients.

    The gradient is finished in the forward pass, in memory that grows with N and not with N² (except for
    `reduction="none"` and given triplets, which list one value per triplet); it cannot be
    differentiated again, see `differentiable_triplet_loss`.

    Args:
        embeddings: One row per item.
        labels: The identity of each row: any integers. Or `Relations`, which list the positives and negatives
            of each row, or `Triplets`, which are used without mining.
        margin: α ≥ 0, in units of the distance, or `None` for the soft margin.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        mining: The name of a rule, or a `Mining`.
        reduction: `"active"`, `"mean"`, `"anchor"`, `"sum"`, `"none"` (one value per row of `mine`), or
            `None`: `"active"` for the rule `all` with a hinge and `"mean"` otherwise.
        mining_margin: α of the rule, if it differs from that of the loss.
        seed: The seed of random rules.
        item_ids: Which item each row is; rows of equal id are never a pair.
        references: Where positives and negatives are taken from; they get gradients too. By default the
            embeddings.
        reference_labels: The identity of each reference.
        reference_ids: Which item each reference is; required with `item_ids`.
        swap: For given triplets: min(d_an, d_pn) in place of d_an (Balntas et al. 2016, §3.2).
        return_census: Also return the `Census` of all valid triplets; needs a margin.
        across_processes: Whether each process of `torch.distributed` holds a part of the batch. Each uses its
            own anchors; references are the embeddings of all, or those passed, which must be the same in all
            processes. All must call it, with any number of rows. The value is that of the joined batch in
            every process, and so are the gradients once `DistributedDataParallel` has averaged them.

    Returns:
        A scalar attached to the graph (one value per triplet for `"none"`); float32 for half-precision
        embeddings. With `return_census`, a pair of it and the census.

    Raises:
        InputError: A shape, a dtype, a name or a margin is invalid.

    Example:
        >>> embeddings = torch.tensor([[0.0], [1.0], [1.5], [3.5]], requires_grad=True)
        >>> loss = triplet_loss(embeddings, torch.tensor([0, 0, 1, 1]), margin=0.5, mining="hard")
        >>> round(loss.item(), 4)
        0.75
    """
    rule = Mining.named(mining)
    check_distance(distance)
    check_flags(swap=swap, return_census=return_census, across_processes=across_processes)
    alpha = check_margin(margin, Mining())
    how = resolve_reduction(reduction, rule, alpha)
    if across_processes:
        _check_across(labels, how, return_census)
    if isinstance(labels, Triplets):
        if return_census:
            raise InputError("return_census=True needs labels and cannot be used with Triplets")
        values = triplet_values(embeddings, labels, references, margin=alpha, distance=distance, swap=swap)
        return reduce_triplets(values, labels.anchor, how, len(embeddings))
    if swap:
        raise InputError("swap=True needs Triplets in place of labels: leave it out, or list the triplets")
    checked = spread_batch if across_processes else checked_batch
    batch = checked(embeddings, labels, references, reference_labels, item_ids, reference_ids)
    check_weighted(batch.columns if across_processes else embeddings, distance, rule)
    draw = Draw(
        check_margin(alpha if mining_margin is None else mining_margin, rule), seed, embeddings.shape[1]
    )
    request = None
    if how == "none":
        chosen = mine(
            embeddings,
            batch.relations,
            mining=rule,
            distance=distance,
            margin=draw.margin,
            seed=seed,
            references=references,
        )
        values = triplet_values(embeddings, chosen, references, margin=alpha, distance=distance)
        loss = values
    else:
        choose = partial(select, mining=rule, draw=draw)
        request = CensusRequest(draw.margin) if return_census and draw.margin is not None else None
        join = join_tallies(embeddings.device) if across_processes else None
        objective = Objective(alpha, distance, rule, choose, how, request, join)
        run: EarlyLoss = partial(all_pairs_loss, batch.anchors, batch.references, batch.relations, objective)
        loss = early_gradient(
            batch.anchors, batch.references, times_processes(run) if across_processes else run
        )
    if not return_census:
        return loss
    if draw.margin is None:
        raise InputError("a census needs a margin: pass mining_margin= (a soft margin has none)")
    if request is not None and request.census is not None:
        return loss, request.census
    return loss, census(
        embeddings, batch.relations, margin=draw.margin, distance=distance, references=references
    )


def _check_across(labels: object, how: str, return_census: bool) -> None:
    if how == "none" or isinstance(labels, Triplets):
        raise InputError(
            "across_processes=True needs labels and a reduction other than 'none', given a list of triplets: "
            "compute it in one process"
        )
    if return_census:
        raise InputError(
            "return_census=True does not work with across_processes=True: call trine.census on what "
            "trine.losses.gathered returns"
        )


class TripletLoss(nn.Module):
    """The triplet loss as a module that keeps its settings; see `triplet_loss`.

    Random rules draw again at every call in training mode: the number of calls is a buffer in the state
    dict, so that a resumed run draws the same as an uninterrupted one.

    Args:
        margin: α ≥ 0, in units of the distance, or `None` for the soft margin.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        mining: The name of a rule, or a `Mining`.
        reduction: `"active"`, `"mean"`, `"anchor"`, `"sum"`, `"none"` or `None` for the rule's own.
        mining_margin: α of the rule, if it differs from that of the loss.
        swap: For given triplets: min(d_an, d_pn) in place of d_an.
        seed: The seed of random rules.
        across_processes: Whether each process of `torch.distributed` holds a part of the batch; see
            `triplet_loss`. Parameters that the embeddings went through are to be averaged over the
            processes, such as by `DistributedDataParallel`.

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
        mining: MiningRule | Mining = "semihard",
        reduction: Reduction | None = None,
        *,
        mining_margin: float | None = None,
        swap: bool = False,
        seed: int = 0,
        across_processes: bool = False,
    ) -> None:
        super().__init__()
        check_distance(distance)
        check_flags(swap=swap, across_processes=across_processes)
        self.margin = check_margin(margin, Mining())
        self.distance = distance
        self.mining = Mining.named(mining)
        self.reduction = resolve_reduction(reduction, self.mining, margin)
        self.mining_margin = check_margin(margin if mining_margin is None else mining_margin, self.mining)
        self.swap = swap
        self.seed = check_count("seed", seed, at_least=-(2**63))
        self.across_processes = across_processes
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    @eager
    def forward(
        self,
        embeddings: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"] | Relations | Triplets,
        item_ids: Int[Tensor, " n"] | None = None,
        *,
        references: Float[Tensor, "m d"] | None = None,
        reference_labels: Int[Tensor, " m"] | None = None,
        reference_ids: Int[Tensor, " m"] | None = None,
    ) -> Float[Tensor, "..."]:
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
            references=references,
            reference_labels=reference_labels,
            reference_ids=reference_ids,
            swap=self.swap,
            across_processes=self.across_processes,
        )

    if TYPE_CHECKING:  # torch's own is of any type
        __call__ = forward

    def extra_repr(self) -> str:
        """Returns the settings, for `repr`."""
        return (
            f"margin={self.margin}, distance={self.distance!r}, "
            f"mining=({self.mining.positive!r}, {self.mining.negative!r}), reduction={self.reduction!r}"
        )
