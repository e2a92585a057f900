"""From labelled items and a recipe to a trained encoder, in a folder that can be resumed."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trine.data import Dataset, PKSampler, TripletSampler, Vectors
from trine.encoders import Encoder, build_encoder, head_only, save
from trine.errors import InputError
from trine.shapes import Int64
from trine.training.confusable import ConfusableRefresh
from trine.training.custom_loss import Loss, with_loss
from trine.training.data_loader import BatchLoader, PreparedItems, default_steps
from trine.training.diagnostics.monitor import Monitor
from trine.training.diagnostics.rules import RunFacts
from trine.training.distributed import DistributedContext, as_in_first, distributed_context
from trine.training.early_stopping import Metric, Validator, validation_metric
from trine.training.loop import TrainingRun, check_device, check_finite, train
from trine.training.metric_step import MetricStep
from trine.training.recipe import Recipe
from trine.training.run_dir import RunDir, checkpointed_step, open_run_dir, read_weights, writing
from trine.training.samplers import FixedSampler, SamplerSchedule
from trine.training.schedule import stream_seed
from trine.training.threads import threads
from trine.training.triplet_batches import TripletLoader, make_triplet_sampler

LOOKS = 20
GIB = 2**30


def fit(
    dataset: Dataset,
    recipe: Recipe,
    *,
    out: str | Path,
    triplets: Int64[np.ndarray, "t 3"] | None = None,
    validation: Dataset | None = None,
    metric: Metric | None = None,
    loss: Loss | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Encoder:
    """Trains an encoder.

    The run folder holds `recipe.yaml`, `metrics.csv`, TensorBoard's events, `checkpoints/` and, in the
    end, `model/`. Interrupted at any moment and resumed, a run ends with the same weights as one that
    was left alone.

    With `training.devices` above 1 the script that calls is started once more for each further process,
    unless torchrun or SLURM has started them; all return the same encoder, and the first alone writes.

    Args:
        dataset: The training items; identities need not be known where `triplets` are given.
        recipe: Every setting; `recipe.data` and `recipe.evaluation` are the caller's to follow.
        out: The run folder; a new one, unless `resume`.
        triplets: Positions of anchor, positive and negative among the training items: the loss is that
            of these alone, and nothing is mined. None learns from the identities.
        validation: Items to look at while training goes on; the weights of the best look are kept.
        metric: The figure of metric of a look, larger is better, from embeddings and labels, such as
            MAP@R; needed with `validation`.
        loss: In place of the recipe's loss: any function or module from embeddings, one row per item, and
            labels, positions in `dataset.identities`, to one number. The parameters of a module are
            trained with the encoder, at its learning rate and without decay, and are part of the
            checkpoint; what is random in it draws from torch's own generators. With several processes
            each takes the loss of the rows of all. The settings of trine's losses then stay at their
            defaults, but for `loss.distance`, which is what embeddings are compared by afterwards.
        resume: Whether to go on with the run that is in the folder.
        progress: Whether to show a line of progress; shown in a terminal only.

    Returns:
        The trained encoder, on the CPU and in evaluation mode; also saved in `out`/model.

    Raises:
        InputError: The folder holds a run already, or none to resume, or the disk is full, or `loss` does
            not return one number that can be learned from.
        SettingError: A setting does not fit, or the loss is not finite.
        DataError: The items do not suffice for the sampler.
        ModelError: A checkpoint is damaged, or pretrained weights cannot be had.
        KeyboardInterrupt: Ctrl-C; the step was ended and the run saved before.
    """
    recipe = with_loss(recipe, loss)
    _check_validation(recipe, validation, metric)
    check_device(recipe.training)
    run, digest, world = RunDir(Path(out)), _digest(dataset, triplets), distributed_context(recipe.training)
    seed, settings = recipe.seed, recipe.training
    with threads(settings.threads), torch.random.fork_rng(devices=[]):
        samplers = _samplers(dataset, triplets, recipe, world)
        if settings.epochs is not None:
            steps = samplers.steps_of(settings.epochs)
        else:
            places = len(dataset) if triplets is None else triplets.size
            steps = settings.steps or default_steps(places, batch=recipe.sampler.batch * world.size)
        encoder = build_encoder(
            dataset.items,
            recipe=recipe.encoder,
            distance=recipe.loss.distance,
            seed=stream_seed(seed, "weights"),
        )
        if world.is_main:
            open_run_dir(run, recipe, dataset_digest=digest, resume=resume)
        resumed_at = checkpointed_step(run, dataset_digest=digest)
        # What is learned: all of the encoder, or its head, from features that are computed here once.
        learner = encoder
        if recipe.encoder.frozen:
            learner, dataset = head_only(encoder), _as_features(dataset, encoder)
            validation = None if validation is None else _as_features(validation, encoder)

        def prepared(items: Dataset) -> PreparedItems:
            return PreparedItems(items, encoder=learner, cache=settings.cache * GIB)

        looks = None
        if validation is not None and metric is not None:
            looks = Validator(
                validation_metric(validation, prepared=prepared(validation), metric=metric),
                patience=settings.patience,
                best_weights=run.best,
            )
        patient = RunFacts(
            steps=steps,
            warmup=round(settings.warmup * steps),
            distance=recipe.loss.distance,
            normalised=encoder.settings.normalise,
            identities=len(np.unique(dataset.labels)),
            processes=world.size,
            loss=recipe.loss.name,
        )
        batch = math.prod(samplers.shape_at(0.0) or (recipe.sampler.batch,))
        watch = Monitor(patient, dataset=dataset, batch=batch, run=run, resumed_at=resumed_at)
        session = TrainingRun(
            step=MetricStep(learner, recipe=recipe, steps=steps, names=dataset.names, world=world, loss=loss),
            batches=_batches(prepared(dataset), dataset, triplets, learner, recipe, samplers, steps, world),
            shape_at=lambda step: samplers.shape_at(step / steps),
            run=run,
            dataset_digest=digest,
            resumed_at=resumed_at,
            looks=looks,
            look_every=settings.evaluate_every or max(1, steps // LOOKS),
            watch=watch,
            show_progress=progress and world.is_main and sys.stderr.isatty(),
        )
        train(session)
    encoder.cpu().eval()
    if isinstance(loss, nn.Module):
        loss.cpu()
    if looks is not None and world.is_main:
        read_weights(learner, run.best)
    as_in_first(learner, world=world)
    check_finite(encoder, step=steps)
    if world.is_main:
        with writing(run.doctor, checkpoint=run.last):
            watch.finish()
        save(encoder, run.model, trained_on=_described(dataset))
    return encoder


def _check_validation(
    recipe: Recipe, validation: Dataset | None, metric: Callable[..., float] | None
) -> None:
    if validation is not None and metric is None:
        raise InputError(
            "validation items were given without a figure of metric; give metric= a function of "
            "embeddings and labels"
        )
    if validation is not None and len(validation) == 0:
        raise InputError("there are no items in validation; give some, or validation=None")
    if validation is None and recipe.training.patience is not None:
        raise InputError(
            f"training.patience is {recipe.training.patience}, and there are no validation items to "
            "look at; give validation=, or set training.patience to null"
        )


def _samplers(
    dataset: Dataset, triplets: Int64[np.ndarray, "t 3"] | None, recipe: Recipe, world: DistributedContext
) -> SamplerSchedule | FixedSampler:
    if triplets is None:
        return SamplerSchedule(dataset.labels, recipe=recipe, world=world)
    seed = stream_seed(recipe.seed, "sampler")
    return FixedSampler(make_triplet_sampler(triplets, items=len(dataset), recipe=recipe, seed=seed))


def _batches(
    items: PreparedItems,
    dataset: Dataset,
    triplets: Int64[np.ndarray, "t 3"] | None,
    encoder: Encoder,
    recipe: Recipe,
    samplers: SamplerSchedule | FixedSampler,
    steps: int,
    world: DistributedContext,
) -> BatchLoader:
    labels = dataset.labels

    def sampler_at(step: int) -> PKSampler | TripletSampler:
        return samplers.at(step / steps)

    if triplets is not None:
        return TripletLoader(items, labels=labels, triplets=triplets, sampler_at=sampler_at, steps=steps)
    refresh = None
    if recipe.sampler.confusable > 0:
        refresh = ConfusableRefresh(
            encoder, prepared=items, labels=labels, every=recipe.sampler.refresh, world=world
        )
    return BatchLoader(items, labels=labels, sampler_at=sampler_at, steps=steps, refresh=refresh)


def _as_features(dataset: Dataset, encoder: Encoder) -> Dataset:
    return replace(dataset, items=Vectors(encoder.features(dataset)))


def _digest(dataset: Dataset, triplets: Int64[np.ndarray, "t 3"] | None) -> str:
    digest = hashlib.sha256(b"" if triplets is None else np.ascontiguousarray(triplets, "<i8").tobytes())
    for name, label in zip(dataset.names, dataset.labels, strict=True):
        digest.update(f"{name}\0{dataset.identities[label] if dataset.identities else ''}\0".encode())
    return digest.hexdigest()


def _described(dataset: Dataset) -> str:
    known = f" of {len(np.unique(dataset.labels))} identities" if dataset.identities else ""
    of = f" of {Path(dataset.root).name}" if dataset.root else ""
    return f"{len(dataset)} items{known}{of}"
