"""Undoes training that did not help, or not surely, on identities that it did not see."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from trine.data import Dataset
from trine.encoders import Encoder, build_encoder
from trine.evaluation import retrieval, verification
from trine.evaluation.intervals import percentile_interval
from trine.pipelines.split_data import SplitData
from trine.pipelines.split_record import has_pair
from trine.training import Recipe, RunDir, add_finding, no_gain, read_findings, unsure_gain
from trine.training.schedule import stream_seed

MEASURED = "on the identities kept out for calibration MAP@R"


def chosen_of(encoder: Encoder, data: SplitData, recipe: Recipe, *, run: Path | None) -> Encoder:
    """The encoder that a run ends with: the trained one, or what it was before training.

    Args:
        encoder: The trained encoder.
        data: The data of the run.
        recipe: Its recipe.
        run: The run folder, whose doctor tells if the start is kept; None tells nobody.

    Returns:
        With `training.keep: sure` the trained encoder if its gain is sure on the validation items, or else on
        identities kept out for calibration; the start where there are neither. With `best` and without
        validation items, the one that is better on the identities kept out. Else the trained one.
    """
    if recipe.keep == "sure":
        judges = kept_out(data, recipe) if data.validation is None else data.validation
        return surely_better_of(encoder, judges, data.train, recipe, run=run)
    if recipe.keep == "best" and data.validation is None and (apart := kept_out(data, recipe)) is not None:
        return better_of(encoder, apart, data.train, recipe, run=run)
    return encoder


def kept_out(data: SplitData, recipe: Recipe) -> Dataset | None:
    """The items that tell whether training helped: of identities that are in no other part.

    Args:
        data: The data of a run.
        recipe: Its recipe.

    Returns:
        The items; None where a validation part has chosen the weights, where `training.keep` does not ask for
        it, or where no identities are kept out for calibration. Those of the test part must choose nothing.
    """
    items = data.calibrate_on
    if recipe.keep not in ("best", "sure") or data.validation is not None or items is None:
        return None
    tested = set(data.evaluated.items.names)
    return items if has_pair(items) and not tested & set(items.names) else None


def better_of(
    encoder: Encoder, items: Dataset, train: Dataset, recipe: Recipe, *, run: Path | None = None
) -> Encoder:
    """Compares an encoder with what it was before training, on identities that it was not trained on.

    Only two encoders are compared, so a threshold may still be calibrated on these items.

    Args:
        encoder: The trained encoder.
        items: Items of identities that were not trained on.
        train: The training items.
        recipe: The recipe of the run.
        run: The run folder, whose doctor then tells that there was no gain; None tells nobody.

    Returns:
        The encoder whose MAP@R is higher; on a tie the one before training.
    """
    start = _before_training(encoder, train, recipe)
    before, after = (
        retrieval(each.embed(items), items.labels, distance=encoder.distance, resamples=0).map_at_r
        for each in (start, encoder)
    )
    if after > before:
        return encoder
    if run is not None:
        steps = read_findings(RunDir(run))[0].steps
        found = no_gain(before, after, step=steps, measured=MEASURED)
        assert found is not None
        add_finding(RunDir(run), found)
    return start


def surely_better_of(
    encoder: Encoder, items: Dataset | None, train: Dataset, recipe: Recipe, *, run: Path | None = None
) -> Encoder:
    """Compares an encoder with what it was before training: is the gain more than chance?

    The gain is that in MAP@R, and chance that of which identities were there: both encoders are measured on
    the same resampled ones. A head can rank better and yet need another threshold for each identity, so the
    true-accept rate must not be smaller.

    Args:
        encoder: The trained encoder.
        items: Items to judge by; None keeps the start, since nothing shows a gain.
        train: The training items.
        recipe: The recipe of the run; `evaluation.far` is the false-accept rate.
        run: The run folder, whose doctor tells if the start is kept; None tells nobody.

    Returns:
        The encoder, if its gain is sure; else that before training.
    """
    start, far = _before_training(encoder, train, recipe), recipe.evaluation.far
    gain, tar = (math.nan,) * 3, (math.nan,) * 2
    if items is not None:
        rows = [each.embed(items) for each in (start, encoder)]
        ranked = [retrieval(each, items.labels, distance=encoder.distance) for each in rows]
        moved = percentile_interval(ranked[1].resampled("map_at_r") - ranked[0].resampled("map_at_r"))
        gain = ranked[1].map_at_r - ranked[0].map_at_r, moved.low, moved.high
        before, after = (
            verification(each, items.labels, distance=encoder.distance, resamples=0).tar_at_far(far)
            for each in rows
        )
        tar = before, after
    step = 0 if run is None else read_findings(RunDir(run))[0].steps
    if (found := unsure_gain(gain, tar, step=step, far=far)) is None:
        return encoder
    if run is not None:
        add_finding(RunDir(run), found)
    return start


def _before_training(encoder: Encoder, train: Dataset, recipe: Recipe) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        start = build_encoder(
            train.items,
            recipe=recipe.encoder,
            distance=encoder.distance,
            seed=stream_seed(recipe.seed, "weights"),
        ).eval()
    start.trained = encoder.trained
    return start
