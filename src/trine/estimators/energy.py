"""Energy-based classification: the class with the lowest cost for a new item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from trine.estimators.large_margin import TILE, find_targets, squared_distances
from trine.shapes import Float, Int64


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """The training items as they were mapped.

    Attributes:
        rows: One row per item.
        classes: The class of each, numbered from 0.
        limits: The squared distance to each of its k nearest of its class plus one, which items of other
            classes must exceed; minus infinity where there are fewer.
    """

    rows: Float[np.ndarray, "n e"]
    classes: Int64[np.ndarray, " n"]
    limits: Float[np.ndarray, "n k"]

    @classmethod
    def of(cls, rows: Float[np.ndarray, "n e"], classes: Int64[np.ndarray, " n"], *, k: int) -> Self:
        """Measures the neighbourhoods of mapped items."""
        targets = find_targets(rows, classes, k=k)
        item, rank = np.nonzero(targets >= 0)
        limits = np.full(targets.shape, -np.inf)
        limits[item, rank] = squared_distances(rows, item, targets[item, rank]) + 1
        return cls(rows, classes, limits)

    @property
    def neighbours(self) -> int:
        """How many neighbours count."""
        return int(self.limits.shape[1])


def lowest_energy(
    z: Float[np.ndarray, "m e"], known: Neighbourhoods, *, regularization: float
) -> Int64[np.ndarray, " m"]:
    """Finds the class with the lowest cost (Weinberger, Saul 2009, §4.3).

    The cost of a class has three parts: pulling the item to its nearest items of that class, the impostors
    of the item among the other classes, and the item as an impostor of items of other classes.

    Args:
        z: One row per new item.
        known: The training items.
        regularization: μ, how much pushing counts against pulling.

    Returns:
        A class for each.
    """
    count = int(known.classes.max()) + 1
    member = known.classes == np.arange(count)[:, None]
    norms = np.einsum("nd,nd->n", known.rows, known.rows)
    found = np.empty(len(z), dtype=np.int64)
    step = max(1, TILE // max(len(known.rows), 1))
    for start in range(0, len(z), step):
        part = z[start : start + step]
        d = np.einsum("nd,nd->n", part, part)[:, None] + norms - 2 * part @ known.rows.T
        np.maximum(d, 0, out=d)
        intruding = np.zeros_like(d)
        for limit in known.limits.T:
            intruding += np.maximum(limit - d, 0)
        to_own = intruding @ member.T.astype(float)
        costs = regularization * (to_own.sum(1, keepdims=True) - to_own)
        for own in range(count):
            inside, outside = d[:, member[own]], d[:, ~member[own]]
            nearest = np.partition(inside, min(known.neighbours, inside.shape[1]) - 1, axis=1)
            for reach in nearest[:, : known.neighbours].T:
                costs[:, own] += (1 - regularization) * reach
                costs[:, own] += regularization * np.maximum(1 + reach[:, None] - outside, 0).sum(1)
        found[start : start + step] = costs.argmin(1)
    return found
