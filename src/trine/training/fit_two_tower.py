"""Trains two towers from liked interactions and a recipe, in a resumable folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from trine.data import Features, HeldOut, Interactions, TripletSampler
from trine.encoders import TwoTower, build_two_tower, save
from trine.encoders.item_factors import start_from_factors
from trine.errors import SettingError, check_flags
from trine.training.accelerator import check_device
from trine.training.data_loader import InteractionLoader
from trine.training.diagnostics.monitor import Monitor
from trine.training.diagnostics.rules import RunFacts
from trine.training.distributed import SINGLE_PROCESS, limit_threads
from trine.training.early_stopping import Validator
from trine.training.loop import TrainingJob, train
from trine.training.recipe import Recipe
from trine.training.run_data import RunData
from trine.training.run_dir import RunDir, open_run
from trine.training.run_lock import lock_run
from trine.training.samplers import FixedSampler, steps_of
from trine.training.schedule import stream_seed
from trine.training.two_tower_step import TwoTowerStep


def fit_two_tower(
    interactions: Interactions,
    held_out: HeldOut,
    recipe: Recipe,
    *,
    out: str | Path,
    users: Features | None = None,
    items: Features | None = None,
    metric: Callable[[TwoTower], float] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> TwoTower:
    """Trains two towers on the training part of some interactions.

    The run folder is that of `fit`; an interrupted and resumed run ends with the same weights as an
    uninterrupted one.

    Args:
        interactions: The interactions; the towers store all of them.
        held_out: The split; only its `train` part is used for training.
        recipe: Every setting, with a section `interactions`.
        out: The run folder; a new one, unless `resume`.
        users: Features of the users.
        items: Features of the items.
        metric: Maps the towers to a number, larger is better; the weights of the best validation round are
            kept. None keeps the last weights.
        resume: Whether to resume the run in the folder.
        progress: Whether to show a progress line; shown in a terminal only.

    Returns:
        The trained towers, on the CPU and in evaluation mode; also saved in `out`/model.

    Raises:
        InputError: The folder is not empty, is used by another run, or holds no run to resume, or the disk
            is full.
        SettingError: The recipe has no section `interactions`, a setting does not fit, or the loss is not
            finite.
        ModelError: A checkpoint is damaged.
        KeyboardInterrupt: Ctrl-C; the step was completed and a checkpoint saved before.
        Terminated: SIGTERM; likewise.
    """
    check_flags(resume=resume, progress=progress)
    settings, about = recipe.training, recipe.interactions
    if about is None:
        raise SettingError(
            "the recipe has no section interactions; use the recipe recommendation, or add the section"
        )
    if about.users == "items" and users is not None:
        raise SettingError(
            "interactions.users items embeds users by the items they like, without features; leave out the "
            "table of users, or set interactions.users to ids"
        )
    check_device(settings)
    if metric is None and settings.patience is not None:
        raise SettingError(f"training.patience is {settings.patience}, but no metric= was passed")
    met = interactions.pairs[held_out.train]
    liked = met[interactions.liked[held_out.train]]
    folder = RunDir(Path(out))
    locked = lock_run(folder, resume=resume)
    with locked, limit_threads(settings.threads), torch.random.fork_rng(devices=[]):
        sampler = TripletSampler(len(liked), triplets=about.batch, seed=stream_seed(recipe.seed, "sampler"))
        steps = steps_of(recipe, FixedSampler(sampler), places=len(liked), batch=about.batch)
        towers = build_two_tower(
            interactions,
            dimension=recipe.encoder.dimension,
            normalise=recipe.encoder.normalise,
            distance=recipe.loss.distance,
            seed=stream_seed(recipe.seed, "weights"),
            users=users,
            items=items,
            liked=liked if about.users == "items" else None,
        )
        if about.users == "items":
            start_from_factors(towers, liked, ridge=about.ridge)
        data = RunData.of_interactions(interactions, held_out.train, users=users, items=items)
        run = open_run(folder, recipe, data=data, resume=resume, context=SINGLE_PROCESS)
        validator = None
        if metric is not None:
            validator = Validator(
                metric, patience=settings.patience, best_weights=folder.best, keep=recipe.keep
            )
        facts = RunFacts(
            steps=steps,
            # All embeddings start near the origin, and may take half the run to leave it.
            warmup=max(round(settings.warmup * steps), steps // 2),
            distance=recipe.loss.distance,
            normalised=True,  # or shortened: neither can explode
            identities=len(np.unique(liked[:, 0])),
        )
        train(
            TrainingJob(
                training_step=TwoTowerStep(towers, recipe=recipe, steps=steps, met=met),
                loader=InteractionLoader(liked, sampler=sampler, steps=steps),
                run=run,
                validator=validator,
                monitor=Monitor(facts, dataset=None, batch=about.batch, run=run),
                progress=progress and sys.stderr.isatty(),
            )
        )
        save(towers, folder.model, trained_on=f"{len(liked):,} liked interactions of {interactions.source}")
    return towers
