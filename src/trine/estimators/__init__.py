"""Estimators in scikit-learn's manner: arrays in, a learned distance out."""

from trine.estimators.lmnn import LMNN
from trine.estimators.triplet_embedding import TripletEmbedding

__all__ = ["LMNN", "TripletEmbedding"]
