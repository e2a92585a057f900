"""Batches of the training items, in the sampler's order and resumable at any step."""

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

PASSES, FEWEST_STEPS, MOST_STEPS = 5, 300, 2400


class Batch(NamedTuple):
    """The items of one step.

    Attributes:
        inputs: What the encoder takes.
        labels: The identity of each item.
        positions: The position of each among the training items.
        triplets: Rows of anchor, positive and negative, if the run trains on listed triplets.
    """

    inputs: Shaped[Tensor, "b ..."]
    labels: Int64[Tensor, " b"]
    positions: Int64[Tensor, " b"]
    triplets: Int64[Tensor, "t 3"] | None = None

    def to(self, device: torch.device) -> Batch:
        """Returns the batch on a device."""
        triplets = None if self.triplets is None else self.triplets.to(device)
        return Batch(self.inputs.to(device), self.labels.to(device), self.positions.to(device), triplets)


class Position(NamedTuple):
    """The position of a run.

    Attributes:
        epoch: The epoch of the latest batch.
        batches: The batches of this epoch so far.
        step: The batches of the run so far.
    """

    epoch: int
    batches: int
    step: int


class PreparedItems:
    """Items as the encoder takes them: all in memory if they fit, otherwise prepared on demand.

    Args:
        dataset: The items.
        encoder: What prepares them.
        cache: The number of bytes that may stay in memory.
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
    """Finds confusable identities between some of the epochs; see `ConfusableRefresh`."""

    def due(self, epoch: int) -> bool:
        """Whether to find them before this epoch."""
        ...

    def next_due(self, epoch: int) -> int:
        """Returns the first later epoch that they are found before."""
        ...

    def find(self) -> Int64[np.ndarray, "i k"]:
        """Finds them now."""
        ...


class BatchLoader:
    """The batches of a run, from any step on.

    The order depends on the sampler's seed, the epoch, the step and the neighbour lists alone, so that
    `position` and `neighbours` are all that a checkpoint needs. A new epoch begins when the sampler has gone
    through the items, and when another sampler takes over.

    Args:
        items: The prepared items; None if there is nothing to prepare.
        labels: The identity of each.
        sampler_at: Maps a step to the sampler that composes its batch: the same object until another one
            takes over.
        steps: The number of batches in the run.
        refresh: Finds new neighbour lists for the sampler; None uses none.

    Attributes:
        position: The position of the run.
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
        self._labels = torch.tensor(labels)
        self._sampler_at = sampler_at
        self._steps = steps
        self._refresh = refresh
        self.position = Position(0, 0, 0)
        self.neighbours: Int64[np.ndarray, "i k"] | None = None

    def __len__(self) -> int:
        return self._steps

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run needs."""
        state: dict[str, Any] = self.position._asdict()
        if self.neighbours is None:
            return state
        return {**state, "neighbours": torch.from_numpy(self.neighbours)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned: the next batch is the one after it."""
        self.position = Position(*(int(state[field]) for field in Position._fields))
        if "neighbours" in state:
            self.neighbours = state["neighbours"].numpy()

    def __iter__(self) -> Iterator[Batch]:
        for drawn in self._stretches():
            if self._items is None or self._items.in_memory is not None:
                for position, chosen in drawn:
                    self.position = position
                    yield self._batch(chosen)
                continue
            # Decode the next batch while the network processes this one.
            with ThreadPoolExecutor(max_workers=1) as ahead:
                for (position, _), batch in _one_ahead(drawn, self._batch, ahead):
                    self.position = position
                    yield batch

    def _stretches(self) -> Iterator[Iterator[tuple[Position, list[int]]]]:
        """The epochs between two refreshes: a batch is drawn only after all earlier ones are trained on."""
        epoch, done, step = self.position
        if step < self._steps and done and self._sampler_at(step - 1) is not self._sampler_at(step):
            epoch, done = epoch + 1, 0
        while self.position.step < self._steps:
            until = None
            if self._refresh is not None:
                if done == 0 and self._refresh.due(epoch):
                    self.neighbours = self._refresh.find()
                until = self._refresh.next_due(epoch)
            yield self._drawn(epoch, done, self.position.step, until)
            epoch, done = until or 0, 0

    def _drawn(
        self, epoch: int, done: int, step: int, until: int | None
    ) -> Iterator[tuple[Position, list[int]]]:
        while step < self._steps and (until is None or epoch < until):
            sampler = self._sampler_at(step)
            if self.neighbours is not None:
                assert isinstance(sampler, PKSampler)
                sampler.set_neighbours(self.neighbours)
            sampler.set_epoch(epoch)
            batches = list(sampler)
            if not batches:
                raise DataError(
                    "the sampler cannot fill a batch from the training items; add items, or lower "
                    "sampler.identities or sampler.items"
                )
            for number in range(done, len(batches)):
                if step == self._steps or self._sampler_at(step) is not sampler:
                    break
                step += 1
                yield Position(epoch, number + 1, step), batches[number]
            epoch, done = epoch + 1, 0

    def _batch(self, chosen: list[int]) -> Batch:
        positions = torch.as_tensor(chosen, dtype=torch.int64)
        assert self._items is not None
        return Batch(self._items[chosen], self._labels[positions], positions)


class TripletLoader(BatchLoader):
    """The batches of a run on listed triplets; an item that several of them share comes once.

    Args:
        items: The prepared items.
        labels: The identity of each, for the log.
        triplets: Positions of anchor, positive and negative among the items.
        sampler_at: As for `BatchLoader`; the same sampler at every step.
        steps: The number of batches in the run.
    """

    def __init__(
        self,
        items: PreparedItems,
        *,
        labels: Int64[np.ndarray, " n"],
        triplets: Int64[np.ndarray, "t 3"],
        sampler_at: Callable[[int], PKSampler | TripletSampler],
        steps: int,
    ) -> None:
        super().__init__(items, labels=labels, sampler_at=sampler_at, steps=steps)
        self._triplets = triplets

    def _batch(self, chosen: list[int]) -> Batch:
        listed = self._triplets[chosen]
        positions, rows = np.unique(listed, return_inverse=True)
        batch = super()._batch(positions.tolist())
        return batch._replace(triplets=torch.from_numpy(rows.reshape(listed.shape).astype(np.int64)))


class InteractionLoader(BatchLoader):
    """The batches of a run on interactions.

    Args:
        liked: User and item of each liked interaction.
        sampler: Which of them go into each batch.
        steps: The number of batches in the run.
    """

    def __init__(self, liked: Int64[np.ndarray, "n 2"], *, sampler: TripletSampler, steps: int) -> None:
        super().__init__(None, labels=liked[:, 0], sampler_at=lambda step: sampler, steps=steps)
        self._liked = torch.from_numpy(liked)

    def _batch(self, chosen: list[int]) -> Batch:
        positions = torch.as_tensor(chosen, dtype=torch.int64)
        pairs = self._liked[positions]
        return Batch(pairs, pairs[:, 0], positions)


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
    """Returns the number of steps of a run that does not set it.

    Args:
        items: The number of training items.
        batch: The number of items in a step.

    Returns:
        Enough to show every item five times; at least 300 and at most 2,400.

    Example:
        >>> default_steps(300, batch=128), default_steps(20_000, batch=128), default_steps(10**6, batch=128)
        (300, 782, 2400)
    """
    return min(max(math.ceil(PASSES * items / batch), FEWEST_STEPS), MOST_STEPS)
