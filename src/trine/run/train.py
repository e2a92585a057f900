"""Train, calibrate, evaluate: what `trine train` and `trine evaluate` do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from trine.calibration import Calibration
from trine.data import Dataset, TripletTable, split
from trine.distances import Distance
from trine.encoders import Encoder, load, save
from trine.errors import CalibrationError, DataError, SettingError, nearest
from trine.evaluation import calibrate, picture, retrieval
from trine.evaluation.calibration import Support
from trine.model import read_model, write_model
from trine.run.files import write_json
from trine.run.parts import SPLIT, Part, counted, has_pair, name_of, part_of, run_of, split_record
from trine.run.report import Report, figures_of
from trine.run.triplets import triplets_of_part
from trine.shapes import Float32, Int64
from trine.training import Diagnosis, Recipe, RunFolder, fit, read_findings, world_of

FIGURES, PICTURE = "figures.json", "picture.png"
RAW_VALUES = 1 << 28
"""The most numbers that are compared raw, before training: about a gigabyte."""


def train_run(
    dataset: Dataset,
    recipe: Recipe,
    *,
    out: str | Path,
    triplets: TripletTable | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Report:
    """Trains on one part of the data, calibrates on another, and evaluates on a third.

    Where the recipe sets no validation part apart, the threshold comes from the test part: its items were
    not trained on either, and none of the figures depends on it.

    Args:
        dataset: Labelled items.
        recipe: Every setting.
        out: The run folder; a new one, unless `resume`.
        triplets: Learn from these alone, as far as their items are in the training part; None learns
            from the identities.
        resume: Whether to go on with the run that is in the folder.
        progress: Whether to show progress in a terminal.

    Returns:
        The figures on the test part, in every process of a run by several; the folder holds them, the
        model and the picture.

    Raises:
        DataError: The data does not allow the split, or does not suffice for the sampler.
        SettingError: A setting does not fit.
        InputError: The folder holds a run already, or none to resume.
    """
    parts = split(
        dataset,
        method=recipe.data.split,
        test=recipe.data.test,
        validation=recipe.data.validation,
        seed=recipe.seed,
    )
    distance, far = recipe.loss.distance, recipe.evaluation.far
    listed, left_out = (None, 0) if triplets is None else triplets_of_part(triplets, dataset, parts.train)
    held_out = dataset.subset(parts.validation) if len(parts.validation) else None
    tested = dataset.subset(parts.test)

    def merit(embeddings: Float32[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"]) -> float:
        return retrieval(embeddings, labels, distance=distance).map_at_r

    looked_at = held_out if held_out is not None and has_pair(held_out) else None
    encoder = fit(
        dataset.subset(parts.train),
        recipe,
        out=out,
        triplets=listed,
        validation=looked_at,
        merit=merit if looked_at is not None else None,
        resume=resume,
        progress=progress,
    )
    embeddings = encoder.embed(tested)
    if held_out is None:
        encoder.calibration = _calibrated(embeddings, tested, distance=distance, far=far)
    else:
        encoder.calibration = _calibrated(encoder.embed(held_out), held_out, distance=distance, far=far)
    run, first = RunFolder(Path(out)), world_of(recipe.training).first
    if first:
        write_json(run.path / SPLIT, split_record(dataset, parts))
    how = "identities never seen" if parts.method == "identity" else "seen identities, unseen items"
    part = f"test part ({counted(tested)}; {how})"
    diagnoses = read_findings(run)[1] if first else ()
    report = _evaluated(
        encoder, tested, embeddings, run.path, part=part, far=far, doctor=diagnoses, writes=first
    )
    if left_out:
        note = f"{left_out:,} triplets were left out: they name items outside the training part"
        report = replace(report, notes=(note,))
    if not first:
        return report
    trained = dataset.subset(parts.train)
    save(
        encoder,
        run.model,
        figures=report.after.headline(far),
        trained_on=f"{counted(trained)} of {name_of(dataset)}, split by {parts.method}, seed {recipe.seed}",
    )
    return report


def evaluate_run(
    run: str | Path,
    dataset: Dataset,
    *,
    part: Part = "auto",
    far: float = 0.01,
    out: str | Path | None = None,
    store_threshold: bool = False,
    support: Support = "required",
) -> Report:
    """Evaluates the encoder of a run on data: on its test part, where it was trained on that very data.

    Args:
        run: The run folder, or a model folder.
        dataset: Labelled items.
        part: Which items; `auto` takes the test part of data that the run was trained on, and all items
            of other data.
        far: The false-accept rate of the table, in (0, 1).
        out: Where to write figures and picture; `evaluation/<data>` in the run folder where left out.
        store_threshold: Whether to choose the threshold for `far` on these items, and to keep it in the
            model.
        support: As for `calibrate`: whether too few items refuse that, or make it provisional.

    Returns:
        The figures; `out` holds them and the picture.

    Raises:
        ModelError: There is no model.
        DataError: The data has no such part, or no two items of one identity in it.
        SettingError: The part is unknown, or the rate is out of range.
        CalibrationError: The items hold no threshold for the rate.
    """
    if part not in get_args(Part):
        raise SettingError(f"unknown part {part!r}: {nearest(part, get_args(Part))}")
    if not 0 < far < 1:
        raise SettingError(f"far must be a rate between 0 and 1, given {far}")
    encoder = load(run)
    positions, words = part_of(run, dataset, part)
    chosen = dataset.subset(positions)
    kept = name_of(dataset) if part in ("auto", "test") else f"{name_of(dataset)}-{part}"
    folder = Path(out) if out is not None else run_of(Path(run)) / "evaluation" / kept
    embeddings = encoder.embed(chosen)
    if store_threshold:
        encoder.calibration = calibrate(
            embeddings, chosen.labels, far=far, distance=encoder.distance, support=support
        )
        inner = RunFolder(Path(run)).model
        saved = replace(read_model(Path(run)), calibration=encoder.calibration)
        write_model(saved, folder=inner if inner.is_dir() else Path(run))
    return _evaluated(encoder, chosen, embeddings, folder, part=f"{words} ({counted(chosen)})", far=far)


def _evaluated(
    encoder: Encoder,
    dataset: Dataset,
    embeddings: Float32[np.ndarray, "n d"],
    folder: Path,
    *,
    part: str,
    far: float,
    doctor: tuple[Diagnosis, ...] = (),
    writes: bool = True,
) -> Report:
    if not has_pair(dataset):
        raise DataError(
            f"{name_of(dataset)}, {part}: no two items are of one identity, and figures need such pairs; "
            "give more items of each identity"
        )
    after = figures_of(embeddings, dataset.labels, distance=encoder.distance, far=far)
    raw = _raw(encoder, dataset)
    before = None if raw is None else figures_of(raw, dataset.labels, distance="euclidean", far=far)
    known = encoder.calibration
    realised = None if known is None else after.verification.far_at(known.threshold)
    report = Report(folder, name_of(dataset), part, before, after, far, known, realised, doctor)
    if not writes:
        return report
    write_json(folder / FIGURES, report.to_json())
    threshold = None if known is None else known.threshold
    picture(dataset, embeddings, path=folder / PICTURE, distance=encoder.distance, threshold=threshold)
    return report


def _calibrated(
    embeddings: Float32[np.ndarray, "n d"], held_out: Dataset, *, distance: Distance, far: float
) -> Calibration | None:
    """The threshold from items not trained on; none where they hold no pair of each kind."""
    try:
        return calibrate(embeddings, held_out.labels, far=far, distance=distance, support="provisional")
    except CalibrationError:
        return None


def _raw(encoder: Encoder, dataset: Dataset) -> Float32[np.ndarray, "n d"] | None:
    """The items as the encoder is given them, before it has learned anything."""
    shape = encoder.settings.shape
    if len(dataset) * int(np.prod(shape)) > RAW_VALUES:
        return None
    rows = np.empty((len(dataset), int(np.prod(shape))), dtype=np.float32)
    for start in range(0, len(dataset), 256):
        stop = min(start + 256, len(dataset))
        batch = encoder.prepare(dataset.items.subset(np.arange(start, stop))).float()
        if encoder.settings.kind == "vectors":
            batch = (batch - encoder.mean) / encoder.std
        rows[start:stop] = batch.reshape(stop - start, -1).numpy()
    return rows
