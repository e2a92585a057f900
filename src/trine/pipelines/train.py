"""Train, calibrate, evaluate: what `trine train` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from trine.calibration import Calibration
from trine.data import (
    Dataset,
    IdentityLists,
    PairTable,
    Split,
    TripletTable,
    few_of_each,
    of_identities,
    read_pairs,
    split,
    split_by_folds,
)
from trine.distances import Distance
from trine.encoders import save
from trine.errors import CalibrationError, SettingError
from trine.evaluation import calibrate, retrieval
from trine.evaluation.listed_pairs import HeldOut, listed_pairs, pairs_within
from trine.io import write_json
from trine.pipelines.evaluate import measure, write_report
from trine.pipelines.mine import triplets_left_out, triplets_of_part
from trine.pipelines.split_record import SPLIT, counted, has_pair, name_of, split_record
from trine.report.evaluation_report import Report
from trine.report.pages import subject_of
from trine.shapes import Float32, Int64
from trine.training import Loss, Recipe, RunDir, distributed_context, fit, read_findings, with_loss

STRANGERS = "unseen items of seen identities, and unknown identities"
"""What the open split makes of the test part."""


def train_run(
    dataset: Dataset,
    recipe: Recipe,
    *,
    out: str | Path,
    triplets: TripletTable | None = None,
    loss: Loss | None = None,
    pairs: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Report:
    """Trains on one part of the data, calibrates on another, and evaluates on a third.

    Where the recipe sets no validation part apart, the threshold comes from the test part: its items were
    not trained on either. The clusters at this threshold, and the share of impostor pairs that it accepts,
    then look better than on other data; no other figure depends on it. Where identities of the test part
    were trained on, its items are also recognised by their nearest neighbours in the training part.

    Args:
        dataset: Labelled items.
        recipe: Every setting.
        out: The run folder; a new one, unless `resume`.
        triplets: Learn from these alone, as far as their items are in the training part; None learns
            from the identities.
        loss: In place of the recipe's loss; see `fit`.
        pairs: A list of pairs, as for `evaluate_run`: those of the test part are measured, too, and where the
            validation part has some, also at the threshold that is best on these. `data.split: folds` divides
            by its folds.
        resume: Whether to go on with the run that is in the folder.
        progress: Whether to show progress in a terminal.

    Returns:
        The figures on the test part, in every process of a run by several; the folder holds them, the
        model and the picture.

    Raises:
        DataError: The data does not allow the split, or does not suffice for the sampler; the list cannot be
            read, or has no pairs in the test part.
        SettingError: A setting does not fit.
        InputError: The folder holds a run already, or none to resume, or the loss cannot be used.
    """
    recipe = with_loss(recipe, loss)
    if recipe.data.identities is not None:
        dataset = of_identities(dataset, recipe.data.identities)
    table = None if pairs is None else read_pairs(pairs)
    parts, words = _divided(dataset, recipe, table)
    notes = _left_out(dataset, parts)
    if recipe.data.shots is not None:
        few = few_of_each(dataset.labels[parts.train], most=recipe.data.shots, seed=recipe.seed)
        parts, words = replace(parts, train=parts.train[few]), f"{words}, at most {recipe.data.shots} of each"
    distance, far = recipe.loss.distance, recipe.evaluation.far
    taught, left_out = (None, 0) if triplets is None else triplets_of_part(triplets, dataset, parts.train)
    listed = None if table is None else listed_pairs(table, dataset, parts.test)
    held_out = dataset.subset(parts.validation) if len(parts.validation) else None
    tested = dataset.subset(parts.test)

    def metric(embeddings: Float32[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"]) -> float:
        return retrieval(embeddings, labels, distance=distance).map_at_r

    looked_at = held_out if held_out is not None and has_pair(held_out) else None
    encoder = fit(
        dataset.subset(parts.train),
        recipe,
        out=out,
        triplets=taught,
        validation=looked_at,
        metric=metric if looked_at is not None else None,
        loss=loss,
        resume=resume,
        progress=progress,
    )
    embeddings = encoder.embed(tested)
    others = None
    if held_out is not None:
        within = None if table is None else pairs_within(table, dataset, parts.validation)
        others = HeldOut(held_out, encoder.embed(held_out), within)
    rows, items = (embeddings, tested) if others is None else (others.embeddings, others.dataset)
    encoder.calibration = _calibrated(rows, items, distance=distance, far=far)
    run, first = RunDir(Path(out)), distributed_context(recipe.training).is_main
    if first:
        write_json(run.path / SPLIT, split_record(dataset, parts.parts, method=parts.method))
    unseen = not np.isin(tested.labels, dataset.labels[parts.train]).any()
    usual = "identities never seen" if unseen else "seen identities, unseen items"
    how = STRANGERS if parts.method == "open" else usual
    trained = dataset.subset(parts.train)
    part = f"test part ({counted(tested)}; {how})"
    diagnoses = read_findings(run)[1] if first else ()
    report = measure(
        encoder,
        tested,
        embeddings,
        folder=run.path,
        part=part,
        far=far,
        recipe=recipe,
        doctor=diagnoses,
        listed=listed,
        held_out=others,
        trained=trained,
    )
    if left_out:
        notes += (triplets_left_out(left_out, "training part"),)
    report = replace(report, notes=(*report.notes, *notes))
    if not first:
        return report
    learned = f"{counted(trained)} of {name_of(dataset)}, split by {words}"
    write_report(subject_of(encoder, tested, embeddings, report, run=run.path, trained_on=learned))
    save(encoder, run.model, metrics=report.after.headline(far), trained_on=learned)
    return report


def _left_out(dataset: Dataset, parts: Split) -> tuple[str, ...]:
    """What is to be said about items that are in no part."""
    apart = np.setdiff1d(np.arange(len(dataset)), np.concatenate([parts.train, parts.validation, parts.test]))
    if not len(apart):
        return ()
    return (f"{counted(dataset.subset(apart))} were left out: no part names them",)


def _divided(dataset: Dataset, recipe: Recipe, pairs: PairTable | None) -> tuple[Split, str]:
    """The parts, and how they were made in words."""
    asked = recipe.data
    if asked.split == "folds":
        if pairs is None:
            raise SettingError("data.split folds needs a list of pairs with folds; give one with --pairs")
        words = f"folds: {', '.join(map(str, asked.test_folds))} for the test"
        if asked.validation_folds:
            words += f", {', '.join(map(str, asked.validation_folds))} for validation"
        parts = split_by_folds(dataset, pairs, test=asked.test_folds, validation=asked.validation_folds)
        return parts, words
    if asked.split == "triplets" or asked.split == "items":
        raise SettingError(
            f"data.split is {asked.split}, which divides judgements about items without identities; give "
            "triplets and no identities (train_judged), or set it to auto"
        )
    seed = recipe.seed if asked.seed is None else asked.seed
    parts = split(
        dataset,
        method=asked.split,
        test=asked.test,
        validation=asked.validation,
        seed=seed,
        unknown=asked.unknown_identities,
        named=IdentityLists(asked.train_identities, asked.validation_identities, asked.test_identities),
    )
    return parts, f"{parts.method}, seed {seed}"


def _calibrated(
    embeddings: Float32[np.ndarray, "n d"], held_out: Dataset, *, distance: Distance, far: float
) -> Calibration | None:
    """The threshold from items not trained on; none where they hold no pair of each kind."""
    try:
        return calibrate(embeddings, held_out.labels, far=far, distance=distance, support="provisional")
    except CalibrationError:
        return None
