"""Evaluation: pure functions from embeddings and labels to frozen reports.

Each report holds its metrics, the number of queries or pairs behind them, and the name of the protocol;
`to_json()` returns all of it as plain values, and `print` shows it as a table.
"""

from __future__ import annotations

from trine.evaluation.calibration import calibrate
from trine.evaluation.cluster_threshold import choose_cluster_threshold
from trine.evaluation.clustering import Clustering, clustering, clustering_from_assignment
from trine.evaluation.identification import Identification, identification
from trine.evaluation.knn_classification import KnnClassification, knn_classification
from trine.evaluation.label_errors import LabelErrors, SuspectLabel, find_label_errors
from trine.evaluation.leave_one_out import leave_one_out
from trine.evaluation.open_set import OpenSet, OpenSetCurve, open_set
from trine.evaluation.recommendation import Recommendation, recommendation, recommendation_from_scores
from trine.evaluation.retrieval import Retrieval, retrieval
from trine.evaluation.triplet_accuracy import (
    TripletAccuracy,
    TripletConsistency,
    triplet_accuracy,
    triplet_consistency,
)
from trine.evaluation.verification import Verification, load_pairs, verification

__all__ = [
    "Clustering",
    "Identification",
    "KnnClassification",
    "LabelErrors",
    "OpenSet",
    "OpenSetCurve",
    "Recommendation",
    "Retrieval",
    "SuspectLabel",
    "TripletAccuracy",
    "TripletConsistency",
    "Verification",
    "calibrate",
    "choose_cluster_threshold",
    "clustering",
    "clustering_from_assignment",
    "find_label_errors",
    "identification",
    "knn_classification",
    "leave_one_out",
    "load_pairs",
    "open_set",
    "recommendation",
    "recommendation_from_scores",
    "retrieval",
    "triplet_accuracy",
    "triplet_consistency",
    "verification",
]
