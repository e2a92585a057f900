"""Training that leaves no run folder behind: the same steps as `fit`, for small data and short runs."""

from __future__ import annotations

import torch

from trine.data import Dataset
from trine.encoders import Encoder, build_encoder
from trine.errors import SettingError
from trine.training.data_loader import Batch, BatchLoader, PreparedItems, default_steps
from trine.training.loop import check_device, check_finite
from trine.training.metric_step import MetricStep
from trine.training.recipe import Recipe, TrainingRecipe
from trine.training.samplers import SamplerSchedule
from trine.training.schedule import stream_seed


def fit_in_memory(dataset: Dataset, recipe: Recipe) -> Encoder:
    """Trains an encoder as `fit` does, to the same weights, and writes nothing.

    There is no checkpoint to resume from, no log, no doctor and no validation: a run of a second needs none,
    and would spend most of it on them.

    Args:
        dataset: The training items; all of them are kept in memory.
        recipe: Every setting; one process, in 32 bits.

    Returns:
        The trained encoder, on the CPU and in evaluation mode.

    Raises:
        SettingError: A setting does not fit, or asks for what only a run with a folder has; or the loss is
            not finite.
        DataError: The items do not suffice for the sampler.

    Example:
        >>> import numpy as np
        >>> from trine.data import Vectors
        >>> rows, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
        >>> data = Dataset(Vectors(rows.astype(np.float32)), labels, ("a", "b"), tuple(map(str, range(20))))
        >>> fit_in_memory(data, Recipe(training=TrainingRecipe(steps=3))).embed(data).shape
        (20, 128)
    """
    _check(recipe)
    check_device(recipe.training)
    settings, device = recipe.training, device_of(recipe.training)
    with torch.random.fork_rng(devices=[]):
        samplers = SamplerSchedule(dataset.labels, recipe=recipe)
        if settings.epochs is not None:
            steps = samplers.steps_of(settings.epochs)
        else:
            steps = settings.steps or default_steps(len(dataset), batch=recipe.sampler.batch)
        encoder = build_encoder(
            dataset.items,
            recipe=recipe.encoder,
            distance=recipe.loss.distance,
            seed=stream_seed(recipe.seed, "weights"),
        ).to(device)
        batches = BatchLoader(
            PreparedItems(dataset, encoder=encoder, cache=float("inf")),
            labels=dataset.labels,
            sampler_at=lambda step: samplers.at(step / steps),
            steps=steps,
        )
        _descend(MetricStep(encoder, recipe=recipe, steps=steps, names=dataset.names), batches, device)
    check_finite(encoder, step=steps)
    return encoder.cpu().eval()


def _check(recipe: Recipe) -> None:
    """Refuses what only a run with a folder does."""
    needs_a_folder = {
        "encoder.frozen": (recipe.encoder.frozen, False),
        "sampler.confusable": (recipe.sampler.confusable, 0),
        "training.devices": (recipe.training.devices, 1),
        "training.patience": (recipe.training.patience, None),
        "training.precision": (recipe.training.precision, "32"),
        "training.threads": (recipe.training.threads, None),
    }
    for name, (given, left_alone) in needs_a_folder.items():
        if given != left_alone:
            raise SettingError(
                f"{name} is {given}, which training in memory does not do; leave it at {left_alone}, or "
                "train with trine.training.fit and a run folder"
            )


def device_of(recipe: TrainingRecipe) -> torch.device:
    """The device that a recipe's word means on this machine."""
    if recipe.device != "auto":
        return torch.device(recipe.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _descend(triplet: MetricStep, batches: BatchLoader, device: torch.device) -> None:
    optimiser = triplet.optimiser()
    learned = [weights for group in optimiser.param_groups for weights in group["params"]]
    if triplet.memory is not None:
        triplet.memory.to(device)
    triplet.encoder.train()
    for step, batch in zip(range(len(batches)), batches, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = triplet.learning_rate(step) * group["share"]
            group["betas"] = triplet.betas(step)
        there = Batch(batch.inputs.to(device), batch.labels.to(device), batch.positions.to(device))
        loss = triplet.loss(triplet.embeddings(there, step=step), there, step=step)
        optimiser.zero_grad()
        triplet.backward(loss)
        if triplet.recipe.training.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(learned, triplet.recipe.training.gradient_clip)
        optimiser.step()
