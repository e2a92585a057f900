"""Estimators in scikit-learn's manner: arrays in, a learned distance out."""

from trine.estimators.lmnn import LMNN

__all__ = ["LMNN"]
