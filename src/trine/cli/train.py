"""`trine train` and `trine recipe`: what is learned from, and by which settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trine.cli.arguments import data_arguments, data_words, echo, loaded
from trine.cli.parser import Verb
from trine.cli.recommend import check_no_tables, interactions_arguments, train_interactions
from trine.errors import SettingError


def _show_nothing(text: object) -> None:
    pass


def _set_argument(parser: Any) -> None:
    parser.add_argument(
        "--set", type=str, nargs="+", default=[], metavar="KEY=VALUE", help="settings of the recipe to change"
    )


def _train_arguments(parser: Any) -> None:
    data_arguments(parser)
    parser.add_argument("--out", type=str, required=True, help="the run folder to make")
    parser.add_argument(
        "--recipe", type=str, default=None, help="the name of a recipe, or a YAML file; see trine recipe"
    )
    _set_argument(parser)
    parser.add_argument(
        "--triplets",
        type=str,
        default=None,
        help="a .csv or .parquet table of triplets to learn from: mined ones, or people's judgements",
    )
    interactions_arguments(parser)
    parser.add_argument(
        "--pairs",
        type=str,
        default=None,
        help="a list of pairs to measure, too, and to divide by its folds: see data.split of the recipe",
    )
    parser.add_argument(
        "--devices",
        type=int,
        default=None,
        help="how many GPUs, or processes on the CPU, share each step: training.devices of the recipe",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")


def _train(settings: Any) -> None:
    from pathlib import Path

    from trine.data import read_triplets
    from trine.pipelines import JudgedReport, Report, train_judged, train_run
    from trine.training import RunFolder, check_run, load_recipe, world_of

    run, name = RunFolder(Path(settings.out)), settings.recipe
    if settings.resume:
        check_run(run, resume=True)
        name = name or run.recipe
    overrides = _overrides(settings.set)
    if settings.devices is not None:
        overrides["training.devices"] = str(settings.devices)
    recipe = load_recipe(name, overrides=overrides)
    first = world_of(recipe.training).first
    show = echo if first else _show_nothing
    if first:
        check_run(run, resume=settings.resume)
    if recipe.interactions is not None:
        train_interactions(settings, recipe)
        return
    check_no_tables(settings)
    triplets = None if settings.triplets is None else read_triplets(settings.triplets)
    labelled = triplets is None or settings.pairs is not None or by_identity(settings, recipe.data.split)
    data = loaded(settings, show, labelled=labelled)
    report: Report | JudgedReport
    try:
        if triplets is None or labelled:
            report = train_run(
                data,
                recipe,
                out=settings.out,
                triplets=triplets,
                pairs=settings.pairs,
                resume=settings.resume,
            )
        else:
            report = train_judged(data, triplets, recipe, out=settings.out, resume=settings.resume)
    except KeyboardInterrupt:
        if not first:  # the first process tells
            raise SystemExit(0) from None
        named = data_words(settings)
        words = "" if triplets is None else f" --triplets {settings.triplets}"
        words += "" if settings.pairs is None else f" --pairs {settings.pairs}"
        show(f"interrupted; go on with: trine train {named} --out {settings.out}{words} --resume")
        raise
    show(f"\n{report}\n\n{settings.out} holds the model, metrics.json, report.html and picture.png")


def by_identity(settings: Any, split: str = "auto") -> bool:
    """Whether triplets go with identities: as the recipe says, else where the data knows them."""
    from trine.data import has_identities

    named = settings.label is not None or settings.pattern is not None
    return split not in ("triplets", "items") and (named or has_identities(settings.data))


def _overrides(pairs: Sequence[str]) -> dict[str, str]:
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise SettingError(f"--set {pair!r} is no setting: write KEY=VALUE, such as training.epochs=20")
        overrides[key] = value
    return overrides


def _recipe_arguments(parser: Any) -> None:
    parser.add_argument(
        "name", type=str, nargs="?", default="default", help="the name of a recipe, or a YAML file"
    )
    parser.add_argument(
        "--list", action="store_true", help="say what each packaged recipe is, and what to expect of it"
    )
    _set_argument(parser)


def _recipe(settings: Any) -> None:
    from trine.training import about_recipe, load_recipe, recipe_names, recipe_text

    if settings.list:
        echo("\n\n".join(f"{name}\n{_indented(str(about_recipe(name)), '  ')}" for name in recipe_names()))
        return
    recipe, about = (
        load_recipe(settings.name, overrides=_overrides(settings.set)),
        about_recipe(settings.name),
    )
    echo(f"# recipes by name: {', '.join(recipe_names())}")
    if about is not None and not settings.set:  # with other settings its figure is another one
        echo(_indented(str(about), "# "))
    echo(recipe_text(recipe).rstrip())


def _indented(text: str, by: str) -> str:
    return "\n".join(by + line for line in text.splitlines())


TRAIN = Verb(
    _train,
    _train_arguments,
    "Train an encoder on labelled data or on judgements, calibrate and evaluate it.",
    "trine train photos/ --out runs/faces\n"
    "trine train rows.csv --label family --out runs/rows --set training.epochs=20 seed=3\n"
    "trine train photos/ --out runs/faces --resume\n"
    "trine train shoes/ --triplets judged.csv --recipe judgements --out runs/shoes\n"
    "trine train ratings.csv --item-table films.csv --recipe recommendation --out runs/films",
)

RECIPE = Verb(
    _recipe,
    _recipe_arguments,
    "Print every setting of a recipe, to be changed and given to train.",
    "trine recipe --list\ntrine recipe > mine.yaml\ntrine recipe facenet --set training.epochs=20",
)
