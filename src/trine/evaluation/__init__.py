"""Evaluation: pure functions from embeddings and labels to frozen reports.

Each report carries its figures under the field's own names, how many queries or pairs stand behind
them, and the name of the protocol; `to_json()` gives all of it as plain values.
"""

from __future__ import annotations

from trine.evaluation.calibration import calibrate
from trine.evaluation.clustering import Clustering, clustering, clustering_of
from trine.evaluation.identification import Identification, identification
from trine.evaluation.knn_classification import Recognition, recognition
from trine.evaluation.label_errors import Audit, SuspectLabel, audit
from trine.evaluation.open_set import OpenSet, OpenSetCurve, open_set
from trine.evaluation.recommendation import Recommendation, recommendation, recommendation_of_scores
from trine.evaluation.retrieval import Retrieval, retrieval
from trine.evaluation.triplet_accuracy import Consistency, TripletAgreement, consistency, triplet_agreement
from trine.evaluation.verification import Verification, pairs_of, verification

__all__ = [
    "Audit",
    "Clustering",
    "Consistency",
    "Identification",
    "OpenSet",
    "OpenSetCurve",
    "Recognition",
    "Recommendation",
    "Retrieval",
    "SuspectLabel",
    "TripletAgreement",
    "Verification",
    "audit",
    "calibrate",
    "clustering",
    "clustering_of",
    "consistency",
    "identification",
    "open_set",
    "pairs_of",
    "recognition",
    "recommendation",
    "recommendation_of_scores",
    "retrieval",
    "triplet_agreement",
    "verification",
]
