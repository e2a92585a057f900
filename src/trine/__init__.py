"""Metric learning with the triplet loss: from labelled examples to an encoder, an evaluation and a gallery.

The package follows the data. Each part imports only what stands to its left::

    data ──▶ encoders ──▶ mining ──▶ losses ──▶ training ──▶ evaluation ──▶ gallery

In your own training loop, `TripletLoss`, `mine`, `census`, `pairwise_distances` and `cached_backward` need
only torch and numpy. `load` opens an encoder that `trine train` saved; `Gallery` stores known items and
answers queries about new ones. Names are imported when first used, which keeps the command line fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trine.client import Client
    from trine.distances import paired_distances, pairwise_distances
    from trine.encoders import Encoder, load
    from trine.errors import TrineError
    from trine.estimators import LMNN, TripletEmbedding
    from trine.gallery import Gallery
    from trine.losses import (
        ContrastiveLoss,
        CrossBatchMemory,
        TripletLoss,
        contrastive_loss,
        triplet_loss,
    )
    from trine.mining import Relations, census, mine
    from trine.training.grad_cache import cached_backward
    from trine.triplets import Census, Mining, Triplets

__version__ = "0.2.0"

_HOME = {
    "Census": "trine.triplets",
    "Client": "trine.client",
    "ContrastiveLoss": "trine.losses",
    "CrossBatchMemory": "trine.losses",
    "Encoder": "trine.encoders",
    "Gallery": "trine.gallery",
    "LMNN": "trine.estimators",
    "Mining": "trine.triplets",
    "Relations": "trine.mining",
    "TrineError": "trine.errors",
    "TripletEmbedding": "trine.estimators",
    "TripletLoss": "trine.losses",
    "Triplets": "trine.triplets",
    "cached_backward": "trine.training.grad_cache",
    "census": "trine.mining",
    "contrastive_loss": "trine.losses",
    "load": "trine.encoders",
    "mine": "trine.mining",
    "paired_distances": "trine.distances",
    "pairwise_distances": "trine.distances",
    "triplet_loss": "trine.losses",
}

__all__ = [
    "LMNN",
    "Census",
    "Client",
    "ContrastiveLoss",
    "CrossBatchMemory",
    "Encoder",
    "Gallery",
    "Mining",
    "Relations",
    "TrineError",
    "TripletEmbedding",
    "TripletLoss",
    "Triplets",
    "cached_backward",
    "census",
    "contrastive_loss",
    "load",
    "mine",
    "paired_distances",
    "pairwise_distances",
    "triplet_loss",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'trine' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
