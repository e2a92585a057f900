"""The sampler of each moment: where a curriculum changes P or K, another one goes on."""

from __future__ import annotations

import numpy as np

from trine.data import PKSampler, TripletSampler
from trine.shapes import Int64
from trine.training.distributed import SINGLE_PROCESS, DistributedContext
from trine.training.recipe import Recipe, SamplerRecipe
from trine.training.schedule import batch_at, stream_seed

MOMENTS = 1000
"""At how many moments of a run its batches are counted, where they change with time."""


class SamplerSchedule:
    """Makes the sampler of each moment of a run; only the latest one is kept.

    Args:
        labels: The identity of each training item.
        recipe: What a batch is made of, and what becomes of it while training goes on.
        world: The processes, each of which draws a batch of its own.

    Raises:
        DataError: There are too few identities, or none has two items.
        SettingError: The recipe, or a stage of it, asks for more than the labels hold.

    Example:
        >>> from trine.training import Stage
        >>> recipe = Recipe(curriculum=(Stage(at=0.5, identities=4, items=2),))
        >>> samplers = SamplerSchedule(np.repeat(np.arange(10), 20), recipe=recipe)
        >>> [max(map(len, samplers.at(share))) for share in (0.0, 0.5)]
        [100, 8]
    """

    def __init__(
        self, labels: Int64[np.ndarray, " n"], *, recipe: Recipe, world: DistributedContext = SINGLE_PROCESS
    ) -> None:
        self._labels = labels
        self._sizes = np.unique(labels, return_counts=True)[1]
        self._recipe = recipe
        self._world = world
        self._latest: tuple[tuple[int, int], PKSampler] | None = None
        # Between two values that the data allows lie only such; so the ends of all stages tell.
        ends = {moment for stage in recipe.curriculum for moment in (stage.at, stage.until or stage.at)}
        for share in sorted({0.0, *ends}, reverse=True):
            self.at(share)

    def shape_at(self, share: float) -> tuple[int, int]:
        """Says what a batch is made of at some moment.

        Args:
            share: The moment, from 0 to 1.

        Returns:
            P and K.
        """
        recipe = self._recipe
        return batch_at(
            share,
            sizes=self._sizes,
            recipe=recipe.sampler,
            curriculum=recipe.curriculum,
            processes=self._world.size,
        )

    def at(self, share: float) -> PKSampler:
        """Returns the sampler of some moment: the same object as long as P and K are the same.

        Args:
            share: The moment, from 0 to 1.
        """
        shape = self.shape_at(share)
        if self._latest is None or self._latest[0] != shape:
            self._latest = (
                shape,
                make_sampler(
                    self._labels,
                    recipe=self._recipe.sampler,
                    shape=shape,
                    seed=stream_seed(self._recipe.seed, "sampler"),
                    world=self._world,
                ),
            )
        return self._latest[1]

    def steps_of(self, epochs: int) -> int:
        """Counts the batches in which the items are gone through so many times.

        Args:
            epochs: How many times.

        Returns:
            The number of batches. Where they change with time, so does the share of the items that each
            takes; then it is the number after which these shares add up, to the nearest batch.
        """
        shapes = [self.shape_at(moment / MOMENTS) for moment in range(MOMENTS)]
        share_of = {
            shape: 1 / max(1, len(self.at(shapes.index(shape) / MOMENTS))) for shape in dict.fromkeys(shapes)
        }
        return round(epochs * MOMENTS / sum(share_of[shape] for shape in shapes))


class FixedSampler:
    """One sampler for a whole run: that of listed triplets, which have no P and no K.

    Args:
        sampler: The sampler.
    """

    def __init__(self, sampler: TripletSampler) -> None:
        self._sampler = sampler

    def shape_at(self, share: float) -> None:
        """Says that there is no P and no K."""
        return

    def at(self, share: float) -> TripletSampler:
        """Returns the sampler."""
        return self._sampler

    def steps_of(self, epochs: int) -> int:
        """Counts the batches of so many epochs."""
        return epochs * len(self._sampler)


def make_sampler(
    labels: Int64[np.ndarray, " n"],
    *,
    recipe: SamplerRecipe,
    shape: tuple[int, int],
    seed: int,
    world: DistributedContext = SINGLE_PROCESS,
) -> PKSampler:
    """Makes one sampler.

    Args:
        labels: The identity of each training item.
        recipe: How it repeats, and how much of a batch is confusable.
        shape: P and K.
        seed: Where its randomness starts.
        world: The processes, each of which draws a batch of its own.

    Returns:
        The sampler.

    Raises:
        DataError: There are too few identities, or none has two items.
        SettingError: The shape asks for more than the labels hold.
    """
    identities, items = shape
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
