"""Training: the recipe, and the run that follows it."""

from __future__ import annotations

from trine.training.augment import AugmentRecipe, augment
from trine.training.curriculum import Stage
from trine.training.custom_loss import Loss, with_loss
from trine.training.data_recipe import DataRecipe
from trine.training.diagnostics.batch_stats import effective_rank
from trine.training.diagnostics.label_noise import Suspect
from trine.training.diagnostics.monitor import add_finding, read_findings
from trine.training.diagnostics.rules import (
    NO_GAIN,
    NO_PROBLEMS,
    Diagnosis,
    LoggedBatch,
    RunFacts,
    diagnose,
    no_gain,
    unsure_gain,
)
from trine.training.distributed import DistributedContext, distributed_context
from trine.training.fit import fit
from trine.training.fit_two_tower import fit_two_tower
from trine.training.loss_recipe import LossRecipe
from trine.training.metrics_log import read_metrics
from trine.training.recipe import EvaluationRecipe, Recipe, SamplerRecipe, TrainingRecipe
from trine.training.recipe_io import (
    About,
    about_recipe,
    load_recipe,
    load_run_recipe,
    recipe_names,
    recipe_text,
)
from trine.training.run_dir import RunDir, check_run_dir
from trine.training.run_lock import lock_run
from trine.training.two_tower_recipe import InteractionsRecipe

__all__ = [
    "NO_GAIN",
    "NO_PROBLEMS",
    "About",
    "AugmentRecipe",
    "DataRecipe",
    "Diagnosis",
    "DistributedContext",
    "EvaluationRecipe",
    "InteractionsRecipe",
    "LoggedBatch",
    "Loss",
    "LossRecipe",
    "Recipe",
    "RunDir",
    "RunFacts",
    "SamplerRecipe",
    "Stage",
    "Suspect",
    "TrainingRecipe",
    "about_recipe",
    "add_finding",
    "augment",
    "check_run_dir",
    "diagnose",
    "distributed_context",
    "effective_rank",
    "fit",
    "fit_two_tower",
    "load_recipe",
    "load_run_recipe",
    "lock_run",
    "no_gain",
    "read_findings",
    "read_metrics",
    "recipe_names",
    "recipe_text",
    "unsure_gain",
    "with_loss",
]
