"""Confusable identities in one batch: groups are swapped between batches of nearly equal size.

A swap changes no batch's size, keeps every group in one batch, and is made only if no batch gets two groups
of one identity. So the guarantees of the batches hold after the swaps.
"""

from __future__ import annotations

import numpy as np

from trine.data.samplers.groups import Group
from trine.errors import SettingError
from trine.shapes import Bool, Int64


class NeighbourSwaps:
    """Swaps groups between the batches of one epoch, in place.

    The batches take turns and fetch one neighbour in each turn, so that the same batches are not always last.
    They fetch the nearest neighbour on the list that is available: in the batch already,
    or in another one and not yet fetched for any identity.

    Args:
        batches: The groups of each batch.
        owners: The identity of each item.
        neighbours: For each identity the identities it is confused with, nearest first; -1 is none.
        alone: Whether an identity has only one item; such groups are swapped with each other only, and so
            stay spread evenly.
        generator: Decides whose neighbours are fetched, and which groups leave for them.

    Attributes:
        fetched: How many groups of each batch are there as neighbours of others.
    """

    def __init__(
        self,
        batches: list[list[Group]],
        *,
        owners: Int64[np.ndarray, " n"],
        neighbours: Int64[np.ndarray, "i k"],
        alone: Bool[np.ndarray, " i"],
        generator: np.random.Generator,
    ) -> None:
        self._batches = batches
        self._neighbours = neighbours
        self._alone = alone
        self._generator = generator
        self.fetched = [0] * len(batches)
        # Of each batch: identity ↦ place; those that may still move, in random order; those with neighbours.
        self._held = [{int(owners[group[0]]): at for at, group in enumerate(own)} for own in batches]
        self._free = [dict.fromkeys(generator.permutation(list(held)).tolist()) for held in self._held]
        self._asking: list[list[int]] = [[] for _ in batches]
        self._where: dict[int, dict[int, None]] = {}
        for number, free in enumerate(self._free):
            for identity in free:
                self._where.setdefault(identity, {})[number] = None

    def swap(self, share: float) -> None:
        """Fetches neighbours until they are a share of each batch, or no more are available.

        Args:
            share: The share of the groups of a batch that come from the lists, in [0, 1); rounded to
                whole groups.
        """
        wanted = [min(int(share * len(own) + 0.5), len(own) - 1) for own in self._batches]
        open_ = [number for number, most in enumerate(wanted) if most > 0]
        while open_:
            open_ = [
                number
                for number in self._generator.permutation(open_).tolist()
                if self._fetch_one(number, len(self._batches[number]) - wanted[number])
                and self.fetched[number] < wanted[number]
            ]

    def _fetch_one(self, number: int, places: int) -> bool:
        """Fetches one neighbour into a batch, of which `places` groups are not for neighbours."""
        asking = self._asking[number]
        newcomers = list(self._free[number]) if len(asking) < places else []
        # Every identity gets a first neighbour before any gets a second.
        for identity in [*newcomers, *asking]:
            if identity in self._free[number]:
                self._settle(number, identity)
                if self._find(number, identity):
                    asking.append(identity)
                    return True
                self._release(number, identity)
            elif self._find(number, identity):
                asking.append(asking.pop(asking.index(identity)))
                return True
        return False

    def _find(self, number: int, identity: int) -> bool:
        for neighbour in self._neighbours[identity].tolist():
            if neighbour in self._free[number] or (
                neighbour >= 0 and neighbour not in self._held[number] and self._fetch(number, neighbour)
            ):
                self._settle(number, neighbour)
                self.fetched[number] += 1
                return True
        return False

    def _fetch(self, number: int, neighbour: int) -> bool:
        """Swaps a group that may move for one of the neighbour's, if another batch can take it."""
        for other in self._where.get(neighbour, {}):
            for leaving in self._free[number]:
                if self._alone[leaving] == self._alone[neighbour] and leaving not in self._held[other]:
                    self._swap(number, leaving, other, neighbour)
                    return True
        return False

    def _swap(self, number: int, leaving: int, other: int, neighbour: int) -> None:
        here, there = self._held[number].pop(leaving), self._held[other].pop(neighbour)
        one, two = self._batches[number], self._batches[other]
        one[here], two[there] = two[there], one[here]
        self._held[number][neighbour], self._held[other][leaving] = here, there
        for batch, gone, come in ((number, leaving, neighbour), (other, neighbour, leaving)):
            self._settle(batch, gone)
            self._release(batch, come)

    def _settle(self, number: int, identity: int) -> None:
        del self._free[number][identity]
        del self._where[identity][number]

    def _release(self, number: int, identity: int) -> None:
        self._free[number][identity] = None
        self._where.setdefault(identity, {})[number] = None


def check_neighbours(neighbours: Int64[np.ndarray, "i k"], identities: int) -> Int64[np.ndarray, "i k"]:
    """Returns the lists, or raises a `SettingError` where they do not fit the identities.

    Args:
        neighbours: For each identity, in ascending order of the labels, the positions in that order of the
            identities it is confused with; -1 is none.
        identities: How many there are.

    Raises:
        SettingError: There is not one row for each identity, or an entry is out of range.
    """
    if not isinstance(neighbours, np.ndarray):
        raise SettingError(f"neighbours must be an array, given {type(neighbours).__name__}")
    if neighbours.ndim != 2 or len(neighbours) != identities:
        raise SettingError(
            f"neighbours has shape {neighbours.shape}, expected one row for each of the {identities} "
            "identities, in ascending order of the labels"
        )
    if neighbours.size and not -1 <= neighbours.min() <= neighbours.max() < identities:
        raise SettingError(
            f"neighbours holds numbers from {neighbours.min()} to {neighbours.max()}, expected positions "
            f"among the {identities} identities, 0 to {identities - 1}, or -1 for none"
        )
    return np.ascontiguousarray(neighbours, dtype=np.int64)
