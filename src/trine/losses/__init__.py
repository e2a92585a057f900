"""Losses: what training makes small."""

from trine.losses.triplet import TripletLoss, triplet_loss

__all__ = ["TripletLoss", "triplet_loss"]
