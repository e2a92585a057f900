"""Calibrates an encoder on identities that no training saw: kept out of it, or left out of folds of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from trine.data import Dataset, few_of_each
from trine.encoders import Encoder
from trine.errors import CalibrationError, DataError
from trine.evaluation import calibrate
from trine.neighbours import ExactSearch
from trine.pipelines.measure import cluster_threshold_of
from trine.shapes import Float32, Int64
from trine.strangers import LeftOut, Strangers
from trine.training import Loss, Recipe, fit

MOST_STRANGERS = 1000
"""At most this many identities are kept with a model."""

MOST_ITEMS = 10
"""At most this many items of each."""

MOST_OF_FOLD = 1500
"""At most this many items of the identities that a fold leaves out are compared with each other."""


def calibrate_kept_out(
    encoder: Encoder, items: Dataset, rows: Float32[np.ndarray, "n d"], recipe: Recipe
) -> None:
    """Calibrates on items of identities that were not trained on, and keeps their embeddings as strangers.

    Args:
        encoder: The encoder; it gets the calibration, if there are pairs of both kinds, and the strangers.
        items: Items of identities that it was not trained on.
        rows: Their embeddings.
        recipe: The rate, and whether the strangers are kept.
    """
    try:
        encoder.calibration = calibrate(
            rows, items.labels, far=recipe.evaluation.far, distance=encoder.distance, too_few="smallest"
        )
    except CalibrationError:
        encoder.calibration = None
    if recipe.data.keep_strangers:
        encoder.strangers = strangers_of(items, rows)


def strangers_of(
    items: Dataset,
    rows: Float32[np.ndarray, "n d"],
    *,
    identities: int = MOST_STRANGERS,
    most: int = MOST_ITEMS,
) -> Strangers:
    """The embeddings to keep with a model: at most `most` items of each of at most so many identities."""
    present = np.random.default_rng([0, 15]).permutation(np.unique(items.labels))
    some = np.flatnonzero(np.isin(items.labels, present[:identities]))
    chosen = some[few_of_each(items.labels[some], most=most)]
    return Strangers.of(rows[chosen], [items.identity(i) for i in chosen.tolist()])


def calibrate_by_folds(
    encoder: Encoder, train: Dataset, recipe: Recipe, *, folds: int, loss: Loss | None, progress: bool
) -> None:
    """Calibrates by training again on folds of the identities, each time without some of them.

    Each fold's encoder embeds the identities that it did not see: pairs of them are impostor pairs, and how
    near they come to the fold's training identities tells how often a stranger is named. The threshold then
    serves the encoder that saw all: its rate is at most twice the one asked for (cross-conformal: Vovk 2015;
    Barber, Candès, Ramdas, Tibshirani 2021), and never firm.

    Args:
        encoder: The encoder that was trained on all; it gets the calibration and the distances.
        train: Its training items.
        recipe: Its recipe.
        folds: How many times to train, at least 2.
        loss: As for `fit`, as it was before the training.
        progress: As for `fit`.
    """
    left_out = list(_folds(train, recipe, folds=folds, loss=loss, progress=progress))
    if not left_out:
        return
    rows = np.concatenate([fold.rows for fold in left_out])
    labels = np.concatenate([fold.labels for fold in left_out])
    groups = np.repeat(np.arange(len(left_out)), [len(fold.labels) for fold in left_out])
    try:
        found = calibrate(
            rows,
            labels,
            far=recipe.evaluation.far,
            distance=encoder.distance,
            groups=groups,
            too_few="smallest",
        )
        encoder.calibration = replace(found, promise=found.promise.provisional())
    except CalibrationError:
        encoder.calibration = None
    # The identities of one fold, so that all are embedded alike.
    largest = max(left_out, key=lambda fold: len(fold.labels))
    encoder.cluster_threshold = cluster_threshold_of(largest.rows, largest.labels, distance=encoder.distance)
    encoder.left_out = LeftOut(
        np.concatenate([fold.nearest for fold in left_out]),
        labels,
        tuple(train.identities),
        met=float(np.mean([fold.met for fold in left_out])),
    )


@dataclass(frozen=True, eq=False)
class _Fold:
    """What the encoder of one fold says about identities that it did not see.

    Attributes:
        rows: Their embeddings.
        labels: Their identities.
        nearest: The distance of each to the nearest item that the fold was trained on.
        met: How many identities the fold was trained on.
    """

    rows: Float32[np.ndarray, "n d"]
    labels: Int64[np.ndarray, " n"]
    nearest: Float32[np.ndarray, " n"]
    met: int


def _folds(
    train: Dataset, recipe: Recipe, *, folds: int, loss: Loss | None, progress: bool
) -> Iterator[_Fold]:
    random = np.random.default_rng([recipe.seed, 16])
    for some in np.array_split(random.permutation(np.unique(train.labels)), folds):
        inside = np.flatnonzero(~np.isin(train.labels, some))
        outside = np.flatnonzero(np.isin(train.labels, some))
        if len(some) < 2 or len(np.unique(train.labels[inside])) < 2:
            continue
        most = max(2, MOST_OF_FOLD // len(some))
        outside = outside[few_of_each(train.labels[outside], most=most, seed=recipe.seed)]
        known = train.subset(inside)
        try:
            # A loss with parameters must not have seen the identities that the fold leaves out.
            own_loss = copy.deepcopy(loss)
            encoder = fit(known, _fitted(recipe, known), out=None, loss=own_loss, progress=progress)
        except DataError:  # too few identities for the sampler
            continue
        rows = encoder.embed(train.subset(outside))
        search = ExactSearch(encoder.embed(known), distance=encoder.distance)
        nearest = search.nearest(torch.from_numpy(rows), k=1).distances[:, 0]
        yield _Fold(rows, train.labels[outside], nearest.astype(np.float32), len(np.unique(known.labels)))


def _fitted(recipe: Recipe, known: Dataset) -> Recipe:
    """The recipe with at most as many identities in a batch as a fold has."""
    asked, count = recipe.sampler.identities, len(np.unique(known.labels))
    if asked is None or asked <= count:
        return recipe
    return replace(recipe, sampler=replace(recipe.sampler, identities=count))
