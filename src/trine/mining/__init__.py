"""Mining: the rules that choose triplets, in a batch and in a whole set."""

from trine.engine.relations import Relations
from trine.mining.confusable import confusable_identities
from trine.mining.offline import (
    MinedTriplets,
    OfflineMining,
    mine_offline,
    stream_triplets,
)
from trine.mining.online import census, mine

__all__ = [
    "MinedTriplets",
    "OfflineMining",
    "Relations",
    "census",
    "confusable_identities",
    "mine",
    "mine_offline",
    "stream_triplets",
]
