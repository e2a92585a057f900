"""`trine train`: from labelled data, triplet judgements or interactions to an evaluated model."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trine.cli.arguments import (
    COLUMNS,
    DATA,
    ON,
    check_on,
    data_command,
    echo,
    is_labelled,
    load_data,
    options_of,
    pick,
    progress_bar,
    stopped,
)
from trine.cli.parser import argument, verb
from trine.cli.recipe import SET, overrides_of
from trine.errors import SettingError, Terminated

if TYPE_CHECKING:
    from trine.training import Recipe

TABLES = ("item_table", "user_table")
"""The arguments that only a recipe for interactions takes."""

LABELLED = ("label", *COLUMNS, "pattern", "triplets", "pairs")
"""The arguments that every other recipe takes."""


@verb(
    *DATA,
    argument("--out", required=True, help="the run folder to create"),
    argument("--recipe", help="the name of a recipe, or a YAML file; see trine recipe (default: default)"),
    SET,
    argument(
        "--triplets", help="a .csv or .parquet table to train on: mined triplets, or triplet judgements"
    ),
    argument("--item-table", metavar="TABLE", help="for a recipe for interactions: a table of item features"),
    argument("--user-table", metavar="TABLE", help="for a recipe for interactions: a table of user features"),
    argument("--pairs", help="pairs to evaluate as well; their folds can split the data (data.split)"),
    argument("--devices", type=int, help="GPUs, or CPU processes, to share each step (training.devices)"),
    argument("--resume", action="store_true", help="resume the run in --out"),
    ON,
)
def train(settings: Any) -> None:
    """Train an encoder on labelled data, triplet judgements or interactions; calibrate and evaluate it.

    trine train photos/ --out runs/faces
    trine train rows.csv --label family --out runs/rows --set training.epochs=20 seed=3
    trine train photos/ --out runs/faces --resume
    trine train photos/ --out runs/faces --devices 8 --on ray://head:10001
    trine train shoes/ --triplets judged.csv --recipe judgements --out runs/shoes
    trine train ratings.csv --item-table films.csv --recipe recommendation --out runs/films
    """
    from trine.training import RunDir, check_run_dir, distributed_context, load_recipe, lock_run
    from trine.training.distributed import SINGLE_PROCESS

    check_on(settings)
    run, name = RunDir(Path(settings.out)), settings.recipe
    if settings.resume:
        check_run_dir(run, resume=True)
        name = name or run.recipe
    overrides = overrides_of(settings.set)
    if settings.devices is not None:
        overrides["training.devices"] = str(settings.devices)
    recipe = load_recipe(name, overrides=overrides)
    # On Ray this process trains nothing: the first worker locks the folder, and workers are not its copies.
    context = SINGLE_PROCESS if settings.on else distributed_context(recipe.training)
    locked = nullcontext() if settings.on else lock_run(run, resume=settings.resume, context=context)
    if settings.on:
        check_run_dir(run, resume=settings.resume)
    try:
        with locked:
            if recipe.interactions is not None:
                _on_interactions(settings, recipe)
            else:
                _on_items(settings, recipe, first=context.is_main)
    except (KeyboardInterrupt, Terminated) as stop:
        if not context.is_main:  # The first process prints it.
            raise SystemExit(0) from None
        if run.recipe.is_file():
            more = shlex.join(options_of(settings, "out", "triplets", "pairs", *TABLES, "on"))
            echo(f"{stopped(stop)}; resume with: trine train {data_command(settings)} {more} --resume")
        raise


def _on_items(settings: Any, recipe: Recipe, *, first: bool) -> None:
    from trine.data import read_triplets
    from trine.encoders import started_from
    from trine.pipelines import train_on_judgements, train_run
    from trine.pipelines.faces_for import needs_faces, training_faces

    _refuse(settings, TABLES, "is for interactions, and this recipe is for labelled items")
    triplets = None if settings.triplets is None else read_triplets(settings.triplets)
    judgements = (
        triplets is not None
        and settings.pairs is None
        and (recipe.data.split in ("triplets", "items") or not is_labelled(settings))
    )
    data = load_data(settings, labelled=not judgements, quiet=not first)
    if first and (weights := started_from(recipe.encoder, data.kind)):
        echo(f"pretrained weights: {weights}")
    if needs_faces(data, recipe):
        with progress_bar("finding faces", len(data)) as progress:
            data, found = training_faces(data, recipe, progress=progress if first else None)
        if first:
            echo(found)
    if triplets is not None and judgements:
        report = _trained(settings, train_on_judgements, data, triplets, recipe=recipe)
    else:
        report = _trained(
            settings, train_run, data, recipe=recipe, triplets=triplets, **pick(settings, "pairs")
        )
    if first:
        echo("", report, "", f"{settings.out} holds the model, metrics.json, report.html and picture.png")


def _on_interactions(settings: Any, recipe: Recipe) -> None:
    from trine.encoders import load_two_tower
    from trine.pipelines import train_recommender

    _refuse(settings, LABELLED, "is for labelled items, and this recipe is for interactions")
    tables = {"users": settings.user_table, "items": settings.item_table}
    report = _trained(settings, train_recommender, settings.data, recipe=recipe, **tables)
    user = load_two_tower(settings.out).settings.users[0]
    echo(
        report,
        "",
        f"{settings.out} holds the model, metrics.json and report.html; get recommendations "
        f"with: trine recommend {settings.out} --user {user}",
    )


def _trained(settings: Any, pipeline: Callable[..., Any], *data: object, **arguments: Any) -> Any:
    """Runs a pipeline that trains, where `--on` says, and returns its report."""
    if settings.on:
        from trine.on_ray import train_on

        pipeline = partial(train_on, settings.on, pipeline)
    return pipeline(*data, **arguments, **pick(settings, "out", "resume"))


def _refuse(settings: Any, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if getattr(settings, name):
            raise SettingError(
                f"--{name.replace('_', '-')} {why}; leave it out, or name another recipe with --recipe"
            )
