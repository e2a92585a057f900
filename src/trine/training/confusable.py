"""Offline mining while training goes on: every so often, who does the encoder confuse with whom?"""

from __future__ import annotations

import numpy as np
import torch

from trine.encoders import Encoder
from trine.losses import gathered
from trine.mining import confusable_identities
from trine.shapes import Int64
from trine.training.data_loader import PreparedItems
from trine.training.distributed import SINGLE_PROCESS, DistributedContext, as_in_first
from trine.training.early_stopping import embed_prepared

LISTED = 16
"""How many neighbours an identity's list has: enough for some to be left when others have chosen."""


class ConfusableRefresh:
    """Embeds the training items and finds each identity's confusable neighbours, every so many epochs.

    The items are embedded as evaluation embeds them, a batch at a time; the encoder is left as it was.
    With several processes each embeds its share, all from the statistics of the first, and every one gets
    the shares of all and finds the same.

    Args:
        encoder: What is trained.
        prepared: The training items.
        labels: The identity of each.
        every: Epochs between looks, at least 1; there is none before the first epoch, when the encoder
            has learned nothing yet.
        world: The processes, all of which have to look at once.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        prepared: PreparedItems,
        labels: Int64[np.ndarray, " n"],
        every: int,
        world: DistributedContext = SINGLE_PROCESS,
    ) -> None:
        self._encoder = encoder
        self._prepared = prepared
        self._labels = labels
        self._every = every
        self._world = world

    def due(self, epoch: int) -> bool:
        """Says whether to look before this epoch."""
        return epoch > 0 and epoch % self._every == 0

    def next_due(self, epoch: int) -> int:
        """Returns the first epoch after this one that begins with a look."""
        return (epoch // self._every + 1) * self._every

    def find(self) -> Int64[np.ndarray, "i k"]:
        """Looks now.

        Returns:
            The lists, as `confusable_identities` gives them and `PKSampler` takes them.
        """
        world = self._world
        # A resumed run has the buffers of the first process everywhere.
        as_in_first(self._encoder, world=world)
        share = share_of(len(self._prepared), rank=world.rank, world_size=world.size)
        embeddings = embed_prepared(self._encoder, self._prepared, positions=share)
        if world.size > 1:
            part = torch.from_numpy(embeddings).to(self._encoder.device)
            embeddings = gathered(part, torch.zeros(len(part), dtype=torch.int64)).rows.cpu().numpy()
        return confusable_identities(embeddings, self._labels, k=LISTED, distance=self._encoder.distance)


def share_of(count: int, *, rank: int, world_size: int) -> range:
    """Divides positions among processes: in order, and as evenly as can be.

    Args:
        count: How many positions there are.
        rank: Which of the processes, from 0.
        world_size: How many processes there are.

    Returns:
        The positions of this one.

    Example:
        >>> [list(share_of(5, rank=rank, world_size=3)) for rank in range(3)]
        [[0], [1, 2], [3, 4]]
    """
    return range(count * rank // world_size, count * (rank + 1) // world_size)
