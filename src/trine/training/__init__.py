"""Training: the recipe, and the run that follows it."""

from __future__ import annotations

from trine.training.augment import AugmentRecipe, augment
from trine.training.curriculum import Stage
from trine.training.custom_loss import Loss, with_loss
from trine.training.diagnostics.batch_stats import effective_rank
from trine.training.diagnostics.label_noise import Suspect
from trine.training.diagnostics.monitor import read_findings
from trine.training.diagnostics.rules import Diagnosis, Look, Patient, diagnose
from trine.training.distributed import World, world_of
from trine.training.fit import fit
from trine.training.fit_two_tower import fit_towers
from trine.training.in_memory import fit_in_memory
from trine.training.metrics_log import read_looks
from trine.training.recipe import (
    DataRecipe,
    EvaluationRecipe,
    LossRecipe,
    Recipe,
    SamplerRecipe,
    TrainingRecipe,
)
from trine.training.recipe_io import (
    About,
    about_recipe,
    check_recipe,
    load_recipe,
    load_run_recipe,
    recipe_names,
    recipe_text,
)
from trine.training.run_dir import RunFolder, check_run
from trine.training.two_tower_recipe import InteractionsRecipe

__all__ = [
    "About",
    "AugmentRecipe",
    "DataRecipe",
    "Diagnosis",
    "EvaluationRecipe",
    "InteractionsRecipe",
    "Look",
    "Loss",
    "LossRecipe",
    "Patient",
    "Recipe",
    "RunFolder",
    "SamplerRecipe",
    "Stage",
    "Suspect",
    "TrainingRecipe",
    "World",
    "about_recipe",
    "augment",
    "check_recipe",
    "check_run",
    "diagnose",
    "effective_rank",
    "fit",
    "fit_in_memory",
    "fit_towers",
    "load_recipe",
    "load_run_recipe",
    "read_findings",
    "read_looks",
    "recipe_names",
    "recipe_text",
    "with_loss",
    "world_of",
]
