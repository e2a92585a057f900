"""The hardest pairs: the same identity far apart, two identities close together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance, paired_distances
from trine.errors import InputError
from trine.labels import Labels, codes
from trine.mining import mine
from trine.neighbours import as_rows
from trine.shapes import Float, Int64

MOST_DISTANCES = 1 << 27
"""The most distances to compute: those among 11,585 items."""

PER_ITEM, PER_IDENTITIES = 2, 3
"""How often an item, and two identities, may appear in one list, so that the list stays varied."""


@dataclass(frozen=True, eq=False)
class HardPairs:
    """Pairs of items, the hardest first.

    Attributes:
        first: Rows of their first items.
        second: Rows of their second items.
        distances: How far apart they are.
    """

    first: Int64[np.ndarray, " p"]
    second: Int64[np.ndarray, " p"]
    distances: Float[np.ndarray, " p"]

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True, eq=False)
class Hardest:
    """The hardest pairs of both kinds.

    Attributes:
        positives: Pairs of one identity that are farthest apart.
        negatives: Pairs of two identities that are nearest to each other.
        anchors: How many items served as anchors: all that have a pair of each kind, or a random sample of
            them.
        sampled: Whether the anchors are a sample.
    """

    positives: HardPairs
    negatives: HardPairs
    anchors: int
    sampled: bool


def hardest_pairs(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels,
    *,
    distance: Distance = "euclidean",
    count: int = 12,
    seed: int = 0,
    most_distances: int = MOST_DISTANCES,
) -> Hardest:
    """Finds the pairs on which the embeddings fail worst: the first place to look for wrong labels.

    Takes the farthest positive and the nearest negative of every item (the mining rule `hard`) and ranks
    these pairs without duplicates; a list contains an item at most twice and the same two identities at most
    three times. Above about 11,000 items, a random sample of anchors is compared with all items.

    Args:
        embeddings: One row per item.
        labels: The identity of each.
        distance: The distance to compare by.
        count: How many pairs of each kind to return.
        seed: The seed of the sample of anchors.
        most_distances: The most distances to compute; anchors are sampled where there would be more.

    Returns:
        The pairs of both kinds.

    Raises:
        InputError: No two items share an identity, or all items do.

    Example:
        >>> found = hardest_pairs(np.array([[0.0], [9.0], [8.5], [1.0]]), ["a", "a", "b", "b"], count=1)
        >>> found.positives.distances.tolist(), found.negatives.distances.tolist()
        ([9.0], [0.5])
    """
    x = as_rows(embeddings, name="embeddings").cpu()
    identity = codes(labels, items=len(x))
    sizes = np.bincount(identity, minlength=1)
    if len(sizes) < 2 or sizes.max() < 2:
        raise InputError(
            f"hard pairs need two items of one identity and one of another, given {len(x)} items of "
            f"{len(sizes)} identities; give more"
        )
    asked = np.flatnonzero(sizes[identity] > 1)
    whole = len(asked)
    most = max(1, most_distances // len(x))
    if whole > most:
        asked = np.sort(np.random.default_rng(seed).permutation(asked)[:most])
    anchor, all_labels = torch.from_numpy(asked), torch.from_numpy(identity)
    chosen = mine(
        x[anchor],
        all_labels[anchor],
        mining="hard",
        distance=distance,
        item_ids=anchor,
        references=x,
        reference_labels=all_labels,
        reference_ids=torch.arange(len(x)),
    )
    own = anchor[chosen.anchor]
    return Hardest(
        _ranked(x, identity, own, chosen.positive, distance, count, largest=True),
        _ranked(x, identity, own, chosen.negative, distance, count, largest=False),
        len(asked),
        len(asked) < whole,
    )


def _ranked(
    x: Tensor,
    identity: Int64[np.ndarray, " n"],
    one: Tensor,
    other: Tensor,
    distance: Distance,
    count: int,
    *,
    largest: bool,
) -> HardPairs:
    pairs = np.unique(np.sort(torch.stack([one, other], dim=1).numpy(), axis=1), axis=0)
    left, right = (x[torch.from_numpy(pairs[:, side])].double() for side in (0, 1))
    d = paired_distances(left, right, distance=distance).numpy()
    times: Counter[object] = Counter()
    kept: list[int] = []
    for at in np.argsort(-d if largest else d, kind="stable").tolist():
        a, b = pairs[at].tolist()
        names = tuple(sorted((identity[a], identity[b])))
        if max(times[a], times[b]) < PER_ITEM and times[names] < PER_IDENTITIES:
            times.update([a, b, names])
            kept.append(at)
        if len(kept) == count:
            break
    rows = pairs[kept]
    return HardPairs(rows[:, 0], rows[:, 1], d[kept])
