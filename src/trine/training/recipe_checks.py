"""What no single setting of a recipe can say: names of rules, and settings that exclude each other."""

from __future__ import annotations

from dataclasses import fields

from trine.errors import SettingError, nearest
from trine.settings import differences
from trine.training.augment import AugmentRecipe
from trine.training.curriculum import check_curriculum
from trine.training.recipe import BELONGS, DataRecipe, LossRecipe, Recipe
from trine.training.two_tower_recipe import check_interactions
from trine.triplets import PRESETS


def check_together(recipe: Recipe, *, source: str) -> None:
    """Looks at what no single setting can say: names of rules, and settings that exclude each other.

    Args:
        recipe: The recipe.
        source: Where it comes from: the first words of an error.

    Raises:
        SettingError: Settings do not go together.
    """
    if recipe.interactions is not None:
        check_interactions(
            recipe.interactions,
            changed=differences(Recipe(interactions=recipe.interactions), recipe),
            margin=recipe.loss.margin,
            source=source,
        )
        return
    check_loss(recipe, source=source)
    check_curriculum(recipe.curriculum, margin=recipe.loss.margin, source=source)
    if recipe.encoder.frozen:
        _check_frozen(recipe, source=source)
    rules = {"loss.mining": recipe.loss.mining}
    for position, stage in enumerate(recipe.curriculum):
        if stage.mining is not None:
            rules[f"curriculum[{position}].mining"] = stage.mining
    for key, rule in rules.items():
        if rule not in PRESETS:
            raise SettingError(f"{source}: {key} is {rule!r}; {nearest(rule, PRESETS)}")
        if PRESETS[rule].needs_margin and recipe.loss.margin is None:
            raise SettingError(
                f"{source}: {key} {rule!r} looks at the margin, and loss.margin is null; "
                "give loss.margin a number"
            )
    _check_split(recipe.data, source=source)
    if recipe.data.test + recipe.data.validation >= 1:
        raise SettingError(
            f"{source}: data.test {recipe.data.test:g} and data.validation "
            f"{recipe.data.validation:g} leave nothing to train on; make them smaller than 1 together"
        )
    _check_folds(recipe.data, source=source)
    if (recipe.data.split == "open") == (recipe.data.unknown_identities is None):
        raise SettingError(
            f"{source}: data.unknown_identities and data.split open belong together; give both, or neither"
        )
    asked = recipe.data
    looked_at = asked.validation > 0 or asked.validation_identities or asked.validation_folds
    if recipe.training.patience is not None and not looked_at:
        raise SettingError(
            f"{source}: training.patience needs items to look at, and data.validation is 0; "
            "set data.validation to a share such as 0.15"
        )


def _check_split(data: DataRecipe, *, source: str) -> None:
    """Looks whether identities are named where, and only where, the split is by names."""
    lists = ("train_identities", "validation_identities", "test_identities")
    given = [name for name in lists if getattr(data, name)]
    if data.split != "named" and given:
        raise SettingError(
            f"{source}: data.{given[0]} is given, and data.split is {data.split}; set data.split to named, "
            f"or {' and '.join(f'data.{name}' for name in given)} to []"
        )
    missing = [name for name in ("train_identities", "test_identities") if name not in given]
    if data.split == "named" and missing:
        raise SettingError(
            f"{source}: data.split is named, and data.{missing[0]} names nobody; list identities there, such "
            "as [1-385]"
        )


def _check_folds(data: DataRecipe, *, source: str) -> None:
    named = [key for key in ("test_folds", "validation_folds") if getattr(data, key)]
    if data.split != "folds" and named:
        raise SettingError(
            f"{source}: data.{named[0]} names folds, and data.split is {data.split}; set data.split to folds"
        )
    if data.split == "folds" and not data.test_folds:
        raise SettingError(
            f"{source}: data.split is folds, and data.test_folds names none; name one, such as [5]"
        )


def _check_frozen(recipe: Recipe, *, source: str) -> None:
    if not recipe.encoder.is_pretrained:
        raise SettingError(
            f"{source}: encoder.frozen keeps a network as it came, and encoder.network "
            f"{recipe.encoder.network!r} comes untrained; name a timm model with weights, or "
            "sentence for texts, or set encoder.frozen to false"
        )
    if recipe.training.backbone_lr_scale != 1:
        raise SettingError(
            f"{source}: training.backbone_lr_scale is {recipe.training.backbone_lr_scale:g}, and a frozen "
            "network does not learn; leave it at 1, or set encoder.frozen to false"
        )
    for each in fields(AugmentRecipe):
        value = getattr(recipe.augment, each.name)
        if value not in (each.default, 0):
            raise SettingError(
                f"{source}: augment.{each.name} is {value:g}, and a frozen network sees each picture once, "
                "as it is; leave augment alone, or set encoder.frozen to false"
            )


def check_loss(recipe: Recipe, *, source: str) -> None:
    """Looks whether the settings of the loss are those of the loss that is chosen.

    Args:
        recipe: The recipe.
        source: Where it comes from: the first words of an error.

    Raises:
        SettingError: One belongs to another loss, and is not left at its default.
    """
    loss, default = recipe.loss, LossRecipe()
    if (loss.name == "given") != (loss.given is not None):
        raise SettingError(
            f"{source}: loss.name is {loss.name}, and loss.given is {loss.given or 'null'}; both are the "
            "record of a loss that was given in Python as loss=, so leave them out of a recipe"
        )
    for key, names in BELONGS.items():
        value = getattr(loss, key)
        if loss.name not in names and value != getattr(default, key):
            raise SettingError(
                f"{source}: loss.{key} is {_written(value)}, a setting of the {' or '.join(names)} loss, and "
                f"loss.name is {loss.name}; leave it at its default, {_written(getattr(default, key))}"
            )
    for position, stage in enumerate(recipe.curriculum):
        for key in ("mining", "margin"):
            value = getattr(stage, key)
            if value is not None and loss.name not in BELONGS[key]:
                raise SettingError(
                    f"{source}: curriculum[{position}].{key} is {value}, a setting of the "
                    f"{' or '.join(BELONGS[key])} loss, and loss.name is {loss.name}; leave it out"
                )
    if loss.name == "contrastive" and loss.margin is None:
        raise SettingError(
            f"{source}: loss.margin is null, and the contrastive loss has no soft margin; give loss.margin a "
            "number"
        )
    if loss.name == "contrastive" and loss.reduction == "anchor":
        raise SettingError(
            f"{source}: loss.reduction is anchor, and the pairs of the contrastive loss have none; set it to "
            "active, mean or sum"
        )


def _written(value: object) -> object:
    return "null" if value is None else value
