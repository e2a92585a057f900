"""Recipes as files: packaged ones by name, anybody's by path, single settings on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from trine.errors import SettingError, nearest, require
from trine.migrations import upgrade_recipe
from trine.settings import keys, parse, plain
from trine.training.recipe import Recipe
from trine.training.recipe_checks import check_together

DEFAULT = "default"
RECIPES = "recipes"
ABOUT = "about"


@dataclass(frozen=True)
class About:
    """What a recipe says of itself.

    Attributes:
        title: What it is.
        source: Where it is from: authors, year, title.
        data: What it is for, or what its figure was measured on.
        command: The command that runs it.
        takes: How long that takes, and on what machine.
        expects: The figure to expect, beside that of a baseline.
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
    """Reads a recipe and lays single settings over it.

    Args:
        name_or_file: The name of a packaged recipe, or a YAML file; None and `"default"` are the
            defaults.
        overrides: Dotted keys and their values; a text is read as YAML, as the command line gives it.

    Returns:
        The recipe, checked.

    Raises:
        SettingError: There is no such recipe, a key is unknown, or a value does not fit.

    Example:
        >>> load_recipe(overrides={"training.epochs": "20"}).training.epochs
        20
        >>> load_recipe(overrides={"training.epoch": "20"})
        Traceback (most recent call last):
        trine.errors.SettingError: unknown setting 'training.epoch'; did you mean 'training.epochs'?
    """
    recipe = _checked(*_content(name_or_file))
    if not overrides:
        return recipe
    values = plain(recipe)
    for key, value in overrides.items():
        _lay_over(values, key, _value(key, value))
    return _checked(values, "settings")


def load_run_recipe(path: Path) -> Recipe:
    """Reads the recipe.yaml that a run left, also of an earlier trine.

    Args:
        path: The file.

    Returns:
        The recipe, checked.

    Raises:
        SettingError: There is no such file, a key is unknown, or a value does not fit.
    """
    content, source = _content(path)
    return _checked(upgrade_recipe(content), source)


def about_recipe(name_or_file: str | Path | None = None) -> About | None:
    """Reads what a recipe says of itself, in its section `about`.

    Args:
        name_or_file: As for `load_recipe`.

    Returns:
        All of it; None where the recipe has no such section.

    Raises:
        SettingError: There is no such recipe, or the section lacks something or has too much.

    Example:
        >>> about_recipe("default").command
        'trine train photos/ --out runs/photos'
    """
    content, source = _content(name_or_file)
    if not isinstance(content, dict) or ABOUT not in content:
        return None
    return parse(About, content[ABOUT], source=source, key=ABOUT)


def check_recipe(recipe: Recipe) -> None:
    """Holds a recipe that was made in Python to the same rules as one that was read.

    Args:
        recipe: The recipe.

    Raises:
        SettingError: A value does not fit.
    """
    parse(Recipe, plain(recipe), source="the recipe")
    check_together(recipe, source="the recipe")


def recipe_names() -> list[str]:
    """Lists the packaged recipes by name, the default one first."""
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


def _checked(content: Any, source: str) -> Recipe:
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key != ABOUT}
    recipe = parse(Recipe, content, source=source)
    check_together(recipe, source=source)
    return recipe


def _content(name_or_file: str | Path | None) -> tuple[Any, str]:
    name_or_file = DEFAULT if name_or_file is None else name_or_file
    path = Path(name_or_file)
    if path.is_file():
        content = _read_yaml(_text(path), source=str(path))
        # A file of comments alone sets nothing.
        return {} if content is None else content, str(path)
    names = recipe_names()
    if str(name_or_file) in names:
        packaged = resources.files("trine") / RECIPES / f"{name_or_file}.yaml"
        source = f"recipe {name_or_file}"
        return _read_yaml(packaged.read_text("utf-8"), source=source), source
    raise SettingError(
        f"there is no recipe file or packaged recipe {str(name_or_file)!r}; "
        f"{nearest(str(name_or_file), names)}"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is no text in UTF-8 and so no recipe; name a YAML file") from error


def _read_yaml(text: str, *, source: str) -> Any:
    yaml = require("yaml", extra="train")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}: {error.problem})" if mark is not None else ""
        raise SettingError(f"{source} is not valid YAML{where}; mend it") from error


def _value(key: str, value: Any) -> Any:
    return _read_yaml(value, source=f"the value of {key}") if isinstance(value, str) else value


def _lay_over(values: dict[str, Any], key: str, value: Any) -> None:
    section: Any = values
    *above, last = key.split(".")
    for name in above:
        section = section.get(name) if isinstance(section, dict) else None
    if not isinstance(section, dict) or last not in section:
        phrase = nearest(key, keys(Recipe)).partition("known: ")[0].strip()
        raise SettingError(f"unknown setting {key!r}; {phrase or 'recipe.yaml of any run lists all of them'}")
    section[last] = value
