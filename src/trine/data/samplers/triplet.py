"""Batches of listed triplets, where a table says which items are compared."""

from __future__ import annotations

import hashlib

import numpy as np

from trine.data.samplers.epochs import EpochSampler, check_at_least
from trine.errors import DataError


class TripletSampler(EpochSampler):
    """Splits the numbers of listed triplets into batches of nearly equal size; each occurs once an epoch.

    Args:
        count: How many triplets there are.
        triplets: The most triplets in a batch of one process, at least 1.
        seed: With the epoch it decides every batch.
        rank: The number of this process, from 0.
        world_size: The number of processes.

    Raises:
        DataError: There are fewer triplets than processes.
        SettingError: A setting is out of range.

    Example:
        >>> sampler = TripletSampler(7, triplets=3)
        >>> [len(batch) for batch in sampler]
        [3, 2, 2]
        >>> sorted(number for batch in sampler for number in batch)
        [0, 1, 2, 3, 4, 5, 6]
    """

    def __init__(
        self, count: int, *, triplets: int, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        check_at_least(triplets=(triplets, 1))
        super().__init__(seed=seed, rank=rank, world_size=world_size)
        if count < world_size:
            raise DataError(f"there are {count} triplets for {world_size} processes: give each at least one")
        self._count = count
        self._batches = -(-count // (triplets * world_size))
        settings = (count, triplets, seed, world_size)
        self.fingerprint = hashlib.sha256(repr(settings).encode()).hexdigest()

    def batches_of(self, epoch: int) -> list[list[int]]:
        """Makes all batches of an epoch, for this process."""
        order = np.random.default_rng([self._seed, 1, epoch]).permutation(self._count)
        parts = np.array_split(order, self._batches)
        return [batch[self._rank :: self._world_size].tolist() for batch in parts]
