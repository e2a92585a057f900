"""Trains an encoder from labelled items and a recipe, in a resumable folder or in memory."""

from __future__ import annotations

import math
import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from trine.data import Dataset, PKSampler, TrainedOn, TripletSampler, Vectors
from trine.data.frames import Tabular
from trine.data.load import as_dataset
from trine.encoders import Encoder, build_encoder, head_only, save
from trine.errors import InputError, SettingError, check_flags
from trine.shapes import Int64
from trine.training.accelerator import check_device
from trine.training.custom_loss import Loss, loss_terms, with_loss
from trine.training.data_loader import BatchLoader, PreparedItems, TripletLoader
from trine.training.diagnostics.monitor import Monitor
from trine.training.diagnostics.rules import RunFacts
from trine.training.distributed import DistributedContext, distributed_context, limit_threads
from trine.training.early_stopping import Metric, Validator, embed_prepared
from trine.training.loop import TrainingJob, train
from trine.training.metric_step import MetricStep
from trine.training.recipe import Recipe
from trine.training.run_data import RunData
from trine.training.run_dir import OpenRun, RunDir, open_run
from trine.training.run_lock import lock_run
from trine.training.samplers import (
    ConfusableRefresh,
    FixedSampler,
    SamplerSchedule,
    make_triplet_sampler,
    steps_of,
)
from trine.training.schedule import stream_seed

GIB = 2**30


def fit(
    dataset: Dataset | Tabular,
    recipe: Recipe,
    *,
    out: str | Path | None,
    triplets: Int64[np.ndarray, "t 3"] | None = None,
    validation: Dataset | None = None,
    metric: Metric | None = None,
    loss: Loss | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Encoder:
    """Trains an encoder.

    The run folder holds `recipe.yaml`, `metrics.csv`, TensorBoard's events, `checkpoints/` and, at the end,
    `model/`. An interrupted and resumed run ends with the same weights as an
    uninterrupted one.

    With `training.devices` above 1 the calling script is started once more for each further process, unless
    torchrun or SLURM started them; all return the same encoder, and only the first one writes.

    Args:
        dataset: The training items; identities need not be known if `triplets` are given.
        recipe: Every setting; `recipe.data` and `recipe.evaluation` are left to the caller.
        out: The run folder; a new one, unless `resume`. None keeps nothing on disk, with the same weights:
            no checkpoint, no log and no doctor.
        triplets: Positions of anchor, positive and negative among the training items: the loss is that of
            these triplets, and nothing is mined. None learns from the identities.
        validation: Items to measure the encoder on during training; `training.keep` says which weights are
            kept: by default the best, where a pretrained network before training counts as well.
        metric: Maps embeddings and labels to a number, larger is better, such as MAP@R; required with
            `validation`.
        loss: Replaces the recipe's loss: any function or module from embeddings, one row per item, and
            labels, positions in `dataset.identities`, to one number. The parameters of a module are trained
            with the encoder, without decay, at its learning rate times `training.loss_lr_scale`, and are part
            of the checkpoint; its randomness comes from torch's own generators. With several processes each
            computes the loss of the rows of all. The settings of trine's losses stay at their
            defaults, except `loss.distance`, by which embeddings are compared afterwards.
        resume: Whether to resume the run in the folder.
        progress: Whether to show a progress line; shown in a terminal only.

    Returns:
        The trained encoder, on the CPU and in evaluation mode; also saved in `out`/model.

    Raises:
        InputError: The folder is not empty, is used by another run, or holds no run to resume, or the disk
            is full, or `loss` does not return one number that can be learned from.
        SettingError: A setting does not fit, or the loss is not finite.
        DataError: There are too few items for the sampler.
        ModelError: A checkpoint is damaged, or pretrained weights are not available.
        KeyboardInterrupt: Ctrl-C; the step was completed and a checkpoint saved before.
        Terminated: SIGTERM; likewise. A script that does not catch it exits with code 143.

    Example:
        >>> rows, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
        >>> data = Dataset(Vectors(rows.astype(np.float32)), labels, ("a", "b"), tuple(map(str, range(20))))
        >>> from trine.training import TrainingRecipe
        >>> fit(data, Recipe(training=TrainingRecipe(steps=3)), out=None).embed(data).shape
        (20, 128)
    """
    dataset = as_dataset(dataset, "fit")
    recipe = with_loss(recipe, loss)
    _check_validation(recipe, validation, metric)
    check_device(recipe.training)
    context = distributed_context(recipe.training)
    check_flags(resume=resume, progress=progress)
    if out is None and (resume or context.size > 1):
        raise SettingError("a run without a folder cannot be resumed or shared by processes; pass out=")
    locked = nullcontext() if out is None else lock_run(RunDir(Path(out)), resume=resume, context=context)
    with locked, limit_threads(recipe.training.threads), torch.random.fork_rng(devices=[]):
        samplers = _samplers(dataset, triplets, recipe, context)
        places = len(dataset) if triplets is None else triplets.size
        steps = steps_of(recipe, samplers, places=places, batch=recipe.sampler.batch * context.size)
        dimension = recipe.encoder.dimension
        terms = loss_terms(recipe, loss, labels=dataset.labels, dimension=dimension)
        encoder = build_encoder(
            dataset.items,
            recipe=recipe.encoder,
            distance=recipe.loss.distance,
            seed=stream_seed(recipe.seed, "weights"),
        )
        run = OpenRun()
        if out is not None:
            data = RunData.of(dataset, validation=validation, triplets=triplets)
            run = open_run(RunDir(Path(out)), recipe, data=data, resume=resume, context=context)
        # Train the whole encoder, or only its head on features that are computed once here.
        learner, learned = encoder, dataset
        if recipe.encoder.frozen:
            learner, learned = head_only(encoder), _as_features(dataset, encoder)
            validation = None if validation is None else _as_features(validation, encoder)
        parts = _Parts(learner, learned, recipe, steps, context, run)
        train(
            TrainingJob(
                training_step=MetricStep(
                    learner, recipe=recipe, steps=steps, names=dataset.names, context=context, terms=terms
                ),
                loader=parts.loader(samplers, triplets),
                shape_at=lambda step: samplers.shape_at(step / steps),
                run=run,
                validator=parts.validator(validation, metric),
                monitor=parts.monitor(math.prod(samplers.shape_at(0.0) or (recipe.sampler.batch,))),
                progress=progress and out is not None and context.is_main and sys.stderr.isatty(),
            )
        )
        encoder.cpu().eval()
        encoder.trained = TrainedOn.of(dataset, columns=encoder.columns)
        if run.dir is not None and context.is_main:
            save(encoder, run.dir.model, trained_on=_described(dataset))
    return encoder


@dataclass(frozen=True)
class _Parts:
    """Builds the parts of a run."""

    encoder: Encoder
    dataset: Dataset
    recipe: Recipe
    steps: int
    context: DistributedContext
    run: OpenRun

    def loader(
        self, samplers: SamplerSchedule | FixedSampler, triplets: Int64[np.ndarray, "t 3"] | None
    ) -> BatchLoader:
        items, labels = self._prepared(self.dataset), self.dataset.labels

        def sampler_at(step: int) -> PKSampler | TripletSampler:
            return samplers.at(step / self.steps)

        if triplets is not None:
            return TripletLoader(
                items, labels=labels, triplets=triplets, sampler_at=sampler_at, steps=self.steps
            )
        refresh = None
        if self.recipe.sampler.confusable > 0:
            every = self.recipe.sampler.refresh
            refresh = ConfusableRefresh(
                self.encoder, prepared=items, labels=labels, every=every, context=self.context
            )
        return BatchLoader(items, labels=labels, sampler_at=sampler_at, steps=self.steps, refresh=refresh)

    def validator(self, validation: Dataset | None, metric: Metric | None) -> Validator | None:
        if validation is None or metric is None:
            return None
        prepared, labels = self._prepared(validation), validation.labels
        return Validator(
            lambda encoder: metric(embed_prepared(encoder, prepared), labels),
            patience=self.recipe.training.patience,
            best_weights=None if self.run.dir is None else self.run.dir.best,
            keep=self.recipe.keep,
        )

    def monitor(self, batch: int) -> Monitor | None:
        if self.run.dir is None:
            return None
        facts = RunFacts(
            steps=self.steps,
            warmup=round(self.recipe.training.warmup * self.steps),
            distance=self.recipe.loss.distance,
            normalised=self.encoder.settings.normalise,
            identities=len(np.unique(self.dataset.labels)),
            processes=self.context.size,
            loss=self.recipe.loss.name,
        )
        return Monitor(facts, dataset=self.dataset, batch=batch, run=self.run)

    def _prepared(self, items: Dataset) -> PreparedItems:
        cache = math.inf if self.run.dir is None else self.recipe.training.cache * GIB
        return PreparedItems(items, encoder=self.encoder, cache=cache)


def _check_validation(recipe: Recipe, validation: Dataset | None, metric: Metric | None) -> None:
    if validation is not None and metric is None:
        raise InputError(
            "validation items were passed without a metric; pass metric=, a function of embeddings and labels"
        )
    if validation is not None and len(validation) == 0:
        raise InputError("validation is empty; pass some items, or validation=None")
    needed = {"patience": recipe.training.patience, "keep": recipe.training.keep}
    for name, value in needed.items():
        if validation is None and value not in (None, "last", "sure"):
            raise InputError(
                f"training.{name} is {value}, but there are no validation items; pass validation=, set "
                f"data.validation to a share such as 0.15, or set training.{name} to null"
            )


def _samplers(
    dataset: Dataset,
    triplets: Int64[np.ndarray, "t 3"] | None,
    recipe: Recipe,
    context: DistributedContext,
) -> SamplerSchedule | FixedSampler:
    if triplets is None:
        return SamplerSchedule(dataset.labels, recipe=recipe, context=context)
    seed = stream_seed(recipe.seed, "sampler")
    return FixedSampler(make_triplet_sampler(triplets, items=len(dataset), recipe=recipe, seed=seed))


def _as_features(dataset: Dataset, encoder: Encoder) -> Dataset:
    return replace(dataset, items=Vectors(encoder.features(dataset)))


def _described(dataset: Dataset) -> str:
    known = f" of {len(np.unique(dataset.labels))} identities" if dataset.identities else ""
    of = f" of {Path(dataset.root).name}" if dataset.root else ""
    return f"{len(dataset)} items{known}{of}"
