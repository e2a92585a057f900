"""The way from the training items to the network: batches in the sampler's order, resumable anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from trine.data import Dataset, PKSampler, TripletSampler
from trine.encoders import Encoder
from trine.errors import DataError
from trine.shapes import Int64, Shaped
from trine.training.processes import ALONE, World
from trine.training.recipe import SamplerRecipe

MOST_IDENTITIES = 32
PASSES, FEWEST_STEPS, MOST_STEPS = 5, 300, 2400


class Batch(NamedTuple):
    """Prepared items of one step.

    Attributes:
        inputs: What the encoder takes.
        labels: The identity of each.
        positions: Where each stands among the training items.
        triplets: Rows of anchor, positive and negative, where the loss is that of listed triplets.
    """

    inputs: Shaped[Tensor, "b ..."]
    labels: Int64[Tensor, " b"]
    positions: Int64[Tensor, " b"]
    triplets: Int64[Tensor, "t 3"] | None = None


class Prepared:
    """Items as the encoder takes them: all in memory where they fit, else prepared when asked for.

    Args:
        dataset: The items.
        encoder: What prepares them.
        cache: How many bytes may stay in memory.
    """

    def __init__(self, dataset: Dataset, *, encoder: Encoder, cache: float) -> None:
        self._dataset = dataset
        self._encoder = encoder
        width = 1 if dataset.kind == "images" else 4
        size = len(dataset) * width * int(np.prod(encoder.settings.shape))
        self.in_memory = encoder.prepare(dataset.items) if size <= cache else None

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, positions: Sequence[int]) -> Shaped[Tensor, "b ..."]:
        if self.in_memory is not None:
            return self.in_memory[torch.as_tensor(positions)]
        return self._encoder.prepare(self._dataset.items.subset(list(positions)))


class Refresh(Protocol):
    """Says, before some of the epochs, which identities are confused; see `Confusions`."""

    def due(self, epoch: int) -> bool:
        """Says whether to look before this epoch."""
        ...

    def next_due(self, epoch: int) -> int:
        """Returns the first epoch after this one that begins with a look."""
        ...

    def find(self) -> Int64[np.ndarray, "i k"]:
        """Looks now."""
        ...


class Batches:
    """The batches of a whole run, one after the other, from any step on.

    The order depends on the sampler's seed, the epoch and the neighbour lists alone, so that `position`
    and `neighbours` say all there is to say about where a run stands.

    Args:
        items: The prepared items.
        labels: The identity of each.
        sampler: What goes into each batch; asked anew in every epoch.
        steps: How many batches the run takes.
        refresh: Finds new neighbour lists for the sampler; None leaves it without.

    Attributes:
        position: The epoch, and the batches of it that were handed out.
        neighbours: The lists that the epoch was composed by; None without.
    """

    def __init__(
        self,
        items: Prepared,
        *,
        labels: Int64[np.ndarray, " n"],
        sampler: PKSampler | TripletSampler,
        steps: int,
        refresh: Refresh | None = None,
    ) -> None:
        self._items = items
        self._labels = torch.from_numpy(np.ascontiguousarray(labels))
        self._sampler = sampler
        self._steps = steps
        self._refresh = refresh
        self.position = (0, 0)
        self.neighbours: Int64[np.ndarray, "i k"] | None = None

    def __len__(self) -> int:
        return self._steps

    def state_dict(self) -> dict[str, Any]:
        """Says where the run stands; Lightning keeps it in the checkpoint."""
        state = {"epoch": self.position[0], "batches": self.position[1]}
        if self.neighbours is None:
            return state
        return {**state, "neighbours": torch.from_numpy(self.neighbours)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes to where `state_dict` stood; the next iteration hands out what comes after."""
        self.position = (int(state["epoch"]), int(state["batches"]))
        if "neighbours" in state:
            self._take(state["neighbours"].numpy())

    def __iter__(self) -> Iterator[Batch]:
        for drawn in self._stretches():
            if self._items.in_memory is not None:
                for position, chosen in drawn:
                    self.position = position
                    yield self._batch(chosen)
                continue
            # The next batch is decoded while the network works on this one.
            with ThreadPoolExecutor(max_workers=1) as ahead:
                for (position, _), batch in _one_ahead(drawn, self._batch, ahead):
                    self.position = position
                    yield batch

    def _stretches(self) -> Iterator[Iterator[tuple[tuple[int, int], list[int]]]]:
        """The epochs between two looks: no batch after a look is drawn before all before it are learned."""
        epoch, done = self.position
        while True:
            if self._refresh is None:
                yield self._drawn(epoch, done, None)
                continue
            if done == 0 and self._refresh.due(epoch):
                self._take(self._refresh.find())
            until = self._refresh.next_due(epoch)
            yield self._drawn(epoch, done, until)
            epoch, done = until, 0

    def _take(self, neighbours: Int64[np.ndarray, "i k"]) -> None:
        assert isinstance(self._sampler, PKSampler)
        self.neighbours = neighbours
        self._sampler.set_neighbours(neighbours)

    def _drawn(self, epoch: int, done: int, until: int | None) -> Iterator[tuple[tuple[int, int], list[int]]]:
        while until is None or epoch < until:
            self._sampler.set_epoch(epoch)
            batches = list(self._sampler)
            if not batches:
                raise DataError(
                    "the sampler makes no batch of the training items; give more items, or lower "
                    "sampler.identities or sampler.items"
                )
            for number in range(done, len(batches)):
                yield (epoch, number + 1), batches[number]
            epoch, done = epoch + 1, 0

    def _batch(self, chosen: list[int]) -> Batch:
        positions = torch.as_tensor(chosen, dtype=torch.int64)
        return Batch(self._items[chosen], self._labels[positions], positions)


def _one_ahead(
    drawn: Iterator[Any], make: Callable[[list[int]], Batch], pool: ThreadPoolExecutor
) -> Iterator[tuple[Any, Batch]]:
    now = next(drawn, None)
    coming = None if now is None else pool.submit(make, now[1])
    while coming is not None:
        after = next(drawn, None)
        following = None if after is None else pool.submit(make, after[1])
        yield now, coming.result()
        now, coming = after, following


def make_sampler(
    labels: Int64[np.ndarray, " n"], *, recipe: SamplerRecipe, seed: int, world: World = ALONE
) -> PKSampler:
    """Makes the sampler of a run: what the recipe leaves open is derived from the labels.

    Args:
        labels: The identity of each training item.
        recipe: What a batch is made of.
        seed: Where its randomness starts.
        world: The processes, each of which draws a batch of its own.

    Returns:
        The sampler.

    Raises:
        DataError: There are too few identities, or none has two items.
        SettingError: The recipe asks for more than the labels hold.

    Example:
        >>> sampler = make_sampler(
        ...     np.repeat(np.arange(10), 20), recipe=SamplerRecipe(batch=50), seed=0)
        >>> max(len(batch) for batch in sampler)
        50
    """
    sizes = np.unique(labels, return_counts=True)[1]
    identities = recipe.identities or max(2, min(len(sizes) // world.size, MOST_IDENTITIES))
    items = recipe.items or max(2, min(math.ceil(recipe.batch / identities), int(sizes.max(initial=2))))
    return PKSampler(
        labels,
        identities=identities,
        items=items,
        repeat=recipe.repeat,
        confusable=recipe.confusable,
        last=recipe.last,
        seed=seed,
        rank=world.rank,
        world_size=world.size,
    )


def default_steps(items: int, *, batch: int) -> int:
    """Derives the length of a run from the number of training items.

    Args:
        items: How many there are.
        batch: How many a step takes.

    Returns:
        The steps in which every item is seen five times; at least 300 and at most 2,400.

    Example:
        >>> default_steps(300, batch=128), default_steps(20_000, batch=128), default_steps(10**6, batch=128)
        (300, 782, 2400)
    """
    return min(max(math.ceil(PASSES * items / batch), FEWEST_STEPS), MOST_STEPS)


def steps_of(sampler: PKSampler | TripletSampler, *, epochs: int) -> int:
    """Counts the batches of the first epochs.

    Args:
        sampler: What makes them.
        epochs: How many epochs.

    Returns:
        The number of batches.
    """
    count = 0
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        count += len(sampler)
    return count
