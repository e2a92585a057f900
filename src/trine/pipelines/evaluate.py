"""Evaluate an encoder on data: what `trine evaluate` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from trine.calibration import Method
from trine.clustering import LARGEST_AVERAGE
from trine.clustering import Method as Linkage
from trine.data import Dataset, TripletTable, read_pairs
from trine.encoders import Encoder, EncoderRecipe, load
from trine.errors import CalibrationError, DataError, SettingError
from trine.evaluation import calibrate
from trine.evaluation.calibration import Support
from trine.evaluation.listed_pairs import HeldOut, ListedPairs, listed_pairs
from trine.io import write_json, write_text
from trine.model import read_model, write_model
from trine.pipelines.baseline import start_of
from trine.pipelines.mine import triplets_left_out, triplets_of_part
from trine.pipelines.split_record import (
    Part,
    check_part,
    counted,
    has_pair,
    name_of,
    part_of,
    run_of,
    trained_among,
    trained_apart,
)
from trine.report import picture
from trine.report.evaluation_report import RAW, Metrics, Report, compute_metrics, count_triplets
from trine.report.pages import Subject, evaluation_page, subject_of
from trine.shapes import Float32, Int64
from trine.training import Diagnosis, LossRecipe, Recipe, RunDir, load_run_recipe

FIGURES, PICTURE, PAGE = "metrics.json", "picture.png", "report.html"


def evaluate_run(
    run: str | Path,
    dataset: Dataset,
    *,
    part: Part = "auto",
    far: float = 0.01,
    out: str | Path | None = None,
    store_threshold: bool = False,
    support: Support = "required",
    probability: Method | None = None,
    prior: float | None = None,
    pairs: str | Path | None = None,
    triplets: TripletTable | None = None,
) -> Report:
    """Evaluates the encoder of a run on data: on its test part, where it was trained on that very data.

    Args:
        run: The run folder, or a model folder.
        dataset: Labelled items.
        part: Which items; `auto` takes the test part of data that the run was trained on, and all items
            of other data.
        far: The false-accept rate of the table, in (0, 1).
        out: Where to write figures, page and picture; `evaluation/<data>` in the run folder where left out.
        store_threshold: Whether to choose the threshold for `far` on these items, and to keep it in the
            model.
        support: As for `calibrate`: whether too few items refuse that, or make it provisional.
        probability: As for `calibrate`: with the threshold, keep from a distance to a probability, too.
        prior: As for `calibrate`: the share of genuine pairs that this probability assumes.
        pairs: A list of pairs to measure, too: a table with a, b, same and perhaps fold, or a list in the
            format of Labeled Faces in the Wild.
        triplets: Judgements of which is more alike to count, too, as far as their items are evaluated.

    Returns:
        The figures; `out` holds them, the page and the picture.

    Raises:
        ModelError: There is no model.
        DataError: The data has no such part, or no two items of one identity in it.
        SettingError: The part is unknown, the rate is out of range, or a probability comes without threshold.
        CalibrationError: The items hold no threshold for the rate, or the encoder was trained on some.
    """
    check_asked(part, far)
    if probability is not None and not store_threshold:
        raise SettingError("a probability is kept with the threshold; calibrate, too (--calibrate)")
    encoder = load(run)
    positions, words = part_of(run, dataset, part)
    chosen = dataset.subset(positions)
    if store_threshold and (trained := trained_among(run, chosen)):
        raise CalibrationError(
            f"{run} was trained on {trained:,} of these {len(chosen):,} items, where every threshold looks "
            "better than it is; calibrate on its test part or on other data"
        )
    kept = name_of(dataset) if part in ("auto", "test") else f"{name_of(dataset)}-{part}"
    folder = Path(out) if out is not None else run_of(Path(run)) / "evaluation" / kept
    listed = None if pairs is None else listed_pairs(read_pairs(pairs), dataset, positions)
    judged, left_out = None, 0
    if triplets is not None:
        judged, left_out = triplets_of_part(triplets, dataset, positions, part=words)
    apart = trained_apart(run, dataset, positions)
    embeddings = encoder.embed(chosen)
    if store_threshold:
        encoder.calibration = calibrate(
            embeddings,
            chosen.labels,
            far=far,
            distance=encoder.distance,
            support=support,
            probability=probability,
            prior=prior,
        )
        inner = RunDir(Path(run)).model
        saved = replace(read_model(Path(run)), calibration=encoder.calibration)
        write_model(saved, folder=inner if inner.is_dir() else Path(run))
    report = measure(
        encoder,
        chosen,
        embeddings,
        folder=folder,
        part=f"{words} ({counted(chosen)})",
        far=far,
        recipe=recipe_of(run),
        listed=listed,
        judged=judged,
        trained=None if apart is None else dataset.subset(apart),
    )
    if left_out:
        report = replace(report, notes=(*report.notes, triplets_left_out(left_out, words)))
    about = read_model(Path(run)).trained_on
    write_report(subject_of(encoder, chosen, embeddings, report, run=run_of(Path(run)), trained_on=about))
    return report


def check_asked(part: str, far: float) -> None:
    """Raises a `SettingError` where there is no such part, or the rate is out of range."""
    check_part(part)
    if not 0 < far < 1:
        raise SettingError(f"far must be a rate between 0 and 1, given {far}")


def measure(
    encoder: Encoder,
    dataset: Dataset,
    embeddings: Float32[np.ndarray, "n d"],
    *,
    folder: Path,
    part: str,
    far: float,
    recipe: Recipe | None,
    doctor: tuple[Diagnosis, ...] = (),
    listed: ListedPairs | None = None,
    held_out: HeldOut | None = None,
    judged: Int64[np.ndarray, "t 3"] | None = None,
    trained: Dataset | None = None,
) -> Report:
    """Measures embeddings, and beside them what there was before training.

    Args:
        encoder: What made them.
        dataset: The items.
        embeddings: One row per item.
        folder: Where the report is to be written.
        part: Which items these are, in words.
        far: The false-accept rate of the table.
        recipe: The run's, for what it began with, how to cluster, and the margin of the triplets to count;
            None where it is not known.
        doctor: What was wrong with the training.
        listed: Pairs of a list to measure, too.
        held_out: What chooses a threshold for these pairs; None leaves them without.
        judged: Triplets that people judged, as positions among the items.
        trained: The items that were trained on, where the others are to be recognised by them, or to be told
            from them where their identities are strangers.

    Returns:
        What was found.

    Raises:
        DataError: No two items are of one identity, or all are.
    """
    if not has_pair(dataset):
        raise DataError(
            f"{name_of(dataset)}, {part}: no two items are of one identity, and figures need such pairs; "
            "give more items of each identity"
        )
    distance, known = encoder.distance, encoder.calibration
    threshold, cameras = None if known is None else known.threshold, dataset.columns.get("camera")
    said = Recipe() if recipe is None else recipe
    gallery = trained if trained is not None and np.isin(dataset.labels, trained.labels).any() else None
    linkage, notes = _linkage(said, dataset)
    after = compute_metrics(
        embeddings,
        dataset.labels,
        distance=distance,
        far=far,
        threshold=threshold,
        linkage=linkage,
        listed=listed,
        pairs_threshold=None
        if held_out is None
        else held_out.threshold(held_out.embeddings, distance=distance),
        cameras=cameras,
        judged=judged,
        gallery=None if gallery is None else (encoder.embed(gallery), gallery.labels),
    )
    margin = counted_margin(said.loss)
    before, words = _before(
        encoder,
        dataset,
        recipe=None if recipe is None else recipe.encoder,
        far=far,
        listed=listed,
        held_out=held_out,
        judged=judged,
        gallery=gallery,
    )
    return Report(
        folder,
        name_of(dataset),
        part,
        before,
        after,
        far,
        known,
        None if threshold is None else after.verification.far_at(threshold),
        doctor,
        notes=notes if listed is None else (*listed.notes(), *notes),
        census=None
        if margin is None
        else count_triplets(embeddings, dataset.labels, distance=distance, margin=margin),
        before_is=RAW if words is None else words,
    )


def _linkage(recipe: Recipe, dataset: Dataset) -> tuple[Linkage, tuple[str, ...]]:
    """How to cluster the items, and what is to be said about that: a run shall not end at their number."""
    asked = recipe.evaluation.clustering
    if asked == "connected" or len(dataset) <= LARGEST_AVERAGE:
        return asked, ()
    note = f"{len(dataset):,} items are clustered by connected, for {asked} takes {LARGEST_AVERAGE:,} at most"
    return "connected", (note,)


def _before(
    encoder: Encoder,
    dataset: Dataset,
    *,
    recipe: EncoderRecipe | None,
    far: float,
    listed: ListedPairs | None,
    held_out: HeldOut | None,
    judged: Int64[np.ndarray, "t 3"] | None,
    gallery: Dataset | None,
) -> tuple[Metrics, str] | tuple[None, None]:
    """The figures of what the encoder began with, and what that is; none where these are too many numbers."""
    start = start_of(encoder, dataset, recipe)
    if start is None:
        return None, None
    others = None if held_out is None else start_of(encoder, held_out.dataset, recipe)
    known = None if gallery is None else start_of(encoder, gallery, recipe)
    figures = compute_metrics(
        start.rows,
        dataset.labels,
        distance="euclidean",
        far=far,
        listed=listed,
        pairs_threshold=None
        if held_out is None or others is None
        else held_out.threshold(others.rows, distance="euclidean"),
        cameras=dataset.columns.get("camera"),
        judged=judged,
        gallery=None if known is None or gallery is None else (known.rows, gallery.labels),
    )
    return figures, start.words


def write_report(subject: Subject) -> None:
    """Writes the figures, the page and the picture into the report's folder.

    Args:
        subject: What was measured.

    Raises:
        InputError: A file cannot be written.
    """
    report, encoder = subject.report, subject.encoder
    write_json(report.folder / FIGURES, report.to_json())
    page = evaluation_page(subject)
    write_text(report.folder / PAGE, page)
    picture(
        subject.dataset,
        subject.embeddings,
        path=report.folder / PICTURE,
        distance=encoder.distance,
        threshold=None if report.calibration is None else report.calibration.threshold,
        look=subject.view,
    )


def recipe_of(run: str | Path) -> Recipe | None:
    """The recipe that a run was trained by; None where it is not known."""
    recipe = RunDir(run_of(Path(run))).recipe
    return load_run_recipe(recipe) if recipe.is_file() else None


def counted_margin(loss: LossRecipe) -> float | None:
    """The margin of a triplet loss, or the default one where it is soft; None for a loss of another kind."""
    if loss.name != "triplet":
        return None
    return LossRecipe().margin if loss.margin is None else loss.margin
