"""Online mining: the triplets of one batch, and the census of all that there were."""

from __future__ import annotations

import torch
from torch import Tensor

from trine.distances import Distance, check_rows, pairwise_distances
from trine.errors import InputError
from trine.mining.relations import Relations, check_labels
from trine.mining.rules import Draw, check_weighted, select
from trine.shapes import Float, Int
from trine.triplets import Census, Mining, Triplets


def mine(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    mining: str | Mining = "semihard",
    distance: Distance = "euclidean",
    margin: float | None = 0.2,
    seed: int = 0,
    item_ids: Int[Tensor, " n"] | None = None,
) -> Triplets:
    """Chooses the triplets of a batch by a rule of the field.

    A triplet (a, p, n) is valid if a ≠ p, the labels of a and p are equal and those of a and n are not.
    An anchor without a positive or without a negative selects nothing.

    Args:
        embeddings: One row per item.
        labels: The identity of each row: any integers.
        mining: The name of a rule, or a `Mining` of two; see `Mining` for all of them.
        distance: What the rule compares.
        margin: α, for the rules that look at it (`semihard-band`, `violating`); ≥ 0.
        seed: Where the random rules start; the same seed chooses the same.
        item_ids: Which item each row is; rows of equal id are never a pair.

    Returns:
        The triplets, sorted by anchor, positive, negative.

    Raises:
        InputError: Shapes, dtypes, a name or the margin cannot be used.

    Example:
        >>> embeddings = torch.tensor([[0.0], [1.0], [3.0], [3.5]])
        >>> mine(embeddings, torch.tensor([0, 0, 1, 1]), mining="hard")
        Triplets(anchor=tensor([0, 1, 2, 3]), positive=tensor([1, 0, 3, 2]), negative=tensor([2, 2, 1, 1]))
    """
    rule = Mining.named(mining)
    check_batch(embeddings, labels)
    check_weighted(embeddings, distance, rule)
    draw = Draw(check_margin(margin, rule), seed, embeddings.shape[1])
    with torch.no_grad():
        distances = pairwise_distances(embeddings.detach(), distance=distance)
        return select(distances, Relations.from_labels(labels, item_ids=item_ids), rule, draw)


def census(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    margin: float = 0.2,
    distance: Distance = "euclidean",
    item_ids: Int[Tensor, " n"] | None = None,
) -> Census:
    """Counts the easy, semi-hard, hard and active triplets among all valid ones, exactly.

    Args:
        embeddings: One row per item.
        labels: The identity of each row: any integers.
        margin: α; ≥ 0.
        distance: What is compared.
        item_ids: Which item each row is; rows of equal id are never a pair.

    Raises:
        InputError: Shapes, dtypes, the name or the margin cannot be used.

    Example:
        >>> embeddings = torch.tensor([[0.0], [1.0], [1.5], [3.5]])
        >>> counted = census(embeddings, torch.tensor([0, 0, 1, 1]), margin=0.6)
        >>> counted.easy, counted.semihard, counted.hard, counted.active
        (3, 2, 3, 5)
    """
    check_batch(embeddings, labels)
    alpha = check_margin(margin, Mining("all", "semihard-band"))
    assert alpha is not None
    with torch.no_grad():
        d = pairwise_distances(embeddings.detach(), distance=distance)
        relations = Relations.from_labels(labels, item_ids=item_ids)
        positive = relations.positive & relations.negative.any(1)[:, None]
        negative = relations.negative & relations.positive.any(1)[:, None]
        anchor, p = positive.nonzero(as_tuple=True)
        d_ap = d[anchor, p][:, None]
        # How many of the anchor's negatives are at most, and below, a distance: by a sorted row.
        in_order = d.masked_fill(~negative, torch.inf).sort(1).values[anchor]
        hard = torch.searchsorted(in_order, d_ap, right=True)
        active = torch.searchsorted(in_order, d_ap + alpha, right=False)
        total = int(negative.sum(1)[anchor].sum())
        within = int(torch.maximum(hard, active).sum())
        return Census(
            easy=total - within,
            semihard=within - int(hard.sum()),
            hard=int(hard.sum()),
            active=int(active.sum()),
            mean_positive_distance=float(d[positive].double().mean()),
            mean_negative_distance=float(d[negative].double().mean()),
        )


def check_batch(embeddings: Tensor, labels: Tensor) -> None:
    """Raises an `InputError` unless there is a matrix of embeddings and an integer label for each row."""
    check_rows(embeddings, "embeddings")
    check_labels(labels, "labels", len(embeddings))


def check_margin(margin: float | None, rule: Mining) -> float | None:
    """Returns the margin; an `InputError` if it is negative, or missing where the rule looks at it."""
    if margin is None:
        if rule.needs_margin:
            raise InputError(
                f"the negative rule {rule.negative!r} looks at the margin: give mining_margin= "
                "(a loss with margin=None has none of its own)"
            )
        return None
    if not 0 <= margin < float("inf"):
        raise InputError(f"margin must be a finite number of at least 0, or None, given {margin}")
    return float(margin)
