"""trine: metric learning with the triplet loss."""

from trine.distances import paired_distances, pairwise_distances
from trine.errors import TrineError
from trine.losses import TripletLoss, triplet_loss
from trine.mining import census, mine
from trine.triplets import Census, Mining, Triplets

__all__ = [
    "Census",
    "Mining",
    "TrineError",
    "TripletLoss",
    "Triplets",
    "census",
    "mine",
    "paired_distances",
    "pairwise_distances",
    "triplet_loss",
]
