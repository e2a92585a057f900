"""Pipelines, from data to a folder: train, evaluate, compare, audit, mine, recommend, diagnose, export.

A training run splits the data, fits, calibrates, evaluates and writes:

runs/faces/
  recipe.yaml     every setting
  split.json      the part of each item, known by name and content; triplets.parquet: that of each judgement
  metrics.csv     the training log, also for TensorBoard
  doctor.json     the problems of the run, and items whose labels may be wrong
  checkpoints/    to resume the run from
  model/          the encoder: weights, settings, calibration, what it was trained on, card
  metrics.json    the metrics on the test part, before and after training
  report.html     the same as a page, with curves, neighbours, hardest pairs and the map
  picture.png     nearest neighbours and the map of the test part
"""

from trine.evaluation.listed_pairs import ListedPairs, listed_pairs
from trine.pipelines.audit import audit_run, write_audit_page, write_suspects
from trine.pipelines.compare import compare_runs
from trine.pipelines.diagnose import Examination, examine
from trine.pipelines.evaluate import evaluate_on_judgements, evaluate_run
from trine.pipelines.export import check_output, cluster_items, write_clusters, write_embeddings
from trine.pipelines.export_model import ModelExport, export_model
from trine.pipelines.faces_for import faces_for, takes_faces
from trine.pipelines.find_faces import find_faces
from trine.pipelines.forget import forget_person
from trine.pipelines.library import build_library
from trine.pipelines.mine import MiningReport, mine_embeddings, mine_run, write_triplets
from trine.pipelines.recommend import (
    enrol_items,
    measure_scores,
    measure_towers,
    popularity,
    train_recommender,
)
from trine.pipelines.split_record import part_of
from trine.pipelines.train import train_on_judgements, train_run
from trine.pipelines.trained_run import TrainedRun, open_trained_run

__all__ = [
    "Examination",
    "ListedPairs",
    "MiningReport",
    "ModelExport",
    "TrainedRun",
    "audit_run",
    "build_library",
    "check_output",
    "cluster_items",
    "compare_runs",
    "enrol_items",
    "evaluate_on_judgements",
    "evaluate_run",
    "examine",
    "export_model",
    "faces_for",
    "find_faces",
    "forget_person",
    "listed_pairs",
    "measure_scores",
    "measure_towers",
    "mine_embeddings",
    "mine_run",
    "open_trained_run",
    "part_of",
    "popularity",
    "takes_faces",
    "train_on_judgements",
    "train_recommender",
    "train_run",
    "write_audit_page",
    "write_clusters",
    "write_embeddings",
    "write_suspects",
    "write_triplets",
]
