"""Recipes as YAML: packaged ones by name, others by path, with single settings overridden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from trine.errors import SettingError, check_type, nearest, require
from trine.io import read_small, readable
from trine.migrations import upgrade_recipe
from trine.plain_yaml import parse_yaml
from trine.settings import parse, plain
from trine.training.recipe import Recipe

DEFAULT = "default"
RECIPES = "recipes"
ABOUT = "about"


@dataclass(frozen=True)
class About:
    """The description of a recipe.

    Attributes:
        title: What it is.
        source: Where it is from: authors, year, title.
        data: What it is for, or what its results were measured on.
        command: The command that runs it.
        takes: How long that takes, and on what machine.
        expects: The results to expect, next to those of a baseline.
    """

    title: str
    source: str
    data: str
    command: str
    takes: str
    expects: str

    def __str__(self) -> str:
        return "\n".join(f"{field.name + ':':9}{getattr(self, field.name)}" for field in fields(self))


def load_recipe(
    name_or_file: str | Path | None = None, *, overrides: Mapping[str, Any] | None = None
) -> Recipe:
    """Reads a recipe, with single settings overridden.

    Args:
        name_or_file: The name of a packaged recipe, or a YAML file; None and `"default"` are the
            defaults.
        overrides: Dotted keys and their values; a string is read as YAML, as the command line passes it.

    Returns:
        The recipe.

    Raises:
        SettingError: The recipe is not found, a key is unknown, or a value does not fit.

    Example:
        >>> load_recipe(overrides={"training.epochs": "20"}).training.epochs
        20
        >>> load_recipe(overrides={"epochs": "20"})
        Traceback (most recent call last):
        trine.errors.SettingError: recipe default with overrides: unknown setting 'epochs'; did you mean \
'training.epochs'?
    """
    settings, _, source = _read(name_or_file)
    if overrides is not None:
        check_type("overrides", overrides, Mapping, "a mapping from keys to values", error=SettingError)
    if overrides:
        source = f"{source} with overrides"
        for key, value in overrides.items():
            _override(settings, key, value)
    return parse(Recipe, settings, source=source)


def load_run_recipe(path: Path) -> Recipe:
    """Reads the recipe.yaml of a run, whichever version of trine wrote it.

    Args:
        path: The file.

    Returns:
        The recipe.

    Raises:
        SettingError: The file is not found, a key is unknown, or a value does not fit.
    """
    settings, _, source = _read(path)
    return parse(Recipe, upgrade_recipe(settings), source=source)


def about_recipe(name_or_file: str | Path | None = None) -> About | None:
    """Reads the description of a recipe, its section `about`.

    Args:
        name_or_file: As for `load_recipe`.

    Returns:
        The description; None where the recipe has none.

    Raises:
        SettingError: The recipe is not found, or a key of the section is missing or unknown.

    Example:
        >>> about_recipe("default").command
        'trine train photos/ --out runs/photos'
    """
    _, about, source = _read(name_or_file)
    return None if about is None else parse(About, about, source=source, key=ABOUT)


def recipe_names() -> list[str]:
    """Lists the names of the packaged recipes, the default one first."""
    folder = resources.files("trine") / RECIPES
    files = sorted(path.name for path in folder.iterdir() if path.name.endswith(".yaml"))
    names = [name.removesuffix(".yaml") for name in files]
    return sorted(names, key=lambda name: (name != DEFAULT, name))


def recipe_text(recipe: Recipe) -> str:
    """Writes every setting of a recipe as YAML; `load_recipe` of such a file gives an equal one.

    Args:
        recipe: The recipe.

    Returns:
        The text of a YAML file.

    Example:
        >>> print(recipe_text(Recipe()).splitlines()[0])
        seed: 0
    """
    yaml = require("yaml", extra="train")
    text: str = yaml.safe_dump(plain(recipe), sort_keys=False)
    return text


def _read(name_or_file: str | Path | None) -> tuple[dict[str, Any], Any, str]:
    """The settings of a recipe, its section `about`, and the first words of an error about them."""
    name = DEFAULT if name_or_file is None else str(name_or_file)
    source, text = _text(name)
    content = parse_yaml(text, source=source)
    if content is None:  # A file of comments alone.
        content = {}
    if not isinstance(content, dict):
        raise SettingError(f"{source}: expected a section of keys, given {content!r}")
    return content, content.pop(ABOUT, None), source


def _text(name: str) -> tuple[str, str]:
    path = Path(name)
    with readable(path, SettingError):
        content = read_small(path) if path.is_file() else None
    if content is not None:
        try:
            return name, content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SettingError(
                f"{name} is not a recipe, since it is not UTF-8 text; name a YAML file"
            ) from error
    names = recipe_names()
    if name not in names:
        raise SettingError(f"no recipe file or packaged recipe {name!r}; {nearest(name, names)}")
    return f"recipe {name}", (resources.files("trine") / RECIPES / f"{name}.yaml").read_text("utf-8")


def _override(settings: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value of a dotted key among nested settings, creating missing sections."""
    *above, last = key.split(".")
    for name in above:
        section = settings.get(name)
        settings[name] = section = section if isinstance(section, dict) else {}
        settings = section
    settings[last] = parse_yaml(value, source=f"the value of {key}") if isinstance(value, str) else value
