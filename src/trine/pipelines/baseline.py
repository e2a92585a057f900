"""What there was before training: the raw items, or what a pretrained network made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trine.data import Dataset
from trine.encoders import Encoder, EncoderRecipe, build_encoder
from trine.errors import ModelError
from trine.report.evaluation_report import RAW
from trine.shapes import Float32

RAW_VALUES = 1 << 28
"""The most numbers that are compared raw: about a gigabyte."""
PRETRAINED = "the features of the pretrained network, before anything was learned here"


@dataclass(frozen=True, eq=False)
class Start:
    """What embeddings are compared with.

    Attributes:
        rows: One row per item.
        words: What they are.
    """

    rows: Float32[np.ndarray, "n d"]
    words: str


def start_of(encoder: Encoder, dataset: Dataset, recipe: EncoderRecipe | None) -> Start | None:
    """Finds what an encoder began with.

    Args:
        encoder: What was trained.
        dataset: The items to compare.
        recipe: What the run's recipe says about the encoder; None where it is not known.

    Returns:
        The features of the pretrained network where there was one, scaled to length 1 where the embeddings
        are; else the items as the encoder is given them. None where these are too many numbers, or where
        the pretrained weights can no longer be had.
    """
    texts = encoder.settings.kind == "texts"
    if recipe is None or not (recipe.is_pretrained or (texts and recipe.pretrained)):
        rows = _raw(encoder, dataset)
        return None if rows is None else Start(rows, RAW)
    untrained = encoder if recipe.frozen else _as_it_came(encoder, dataset, recipe)
    if untrained is None:
        return None
    rows = untrained.features(dataset)
    if encoder.settings.normalise:
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return Start(rows, PRETRAINED)


def _as_it_came(encoder: Encoder, dataset: Dataset, recipe: EncoderRecipe) -> Encoder | None:
    same = replace(recipe, head="random")
    if encoder.settings.kind == "images":
        height, width = encoder.settings.shape[1:]
        same = replace(same, image_size=(height, width))
    try:
        return build_encoder(dataset.items.subset([0]), recipe=same)
    except (ModelError, ImportError):
        return None


def _raw(encoder: Encoder, dataset: Dataset) -> Float32[np.ndarray, "n d"] | None:
    """The items as the encoder is given them, before it has learned anything."""
    rows = prepared_rows(encoder, dataset)
    if rows is not None and encoder.settings.kind == "vectors":
        rows = (rows - encoder.mean.numpy()) / encoder.std.numpy()
    return rows


def prepared_rows(encoder: Encoder, dataset: Dataset) -> Float32[np.ndarray, "n d"] | None:
    """The items as the encoder prepares them, one a row; None where they are too many."""
    shape = encoder.settings.shape
    if encoder.settings.kind == "texts":
        return None  # the numbers of its tokens say nothing
    if len(dataset) * int(np.prod(shape)) > RAW_VALUES:
        return None
    rows = np.empty((len(dataset), int(np.prod(shape))), dtype=np.float32)
    for start in range(0, len(dataset), 256):
        stop = min(start + 256, len(dataset))
        batch = encoder.prepare(dataset.items.subset(np.arange(start, stop))).float()
        rows[start:stop] = batch.reshape(stop - start, -1).numpy()
    return rows
