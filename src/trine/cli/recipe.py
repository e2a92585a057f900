"""`trine recipe`: every setting of a training run, and the recipes that come with trine."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent
from typing import Any

from trine.cli.arguments import echo
from trine.cli.parser import argument, verb
from trine.errors import SettingError

SET = argument(
    "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="settings to override"
)


def overrides_of(pairs: Sequence[str]) -> dict[str, str]:
    """Parses the values of `--set`.

    Args:
        pairs: Texts such as `"training.epochs=20"`.

    Returns:
        The settings by key.

    Raises:
        SettingError: A text is not KEY=VALUE.
    """
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise SettingError(f"invalid --set {pair!r}: expected KEY=VALUE, such as training.epochs=20")
        overrides[key] = value
    return overrides


@verb(
    argument("name", nargs="?", default="default", help="a recipe's name, or a YAML file (default: default)"),
    argument("--list", action="store_true", help="describe each packaged recipe and the results to expect"),
    SET,
)
def recipe(settings: Any) -> None:
    """Print every setting of a recipe as YAML, to edit and pass to trine train.

    trine recipe --list
    trine recipe > mine.yaml
    trine recipe facenet --set training.epochs=20
    """
    from trine.encoders import started_from
    from trine.training import about_recipe, load_recipe, recipe_names, recipe_text

    if settings.list:
        for at, name in enumerate(recipe_names()):
            echo(*([""] if at else []), name, *indent(str(about_recipe(name)), "  ").split("\n"))
        return
    chosen = load_recipe(settings.name, overrides=overrides_of(settings.set))
    about = about_recipe(settings.name)
    echo(f"# packaged recipes: {', '.join(recipe_names())}")
    if about is not None and not settings.set:  # Its expected results do not apply to other settings.
        echo(*indent(str(about), "# ").split("\n"))
    if weights := started_from(chosen.encoder, "images"):  # "auto" starts from weights for texts alone
        echo(f"# pretrained weights: {weights}")
    echo(*recipe_text(chosen).rstrip().split("\n"))
