"""Labels that are probably wrong: items that stay among one other identity, while the rest do not.

A mislabelled item lies among another identity, while nearly all others lie among their own. A network learns
such an item last, if at all (Arpit et al. 2017, "A closer look at memorization in deep networks"; Pleiss et
al. 2020 rank items by it, over the logits of a classifier): its positives stay the hardest of their batches.
Overlapping classes produce many such items, and are left out: if the rest of the batch is misplaced too, or
many items of one identity look like the same other one, nothing is suspected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trine.display import printable
from trine.distances import Distance, compared_rows
from trine.shapes import Float, Int64

OBSERVATIONS = 13
"""About how often an item is observed: if it comes more often, batches are skipped."""

HORIZON = 0.15
"""The share of the run that a suspicion takes to grow and to fade."""

QUICKEST = 0.25
"""The most that one observation counts, so that it takes at least four: 1 − 0.75⁴ > 0.6."""

CONFUSED = 0.25
"""The share of misplaced items in a batch from which on it counts nothing."""

CLEARLY = 0.8
"""How much nearer the other identity must be: items of overlapping classes lie in between."""

SUSPECTED, DOUBTFUL = 0.6, 0.35
OVERLAP = 0.05
"""The share of an identity that looks like one other identity from which on the two overlap."""


@dataclass(frozen=True)
class Suspect:
    """An item whose label is probably wrong.

    Attributes:
        item: The name of the item.
        identity: Its label.
        looks_like: The identity it lies among.
        suspicion: How steadily it does, from 0 to 1.
    """

    item: str
    identity: str
    looks_like: str
    suspicion: float

    def __str__(self) -> str:
        return printable(f"{self.item} ({self.identity}, looks like {self.looks_like})")


class LabelNoiseDetector:
    """Finds the items of each batch that lie among another identity, and remembers for how long they do.

    Args:
        labels: The identity of each training item.
        steps: The number of steps in the run.
        batch: The approximate number of items in a batch.

    Attributes:
        every: Steps between two observations.
    """

    def __init__(self, labels: Int64[np.ndarray, " n"], *, steps: int, batch: int) -> None:
        self._labels = labels
        self.every = max(1, int(steps * batch / max(1, len(labels)) / OBSERVATIONS))
        self._horizon = max(1.0, HORIZON * steps)
        # Per item: its suspicion, of which other identity, the step of its last observation; and the highest
        # suspicion so far, of which identity.
        self._state = torch.tensor([0.0, -1, -1, 0, -1], dtype=torch.float32).repeat(len(labels), 1)

    def observe(
        self,
        embeddings: Float[Tensor, "b d"],
        labels: Int64[Tensor, " b"],
        positions: Int64[Tensor, " b"],
        *,
        step: int,
        distance: Distance = "euclidean",
    ) -> None:
        """Observes every `every`-th batch.

        Args:
            embeddings: One row per item.
            labels: The identity of each.
            positions: The position of each among the training items.
            step: The step.
            distance: The distance of the run; cosine compares directions only.
        """
        if step % self.every:
            return
        rows = embeddings.detach().float()
        other, nearness = nearest_other(compared_rows(rows, distance), labels)
        judged, wrong = ~nearness.isnan(), nearness < CLEARLY
        confused = (nearness < 1).sum() / judged.sum().clamp(min=1)
        weight = (1 - confused / CONFUSED).clamp(min=0)
        self._state = self._state.to(rows.device)
        suspicion, known, looked, highest, highest_other = self._state[positions].unbind(1)
        seen = (wrong & ((other == known) | (known < 0))) * weight
        rate = ((step - looked) / self._horizon).clamp(max=QUICKEST) * judged
        suspicion = suspicion + rate * (seen - suspicion)
        # Another identity replaces one with little suspicion.
        known = torch.where(wrong & (other != known) & (suspicion < QUICKEST), other, known)
        highest_other = torch.where(suspicion > highest, known, highest_other)
        highest = torch.maximum(suspicion, highest)
        looked = torch.where(judged, step, looked)
        self._state[positions] = torch.stack([suspicion, known, looked, highest, highest_other], dim=1)

    def observed(self) -> int:
        """Counts the items that were observed."""
        return int((self._state[:, 2] >= 0).sum())

    def doubtful(self) -> int:
        """Counts the items that are half suspected: overlapping classes have many of them."""
        highest = self._state[:, 3]
        return int(((highest >= DOUBTFUL) & (highest < SUSPECTED)).sum())

    def suspects(self, names: Sequence[str], identities: Sequence[str]) -> tuple[Suspect, ...]:
        """Lists the items with labels that are probably wrong.

        Args:
            names: The name of each training item.
            identities: The name of each label.

        Returns:
            The suspects, the steadiest first.
        """
        highest = self._state[:, 3].cpu().numpy()
        other = self._state[:, 4].cpu().numpy().astype(np.int64)
        found = np.flatnonzero(highest >= SUSPECTED)
        if not len(found):
            return ()
        pairs, pair, alike = np.unique(
            np.stack([self._labels[found], other[found]]), axis=1, return_inverse=True, return_counts=True
        )
        size = np.bincount(self._labels)[pairs[0]]
        alone = (alike <= np.maximum(2, OVERLAP * size))[pair.ravel()]
        found = found[alone]
        return tuple(
            Suspect(names[i], identities[self._labels[i]], identities[other[i]], round(float(highest[i]), 3))
            for i in found[np.argsort(-highest[found], kind="stable")].tolist()
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run needs."""
        return {"state": self._state.cpu()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self._state = state["state"]


def nearest_other(
    embeddings: Float[Tensor, "b d"], labels: Int64[Tensor, " b"]
) -> tuple[Int64[Tensor, " b"], Float[Tensor, " b"]]:
    """Finds the other identity that each item of a batch lies nearest to, and how near.

    Args:
        embeddings: One row per item.
        labels: The identity of each.

    Returns:
        The other identity whose mean is the nearest; and the distance to it, over that to the mean of the
        item's own identity without it: below 1 if the item lies nearer to the other. NaN if there is no
        other item of its identity, or no other identity.

    Example:
        >>> rows = torch.tensor([[0.0], [0.2], [5.0], [5.1], [4.9], [0.1]])
        >>> other, nearness = nearest_other(rows, torch.tensor([7, 7, 3, 3, 3, 3]))
        >>> other.tolist(), (nearness < 1).tolist()
        ([3, 3, 7, 7, 7, 7], [False, False, False, False, False, True])
    """
    present, own, number = torch.unique(labels, return_inverse=True, return_counts=True)
    if len(present) < 2:
        return labels, torch.full_like(embeddings[:, 0], torch.nan)
    count = number.to(embeddings.dtype)
    sums = torch.zeros(len(present), embeddings.shape[1], dtype=embeddings.dtype, device=embeddings.device)
    sums.index_add_(0, own, embeddings)
    means = sums / count[:, None]
    distances = torch.cdist(embeddings, means)
    # The mean of the others of its identity is count / (count − 1) times as far as that of all.
    size = count[own]
    to_own = (embeddings - means[own]).norm(dim=1) * size / (size - 1)
    distances.scatter_(1, own[:, None], torch.inf)
    to_other, nearest = distances.min(dim=1)
    return present[nearest], torch.where(size > 1, to_other / to_own, torch.nan)
