"""Losses: what training minimises."""

from trine.losses.contrastive import ContrastiveLoss, contrastive_loss
from trine.losses.cross_batch_memory import CrossBatchMemory, Memory
from trine.losses.differentiable import differentiable_triplet_loss
from trine.losses.distributed import Gathered, gathered
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
