"""The way from the training items to the network: batches in the sampler's order, resumable anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from trine.data import Dataset, ImageFiles, PKSampler, TripletSampler
from trine.encoders import Encoder
from trine.errors import DataError
from trine.shapes import Int64, Shaped

FIELDS = ("epoch", "batches", "step")
PASSES, FEWEST_STEPS, MOST_STEPS = 5, 300, 2400


class Batch(NamedTuple):
    """PreparedItems items of one step.

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


class PreparedItems:
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
        if isinstance(dataset.items, ImageFiles):
            dataset.items.cache.prepared.most = cache
        self.in_memory = encoder.prepare(dataset.items) if size <= cache else None

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, positions: Sequence[int]) -> Shaped[Tensor, "b ..."]:
        if self.in_memory is not None:
            return self.in_memory[torch.as_tensor(positions)]
        return self._encoder.prepare(self._dataset.items.subset(list(positions)))


class Refresh(Protocol):
    """Says, before some of the epochs, which identities are confused; see `ConfusableRefresh`."""

    def due(self, epoch: int) -> bool:
        """Says whether to look before this epoch."""
        ...

    def next_due(self, epoch: int) -> int:
        """Returns the first epoch after this one that begins with a look."""
        ...

    def find(self) -> Int64[np.ndarray, "i k"]:
        """Looks now."""
        ...


class BatchLoader:
    """The batches of a whole run, one after the other, from any step on.

    The order depends on the sampler's seed, the epoch, the step and the neighbour lists alone, so that
    `position` and `neighbours` say all there is to say about where a run stands. A new epoch begins when the
    sampler has gone through the items, and when another sampler takes over.

    Args:
        items: The prepared items; None where there is nothing to prepare.
        labels: The identity of each.
        sampler_at: What decides the batch of a step: the same object until another one takes over.
        steps: How many batches the run takes.
        refresh: Finds new neighbour lists for the sampler; None leaves it without.

    Attributes:
        position: The epoch, the batches of it that were handed out, and those of the whole run.
        neighbours: The lists that the epoch was composed by; None without.
    """

    def __init__(
        self,
        items: PreparedItems | None,
        *,
        labels: Int64[np.ndarray, " n"],
        sampler_at: Callable[[int], PKSampler | TripletSampler],
        steps: int,
        refresh: Refresh | None = None,
    ) -> None:
        self._items = items
        self._labels = torch.from_numpy(np.ascontiguousarray(labels))
        self._sampler_at = sampler_at
        self._steps = steps
        self._refresh = refresh
        self.position = (0, 0, 0)
        self.neighbours: Int64[np.ndarray, "i k"] | None = None

    def __len__(self) -> int:
        return self._steps

    def state_dict(self) -> dict[str, Any]:
        """Says where the run stands; Lightning keeps it in the checkpoint."""
        state: dict[str, Any] = dict(zip(FIELDS, self.position, strict=True))
        if self.neighbours is None:
            return state
        return {**state, "neighbours": torch.from_numpy(self.neighbours)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes to where `state_dict` stood; the next iteration hands out what comes after."""
        epoch, batches, step = (int(state[field]) for field in FIELDS)
        self.position = (epoch, batches, step)
        if "neighbours" in state:
            self.neighbours = state["neighbours"].numpy()

    def __iter__(self) -> Iterator[Batch]:
        for drawn in self._stretches():
            if self._items is None or self._items.in_memory is not None:
                for position, chosen in drawn:
                    self.position = position
                    yield self._batch(chosen)
                continue
            # The next batch is decoded while the network works on this one.
            with ThreadPoolExecutor(max_workers=1) as ahead:
                for (position, _), batch in _one_ahead(drawn, self._batch, ahead):
                    self.position = position
                    yield batch

    def _stretches(self) -> Iterator[Iterator[tuple[tuple[int, int, int], list[int]]]]:
        """The epochs between two looks: no batch after a look is drawn before all before it are learned."""
        epoch, done, step = self.position
        if done and self._sampler_at(step - 1) is not self._sampler_at(step):
            epoch, done = epoch + 1, 0
        while True:
            if self._refresh is None:
                yield self._drawn(epoch, done, step, None)
                continue
            if done == 0 and self._refresh.due(epoch):
                self.neighbours = self._refresh.find()
            until = self._refresh.next_due(epoch)
            yield self._drawn(epoch, done, step, until)
            epoch, done, step = until, 0, self.position[2]

    def _drawn(
        self, epoch: int, done: int, step: int, until: int | None
    ) -> Iterator[tuple[tuple[int, int, int], list[int]]]:
        while until is None or epoch < until:
            sampler = self._sampler_at(step)
            if self.neighbours is not None:
                assert isinstance(sampler, PKSampler)
                sampler.set_neighbours(self.neighbours)
            sampler.set_epoch(epoch)
            batches = list(sampler)
            if not batches:
                raise DataError(
                    "the sampler makes no batch of the training items; give more items, or lower "
                    "sampler.identities or sampler.items"
                )
            for number in range(done, len(batches)):
                if self._sampler_at(step) is not sampler:
                    break
                step += 1
                yield (epoch, number + 1, step), batches[number]
            epoch, done = epoch + 1, 0

    def _batch(self, chosen: list[int]) -> Batch:
        positions = torch.as_tensor(chosen, dtype=torch.int64)
        assert self._items is not None
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
