"""The samplers of a run: a curriculum that changes P or K switches to a new one."""

from __future__ import annotations

import numpy as np
import torch

from trine.data import PKSampler, TripletSampler
from trine.encoders import Encoder
from trine.errors import DataError, SettingError
from trine.losses import gathered
from trine.mining import confusable_identities
from trine.shapes import Int64
from trine.training.data_loader import PreparedItems, default_steps
from trine.training.distributed import SINGLE_PROCESS, DistributedContext, copy_from_first
from trine.training.early_stopping import embed_prepared
from trine.training.recipe import Recipe
from trine.training.schedule import batch_at, stream_seed

MOMENTS = 1000
"""How many points of a run are sampled to count its batches, if their size changes."""

LISTED = 16
"""Neighbours listed per identity: enough that some are left when other identities have taken theirs."""


class SamplerSchedule:
    """Makes the sampler of each moment of a run; only the latest one is kept.

    Args:
        labels: The identity of each training item.
        recipe: What a batch is made of, and how that changes during training.
        context: The processes, each of which draws its own batch.

    Raises:
        DataError: There are too few identities, or none has two items.
        SettingError: The recipe, or a stage of it, needs more identities or items than the labels have.

    Example:
        >>> from trine.training import Stage
        >>> recipe = Recipe(curriculum=(Stage(at=0.5, identities=4, items=2),))
        >>> samplers = SamplerSchedule(np.repeat(np.arange(10), 20), recipe=recipe)
        >>> [max(map(len, samplers.at(share))) for share in (0.0, 0.5)]
        [100, 8]
    """

    def __init__(
        self,
        labels: Int64[np.ndarray, " n"],
        *,
        recipe: Recipe,
        context: DistributedContext = SINGLE_PROCESS,
    ) -> None:
        self._labels = labels
        self._sizes = np.unique(labels, return_counts=True)[1]
        self._recipe = recipe
        self._context = context
        self._latest: tuple[tuple[int, int], PKSampler] | None = None
        # P and K stay between their values at the ends of the stages; if these are valid, so are all.
        ends = {moment for stage in recipe.curriculum for moment in (stage.at, stage.until or stage.at)}
        for share in sorted({0.0, *ends}, reverse=True):
            self.at(share)

    def shape_at(self, share: float) -> tuple[int, int]:
        """Returns P and K at a moment.

        Args:
            share: The moment, from 0 to 1.
        """
        return batch_at(
            share,
            sizes=self._sizes,
            recipe=self._recipe.sampler,
            curriculum=self._recipe.curriculum,
            processes=self._context.size,
        )

    def at(self, share: float) -> PKSampler:
        """Returns the sampler of a moment: the same object as long as P and K stay the same.

        Args:
            share: The moment, from 0 to 1.
        """
        shape = self.shape_at(share)
        if self._latest is None or self._latest[0] != shape:
            recipe = self._recipe.sampler
            sampler = PKSampler(
                self._labels,
                identities=shape[0],
                items=shape[1],
                repeat=recipe.repeat,
                confusable=recipe.confusable,
                last=recipe.last,
                seed=stream_seed(self._recipe.seed, "sampler"),
                rank=self._context.rank,
                world_size=self._context.size,
            )
            self._latest = (shape, sampler)
        return self._latest[1]

    def steps_of(self, epochs: int) -> int:
        """Returns the number of batches in some epochs.

        Args:
            epochs: How often the items are gone through.

        Returns:
            The number of batches. If the shape of a batch changes during the run, so does the share of the
            items that it takes; then the number after which these shares add up, to the nearest batch.
        """
        shapes = [self.shape_at(moment / MOMENTS) for moment in range(MOMENTS)]
        share_of = {
            shape: 1 / max(1, len(self.at(shapes.index(shape) / MOMENTS))) for shape in dict.fromkeys(shapes)
        }
        return round(epochs * MOMENTS / sum(share_of[shape] for shape in shapes))


class FixedSampler:
    """One sampler for the whole run: that of listed triplets, which have no P and K.

    Args:
        sampler: The sampler.
    """

    def __init__(self, sampler: TripletSampler) -> None:
        self._sampler = sampler

    def shape_at(self, share: float) -> None:
        """Returns None: listed triplets have no P and K."""
        return

    def at(self, share: float) -> TripletSampler:
        """Returns the sampler."""
        return self._sampler

    def steps_of(self, epochs: int) -> int:
        """Returns the number of batches in some epochs."""
        return epochs * len(self._sampler)


def steps_of(recipe: Recipe, samplers: SamplerSchedule | FixedSampler, *, places: int, batch: int) -> int:
    """Returns the number of steps of a run: as many as the recipe says, or as its data suggests.

    Args:
        recipe: The run's settings.
        samplers: Its samplers.
        places: The number of items that the batches are drawn from.
        batch: How many of them a step takes, in all processes.
    """
    if recipe.training.epochs is not None:
        return samplers.steps_of(recipe.training.epochs)
    return recipe.training.steps or default_steps(places, batch=batch)


def make_triplet_sampler(
    triplets: Int64[np.ndarray, "t 3"], *, items: int, recipe: Recipe, seed: int
) -> TripletSampler:
    """Makes the sampler of a run on listed triplets, with a third as many triplets per batch as items.

    Args:
        triplets: Positions of anchor, positive and negative among the items.
        items: The number of items.
        recipe: The run's settings.
        seed: The seed of its randomness.

    Raises:
        DataError: The list is empty, or a position is out of range.
        SettingError: A setting chooses among pairs, although the triplets are listed.
    """
    _check_for_triplets(recipe)
    if not len(triplets):
        raise DataError("there are no triplets to train on; list some, or train on the items by identity")
    if triplets.min() < 0 or triplets.max() >= items:
        raise DataError(
            f"triplets hold positions from {triplets.min()} to {triplets.max()}, expected those of the "
            f"{items} training items"
        )
    return TripletSampler(len(triplets), triplets=max(1, recipe.sampler.batch // 3), seed=seed)


def _check_for_triplets(recipe: Recipe) -> None:
    if recipe.loss.name != "triplet":
        raise SettingError(
            f"loss.name is {recipe.loss.name}, but the triplets of this run are listed; set it to triplet "
            "and pass no loss, or train without triplets"
        )
    unusable = {
        "loss.memory": (recipe.loss.memory, None),
        "loss.added": (recipe.loss.added, None),
        "sampler.confusable": (recipe.sampler.confusable, 0),
        "training.devices": (recipe.training.devices, 1),
        **{
            f"curriculum[{position}].{name}": (getattr(stage, name), None)
            for position, stage in enumerate(recipe.curriculum)
            for name in ("mining", "identities", "items")
        },
    }
    for key, (value, default) in unusable.items():
        if value != default:
            raise SettingError(
                f"{key} is {value}, which a run on listed triplets cannot use; set it to "
                f"{'null' if default is None else default}, or train without triplets"
            )


class ConfusableRefresh:
    """Finds which identities the encoder confuses with each other, every few epochs.

    The items are embedded as in evaluation; the encoder is left as it was. With several processes each embeds
    its share, all with the statistics of the first, and all of them get the same lists.

    Args:
        encoder: What is trained.
        prepared: The training items.
        labels: The identity of each.
        every: Epochs between two rounds, at least 1; there is none before the first epoch, when the encoder
            has learned nothing yet.
        context: The processes, all of which have to call at once.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        prepared: PreparedItems,
        labels: Int64[np.ndarray, " n"],
        every: int,
        context: DistributedContext = SINGLE_PROCESS,
    ) -> None:
        self._encoder = encoder
        self._prepared = prepared
        self._labels = labels
        self._every = every
        self._context = context

    def due(self, epoch: int) -> bool:
        """Whether to find them before this epoch."""
        return epoch > 0 and epoch % self._every == 0

    def next_due(self, epoch: int) -> int:
        """Returns the first later epoch that they are found before."""
        return (epoch // self._every + 1) * self._every

    def find(self) -> Int64[np.ndarray, "i k"]:
        """Finds them now.

        Returns:
            The lists, as `confusable_identities` returns them and `PKSampler` takes them.
        """
        context, count = self._context, len(self._prepared)
        # A resumed run has the buffers of the first process in all of them.
        copy_from_first(self._encoder, context=context)
        share = range(count * context.rank // context.size, count * (context.rank + 1) // context.size)
        embeddings = embed_prepared(self._encoder, self._prepared, positions=share)
        if context.size > 1:
            part = torch.from_numpy(embeddings).to(self._encoder.device)
            embeddings = gathered(part, torch.zeros(len(part), dtype=torch.int64)).rows.cpu().numpy()
        return confusable_identities(embeddings, self._labels, k=LISTED, distance=self._encoder.distance)
