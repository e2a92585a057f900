"""Undoes training that did not help, where no validation part chose the weights."""

from __future__ import annotations

from pathlib import Path

import torch

from trine.data import Dataset
from trine.encoders import Encoder, build_encoder
from trine.evaluation import retrieval
from trine.pipelines.split_data import SplitData
from trine.pipelines.split_record import has_pair
from trine.training import Recipe, RunDir, add_finding, no_gain, read_findings
from trine.training.schedule import stream_seed

MEASURED = "on the identities kept out for calibration MAP@R"


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
    if recipe.keep != "best" or data.validation is not None or items is None:
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
    with torch.random.fork_rng(devices=[]):
        start = build_encoder(
            train.items,
            recipe=recipe.encoder,
            distance=encoder.distance,
            seed=stream_seed(recipe.seed, "weights"),
        ).eval()
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
    start.trained = encoder.trained
    return start
