"""Training: the recipe, and the run that follows it."""

from __future__ import annotations

from trine.training.augment import AugmentRecipe, augment
from trine.training.folder import RunFolder, check_run
from trine.training.reading import check_recipe, load_recipe, recipe_names, recipe_text
from trine.training.recipe import (
    DataRecipe,
    EvaluationRecipe,
    LossRecipe,
    Recipe,
    SamplerRecipe,
    TrainingRecipe,
)
from trine.training.stages import Stage
from trine.training.train import fit

__all__ = [
    "AugmentRecipe",
    "DataRecipe",
    "EvaluationRecipe",
    "LossRecipe",
    "Recipe",
    "RunFolder",
    "SamplerRecipe",
    "Stage",
    "TrainingRecipe",
    "augment",
    "check_recipe",
    "check_run",
    "fit",
    "load_recipe",
    "recipe_names",
    "recipe_text",
]
