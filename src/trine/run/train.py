"""Train, calibrate, evaluate: what `trine train` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from trine.calibration import Calibration
from trine.data import Dataset, TripletTable, split
from trine.distances import Distance
from trine.encoders import save
from trine.errors import CalibrationError, SettingError
from trine.evaluation import calibrate, retrieval
from trine.run.evaluate import measure, write_report
from trine.run.files import write_json
from trine.run.pages import subject_of
from trine.run.parts import SPLIT, counted, has_pair, name_of, split_record
from trine.run.report import Report
from trine.run.triplets import triplets_left_out, triplets_of_part
from trine.shapes import Float32, Int64
from trine.training import Recipe, RunFolder, fit, read_findings, world_of

SEEN = {
    "identity": "identities never seen",
    "open": "unseen items of seen identities, and unknown identities",
}
"""What a split makes of the test part, in words."""


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
    not trained on either. The clusters at this threshold, and the share of impostor pairs that it accepts,
    then look better than on other data; no other figure depends on it.

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
    drawn = recipe.seed if recipe.data.seed is None else recipe.data.seed
    method = recipe.data.split
    if method == "triplets" or method == "items":
        raise SettingError(
            f"data.split is {method}, which divides judgements about items without identities; give triplets "
            "and no identities (train_judged), or set it to auto"
        )
    parts = split(
        dataset,
        method=method,
        test=recipe.data.test,
        validation=recipe.data.validation,
        seed=drawn,
        unknown=recipe.data.unknown_identities,
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
        write_json(run.path / SPLIT, split_record(dataset, parts.parts, method=parts.method))
    how = SEEN.get(parts.method, "seen identities, unseen items")
    part = f"test part ({counted(tested)}; {how})"
    diagnoses = read_findings(run)[1] if first else ()
    report = measure(
        encoder,
        tested,
        embeddings,
        folder=run.path,
        part=part,
        far=far,
        margin=recipe.loss.margin,
        doctor=diagnoses,
        trained=dataset.subset(parts.train),
    )
    if left_out:
        report = replace(report, notes=(triplets_left_out(left_out, "training part"),))
    if not first:
        return report
    trained = dataset.subset(parts.train)
    learned = f"{counted(trained)} of {name_of(dataset)}, split by {parts.method}, seed {drawn}"
    write_report(subject_of(encoder, tested, embeddings, report, run=run.path, trained_on=learned))
    save(encoder, run.model, figures=report.after.headline(far), trained_on=learned)
    return report


def _calibrated(
    embeddings: Float32[np.ndarray, "n d"], held_out: Dataset, *, distance: Distance, far: float
) -> Calibration | None:
    """The threshold from items not trained on; none where they hold no pair of each kind."""
    try:
        return calibrate(embeddings, held_out.labels, far=far, distance=distance, support="provisional")
    except CalibrationError:
        return None
