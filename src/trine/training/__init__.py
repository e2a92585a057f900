"""Training: the recipe, and the run that follows it."""

from __future__ import annotations

from trine.training.augment import AugmentRecipe, augment
from trine.training.doctor import Diagnosis, Look, Patient, diagnose
from trine.training.folder import RunFolder, check_run
from trine.training.given import Loss, with_loss
from trine.training.in_memory import fit_in_memory
from trine.training.interactions import InteractionsRecipe
from trine.training.log import read_looks
from trine.training.processes import World, world_of
from trine.training.reading import (
    About,
    about_recipe,
    check_recipe,
    load_recipe,
    recipe_names,
    recipe_text,
)
from trine.training.recipe import (
    DataRecipe,
    EvaluationRecipe,
    LossRecipe,
    Recipe,
    SamplerRecipe,
    TrainingRecipe,
)
from trine.training.stages import Stage
from trine.training.suspects import Suspect
from trine.training.towers import fit_towers
from trine.training.train import fit
from trine.training.vitals import effective_rank
from trine.training.watch import read_findings

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
    "read_findings",
    "read_looks",
    "recipe_names",
    "recipe_text",
    "with_loss",
    "world_of",
]
