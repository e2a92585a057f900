"""Batches of listed triplets, where a table says which items are to be compared."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from trine.errors import DataError, SettingError


class TripletSampler(Sampler[list[int]]):
    """Deals the numbers of listed triplets into batches as even as can be; each comes once an epoch.

    Args:
        count: How many triplets there are.
        triplets: The most triplets in a batch of one process, at least 1.
        seed: With the epoch it decides every batch.
        rank: Which of the processes this is, from 0.
        world_size: How many processes there are.

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
        for name, value, least in (
            ("triplets", triplets, 1),
            ("seed", seed, 0),
            ("world_size", world_size, 1),
            ("rank", rank, 0),
        ):
            if value < least:
                raise SettingError(f"{name}={value} is out of range: expected {least} or more")
        if rank >= world_size:
            raise SettingError(f"rank={rank} is out of range: expected below world_size={world_size}")
        if count < world_size:
            raise DataError(f"there are {count} triplets for {world_size} processes: give each at least one")
        self._count = count
        self._batches = -(-count // (triplets * world_size))
        self._seed = seed
        self._rank, self._world_size = rank, world_size
        self._epoch = 0

    def __len__(self) -> int:
        """Counts the batches of an epoch, for each process; every epoch has as many."""
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        """Hands out the epoch."""
        order = np.random.default_rng([self._seed, 1, self._epoch]).permutation(self._count)
        for batch in np.array_split(order, self._batches):
            yield batch[self._rank :: self._world_size].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration deals.

        Args:
            epoch: The epoch's number, from 0.

        Raises:
            SettingError: The number is negative.
        """
        if epoch < 0:
            raise SettingError(f"epoch={epoch} is out of range: expected 0 or more")
        self._epoch = epoch
