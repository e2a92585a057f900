"""The contrastive loss: pairs of one identity are pulled together, others pushed a margin apart."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from torch import Tensor, nn

from trine.distances import Distance, check_distance
from trine.eager import eager
from trine.engine.autograd import EarlyLoss, early_gradient
from trine.engine.pair_losses import PairObjective, pair_loss
from trine.engine.relations import Relations
from trine.errors import check_choice, check_flags
from trine.losses.distributed import join_sums, spread_batch, times_processes
from trine.mining.inputs import checked_batch
from trine.mining.online import required_margin
from trine.shapes import Float, Int

ContrastiveForm = Literal["squared", "linear"]
"""The hinge as in the paper, or without the squares."""

ContrastiveReduction = Literal["mean", "sum", "active"]


@eager
def contrastive_loss(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"] | Relations,
    *,
    margin: float = 1.0,
    distance: Distance = "euclidean",
    form: ContrastiveForm = "squared",
    reduction: ContrastiveReduction = "mean",
    item_ids: Int[Tensor, " n"] | None = None,
    references: Float[Tensor, "m d"] | None = None,
    reference_labels: Int[Tensor, " m"] | None = None,
    reference_ids: Int[Tensor, " m"] | None = None,
    across_processes: bool = False,
) -> Float[Tensor, ""]:
    """Returns the contrastive loss of all pairs of a batch (Hadsell, Chopra, LeCun 2006, eq. 4).

    ½·d² for a pair of one identity and ½·max(0, m − d)² for any other; in the form `"linear"` d and
    max(0, m − d), as in pytorch-metric-learning.

    Args:
        embeddings: One row per item.
        labels: The identity of each row: any integers. Or `Relations` in place of labels.
        margin: m ≥ 0: how far apart different identities are to be, in units of the distance.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        form: `"squared"` or `"linear"`.
        reduction: `"mean"` over all pairs; `"sum"`, each pair of a set with itself once; `"active"` =
            the mean of the positive pairs with a loss above 0 + that of such negative pairs.
        item_ids: Which item each row is; rows of equal id are never a pair.
        references: The other end of the pairs; by default the embeddings.
        reference_labels: The identity of each reference.
        reference_ids: Which item each reference is; required with `item_ids`.
        across_processes: Whether each process of `torch.distributed` holds a part of the batch; see
            `triplet_loss`.

    Returns:
        A scalar attached to the graph; 0 with zero gradients if there are no pairs.

    Raises:
        InputError: A shape, a dtype, a name or the margin is invalid.

    Example:
        >>> import torch
        >>> embeddings = torch.tensor([[0.0], [1.0], [1.5]])
        >>> contrastive_loss(embeddings, torch.tensor([0, 0, 1]), reduction="sum").item()
        0.625
    """
    alpha = _check_settings(margin, distance, form, reduction)
    check_flags(across_processes=across_processes)
    checked = spread_batch if across_processes else checked_batch
    batch = checked(embeddings, labels, references, reference_labels, item_ids, reference_ids)
    join = join_sums(embeddings.device) if across_processes else None
    objective = PairObjective(alpha, distance, squared=form == "squared", reduction=reduction, join=join)
    run: EarlyLoss = partial(pair_loss, batch.anchors, batch.references, batch.relations, objective)
    return early_gradient(batch.anchors, batch.references, times_processes(run) if across_processes else run)


def _check_settings(margin: object, distance: object, form: object, reduction: object) -> float:
    check_distance(distance)
    check_choice("form", form, get_args(ContrastiveForm))
    check_choice("reduction", reduction, get_args(ContrastiveReduction))
    return required_margin(margin)


class ContrastiveLoss(nn.Module):
    """The contrastive loss as a module that keeps its settings; see `contrastive_loss`.

    Args:
        margin: m ≥ 0, in units of the distance.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        form: `"squared"`, the paper's, or `"linear"`.
        reduction: `"mean"`, `"sum"` or `"active"`.
        across_processes: Whether each process of `torch.distributed` holds a part of the batch.

    Raises:
        InputError: A name or the margin cannot be used.

    Example:
        >>> import torch
        >>> embeddings = torch.tensor([[0.0], [1.0], [1.5]], requires_grad=True)
        >>> ContrastiveLoss(reduction="sum")(embeddings, torch.tensor([0, 0, 1])).backward()
        >>> embeddings.grad.flatten().tolist()
        [-1.0, 1.5, -0.5]
    """

    def __init__(
        self,
        margin: float = 1.0,
        distance: Distance = "euclidean",
        form: ContrastiveForm = "squared",
        reduction: ContrastiveReduction = "mean",
        *,
        across_processes: bool = False,
    ) -> None:
        super().__init__()
        self.margin = _check_settings(margin, distance, form, reduction)
        check_flags(across_processes=across_processes)
        self.distance, self.form, self.reduction = distance, form, reduction
        self.across_processes = across_processes

    @eager
    def forward(
        self,
        embeddings: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"] | Relations,
        item_ids: Int[Tensor, " n"] | None = None,
        *,
        references: Float[Tensor, "m d"] | None = None,
        reference_labels: Int[Tensor, " m"] | None = None,
        reference_ids: Int[Tensor, " m"] | None = None,
    ) -> Float[Tensor, ""]:
        """Returns the loss of a batch; see `contrastive_loss` for shapes and errors."""
        return contrastive_loss(
            embeddings,
            labels,
            margin=self.margin,
            distance=self.distance,
            form=self.form,
            reduction=self.reduction,
            item_ids=item_ids,
            references=references,
            reference_labels=reference_labels,
            reference_ids=reference_ids,
            across_processes=self.across_processes,
        )

    if TYPE_CHECKING:  # torch's own is of any type
        __call__ = forward

    def extra_repr(self) -> str:
        """Returns the settings, for `repr`."""
        return (
            f"margin={self.margin}, distance={self.distance!r}, "
            f"form={self.form!r}, reduction={self.reduction!r}"
        )
