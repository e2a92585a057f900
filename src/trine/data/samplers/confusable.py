"""Bringing confusable identities together: groups change places between batches that were dealt evenly.

A swap leaves every batch as large as it was and every group in one batch, and is made only where no batch
gets two groups of one identity. So whatever the deal promised, the composed batches keep.
"""

from __future__ import annotations

import numpy as np

from trine.data.samplers.groups import Group
from trine.errors import SettingError
from trine.shapes import Bool, Int64


class Composer:
    """Composes the batches of one epoch, in place.

    The batches take turns, and in each turn one brings in one neighbour, so that those who come late to a
    short supply are not always the same. A neighbour is the nearest of the list that is to be had: in the
    batch already, or in another one and not yet brought together with anybody.

    Args:
        batches: The groups of each batch.
        owners: The identity of each item.
        neighbours: For each identity the identities it is confused with, nearest first; -1 is none.
        alone: Whether an identity has one item only; such groups change places among themselves, and so
            stay spread evenly.
        generator: Decides whose neighbours are asked for, and who makes room.

    Attributes:
        brought: How many groups of each batch are there for a neighbour's sake.
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
        self.brought = [0] * len(batches)
        # Identity ↦ its place in the batch; those that may still move, in random order; those that asked.
        self._held = [{int(owners[group[0]]): at for at, group in enumerate(own)} for own in batches]
        self._free = [dict.fromkeys(generator.permutation(list(held)).tolist()) for held in self._held]
        self._asking: list[list[int]] = [[] for _ in batches]
        self._where: dict[int, dict[int, None]] = {}
        for number, free in enumerate(self._free):
            for identity in free:
                self._where.setdefault(identity, {})[number] = None

    def compose(self, share: float) -> None:
        """Brings neighbours together until they are a share of each batch, or no more can be had.

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
                if self._bring_one(number, len(self._batches[number]) - wanted[number])
                and self.brought[number] < wanted[number]
            ]

    def _bring_one(self, number: int, places: int) -> bool:
        """Brings one neighbour into a batch, of which so many `places` are not for neighbours."""
        asking = self._asking[number]
        newcomers = list(self._free[number]) if len(asking) < places else []
        # Each asks for one before anybody asks for a second.
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
                self.brought[number] += 1
                return True
        return False

    def _fetch(self, number: int, neighbour: int) -> bool:
        """Exchanges a group that may move for one of the neighbour's, where a batch agrees."""
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
        neighbours: For each identity, in ascending order of the labels, the places in that order of the
            identities it is confused with; -1 is none.
        identities: How many there are.

    Raises:
        SettingError: There is not one row for each identity, or an entry is out of range.
    """
    if neighbours.ndim != 2 or len(neighbours) != identities:
        raise SettingError(
            f"neighbours has shape {neighbours.shape}, expected one row for each of the {identities} "
            "identities, in ascending order of the labels"
        )
    if neighbours.size and not -1 <= neighbours.min() <= neighbours.max() < identities:
        raise SettingError(
            f"neighbours holds numbers from {neighbours.min()} to {neighbours.max()}, expected places of the "
            f"{identities} identities, 0 to {identities - 1}, or -1 for none"
        )
    return np.ascontiguousarray(neighbours, dtype=np.int64)
