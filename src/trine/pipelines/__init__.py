"""A run, from data to a folder: divide, train, calibrate, evaluate, and leave what was found.

runs/faces/
  recipe.yaml     every setting
  split.json      which item was in which part, and triplets.parquet which judgement
  metrics.csv     the log of training, and TensorBoard's beside it
  doctor.json     what is wrong with the run, and items whose labels may be wrong
  checkpoints/    what resuming goes on from
  model/          the encoder: weights, settings, calibration, card
  metrics.json    the figures on the test part, before training and after
  report.html     the same with curves, neighbours, hardest pairs and the map, as one page
  picture.png     nearest-neighbour rows and the 2-D map of the test part
"""

from trine.evaluation.listed_pairs import ListedPairs, listed_pairs
from trine.pipelines.audit import (
    AuditReport,
    audit_run,
    check_page,
    check_table,
    write_audit_page,
    write_suspects,
)
from trine.pipelines.compare import Comparison, compare_runs
from trine.pipelines.diagnose import Examination, examine
from trine.pipelines.evaluate import evaluate_run
from trine.pipelines.export import cluster_items, write_clusters, write_embeddings
from trine.pipelines.mine import MiningReport, mine_run, write_triplets
from trine.pipelines.recommend import (
    RecommendationReport,
    enrol_items,
    measure_scores,
    measure_towers,
    popularity,
    train_recommender,
)
from trine.pipelines.split_record import part_of
from trine.pipelines.train import train_run
from trine.pipelines.triplet_judgements import evaluate_judged, train_judged
from trine.report.evaluation_report import Metrics, Report, compute_metrics
from trine.report.triplet_judgements_report import JudgedReport

__all__ = [
    "AuditReport",
    "Comparison",
    "Examination",
    "JudgedReport",
    "ListedPairs",
    "Metrics",
    "MiningReport",
    "RecommendationReport",
    "Report",
    "audit_run",
    "check_page",
    "check_table",
    "cluster_items",
    "compare_runs",
    "compute_metrics",
    "enrol_items",
    "evaluate_judged",
    "evaluate_run",
    "examine",
    "listed_pairs",
    "measure_scores",
    "measure_towers",
    "mine_run",
    "part_of",
    "popularity",
    "train_judged",
    "train_recommender",
    "train_run",
    "write_audit_page",
    "write_clusters",
    "write_embeddings",
    "write_suspects",
    "write_triplets",
]
