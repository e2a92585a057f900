"""Evaluate an encoder on data: what `trine evaluate` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from trine.calibration import Method
from trine.data import Dataset, TripletTable
from trine.encoders import Encoder, load
from trine.errors import CalibrationError, DataError, SettingError
from trine.evaluation import calibrate, pairs_of, picture
from trine.evaluation.calibration import Support
from trine.model import read_model, write_model
from trine.run.files import write_file, write_json
from trine.run.pages import Subject, evaluation_page, subject_of
from trine.run.parts import Part, check_part, counted, has_pair, name_of, part_of, run_of, trained_among
from trine.run.report import Listed, Report, count_triplets, figures_of
from trine.run.triplets import triplets_left_out, triplets_of_part
from trine.shapes import Float32, Int64
from trine.training import Diagnosis, LossRecipe, RunFolder, load_recipe

FIGURES, PICTURE, PAGE = "figures.json", "picture.png", "report.html"
RAW_VALUES = 1 << 28
"""The most numbers that are compared raw, before training: about a gigabyte."""


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
    listed = None if pairs is None else listed_pairs(pairs, dataset, positions)
    judged, apart = None, 0
    if triplets is not None:
        judged, apart = triplets_of_part(triplets, dataset, positions, part=words)
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
        inner = RunFolder(Path(run)).model
        saved = replace(read_model(Path(run)), calibration=encoder.calibration)
        write_model(saved, folder=inner if inner.is_dir() else Path(run))
    report = measure(
        encoder,
        chosen,
        embeddings,
        folder=folder,
        part=f"{words} ({counted(chosen)})",
        far=far,
        margin=margin_of(run),
        listed=listed,
        judged=judged,
        trained=None if words != "test part" else dataset.subset(part_of(run, dataset, "train")[0]),
    )
    if apart:
        report = replace(report, notes=(*report.notes, triplets_left_out(apart, words)))
    about = read_model(Path(run)).trained_on
    write_report(subject_of(encoder, chosen, embeddings, report, run=run_of(Path(run)), trained_on=about))
    return report


def listed_pairs(path: str | Path, dataset: Dataset, part: Int64[np.ndarray, " n"]) -> Listed:
    """Finds the pairs of a list whose items are both in a part of the data.

    Args:
        path: The list.
        dataset: All the data.
        part: Positions of the part's items.

    Raises:
        DataError: The list cannot be read, a name is no item of the data, or no pair lies within the part.
    """
    found, same, fold = pairs_of(dataset, path)
    place = np.full(len(dataset), -1, dtype=np.int64)
    place[part] = np.arange(len(part))
    within = place[found]
    kept = (within >= 0).all(axis=1)
    if not (kept & same).any() or not (kept & ~same).any():
        raise DataError(
            f"of the {len(found):,} pairs of {path}, {int((kept & same).sum()):,} of one identity and "
            f"{int((kept & ~same).sum()):,} of two have both items in the part; evaluate with --part all"
        )
    return Listed(within[kept], same[kept], None if fold is None else fold[kept], int((~kept).sum()))


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
    margin: float | None,
    doctor: tuple[Diagnosis, ...] = (),
    listed: Listed | None = None,
    judged: Int64[np.ndarray, "t 3"] | None = None,
    trained: Dataset | None = None,
) -> Report:
    """Measures embeddings, and the raw items beside them where they are not too many.

    Args:
        encoder: What made them.
        dataset: The items.
        embeddings: One row per item.
        folder: Where the report is to be written.
        part: Which items these are, in words.
        far: The false-accept rate of the table.
        margin: The margin of the triplets to count; None for the default one.
        doctor: What was wrong with the training.
        listed: Pairs of a list to measure, too.
        judged: Triplets that people judged, as positions among the items.
        trained: What the encoder was trained on: where some of the items are of identities in it and others
            are not, these are to be told apart.

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
    enrolled = trained if trained is not None and _has_strangers(dataset, trained) else None
    after = figures_of(
        embeddings,
        dataset.labels,
        distance=distance,
        far=far,
        threshold=threshold,
        listed=listed,
        cameras=cameras,
        judged=judged,
        enrolled=None if enrolled is None else (encoder.embed(enrolled), enrolled.labels),
    )
    raw, before = _raw(encoder, dataset), None
    if raw is not None:
        known_raw = None if enrolled is None else _raw(encoder, enrolled)
        before = figures_of(
            raw,
            dataset.labels,
            distance="euclidean",
            far=far,
            listed=listed,
            cameras=cameras,
            judged=judged,
            enrolled=None if known_raw is None or enrolled is None else (known_raw, enrolled.labels),
        )
    alpha = LossRecipe().margin if margin is None else margin
    assert alpha is not None
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
        notes=() if listed is None else listed.notes(),
        census=count_triplets(embeddings, dataset.labels, distance=distance, margin=alpha),
    )


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
    write_file(report.folder / PAGE, lambda partial: partial.write_text(page, encoding="utf-8"))
    picture(
        subject.dataset,
        subject.embeddings,
        path=report.folder / PICTURE,
        distance=encoder.distance,
        threshold=None if report.calibration is None else report.calibration.threshold,
        look=subject.view,
    )


def margin_of(run: str | Path) -> float | None:
    """The margin that a run was trained with; None where that is not known, or it was soft."""
    recipe = RunFolder(run_of(Path(run))).recipe
    return load_recipe(str(recipe)).loss.margin if recipe.is_file() else None


def _has_strangers(dataset: Dataset, trained: Dataset) -> bool:
    """Whether some items are of identities that were trained on, and some are not."""
    seen = np.isin(dataset.labels, trained.labels)
    return bool(seen.any() and not seen.all())


def _raw(encoder: Encoder, dataset: Dataset) -> Float32[np.ndarray, "n d"] | None:
    """The items as the encoder is given them, before it has learned anything."""
    rows = prepared_rows(encoder, dataset)
    if rows is not None and encoder.settings.kind == "vectors":
        rows = (rows - encoder.mean.numpy()) / encoder.std.numpy()
    return rows


def prepared_rows(encoder: Encoder, dataset: Dataset) -> Float32[np.ndarray, "n d"] | None:
    """The items as the encoder prepares them, one a row; None where they are too many."""
    shape = encoder.settings.shape
    if len(dataset) * int(np.prod(shape)) > RAW_VALUES:
        return None
    rows = np.empty((len(dataset), int(np.prod(shape))), dtype=np.float32)
    for start in range(0, len(dataset), 256):
        stop = min(start + 256, len(dataset))
        batch = encoder.prepare(dataset.items.subset(np.arange(start, stop))).float()
        rows[start:stop] = batch.reshape(stop - start, -1).numpy()
    return rows
