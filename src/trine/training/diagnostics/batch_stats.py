"""Statistics of a batch of embeddings: norms, effective rank, and what the mining rule found."""

from __future__ import annotations

import torch
from torch import Tensor

from trine.distances import Distance, check_rows, paired_distances
from trine.mining import mine
from trine.shapes import Float, Int64
from trine.triplets import Census, MiningRule

MOST_ROWS = 512
"""How many rows of a large batch the effective rank is computed from."""

MOST_ANCHORS = 128
"""How many anchors of a large batch the rule is applied to."""


def batch_stats(embeddings: Float[Tensor, "b d"], labels: Int64[Tensor, " b"]) -> dict[str, float]:
    """Describes a batch of embeddings.

    Args:
        embeddings: One row per item, all finite; at least one.
        labels: The identity of each; −1 throughout if none is known.

    Returns:
        `norm_mean` and `norm_max`, the Euclidean norms; `effective_rank`; and, if identities are known,
        `largest_identity`, the share of the batch that belongs to one identity, in (0, 1].

    Example:
        >>> stats = batch_stats(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([0, 1]))
        >>> stats["norm_mean"], stats["norm_max"], stats["largest_identity"]
        (3.0, 5.0, 0.5)
    """
    norms = embeddings.norm(dim=1)
    found = {
        "norm_mean": float(norms.mean()),
        "norm_max": float(norms.max()),
        "effective_rank": effective_rank(embeddings),
    }
    if bool((labels < 0).all()):
        return found
    largest = int(torch.unique(labels, return_counts=True)[1].max())
    return {**found, "largest_identity": largest / len(labels)}


def listed_triplet_stats(
    embeddings: Float[Tensor, "b d"], triplets: Int64[Tensor, "t 3"], *, margin: float, distance: Distance
) -> dict[str, float]:
    """Describes the listed triplets of a batch.

    Args:
        embeddings: One row per item, all finite.
        triplets: Rows of anchor, positive and negative; at least one.
        margin: α; 0 with the soft margin.
        distance: The distance.

    Returns:
        `active`, the share with d_an < d_ap + α; and `positive_distance` and `negative_distance`, the
        means of d_ap and d_an.

    Example:
        >>> rows, listed = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> listed_triplet_stats(rows, listed, margin=0.5, distance="euclidean")
        {'active': 0.5, 'positive_distance': 1.5, 'negative_distance': 2.0}
    """
    anchor = embeddings[triplets[:, 0]]
    positive = paired_distances(anchor, embeddings[triplets[:, 1]], distance=distance)
    negative = paired_distances(anchor, embeddings[triplets[:, 2]], distance=distance)
    return {
        "active": float((negative < positive + margin).float().mean()),
        "positive_distance": float(positive.mean()),
        "negative_distance": float(negative.mean()),
    }


def effective_rank(embeddings: Float[Tensor, "b d"]) -> float:
    """Returns the number of directions that embeddings use.

    With the singular values σ of the matrix and p_k = σ_k / Σσ, it is exp(−Σ p_k·ln p_k): 1 if all rows
    point the same way, and min(b, d) if all directions are used alike (Roy, Vetterli 2007, "The
    effective rank: a measure of effective dimensionality", eq. 4).

    Args:
        embeddings: One row per item, all finite; of more than 512, at most 512 evenly spaced ones count.

    Returns:
        A number from 1 to min(b, d); 0 if all rows are zero.

    Example:
        >>> round(effective_rank(torch.eye(4)), 6), round(effective_rank(torch.ones(4, 4)), 6)
        (4.0, 1.0)
    """
    check_rows(embeddings, "embeddings")
    # In float64 for the squares of the singular values, and on the CPU, as some devices lack float64.
    rows = embeddings.detach()[:: -(-len(embeddings) // MOST_ROWS) or 1].cpu().double()
    scale = float(rows.abs().max()) if rows.numel() else 0.0
    if scale == 0:
        return 0.0
    rows = rows / scale
    gram = rows.T @ rows if rows.shape[0] > rows.shape[1] else rows @ rows.T
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = singular[singular > 0] / singular.sum()
    return float(torch.exp(-(share * share.log()).sum()))


def active_per_item(
    embeddings: Float[Tensor, "b d"],
    labels: Int64[Tensor, " b"],
    *,
    mining: MiningRule,
    margin: float | None,
    distance: Distance,
    seed: int,
    item_ids: Int64[Tensor, " b"],
    counted: Census,
) -> float:
    """Returns the number of active triplets that the rule chooses, per anchor.

    Args:
        embeddings: One row per item, all finite.
        labels: The identity of each.
        mining: The rule, by name.
        margin: α; None is the soft margin, with which a triplet counts as active while d_an ≤ d_ap.
        distance: The distance of the rule.
        seed: The seed of rules that draw at random.
        item_ids: Which item each row is.
        counted: The census of the batch.

    Returns:
        The number of chosen triplets with d_an < d_ap + α, over the number of anchors; of more than 128
        items, at most 128 evenly spaced ones are the anchors.

    Example:
        >>> from trine.mining import census
        >>> rows, labels = torch.tensor([[0.0], [1.0], [1.5], [3.5]]), torch.tensor([0, 0, 1, 1])
        >>> active_per_item(
        ...     rows, labels, mining="hard", margin=0.6, distance="euclidean", seed=0,
        ...     item_ids=torch.arange(4), counted=census(rows, labels, margin=0.6))
        1.0
    """
    # The census has counted all triplets of a kind already, and to list them would fill the memory.
    if mining in ("all", "semihard-band"):
        return (counted.active if mining == "all" else counted.semihard) / max(1, len(embeddings))
    every = -(-len(embeddings) // MOST_ANCHORS) or 1
    anchors = slice(None, None, every)
    chosen = mine(
        embeddings[anchors],
        labels[anchors],
        mining=mining,
        margin=margin,
        distance=distance,
        seed=seed,
        item_ids=item_ids[anchors],
        references=embeddings if every > 1 else None,
        reference_labels=labels if every > 1 else None,
        reference_ids=item_ids if every > 1 else None,
    )
    anchor = embeddings[anchors][chosen.anchor]
    positive = paired_distances(anchor, embeddings[chosen.positive], distance=distance)
    negative = paired_distances(anchor, embeddings[chosen.negative], distance=distance)
    active = negative <= positive if margin is None else negative < positive + margin
    return int(active.sum()) / max(1, len(embeddings[anchors]))
