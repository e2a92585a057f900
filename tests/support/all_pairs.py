"""Verification over all pairs with tiles and samples of a chosen size."""

import numpy as np

from trine.evaluation import Verification
from trine.evaluation.all_pairs import all_pairs
from trine.evaluation.pair_intervals import PAIR_RESAMPLES
from trine.labels import codes
from trine.neighbours import as_rows


def verified(embeddings, labels, *, distance="euclidean", seed=0, **sizes):
    """What `verification` reports of all pairs, with `held` and `tile` as `all_pairs` takes them."""
    rows = as_rows(embeddings, name="embeddings")
    identity = codes(labels, items=len(rows))
    pairs = all_pairs(rows, identity, distance=distance, seed=seed, **sizes)
    at = (0.001, 0.01, 0.1)
    return Verification(
        pairs,
        len(np.unique(identity)),
        distance,
        "verification: all pairs",
        at=at,
        resamples=PAIR_RESAMPLES,
        seed=seed,
    )
