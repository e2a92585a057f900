"""Losses: what training makes small."""

from trine.losses.contrastive import ContrastiveLoss, contrastive_loss
from trine.losses.differentiable import differentiable_triplet_loss
from trine.losses.memory import CrossBatchMemory, Memory
from trine.losses.processes import Gathered, gathered
from trine.losses.triplet import TripletLoss, triplet_loss

__all__ = [
    "ContrastiveLoss",
    "CrossBatchMemory",
    "Gathered",
    "Memory",
    "TripletLoss",
    "contrastive_loss",
    "differentiable_triplet_loss",
    "gathered",
    "triplet_loss",
]
