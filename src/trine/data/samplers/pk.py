"""Batches of P identities with up to K items of each, and what an epoch of them is.

An epoch is made in two deals, both a function of the seed and the epoch's number alone, and where
neighbour lists are given a third step:

1. Each identity's items are shuffled and dealt into groups of at most K, as even as can be (9 items
   and K = 4 make 3, 3, 3). No item is in two groups, so none is its own positive.
2. The groups are dealt to B batches so that a batch never holds two groups of one identity, and the
   batches are as even as can be.
3. Groups change places between batches, so that a share of each batch is of identities that another one
   in it is confused with; the rest stays as it was dealt, so that outliers do not take over. The sizes
   of the batches and the promises below stay what they are.

So every item comes once in an epoch, with two exceptions, both of which would otherwise make batches
with little to compare:

- *Skew.* An identity with more groups than there are batches is in every batch, and no more: of its
  items, B·K come in an epoch. They take turns, so that over the epochs all come equally often.
- *Singletons.* An identity with one item has no positive and serves as a negative only. Such items
  take no more than about half of the places of a batch (more only where too few other identities
  could fill the rest), spread evenly over the batches; where there are too many, they take turns.

B is the largest number of batches that could be full, and one more if groups are left over and `last`
says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from trine.data.load_report import count
from trine.data.samplers.confusable import Composer, check_neighbours
from trine.data.samplers.groups import Group, leave_out, spread, take_short
from trine.errors import DataError, SettingError, nearest
from trine.shapes import Int, Int64

Repeat = Literal["never", "fill"]
"""Whether an item may come more than once in an epoch; see `PKSampler`."""

Last = Literal["even", "short", "drop"]
"""What becomes of the groups that do not make a full batch; see `PKSampler`."""


class PKSampler(Sampler[list[int]]):
    """Deals positions of items into batches of P identities with up to K items of each.

    Args:
        labels: The identity of each item, any integers.
        identities: P, the most identities in a batch of one process; at least 2.
        items: K, the most items of one identity in a batch; at least 2.
        seed: With the epoch it decides every batch.
        repeat: "never" takes fewer than K items of a smaller identity. "fill" makes every group K
            items by repeating some: those of the identity's other groups first, then those of the
            group itself. The loss must then be told which rows are the same item: pass the positions
            as its `item_ids`.
        last: "even" spreads groups that are left over by making one more batch and all batches a
            little smaller, by no more than a half. "short" keeps full batches and makes the last one
            short. Both wait for another epoch where a batch would get fewer than two identities for
            each process. "drop" makes full batches only; which groups wait is drawn anew each epoch.
        confusable: The share of the identities of a batch that come from the neighbour lists, in
            [0, 1), as far as they can be had.
        neighbours: For each identity, in ascending order of the labels, the identities that it is
            confused with (their places in that order, nearest first, -1 for none), as
            `trine.mining.confusable_identities` finds them; None leaves the batches as they are dealt.
        rank: Which of the processes this is, from 0.
        world_size: How many processes there are. The batches of all processes that belong together
            share no identity, and have equally many, to within one.

    Raises:
        DataError: There are fewer than two identities.
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
        labels: Int[np.ndarray, " n"],
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
    ) -> None:
        _, self._labels, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        _check(sizes, identities, items, seed, repeat, last, rank, world_size)
        if not 0 <= confusable < 1:
            raise SettingError(
                f"confusable={confusable} is out of range: expected a share of at least 0, below 1"
            )
        self._sizes = sizes
        self._p = identities * world_size
        self._k = items
        self._seed = seed
        self._repeat = repeat
        self._last = last
        self._rank = rank
        self._world_size = world_size
        self._groups = -(-sizes // items)
        self._batches, self._short, self._paired, self._single = self._plan()
        self._order = self._sorted_by_identity(np.random.default_rng([seed, 0]))
        self._confusable = confusable
        self._neighbours: Int64[np.ndarray, "i k"] | None = None
        settings = (identities, items, seed, repeat, last, world_size, confusable)
        self._digest = hashlib.sha256(repr(settings).encode())
        self._digest.update(np.ascontiguousarray(self._labels, dtype="<i8").tobytes())
        self.set_neighbours(neighbours)
        self._epoch = 0
        self._handed_out = 0
        self._start = 0

    def __len__(self) -> int:
        """Counts the batches of an epoch, for each process; every epoch has as many."""
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        """Hands out the rest of the epoch; when it is through, the next epoch is set."""
        epoch, start = self._epoch, self._start
        self._start = 0
        for number, batch in enumerate(self._deal(epoch)[start:], start=start + 1):
            self._handed_out = number
            mine = batch[self._rank :: self._world_size]
            yield [index for group in mine for index in group]
        if self._epoch == epoch:
            self._epoch, self._handed_out = epoch + 1, 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration deals; the same epoch keeps a loaded position.

        Args:
            epoch: The epoch's number, from 0.

        Raises:
            SettingError: The number is negative.
        """
        if epoch < 0:
            raise SettingError(f"epoch={epoch} is out of range: expected 0 or more")
        if epoch != self._epoch:
            self._epoch, self._handed_out, self._start = epoch, 0, 0

    def set_neighbours(self, neighbours: Int64[np.ndarray, "i k"] | None) -> None:
        """Takes new neighbour lists, from the next epoch that is begun on.

        To resume in the middle of an epoch, give the lists that it began with before its state is loaded.

        Args:
            neighbours: As at the making of the sampler.

        Raises:
            SettingError: The lists do not fit the identities.
        """
        digest = self._digest.copy()
        if neighbours is not None:
            neighbours = check_neighbours(neighbours, len(self._sizes))
            digest.update(repr(neighbours.shape).encode())
            digest.update(neighbours.astype("<i8").tobytes())
        self._neighbours, self._fingerprint = neighbours, digest.hexdigest()

    def state_dict(self, *, epoch: int | None = None, batches: int | None = None) -> dict[str, int | str]:
        """Says where the sampler stands, for `load_state_dict`.

        A data loader with workers fetches batches ahead, so the sampler has handed out more than was
        trained on: pass what the training loop counted.

        Args:
            epoch: The epoch; None takes the sampler's.
            batches: How many batches of the epoch are done; None takes those handed out.

        Returns:
            A dictionary that fits into JSON. It is the same for all processes.
        """
        return {
            "epoch": self._epoch if epoch is None else epoch,
            "batches": self._handed_out if batches is None else batches,
            "fingerprint": self._fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes to where `state_dict` stood; the next iteration hands out the rest of that epoch.

        Args:
            state: What `state_dict` returned.

        Raises:
            SettingError: It is no such state, or that of other data or settings.
        """
        fields = ("epoch", "batches", "fingerprint")
        if missing := [name for name in fields if name not in state]:
            raise SettingError(f"the sampler's state lacks {missing[0]!r}: expected what it saved")
        if state["fingerprint"] != self._fingerprint:
            raise SettingError(
                "the sampler's state was saved with other data or other settings: resume with the "
                "same labels, identities, items, seed, repeat, last, confusable, neighbours and world_size, "
                "or start anew"
            )
        if not (state["epoch"] >= 0 and 0 <= state["batches"] <= self._batches):
            raise SettingError(
                f"the sampler's state has epoch {state['epoch']} and {state['batches']} batches, "
                f"expected 0 or more, and 0 to {self._batches}"
            )
        self._epoch = int(state["epoch"])
        self._start = self._handed_out = int(state["batches"])

    def _plan(self) -> tuple[int, int, NDArray[np.int64], int]:
        """Fixes what every epoch has.

        Returns:
            How many batches there are; how many groups a short last one gets; how many groups each
            identity with a positive gives; how many singletons come.
        """
        low, high = 0, int(self._groups.sum()) // self._p
        while low < high:  # The largest number of batches that can be full.
            middle = (low + high + 1) // 2
            if self._quota(middle).sum() + self._singletons(middle) >= middle * self._p:
                low = middle
            else:
                high = middle - 1
        full, least, single = low, 2 * self._world_size, self._singletons(low)
        # One more batch is for those that it would bring through, not for a skewed identity.
        through = np.where(self._groups <= full + 1, self._quota(full + 1), self._quota(full))
        left_over = int(through.sum()) + single - full * self._p
        more = self._quota(full + 1)
        if self._last == "even" and left_over and (more.sum() + single) // (full + 1) >= least:
            return full + 1, 0, more, single
        if self._last == "short" and left_over >= least:
            return full + 1, left_over, through, single
        return full, 0, self._quota(full), single

    def _quota(self, batches: int) -> NDArray[np.int64]:
        """Counts the groups of each identity with a positive that so many batches can take."""
        return np.where(self._sizes > 1, np.minimum(self._groups, batches), 0)

    def _singletons(self, batches: int) -> int:
        """Counts the identities with one item that so many batches can take."""
        single = int((self._sizes == 1).sum())
        places = max(self._p // 2, self._p - (len(self._sizes) - single))
        return min(single, places * batches)

    def _sorted_by_identity(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Sorts the items by identity, each identity's items shuffled."""
        shuffled = generator.permutation(len(self._labels))
        return shuffled[np.argsort(self._labels[shuffled], kind="stable")]

    def _deal(self, epoch: int) -> list[list[Group]]:
        """Makes all batches of an epoch, for all processes: batches of groups of positions."""
        generator = np.random.default_rng([self._seed, 1, epoch])
        groups = self._choose(epoch, generator)
        total = sum(len(own) for own in groups)
        full = self._batches - (self._short > 0)
        surplus = total - full * self._p - self._short
        leave_out(groups, max(surplus, 0), generator)
        last = take_short(groups, self._short, full, generator) if self._short else []
        batches = spread(groups, full, generator)
        if self._neighbours is not None and self._confusable > 0:
            Composer(
                [*batches, last] if last else batches,
                owners=self._labels,
                neighbours=self._neighbours,
                alone=self._sizes == 1,
                generator=np.random.default_rng([self._seed, 3, epoch]),
            ).compose(self._confusable)
        return [batches[place] for place in generator.permutation(full)] + ([last] if last else [])

    def _choose(self, epoch: int, generator: np.random.Generator) -> list[list[Group]]:
        """Picks the items of the epoch and deals each identity's into groups."""
        turns = np.split(self._order, np.cumsum(self._sizes)[:-1])
        single = np.flatnonzero(self._sizes == 1)
        wanted = self._single
        order = np.random.default_rng([self._seed, 2]).permutation(single)
        alone = order[(epoch * wanted + np.arange(wanted)) % max(len(order), 1)]
        quota = self._paired
        paired = np.flatnonzero(quota)
        chosen: list[list[Group]] = []
        # Those with positives are dealt first, so that each batch gets its share of them.
        for identity in [*generator.permutation(paired), *generator.permutation(alone)]:
            own = turns[identity]
            most = int(max(quota[identity], 1)) * self._k
            if len(own) > most:
                own = own[(epoch * most + np.arange(most)) % len(own)]
            own = generator.permutation(own)
            dealt = [part.tolist() for part in np.array_split(own, -(-len(own) // self._k))]
            if self._repeat == "fill":
                dealt = [self._fill(group, turns[identity], generator) for group in dealt]
            chosen.append(dealt)
        return chosen

    def _fill(self, group: list[int], own: NDArray[np.int64], generator: np.random.Generator) -> list[int]:
        if len(group) == self._k:
            return group
        others = generator.permutation(np.setdiff1d(own, group)).tolist()
        filled: list[int] = (group + others)[: self._k]
        again: list[int] = generator.permutation(filled).tolist()
        return filled + (again * self._k)[: self._k - len(filled)]


def _check(
    sizes: NDArray[np.int64],
    identities: int,
    items: int,
    seed: int,
    repeat: str,
    last: str,
    rank: int,
    world_size: int,
) -> None:
    if len(sizes) < 2:
        raise DataError(
            f"the training data has {count(len(sizes), 'identity', 'identities')} only: expected at "
            "least two, since a negative is an item of another one"
        )
    for name, given, known in (("repeat", repeat, Repeat), ("last", last, Last)):
        if given not in get_args(known):
            raise SettingError(f"{name}={given!r} is unknown: {nearest(given, get_args(known))}")
    for name, value, least in (
        ("identities", identities, 2),
        ("items", items, 2),
        ("seed", seed, 0),
        ("world_size", world_size, 1),
        ("rank", rank, 0),
    ):
        if value < least:
            raise SettingError(f"{name}={value} is out of range: expected {least} or more")
    if rank >= world_size:
        raise SettingError(f"rank={rank} is out of range: expected below world_size={world_size}")
    if sizes.max() < 2:
        raise DataError(
            f"each of the {len(sizes):,} identities of the training data has one item only: "
            "expected some with two or more, since a positive is another item of the same one"
        )
    if items > sizes.max() and repeat == "never":
        raise SettingError(
            f"items={items} is larger than any identity: the largest has {sizes.max()} items, so set "
            f"items to 2 to {sizes.max()}, or allow repeated items with repeat='fill'"
        )
    if identities * world_size > len(sizes):
        each = f" in each of {world_size} processes" if world_size > 1 else ""
        raise SettingError(
            f"identities={identities}{each} asks for more than the {len(sizes)} identities of the "
            f"training data: set identities to at most {len(sizes) // world_size}"
        )
