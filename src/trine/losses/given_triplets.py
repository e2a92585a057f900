"""The loss of triplets that are already chosen."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from trine.distances import Distance, check_rows, paired_distances
from trine.engine.relations import check_labels
from trine.errors import InputError
from trine.shapes import Float
from trine.triplets import Triplets


def hinge(
    d_ap: Float[Tensor, "..."], d_an: Float[Tensor, "..."], margin: float | None
) -> Float[Tensor, "..."]:
    """Returns max(0, d_ap − d_an + α), or softplus(d_ap − d_an) where the margin is `None`."""
    # (d_ap + α) − d_an is above 0 exactly where d_an < d_ap + α, which is what the rules compare.
    return F.softplus(d_ap - d_an) if margin is None else F.relu(d_ap + margin - d_an)


def triplet_values(
    embeddings: Float[Tensor, "n d"],
    triplets: Triplets,
    references: Float[Tensor, "m d"] | None = None,
    *,
    margin: float | None,
    distance: Distance,
    swap: bool = False,
) -> Float[Tensor, " t"]:
    """Returns one loss per triplet.

    Args:
        embeddings: One row per anchor.
        triplets: Which anchors, positives and negatives.
        references: Where positives and negatives are taken from; by default the embeddings.
        margin: α ≥ 0, or `None` for the soft margin.
        distance: The name of the distance.
        swap: Take min(d_an, d_pn) for d_an: the positive is the anchor where it is nearer to the
            negative (Balntas et al. 2016, §3.2).

    Raises:
        InputError: The rows are not a matrix, or an index is out of range.
    """
    check_rows(embeddings, "embeddings")
    columns = embeddings if references is None else references
    check_rows(columns, "references")
    check_labels(triplets.anchor, "anchor")
    for name, index, limit in (
        ("anchor", triplets.anchor, len(embeddings)),
        ("positive", triplets.positive, len(columns)),
        ("negative", triplets.negative, len(columns)),
    ):
        check_labels(index, name, len(triplets))
        wrong = ((index < 0) | (index >= limit)).nonzero()
        if len(wrong):
            row = int(wrong[0, 0])
            raise InputError(f"{name}[{row}] is {int(index[row])}, but there are {limit} rows")
    a, p, n = embeddings[triplets.anchor], columns[triplets.positive], columns[triplets.negative]
    d_ap = paired_distances(a, p, distance=distance)
    d_an = paired_distances(a, n, distance=distance)
    if swap:
        d_an = torch.minimum(d_an, paired_distances(p, n, distance=distance))
    return hinge(d_ap, d_an, margin)
