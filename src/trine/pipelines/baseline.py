"""Baselines of an encoder: raw images or features, or the features of the pretrained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from trine.data import Dataset
from trine.distances import Distance
from trine.encoders import Encoder, EncoderRecipe, build_encoder
from trine.errors import ModelError
from trine.evaluation import TripletAccuracy, triplet_accuracy
from trine.report import Baseline, BaselineKind
from trine.shapes import Float32, Int64

RAW_VALUES = 1 << 28
"""The largest amount of raw numbers to compare: about a gigabyte."""

RAW = Baseline(BaselineKind.RAW, "the raw images or features, compared directly")
PRETRAINED = Baseline(BaselineKind.PRETRAINED, "the features of the pretrained network, before training")

Rows = Float32[np.ndarray, "n d"]

METRICS: tuple[tuple[str, Distance], ...] = (("cosine", "cosine"), ("Euclidean", "euclidean"))


@dataclass(frozen=True, eq=False)
class BaselineEmbedding:
    """Embeds items without training.

    Attributes:
        about: Describes the baseline.
        embed: Returns one row per item; None if they are too many numbers.
    """

    about: Baseline
    embed: Callable[[Dataset], Rows | None]


def baseline_of(encoder: Encoder, dataset: Dataset, recipe: EncoderRecipe | None) -> BaselineEmbedding | None:
    """Finds the baseline of a trained encoder.

    Args:
        encoder: The trained encoder.
        dataset: Items of the kind that the encoder takes.
        recipe: The encoder's part of the run's recipe; None if it is not known.

    Returns:
        The pretrained network if there was one, with features of unit length if the embeddings are; else
        the items as the encoder receives them. None if the pretrained weights can no longer be loaded.
    """
    texts = encoder.settings.kind == "texts"
    if recipe is None or not (recipe.is_pretrained or (texts and recipe.pretrained)):
        return BaselineEmbedding(RAW, lambda items: _standardised(encoder, items))
    untrained = encoder if recipe.frozen else _untrained(encoder, dataset, recipe)
    if untrained is None:
        return None

    def features(items: Dataset) -> Rows:
        rows = untrained.features(items)
        if encoder.settings.normalise:
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return rows

    return BaselineEmbedding(PRETRAINED, features)


def best_baseline_on_triplets(
    encoder: Encoder, items: Dataset, triplets: Int64[np.ndarray, "t 3"], recipe: EncoderRecipe | None
) -> tuple[TripletAccuracy, Baseline] | None:
    """Finds the untrained representation that agrees best with triplet judgements.

    Args:
        encoder: The trained encoder.
        items: The items of the judgements.
        triplets: The judgements, as positions among the items.
        recipe: As for `baseline_of`.

    Returns:
        Its accuracy and its description; None if there are too many numbers to compare.
    """
    representations = {}
    if (raw := prepared_rows(encoder, items)) is not None:
        what = "pixels" if items.kind == "images" else "features"
        scaled = encoder.settings.table is not None and not encoder.settings.unit_rows
        representations[f"{'scaled' if scaled else 'raw'} {what}"] = raw
        if items.kind == "vectors":
            spread = raw.std(axis=0, dtype=float)
            standard = (raw - raw.mean(axis=0, dtype=float)) / np.where(spread > 1e-12, spread, 1.0)
            representations["standardised features"] = standard.astype(np.float32)
    start = None if recipe is None else baseline_of(encoder, items, recipe)
    if start is not None and start.about.kind is BaselineKind.PRETRAINED:
        rows = start.embed(items)
        assert rows is not None
        representations["features of the pretrained network"] = rows
    if not representations:
        return None
    accuracies = {
        f"{name}, {called} distance": triplet_accuracy(rows, triplets, distance=distance)
        for name, rows in representations.items()
        for called, distance in METRICS
    }
    best = max(accuracies, key=lambda name: accuracies[name].accuracy)
    about = f"{best}, the best of {len(accuracies)} untrained representations on these judgements"
    return accuracies[best], Baseline(BaselineKind.BEST_RAW, about)


def _untrained(encoder: Encoder, dataset: Dataset, recipe: EncoderRecipe) -> Encoder | None:
    same = replace(recipe, head="random")
    if encoder.settings.kind == "images":
        height, width = encoder.settings.shape[1:]
        same = replace(same, image_size=(height, width))
    try:
        return build_encoder(dataset.items.subset([0]), recipe=same)
    except (ModelError, ImportError):
        return None


def _standardised(encoder: Encoder, dataset: Dataset) -> Rows | None:
    rows = prepared_rows(encoder, dataset)
    if rows is not None and encoder.settings.kind == "vectors":
        rows = (rows - encoder.mean.numpy()) / encoder.std.numpy()
    return rows


def prepared_rows(encoder: Encoder, dataset: Dataset) -> Rows | None:
    """The items as the encoder prepares them, one per row; None for text or too many numbers."""
    shape = encoder.settings.shape
    if encoder.settings.kind == "texts":
        return None  # distances between token ids are meaningless
    if len(dataset) * int(np.prod(shape)) > RAW_VALUES:
        return None
    rows = np.empty((len(dataset), int(np.prod(shape))), dtype=np.float32)
    for start in range(0, len(dataset), 256):
        stop = min(start + 256, len(dataset))
        batch = encoder.prepare(dataset.items.subset(np.arange(start, stop))).float()
        rows[start:stop] = batch.reshape(stop - start, -1).numpy()
    return rows
