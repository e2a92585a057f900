"""Evaluate a trained run on data."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from trine.calibration import Method
from trine.data import Dataset, TripletTable, read_pairs
from trine.data.frames import Tabular
from trine.data.load import as_dataset
from trine.errors import CalibrationError, SettingError, check_flags
from trine.evaluation import calibrate, triplet_consistency
from trine.evaluation.calibration import TooFew
from trine.evaluation.listed_pairs import listed_pairs
from trine.pipelines.faces_for import faces_as_trained
from trine.pipelines.held_out import strangers_of
from trine.pipelines.measure import Embed, EvaluationSet, cluster_threshold_of, gallery_for, measure
from trine.pipelines.mine import triplets_left_out, triplets_of_part
from trine.pipelines.split_data import items_of_judgements
from trine.pipelines.split_record import (
    Part,
    check_part,
    name_of,
    part_of,
    trained_among,
    training_items,
    with_size,
)
from trine.pipelines.trained_run import TrainedRun, open_trained_run
from trine.pipelines.triplet_record import judgements_part
from trine.report import PageContext, Report, shown_items, write_report
from trine.settings import INNER_RATE, check_number
from trine.shapes import Bool, Int64


def evaluate_run(
    run: str | Path | TrainedRun,
    dataset: Dataset | Tabular,
    *,
    part: Part = "auto",
    far: float = 0.01,
    out: str | Path | None = None,
    store_threshold: bool = False,
    too_few: TooFew = "raise",
    probability: Method | None = None,
    prior: float | None = None,
    pairs: str | Path | None = None,
    triplets: TripletTable | None = None,
) -> Report:
    """Evaluates the encoder of a run on data, or on its test part if the run was trained on that data.

    Args:
        run: The run folder, a model folder, or what `open_trained_run` returned for one.
        dataset: Labelled items.
        part: Which items; `auto` takes the test part of data that the run was trained on, and all items
            of other data.
        far: A false-accept rate to report in addition to the usual ones, in (0, 1).
        out: Where to write the report; `evaluation/<data>` in the run folder by default.
        store_threshold: Whether to calibrate the threshold for `far` on these items, to choose how to cluster
            on them as well, and to store both in the model.
        too_few: As for `calibrate`: whether too few identities raise an error, or the rate is the smallest
            that they are enough for.
        probability: As for `calibrate`: also store a mapping from distance to probability.
        prior: As for `calibrate`: the share of genuine pairs that this probability assumes.
        pairs: A list of pairs to measure as well: a table with a, b, same and optionally fold, or a list in
            the format of Labeled Faces in the Wild.
        triplets: Triplet judgements to measure as well, if all their items are evaluated.

    Returns:
        The report, which is also written.

    Raises:
        ModelError: The model is missing or damaged.
        DataError: The data has no such part, or no two items of one identity in it.
        SettingError: The part is unknown, the rate is out of range, or a probability is requested without a
            threshold.
        CalibrationError: There are too few items for the rate, or the encoder was trained on some of them.
    """
    dataset = as_dataset(dataset, "evaluate_run")
    check_asked(part, far)
    check_flags(store_threshold=store_threshold)
    if probability is not None and not store_threshold:
        raise SettingError("a probability is stored with the threshold; add --calibrate")
    opened = open_trained_run(run)
    dataset = faces_as_trained(opened, dataset)
    positions, evaluated_part = part_of(opened.path, dataset, part)
    chosen = dataset.subset(positions)
    judged: Int64[np.ndarray, "t 3"] | None = None
    notes: tuple[str, ...] = ()
    if triplets is not None:
        judged, left_out = triplets_of_part(triplets, dataset, positions, part=evaluated_part.description)
        notes = (triplets_left_out(left_out, evaluated_part.description),) if left_out else ()
    embed = cache(opened.encoder.embed)
    if store_threshold:
        _calibrate(
            opened, chosen, dataset, embed, far=far, too_few=too_few, probability=probability, prior=prior
        )
    gallery = training_items(opened.path, dataset, positions)
    evaluated = EvaluationSet(
        chosen,
        with_size(evaluated_part, chosen),
        far,
        gallery=None if gallery is None else gallery_for(chosen, dataset.subset(gallery)),
        listed=None if pairs is None else listed_pairs(read_pairs(pairs), dataset, positions),
        triplets=judged,
        notes=notes,
    )
    return _evaluate(opened, evaluated, _folder(opened, dataset, part, out), embed)


def evaluate_on_judgements(
    run: str | Path | TrainedRun,
    dataset: Dataset | Tabular,
    triplets: TripletTable,
    *,
    part: Part = "auto",
    out: str | Path | None = None,
) -> Report:
    """Evaluates the encoder of a run on triplet judgements.

    Args:
        run: The run folder, a model folder, or what `open_trained_run` returned for one.
        dataset: The items; their identities are ignored.
        triplets: The judgements, by the names of the items.
        part: Which judgements; `auto` takes the test part of judgements that the run was trained on, and all
            of other judgements.
        out: Where to write the report; `evaluation/<data>` in the run folder by default.

    Returns:
        The report, which is also written.

    Raises:
        ModelError: The model is missing, or the record of the judgements is damaged.
        DataError: A judgement names an unknown item, or the part does not exist.
        SettingError: The part is unknown.
    """
    dataset = as_dataset(dataset, "evaluate_on_judgements", labelled=None)
    check_part(part)
    opened = open_trained_run(run)
    dataset = faces_as_trained(opened, dataset)
    listed = triplets.positions(dataset.names)
    chosen, evaluated_part = judgements_part(opened.path, dataset, listed, part)
    items, judged = items_of_judgements(dataset, chosen, identities=False)
    evaluated = EvaluationSet(items, evaluated_part, triplets=judged, judgements=triplet_consistency(listed))
    return _evaluate(opened, evaluated, _folder(opened, dataset, part, out), cache(opened.encoder.embed))


def check_asked(part: str, far: float) -> None:
    """Raises a `SettingError` if the part is unknown or the rate is out of range."""
    check_part(part)
    check_number("far", far, INNER_RATE)


def measured_run(
    run: TrainedRun, evaluated: EvaluationSet, folder: Path, embed: Embed, *, name: str | None = None
) -> PageContext:
    """Measures a trained run, and combines the report with the items that its page shows.

    Args:
        run: The run.
        evaluated: What to evaluate it on.
        folder: Where the report will be written.
        embed: Embeds items.
        name: The run's name on the page; that of its folder by default.
    """
    report = measure(run.encoder, evaluated, folder=folder, recipe=run.recipe, embed=embed)
    rows = embed(evaluated.items)
    assert rows is not None, "an encoder embeds all items"
    shown = shown_items(evaluated.items, rows, report, distance=run.encoder.distance)
    return PageContext(name or run.name, run.folder, report, run.encoder, run.model.trained_on, shown)


def _evaluate(run: TrainedRun, evaluated: EvaluationSet, folder: Path, embed: Embed) -> Report:
    context = measured_run(run, evaluated, folder, embed)
    write_report(context)
    return context.report


def _calibrate(run: TrainedRun, items: Dataset, whole: Dataset, embed: Embed, **options: Any) -> None:
    """Calibrates on the identities that were not trained on, and stores the result; see `calibrate`."""
    if trained := trained_among(run.path, items):
        raise CalibrationError(
            f"{run.path} was trained on {trained:,} of these {len(items):,} items, so a threshold would look "
            "too good; calibrate on its test part or on other data"
        )
    rows = embed(items)
    assert rows is not None, "an encoder embeds all items"
    unseen = np.flatnonzero(~_of_trained_identities(run, items, whole))
    if len(np.unique(items.labels[unseen])) < 2:
        raise CalibrationError(
            f"{run.path} was trained on all identities of these items, which pushed them apart, so a "
            "threshold would look too good; calibrate on people that it does not know, or train again with "
            "data.calibration or data.calibration_folds"
        )
    rows, labels, distance = rows[unseen], items.labels[unseen], run.encoder.distance
    found = calibrate(rows, labels, distance=distance, **options)
    keep = run.recipe is None or run.recipe.data.keep_strangers
    strangers = strangers_of(items.subset(unseen), rows) if keep else None
    run.store(found, cluster_threshold_of(rows, labels, distance=distance), strangers)


def _of_trained_identities(run: TrainedRun, items: Dataset, whole: Dataset) -> Bool[np.ndarray, " n"]:
    """Which items are of an identity that was trained on, where the data is that of the training.

    Other data may give the same names to others, so names count only if some of its items were trained on.
    """
    known = run.encoder.trained
    if known is None or not known.items(whole).any():
        return np.zeros(len(items), dtype=np.bool_)
    return np.array([items.identity(i) in known.identities for i in range(len(items))], dtype=np.bool_)


def _folder(run: TrainedRun, dataset: Dataset, part: Part, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    name = name_of(dataset) if part in ("auto", "test") else f"{name_of(dataset)}-{part}"
    return run.folder / "evaluation" / name
