"""Estimators with the interface of scikit-learn: arrays in, a learned distance out."""

from trine.estimators.lmnn import LMNN
from trine.estimators.triplet_embedding import TripletEmbedding

__all__ = ["LMNN", "TripletEmbedding"]
