"""What a census counts, and the count of a block of anchors in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trine.engine.relations import RelationRows
from trine.triplets import Census


@dataclass
class Counts:
    """Sums of a census over part of a batch.

    Attributes:
        triplets: Valid triplets.
        hard: Those with d_an ≤ d_ap.
        active: Those with d_an < d_ap + α.
        within: Those that are hard or active.
        positive_pairs: Positive pairs of valid triplets.
        negative_pairs: Negative pairs of valid triplets.
        positive_sum: Σ d_ap over those pairs.
        negative_sum: Σ d_an over those pairs.
    """

    triplets: int = 0
    hard: int = 0
    active: int = 0
    within: int = 0
    positive_pairs: int = 0
    negative_pairs: int = 0
    positive_sum: float = 0.0
    negative_sum: float = 0.0

    def add(self, other: Counts) -> None:
        """Adds another part of the batch."""
        for name in vars(other):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def census(self) -> Census:
        """Returns the figures."""
        return Census(
            easy=self.triplets - self.within,
            semihard=self.within - self.hard,
            hard=self.hard,
            active=self.active,
            mean_positive_distance=_mean(self.positive_sum, self.positive_pairs),
            mean_negative_distance=_mean(self.negative_sum, self.negative_pairs),
        )


def _mean(total: float, number: int) -> float:
    return total / number if number else math.nan


def count_block(d: Tensor, rows: RelationRows, margin: float) -> Counts:
    """Counts the triplets of a block of anchors, from their distances."""
    positive = rows.positive & rows.negative.any(1)[:, None]
    negative = rows.negative & rows.positive.any(1)[:, None]
    row, column = positive.nonzero(as_tuple=True)
    positives = torch.bincount(row, minlength=len(d))
    place = torch.arange(len(row), device=d.device) - (positives.cumsum(0) - positives)[row]
    d_ap = d.new_full((len(d), int(positives.max()) if len(d) else 0), -torch.inf)
    d_ap[row, place] = d[row, column]
    # How many of the anchor's negatives are at most, and below, a distance: by a sorted row.
    in_order = d.masked_fill(~negative, torch.inf).sort(1).values
    hard = torch.searchsorted(in_order, d_ap, right=True)
    active = torch.searchsorted(in_order, d_ap + margin, right=False)
    return Counts(
        triplets=int((positives * negative.sum(1)).sum()),
        hard=int(hard.sum()),
        active=int(active.sum()),
        within=int(torch.maximum(hard, active).sum()),
        positive_pairs=len(row),
        negative_pairs=int(negative.sum()),
        positive_sum=float(d[row, column].sum(dtype=torch.float64)),
        negative_sum=float(d[negative].sum(dtype=torch.float64)),
    )
