"""Training on listed triplets: the batches are made of their items, and the loss is theirs alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from trine.data import PKSampler, TripletSampler
from trine.errors import DataError, SettingError
from trine.shapes import Int64
from trine.training.data_loader import Batch, BatchLoader, PreparedItems
from trine.training.recipe import Recipe


class TripletLoader(BatchLoader):
    """The batches of a run on listed triplets; an item that several of them share comes once.

    Args:
        items: The prepared items.
        labels: The identity of each, for the figures of the log.
        triplets: Positions of anchor, positive and negative among the items.
        sampler_at: Which triplets go into each batch: the same sampler at every step.
        steps: How many batches the run takes.
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


def make_triplet_sampler(
    triplets: Int64[np.ndarray, "t 3"], *, items: int, recipe: Recipe, seed: int
) -> TripletSampler:
    """Makes the sampler of a run on listed triplets: a third as many in a batch as it may have items.

    Args:
        triplets: Positions of anchor, positive and negative among the items.
        items: How many items there are.
        recipe: The run's settings.
        seed: Where its randomness starts.

    Returns:
        The sampler.

    Raises:
        DataError: There is no triplet, or a position is out of range.
        SettingError: A setting chooses among pairs, where the triplets are chosen already.
    """
    if recipe.loss.name != "triplet":
        raise SettingError(
            f"loss.name is {recipe.loss.name}, and the triplets of this run are listed; set it to triplet "
            "and give no other loss, or train without triplets"
        )
    for key, value, off in (
        ("loss.memory", recipe.loss.memory, None),
        ("sampler.confusable", recipe.sampler.confusable, 0.0),
    ):
        if value is not None and value != off:
            raise SettingError(
                f"{key} is {value:g}, and the triplets of this run are listed, so nothing is chosen among "
                f"others; set it to {'null' if off is None else '0'}, or train without triplets"
            )
    for position, stage in enumerate(recipe.curriculum):
        for name in ("mining", "identities", "items"):
            if getattr(stage, name) is not None:
                raise SettingError(
                    f"curriculum[{position}].{name} is {getattr(stage, name)}, and the triplets of this run "
                    "are listed; leave it out, or train without triplets"
                )
    if recipe.training.devices > 1:
        raise SettingError(
            f"training.devices is {recipe.training.devices}, and listed triplets are learned from by one "
            "process; set it to 1, or train without triplets"
        )
    if not len(triplets):
        raise DataError("there are no triplets to train on; list some, or train on the items by identity")
    if triplets.min() < 0 or triplets.max() >= items:
        raise DataError(
            f"triplets hold positions from {triplets.min()} to {triplets.max()}, expected those of the "
            f"{items} training items"
        )
    return TripletSampler(len(triplets), triplets=max(1, recipe.sampler.batch // 3), seed=seed)
