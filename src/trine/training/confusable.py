"""Offline mining while training goes on: every so often, who does the encoder confuse with whom?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trine.encoders import Encoder
from trine.mining import confusable_identities
from trine.shapes import Float32, Int64
from trine.training.batches import Prepared
from trine.training.looks import embed_prepared

LISTED = 16
"""How many neighbours an identity's list has: enough for some to be left when others have chosen."""

Gather = Callable[[Float32[np.ndarray, "n d"]], Float32[np.ndarray, "m d"]]
"""Puts the embeddings of all processes together, in the order of their ranks."""


class Confusions:
    """Embeds the training items and finds each identity's confusable neighbours, every so many epochs.

    The items are embedded as evaluation embeds them, a batch at a time; the encoder is left as it was.
    With several processes each embeds its share and `gather` puts the shares together, so that all find
    the same.

    Args:
        encoder: What is trained.
        prepared: The training items.
        labels: The identity of each.
        every: Epochs between looks, at least 1; there is none before the first epoch, when the encoder
            has learned nothing yet.
        rank: Which of the processes this is, from 0.
        world_size: How many there are.
        gather: Needed with several processes.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        prepared: Prepared,
        labels: Int64[np.ndarray, " n"],
        every: int,
        rank: int = 0,
        world_size: int = 1,
        gather: Gather | None = None,
    ) -> None:
        self._encoder = encoder
        self._prepared = prepared
        self._labels = labels
        self._every = every
        self._share = share_of(len(prepared), rank=rank, world_size=world_size)
        self._gather = gather

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
        embeddings = embed_prepared(self._encoder, self._prepared, positions=self._share)
        if self._gather is not None:
            embeddings = self._gather(embeddings)
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
