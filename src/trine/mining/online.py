"""Online mining: the triplets of one batch, and the census of all valid ones."""

from __future__ import annotations

import torch
from torch import Tensor

from trine.distances import Distance, check_distance
from trine.eager import eager
from trine.engine.dispatch import count_triplets, distance_blocks
from trine.engine.relations import Relations
from trine.errors import InputError, shown
from trine.interruption import check_interruption
from trine.mining.inputs import checked_batch
from trine.mining.rules import Draw, check_weighted, select
from trine.shapes import Float, Int
from trine.triplets import Census, Mining, MiningRule, Triplets


@eager
def mine(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"] | Relations,
    *,
    mining: MiningRule | Mining = "semihard",
    distance: Distance = "euclidean",
    margin: float | None = 0.2,
    seed: int = 0,
    item_ids: Int[Tensor, " n"] | None = None,
    references: Float[Tensor, "m d"] | None = None,
    reference_labels: Int[Tensor, " m"] | None = None,
    reference_ids: Int[Tensor, " m"] | None = None,
) -> Triplets:
    """Chooses the triplets of a batch by a mining rule.

    A triplet (a, p, n) is valid if a ≠ p, the labels of a and p are equal and those of a and n are not.
    An anchor without a positive or without a negative selects nothing.

    Args:
        embeddings: One row per item.
        labels: The identity of each row: any integers. Or `Relations` in place of labels.
        mining: The name of a rule, or a `Mining` of two; see `Mining` for all of them.
        distance: What the rule compares.
        margin: α, for the rules that use it (`semihard-band`, `violating`); ≥ 0.
        seed: The seed of random rules; the same seed chooses the same triplets.
        item_ids: Which item each row is; rows of equal id are never a pair.
        references: Where positives and negatives are taken from; by default the embeddings.
        reference_labels: The identity of each reference.
        reference_ids: Which item each reference is; required with `item_ids`.

    Returns:
        The triplets, sorted by anchor, positive, negative.

    Raises:
        InputError: A shape, a dtype, a name or the margin is invalid.

    Example:
        >>> embeddings = torch.tensor([[0.0], [1.0], [3.0], [3.5]])
        >>> mine(embeddings, torch.tensor([0, 0, 1, 1]), mining="hard")
        Triplets(anchor=tensor([0, 1, 2, 3]), positive=tensor([1, 0, 3, 2]), negative=tensor([2, 2, 1, 1]))
    """
    rule = Mining.named(mining)
    check_distance(distance)
    batch = checked_batch(embeddings, labels, references, reference_labels, item_ids, reference_ids)
    check_weighted(embeddings, distance, rule)
    draw = Draw(check_margin(margin, rule), seed, embeddings.shape[1])
    parts = []
    with torch.no_grad(), torch.autocast(embeddings.device.type, enabled=False):
        for anchors, d, rows in distance_blocks(batch.anchors, batch.references, batch.relations, distance):
            check_interruption()
            chosen = select(d, rows, rule, draw)
            parts.append((anchors[chosen.anchor], chosen.positive, chosen.negative))
    return Triplets(*(torch.cat(column) for column in zip(*parts, strict=True)))


@eager
def census(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"] | Relations,
    *,
    margin: float = 0.2,
    distance: Distance = "euclidean",
    item_ids: Int[Tensor, " n"] | None = None,
    references: Float[Tensor, "m d"] | None = None,
    reference_labels: Int[Tensor, " m"] | None = None,
    reference_ids: Int[Tensor, " m"] | None = None,
) -> Census:
    """Counts the easy, semi-hard, hard and active triplets among all valid ones, exactly.

    Args:
        embeddings: One row per item.
        labels: The identity of each row: any integers. Or `Relations` in place of labels.
        margin: α; ≥ 0.
        distance: What is compared.
        item_ids: Which item each row is; rows of equal id are never a pair.
        references: Where positives and negatives are taken from; by default the embeddings.
        reference_labels: The identity of each reference.
        reference_ids: Which item each reference is; required with `item_ids`.

    Raises:
        InputError: A shape, a dtype, the name or the margin is invalid.

    Example:
        >>> embeddings = torch.tensor([[0.0], [1.0], [1.5], [3.5]])
        >>> counted = census(embeddings, torch.tensor([0, 0, 1, 1]), margin=0.6)
        >>> counted.easy, counted.semihard, counted.hard, counted.active
        (3, 2, 3, 5)
    """
    check_distance(distance)
    batch = checked_batch(embeddings, labels, references, reference_labels, item_ids, reference_ids)
    alpha = required_margin(margin)
    return count_triplets(batch.anchors, batch.references, batch.relations, alpha, distance)


def check_margin(margin: float | None, rule: Mining) -> float | None:
    """Returns the margin; an `InputError` if it is negative, or missing where the rule needs it."""
    if margin is None:
        if rule.needs_margin:
            raise InputError(
                f"the negative rule {rule.negative!r} needs a margin: pass mining_margin= "
                "(a loss with margin=None has no margin)"
            )
        return None
    return required_margin(margin, or_else=", or None")


def required_margin(margin: object, *, or_else: str = "") -> float:
    """Returns the margin; an `InputError` unless it is a finite number of at least 0."""
    number = margin
    if not isinstance(number, float) and not isinstance(number, bool | str):
        try:
            number = float(number)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = None
    if not isinstance(number, float) or not 0 <= number < float("inf"):
        raise InputError(f"margin must be a finite number of at least 0{or_else}, given {shown(margin)}")
    return float(number)
