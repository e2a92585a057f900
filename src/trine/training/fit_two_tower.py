"""From who liked what to trained towers, in a folder that can be resumed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from trine.data import Features, HeldOut, Interactions, TripletSampler
from trine.encoders import TwoTower, build_two_tower, save
from trine.errors import SettingError
from trine.training.data_loader import default_steps
from trine.training.diagnostics.monitor import Monitor
from trine.training.diagnostics.rules import RunFacts
from trine.training.early_stopping import Validator
from trine.training.fit import LOOKS
from trine.training.loop import TrainingRun, check_device, check_finite, train
from trine.training.recipe import Recipe
from trine.training.run_dir import RunDir, checkpointed_step, open_run_dir, read_weights, writing
from trine.training.schedule import stream_seed
from trine.training.threads import threads
from trine.training.two_tower_step import InteractionLoader, TwoTowerStep


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

    The run folder is that of `fit`; interrupted at any moment and resumed, a run ends with the same weights
    as one that was left alone.

    Args:
        interactions: Who liked what; the towers remember all of it as met.
        held_out: Its parts; only `train` is learned from.
        recipe: Every setting, with a section `interactions`.
        out: The run folder; a new one, unless `resume`.
        users: What is known of the users.
        items: What is known of the items.
        metric: The figure of metric of a look, larger is better; the weights of the best look are kept. None
            keeps the last.
        resume: Whether to go on with the run that is in the folder.
        progress: Whether to show a line of progress; shown in a terminal only.

    Returns:
        The trained towers, on the CPU and in evaluation mode; also saved in `out`/model.

    Raises:
        InputError: The folder holds a run already, or none to resume, or the disk is full.
        SettingError: The recipe has no section `interactions`, a setting does not fit, or the loss is not
            finite.
        ModelError: A checkpoint is damaged.
        KeyboardInterrupt: Ctrl-C; the step was ended and the run saved before.
    """
    if recipe.interactions is None:
        raise SettingError(
            "the recipe says nothing of interactions; take the recipe recommendation, or give yours a "
            "section interactions"
        )
    settings = recipe.training
    check_device(settings)
    if metric is None and settings.patience is not None:
        raise SettingError(f"training.patience is {settings.patience}, and there is no metric= to look at")
    met = interactions.pairs[held_out.train]
    liked = met[interactions.liked[held_out.train]]
    run, digest = RunDir(Path(out)), interactions.digest(held_out.train)
    with threads(settings.threads), torch.random.fork_rng(devices=[]):
        sampler = TripletSampler(
            len(liked), triplets=recipe.interactions.batch, seed=stream_seed(recipe.seed, "sampler")
        )
        steps = settings.steps or default_steps(len(liked), batch=recipe.interactions.batch)
        if settings.epochs is not None:
            steps = settings.epochs * len(sampler)
        towers = build_two_tower(
            interactions,
            dimension=recipe.encoder.dimension,
            normalise=recipe.encoder.normalise,
            distance=recipe.loss.distance,
            seed=stream_seed(recipe.seed, "weights"),
            users=users,
            items=items,
        )
        open_run_dir(run, recipe, dataset_digest=digest, resume=resume)
        resumed_at = checkpointed_step(run, dataset_digest=digest)
        looks = None
        if metric is not None:
            looks = Validator(metric, patience=settings.patience, best_weights=run.best)
        patient = RunFacts(
            steps=steps,
            # All begin in the middle of the ball, and may take half the run to leave it.
            warmup=max(round(settings.warmup * steps), steps // 2),
            distance=recipe.loss.distance,
            normalised=True,  # or shortened: neither can explode
            identities=len(np.unique(liked[:, 0])),
        )
        watch = Monitor(
            patient, dataset=None, batch=recipe.interactions.batch, run=run, resumed_at=resumed_at
        )
        train(
            TrainingRun(
                step=TwoTowerStep(towers, recipe=recipe, steps=steps, met=met),
                batches=InteractionLoader(liked, sampler=sampler, steps=steps),
                shape_at=lambda step: None,
                run=run,
                dataset_digest=digest,
                resumed_at=resumed_at,
                looks=looks,
                look_every=settings.evaluate_every or max(1, steps // LOOKS),
                watch=watch,
                show_progress=progress and sys.stderr.isatty(),
            )
        )
    towers.cpu().eval()
    if looks is not None:
        read_weights(towers, run.best)
    check_finite(towers, step=steps)
    with writing(run.doctor, checkpoint=run.last):
        watch.finish()
    save(towers, run.model, trained_on=f"{len(liked):,} liked interactions of {interactions.source}")
    return towers
