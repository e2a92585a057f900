"""Batches of P identities with up to K items of each, and what an epoch of them is.

An epoch is made in two steps, both a function of the seed and the epoch's number alone, and with neighbour
lists in three:

1. Each identity's items are shuffled and split into groups of at most K, as evenly as possible (9 items
   and K = 4 make 3, 3, 3). No item is in two groups, so none is its own positive.
2. The groups are distributed over B batches so that no batch holds two groups of one identity, and the
   batches are as equal in size as possible.
3. Groups are swapped between batches, so that a share of each batch is of identities that are confused
   with another one in it; the rest stays, so that outliers do not dominate. The sizes of the batches and
   the guarantees below do not change.

So every item occurs once in an epoch, with two exceptions that avoid batches with little to compare:

- *Skew.* An identity with more groups than there are batches is in every batch once: B·K of its items occur
  in an epoch. They take turns, so that over the epochs all occur equally often.
- *Singletons.* An identity with one item has no positive and serves as a negative only. Such items
  take no more than about half of the places of a batch (more only if too few other identities could fill
  the rest), spread evenly over the batches; if there are too many, they take turns.

B is the largest number of batches that could be full, and one more if groups are left over and `last`
says so.
"""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trine.data.load_report import count
from trine.data.samplers.confusable import NeighbourSwaps, check_neighbours
from trine.data.samplers.epochs import EpochSampler, check_at_least
from trine.data.samplers.groups import Group, distribute, drop_groups, take_short_batch
from trine.errors import DataError, SettingError, check_choice
from trine.labels import Labels, codes
from trine.settings import Range, check_number
from trine.shapes import Int64

Repeat = Literal["never", "fill"]
"""Whether an item may occur more than once in an epoch; see `PKSampler`."""

Last = Literal["even", "short", "drop"]
"""What happens to the groups that do not make a full batch; see `PKSampler`."""


class PKSampler(EpochSampler):
    """Makes batches of P identities with up to K items of each, as positions of items.

    Args:
        labels: The identity of each item: integers or strings.
        identities: P, the most identities in a batch of one process; at least 2.
        items: K, the most items of one identity in a batch; at least 2.
        seed: With the epoch it decides every batch.
        repeat: "never" takes fewer than K items of a smaller identity. "fill" makes every group K
            items by repeating some: those of the identity's other groups first, then those of the
            group itself. The loss must then know which rows are the same item: pass the positions
            as its `item_ids`.
        last: "even" spreads groups that are left over by making one more batch and all batches a
            little smaller, by no more than a half. "short" keeps full batches and makes the last one
            short. With both, groups wait for another epoch if a batch would get fewer than two identities
            for each process. "drop" makes full batches only; each epoch chooses at random which groups wait.
        confusable: The share of the identities of a batch that come from the neighbour lists, in
            [0, 1), as far as they are available.
        neighbours: For each identity, in ascending order of the labels, the identities that it is
            confused with (their positions in that order, nearest first, -1 for none), as
            `trine.mining.confusable_identities` finds them; None swaps no groups.
        rank: The number of this process, from 0.
        world_size: The number of processes. The batches of all processes that belong together
            share no identity, and have equally many, to within one. Leave both out with Lightning, which sets
            them itself, and with Accelerate, which gives each process other batches of one sampler.
        sampler: A sampler with `rank` and `num_replicas`, such as a `DistributedSampler`, to take both from;
            Lightning passes it.

    Raises:
        DataError: There are fewer than two identities.
        InputError: A label is missing.
        SettingError: A setting is out of range for this data.

    Example:
        >>> labels = np.repeat([0, 1, 2], [4, 4, 2])
        >>> sampler = PKSampler(labels, identities=3, items=2)
        >>> len(sampler)
        2
        >>> sorted(index for batch in sampler for index in batch)
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def __init__(
        self,
        labels: Labels,
        *,
        identities: int = 16,
        items: int = 4,
        seed: int = 0,
        repeat: Repeat = "never",
        last: Last = "even",
        confusable: float = 0.0,
        neighbours: Int64[np.ndarray, "i k"] | None = None,
        rank: int = 0,
        world_size: int = 1,
        sampler: object = None,
    ) -> None:
        rank, world_size = getattr(sampler, "rank", rank), getattr(sampler, "num_replicas", world_size)
        super().__init__(seed=seed, rank=rank, world_size=world_size)
        # Lightning makes a batch sampler again, for its processes, from the arguments under these names.
        self._arguments: dict[str, object] = {
            "labels": labels,
            "identities": identities,
            "items": items,
            "seed": seed,
            "repeat": repeat,
            "last": last,
            "confusable": confusable,
            "neighbours": neighbours,
            "sampler": None,
        }
        saved = {"args": (), "kwargs": self._arguments, "default_kwargs": {}, "arg_names": ()}
        for name, value in saved.items():
            setattr(self, f"__pl_saved_{name}", value)
        self._labels = codes(labels)
        sizes = np.bincount(self._labels)
        _check_settings(identities, items, repeat, last, confusable)
        _check_sizes(sizes, identities=identities, items=items, repeat=repeat, world_size=world_size)
        self._sizes = sizes
        self._p = identities * world_size
        self._k = items
        self._repeat = repeat
        self._last = last
        self._groups = -(-sizes // items)
        self._batches, self._short, self._paired, self._single = self._plan()
        self._order = self._sorted_by_identity(np.random.default_rng([seed, 0]))
        self._confusable = confusable
        settings = (identities, items, seed, repeat, last, world_size, confusable)
        self._digest = hashlib.sha256(repr(settings).encode())
        self._digest.update(np.ascontiguousarray(self._labels, dtype="<i8").tobytes())
        self.set_neighbours(neighbours)

    def set_neighbours(self, neighbours: Int64[np.ndarray, "i k"] | None) -> None:
        """Replaces the neighbour lists, from the next epoch on.

        To resume in the middle of an epoch, set the lists that it began with before loading its state.

        Args:
            neighbours: As for the constructor.

        Raises:
            SettingError: The lists do not fit the identities.
        """
        digest = self._digest.copy()
        if neighbours is not None:
            neighbours = check_neighbours(neighbours, len(self._sizes))
            digest.update(repr(neighbours.shape).encode())
            digest.update(neighbours.astype("<i8").tobytes())
        self._neighbours, self.fingerprint = neighbours, digest.hexdigest()
        self._arguments["neighbours"] = neighbours

    def batches_of(self, epoch: int) -> list[list[int]]:
        """Makes all batches of an epoch, for this process."""
        return [
            [index for group in batch[self._rank :: self._world_size] for index in group]
            for batch in self._groups_of(epoch)
        ]

    def _plan(self) -> tuple[int, int, NDArray[np.int64], int]:
        """Decides what all epochs have in common.

        Returns:
            The number of batches; of groups in a short last one; of groups that each identity with a
            positive gives; and of singletons that occur.
        """
        low, high = 0, int(self._groups.sum()) // self._p
        while low < high:  # The largest number of batches that can be full.
            middle = (low + high + 1) // 2
            if self._quota(middle).sum() + self._singletons(middle) >= middle * self._p:
                low = middle
            else:
                high = middle - 1
        full, least, single = low, 2 * self._world_size, self._singletons(low)
        # One more batch is for identities that then fit completely, not for a skewed one.
        through = np.where(self._groups <= full + 1, self._quota(full + 1), self._quota(full))
        left_over = int(through.sum()) + single - full * self._p
        more = self._quota(full + 1)
        if self._last == "even" and left_over and (more.sum() + single) // (full + 1) >= least:
            return full + 1, 0, more, single
        if self._last == "short" and left_over >= least:
            return full + 1, left_over, through, single
        return full, 0, self._quota(full), single

    def _quota(self, batches: int) -> NDArray[np.int64]:
        """Counts the groups of each identity with a positive that this many batches can take."""
        return np.where(self._sizes > 1, np.minimum(self._groups, batches), 0)

    def _singletons(self, batches: int) -> int:
        """Counts the identities with one item that this many batches can take."""
        single = int((self._sizes == 1).sum())
        places = max(self._p // 2, self._p - (len(self._sizes) - single))
        return min(single, places * batches)

    def _sorted_by_identity(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Sorts the items by identity, each identity's items shuffled."""
        shuffled = generator.permutation(len(self._labels))
        return shuffled[np.argsort(self._labels[shuffled], kind="stable")]

    def _groups_of(self, epoch: int) -> list[list[Group]]:
        """Makes all batches of an epoch, for all processes: batches of groups of positions."""
        generator = np.random.default_rng([self._seed, 1, epoch])
        groups = self._choose(epoch, generator)
        total = sum(len(own) for own in groups)
        full = self._batches - (self._short > 0)
        surplus = total - full * self._p - self._short
        drop_groups(groups, max(surplus, 0), generator)
        last = take_short_batch(groups, self._short, full, generator) if self._short else []
        batches = distribute(groups, full, generator)
        if self._neighbours is not None and self._confusable > 0:
            NeighbourSwaps(
                [*batches, last] if last else batches,
                owners=self._labels,
                neighbours=self._neighbours,
                alone=self._sizes == 1,
                generator=np.random.default_rng([self._seed, 3, epoch]),
            ).swap(self._confusable)
        return [batches[place] for place in generator.permutation(full)] + ([last] if last else [])

    def _choose(self, epoch: int, generator: np.random.Generator) -> list[list[Group]]:
        """Picks the items of the epoch and splits those of each identity into groups."""
        turns = np.split(self._order, np.cumsum(self._sizes)[:-1])
        single = np.flatnonzero(self._sizes == 1)
        wanted = self._single
        order = np.random.default_rng([self._seed, 2]).permutation(single)
        alone = order[(epoch * wanted + np.arange(wanted)) % max(len(order), 1)]
        quota = self._paired
        paired = np.flatnonzero(quota)
        chosen: list[list[Group]] = []
        # Identities with positives come first, so that each batch gets its share of them.
        for identity in [*generator.permutation(paired), *generator.permutation(alone)]:
            own = turns[identity]
            most = int(max(quota[identity], 1)) * self._k
            if len(own) > most:
                own = own[(epoch * most + np.arange(most)) % len(own)]
            own = generator.permutation(own)
            split = [part.tolist() for part in np.array_split(own, -(-len(own) // self._k))]
            if self._repeat == "fill":
                split = [self._fill(group, turns[identity], generator) for group in split]
            chosen.append(split)
        return chosen

    def _fill(self, group: list[int], own: NDArray[np.int64], generator: np.random.Generator) -> list[int]:
        if len(group) == self._k:
            return group
        others = generator.permutation(np.setdiff1d(own, group)).tolist()
        filled: list[int] = (group + others)[: self._k]
        again: list[int] = generator.permutation(filled).tolist()
        return filled + (again * self._k)[: self._k - len(filled)]


def _check_settings(identities: int, items: int, repeat: str, last: str, confusable: float) -> None:
    for name, given, known in (("repeat", repeat, Repeat), ("last", last, Last)):
        check_choice(name, given, get_args(known), error=SettingError)
    check_at_least(identities=(identities, 2), items=(items, 2))
    check_number("confusable", confusable, Range(at_least=0, below=1))


def _check_sizes(
    sizes: NDArray[np.int64], *, identities: int, items: int, repeat: str, world_size: int
) -> None:
    """Raises an error where the identities are too few or too small for the batches."""
    if len(sizes) < 2:
        raise DataError(
            f"the training data has only {count(len(sizes), 'identity', 'identities')}: expected at least "
            "two, since a negative is an item of another identity"
        )
    if sizes.max() < 2:
        raise DataError(
            f"each of the {len(sizes):,} identities of the training data has only one item: expected some "
            "with two or more, since a positive is another item of the same identity"
        )
    if items > sizes.max() and repeat == "never":
        raise SettingError(
            f"items={items} is larger than any identity: the largest has {sizes.max()} items, so set "
            f"items to 2 to {sizes.max()}, or allow repeated items with repeat='fill'"
        )
    if identities * world_size > len(sizes):
        each = f" in each of {world_size} processes" if world_size > 1 else ""
        raise SettingError(
            f"identities={identities}{each} exceeds the {len(sizes)} identities of the training data: set "
            f"identities to at most {len(sizes) // world_size}"
        )
